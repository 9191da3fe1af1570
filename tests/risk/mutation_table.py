"""The rules of risk by name: where each stands, the text with it and without it, and the tests that must miss it."""

from __future__ import annotations

from dataclasses import dataclass

STATES, EMERGENCY, RISK, STOPS = (f"tests/risk/test_{name}.py" for name in ("states", "emergency", "risk", "stops"))
ENTRIES, MARGIN, GROUPS, CONTRACT, FLOORS, AUGUST = (
    f"tests/risk/test_{name}.py" for name in ("entries", "margin", "group_risk", "contract", "floors", "august")
)


@dataclass(frozen=True, slots=True)
class Mutation:
    """A rule, where it stands, the text with it and without it, and the tests that must miss it."""

    rule: str
    file: str
    old: str
    new: str
    tests: str


MACHINE = "tests/risk/test_machine.py"


MUTATIONS = (
    Mutation(
        "an emergency is pursued each minute (machine)",
        "risk/emergency.py",
        "    def _on_minute(self, event: MinutePassed) -> None:\n        self._pursue(event.time)",
        "    def _on_minute(self, event: MinutePassed) -> None:\n        self._flying.clear()",
        MACHINE,
    ),
    Mutation(
        "close_all outlives the process (machine)",
        "risk/emergency.py",
        'self._state.remember(PERSON, {"close_all_since": self._person_since})',
        "self._told.clear()",
        MACHINE,
    ),
    Mutation(
        "half size from 10 % down",
        "risk/drawdown.py",
        "return 1.0 if self.drawdown(equity) < self._settings.halve_at else 0.5",
        "return 1.0",
        STATES,
    ),
    Mutation(
        "no entries from 15 % down",
        "risk/drawdown.py",
        "if depth >= settings.stop_entries_at:\n            return Deny",
        "if depth > 9.0:\n            return Deny",
        STATES,
    ),
    Mutation(
        "losing positions go from 15 % down",
        "risk/drawdown.py",
        "if depth >= settings.stop_entries_at:\n            return (Wanted",
        "if depth > 9.0:\n            return (Wanted",
        STATES,
    ),
    Mutation(
        "everything goes at 20 % down, and a pause",
        "risk/drawdown.py",
        "if depth >= settings.close_all_at and self._paused_until is None:",
        "if depth > 9.0 and self._paused_until is None:",
        STATES,
    ),
    Mutation(
        "disabled at 30 % down",
        "risk/drawdown.py",
        "            self._disabled = True",
        "            self._disabled = False",
        STATES,
    ),
    Mutation(
        "15 and 20 % are measured from the pause's end",
        "risk/drawdown.py",
        "self._paused_until, self._base = None, equity",
        "self._paused_until = None",
        STATES,
    ),
    Mutation(
        "a flat fortnight is a pause",
        "risk/drawdown.py",
        "self._flat_since, self._base = None, equity",
        "self._flat_since = None",
        STATES,
    ),
    Mutation("peaks move with a withdrawal", "risk/drawdown.py", "self.peak *= share", "self.peak *= 1.0", STATES),
    Mutation(
        "a reset keeps the peak",
        "risk/drawdown.py",
        "        self._base, self._paused_until = self._equity.value, None\n",
        "        self._base, self._paused_until = self._equity.value, None\n        self.peak = self._base or 0.0\n",
        STATES,
    ),
    Mutation(
        "fast loss trips",
        "risk/breakers.py",
        "if row.severity in (Severity.BREACH, Severity.EMERGENCY):",
        "if row.severity is Severity.EMERGENCY:",
        STATES,
    ),
    Mutation(
        "half as much again locks",
        "risk/breakers.py",
        "self._locked_until = now + timedelta(hours=self._settings.lock_hours)",
        "self._locked_until = None",
        STATES,
    ),
    Mutation(
        "calm, fresh and reconciled before the next",
        "risk/breakers.py",
        "return calm and self._freshness.all_fresh(now) and not self._book.doubted",
        "return True",
        STATES,
    ),
    Mutation(
        "one position at a time after a trip",
        "risk/breakers.py",
        "if (self._recovering or self._tripped_at is not None) and any(context.book.exposed()):",
        "if False:",
        STATES,
    ),
    Mutation(
        "margin over its level closes",
        "risk/breakers.py",
        '_CLOSES = ("fast_loss", "margin_use")',
        '_CLOSES = ("fast_loss",)',
        STATES,
    ),
    Mutation(
        "losses in a row lock",
        "risk/breakers.py",
        "if limit and last is not None and streak >= limit:",
        "if limit and last is None and streak >= limit:",
        STATES,
    ),
    Mutation(
        "one at a time after losses",
        "risk/breakers.py",
        "if self._streak_from is not None and any(context.book.exposed()):",
        "if False:",
        STATES,
    ),
    Mutation(
        "a warning halves sizes", "risk/manager.py", "            factor /= 2", "            factor /= 1", EMERGENCY
    ),
    Mutation(
        "what limits is kept",
        "risk/memory.py",
        "            self._state.remember(MEMORY, now)",
        "            self._kept = now",
        EMERGENCY,
    ),
    Mutation(
        "trades are kept when they close",
        "risk/records.py",
        "if event.kind is not ChangeKind.OPENED:",
        "if event.kind is ChangeKind.OPENED:",
        EMERGENCY,
    ),
    Mutation(
        "an emergency is pursued each minute",
        "risk/emergency.py",
        "    def _on_minute(self, event: MinutePassed) -> None:\n        self._pursue(event.time)",
        "    def _on_minute(self, event: MinutePassed) -> None:\n        self._flying.clear()",
        EMERGENCY,
    ),
    Mutation(
        "close_all outlives the process",
        "risk/emergency.py",
        'self._state.remember(PERSON, {"close_all_since": self._person_since})',
        "self._told.clear()",
        EMERGENCY,
    ),
    Mutation(
        "a passed limit takes entries back",
        "risk/emergency.py",
        'self._desk.cancel_entries(f"{event.rule} {event.severity.value}")',
        "self._told.discard(event.rule)",
        ENTRIES,
    ),
    Mutation(
        "a halt takes entries back", "risk/commands.py", '        self._desk.cancel_entries("halt")\n', "", ENTRIES
    ),
    Mutation(
        "a box goes by a person alone",
        "risk/emergency.py",
        "return want.rule == PERSON or Trait.HELD_BY_PERSON not in traits",
        "return True",
        EMERGENCY,
    ),
    Mutation(
        "put selling stays above VIX 40",
        "risk/emergency.py",
        "return bool(traits & _GOES_ABOVE_40) and not traits & _STAYS_ABOVE_40",
        "return bool(traits & _GOES_ABOVE_40)",
        EMERGENCY,
    ),
    Mutation(
        "the riskiest goes first",
        "risk/emergency.py",
        "(-losses.get(row.id, row.max_loss), row.id)",
        "row.id",
        EMERGENCY,
    ),
    Mutation(
        "locked when everything is closed",
        "risk/emergency.py",
        "if locks and self._state.may(Level.SYSTEM, SYSTEM_ID, SystemTrigger.LOCK) is None:",
        "if False:",
        EMERGENCY,
    ),
    Mutation(
        "resume waits for close_all",
        "risk/commands.py",
        "        if waiting:\n            return False",
        "        if False:\n            return False",
        EMERGENCY,
    ),
    Mutation(
        "resume lifts one thing",
        "risk/commands.py",
        'chosen = [lift for name, lift in lifts.items() if word in ("", name)]',
        "chosen = list(lifts.values())",
        EMERGENCY,
    ),
    Mutation(
        "VIX over 40 is a state",
        "risk/limits.py",
        "            self._panic = event.price",
        "            self._panic = None",
        STATES,
    ),
    Mutation(
        "a black swan pauses",
        "risk/limits.py",
        "self._until, self._observed = event.time + timedelta(hours=self._settings.pause_hours), move",
        "self._observed = move",
        STATES,
    ),
    Mutation(
        "two looks for a black swan",
        "risk/limits.py",
        "if self._looks.again(event.ticker, event.time, move > limit):",
        "if move > limit:",
        STATES,
    ),
    Mutation(
        "nothing before a statement",
        "risk/limits.py",
        "if statement - timedelta(minutes=settings.fomc_minutes) <= now < statement:",
        "if False:",
        ENTRIES,
    ),
    Mutation(
        "nothing in an expiration's last half hour",
        "risk/limits.py",
        "if ends_today and (session is None or context.now > session.closes_at - least):",
        "if False:",
        ENTRIES,
    ),
    Mutation(
        "no American short without time value",
        "risk/limits.py",
        "if figures.price - self._inside(leg.contract) <= 0.0:",
        "if False:",
        ENTRIES,
    ),
    Mutation(
        "no entry without a model's price",
        "risk/limits.py",
        "        if model is None:\n            return Deny",
        "        if model is None:\n            return Allow(self.name)\n        if 0:\n            return Deny",
        ENTRIES,
    ),
    Mutation(
        "no entry on a stale option quote",
        "risk/limits.py",
        "            if wrong is DataFault.STALE:",
        "            if wrong is DataFault.FROZEN:",
        ENTRIES,
    ),
    Mutation(
        "nothing opens while reducing or locked",
        "risk/limits.py",
        "if self._state.system in _NOTHING_OPENS:",
        "if False:",
        RISK,
    ),
    Mutation(
        "the crash line binds",
        "risk/group_risk.py",
        "return float(np.maximum(adverse, loss.crash / (self._settings.crash_risk * equity)))",
        "return float(adverse)",
        GROUPS,
    ),
    Mutation(
        "the account outlives its margin",
        "risk/group_risk.py",
        "            if asked > worth:",
        "            if False:",
        GROUPS,
    ),
    Mutation("a person's puts count for the lines", "greeks/stress.py", " | self._unowned()\n", "\n", GROUPS),
    Mutation(
        "volatility rises in the stress",
        "greeks/stress.py",
        "rise * (at_moves != 0.0)",
        "0.0 * rise * at_moves",
        GROUPS,
    ),
    Mutation(
        "the best pairing",
        "risk/margin.py",
        "return one.lots * min(_together",
        "return one.lots * max(_together",
        MARGIN,
    ),
    Mutation(
        "a long that ends first covers nothing",
        "core/contracts.py",
        "(-item.contract.expiry.toordinal(), -item.ratio)",
        "(0, -item.ratio)",
        MARGIN,
    ),
    Mutation(
        "no calendars in cash-settled indices",
        "risk/margin.py",
        "    if legs[0].contract.settlement not in _CASH:",
        "    if True:",
        MARGIN,
    ),
    Mutation(
        "untrue figures deny",
        "risk/proposal.py",
        "return self.judge(proposal, context) if untrue is None else Deny",
        "return self.judge(proposal, context) if True else Deny",
        CONTRACT,
    ),
    Mutation(
        "untrue prices are ignored",
        "risk/proposal.py",
        "if isinstance(event, MarketData) and not 0.0 < event.price < inf:",
        "if False:",
        CONTRACT,
    ),
    Mutation(
        "no scaling over 5 %",
        "risk/sizing.py",
        "return min(share * scale, most)",
        "return share * scale",
        RISK,
    ),
    Mutation(
        "naked risk is the stress's",
        "risk/sizing.py",
        "            planned = max(planned, one.loss if one.sizing_loss is None else one.sizing_loss)",
        "            planned = max(planned, 0.0)",
        RISK,
    ),
    Mutation(
        "a place is kept for today",
        "risk/exposure.py",
        "return 0 if Trait.ENDS_TODAY in traits else settings.kept_for_today",
        "return 0",
        RISK,
    ),
    Mutation(
        "lasting places",
        "risk/exposure.py",
        "if Trait.LASTING in traits and lasting >= self._settings.lasting_places:",
        "if False:",
        RISK,
    ),
    Mutation(
        "S&P 500 equivalents by size",
        "risk/exposure.py",
        "            if after <= limit or after <= abs(held):",
        "            if True:",
        RISK,
    ),
    Mutation(
        "one expiration once",
        "risk/exposure.py",
        "if any(row.expiry == key[2] for row in same):",
        "if False:",
        RISK,
    ),
    Mutation(
        "no contract both ways",
        "risk/exposure.py",
        "            if ratio * held.get(name, 0) < 0:",
        "            if False:",
        RISK,
    ),
    Mutation(
        "marks outlive a bad quote",
        "risk/equity.py",
        "            value = self._corrected(value, now)",
        "            value = float(value)",
        EMERGENCY,
    ),
    Mutation(
        "a leap of a quote is no volatility",
        "greeks/service.py",
        "if good and self._is_steady(contract.name, float(value), now):",
        "if good:",
        STOPS,
    ),
    Mutation(
        "a stop needs a second look or the model",
        "strategies/coordinator.py",
        "if self._stops.confirmed(strategy, position, one, session):",
        "if True:",
        STOPS,
    ),
    Mutation(
        "no exit beyond the width",
        "execution/walking.py",
        "return limit if most == math.inf else max(limit, -max(most, tick))",
        "return limit",
        STOPS,
    ),
    Mutation(
        "stale by its partners",
        "market/freshness.py",
        "if any(other is not None and other.time > quote.time for other in others):",
        "if False:",
        STOPS,
    ),
    Mutation(
        "a step stays within what was approved",
        "risk/manager.py",
        "if isfinite(loss) and loss > entry.terms.max_loss and loss * contracts > budget * (1.0 + 1e-9):",
        "if False:",
        ENTRIES,
    ),
    Mutation(
        "what is not enabled is managed all the same",
        "strategies/coordinator.py",
        " or self._roster.disabled.get(position.strategy)",
        "",
        STOPS,
    ),
    Mutation(
        "what nobody manages halts entries",
        "strategies/coordinator.py",
        "                self._tell_orphan(position)\n",
        "",
        STOPS,
    ),
    Mutation(
        "floors of survival",
        "core/settings/fields.py",
        "        if refused:\n            raise SettingsError(refused)\n",
        "",
        FLOORS,
    ),
)
