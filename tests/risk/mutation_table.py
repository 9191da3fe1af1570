"""The rules of risk by name: where each stands, the text with it and without it, and the tests that must miss it."""

from __future__ import annotations

from dataclasses import dataclass

STATES, EMERGENCY, RISK, STOPS, TRANSFERS, ATTACKS = (
    f"tests/risk/test_{name}.py" for name in ("states", "emergency", "risk", "stops", "transfers", "attacks")
)
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
        "        self._reset_at = self._base = None if value is None else self._measured(value)\n",
        "        self._reset_at = self._base = value\n        self.peak = value or 0.0\n",
        STATES,
    ),
    Mutation(
        "an emptied account erases no drawdown",
        "risk/drawdown.py",
        "emptied = value < LEAST_MEASURED and (self._left is not None or amount < 0.0)",
        "emptied = False",
        TRANSFERS,
    ),
    Mutation(
        "what moves in an emptied account is no performance",
        "risk/drawdown.py",
        "return equity if self._left is None or equity != equity else self._left",
        "return equity",
        TRANSFERS,
    ),
    Mutation(
        "whoever looks, every rule hears of cash that moved",
        "risk/manager.py",
        "steady = self._look(now) if looks else self._equity.value",
        "steady = self._equity.look(now).value if looks else self._equity.value",
        TRANSFERS,
    ),
    Mutation(
        "what was paid while no process ran is no performance",
        "risk/equity.py",
        "        self._last = figures\n",
        "        self._doubt = None\n",
        TRANSFERS,
    ),
    Mutation(
        "a withdrawal is no fast loss",
        "risk/breakers.py",
        "self._window = deque((time, worth * share) for time, worth in self._window)",
        "self._window = deque((time, worth + amount) for time, worth in self._window)",
        TRANSFERS,
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
)
