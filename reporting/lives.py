"""The life of a position as its journal tells it: what was decided, which rules bound, how orders walked, how it ended.

The page and ``python run.py explain`` both take it from here, so that they tell the same.
"""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date, datetime, time, timedelta
from typing import Protocol, TypeVar

from core.contracts import Right
from core.instruments import contract_named
from reporting.fields import LegOpening, LimitNote, RollNote, VerdictNote, limit_title
from reporting.markup import EN_DASH, money, number, percent
from reporting.rows import Decision, Fill, Journal, OrderStep, Outcome, RiskNote, Trade, TradeLeg, strategy_title

WALKED = ("sent", "repriced")
MINUTE = timedelta(minutes=1)
# What was seen and what bound it, for rules whose words do not say so themselves.
NAMES: Mapping[str, tuple[str, str]] = {
    "not_filled": ("natural price", "a limit of"),
    "credit": ("natural credit", "at least"),
    "delta": ("delta", "a bound of"),
    "drawdown": ("drawdown", "a limit of"),
    "black_swan": ("move", "a limit of"),
    "losses_in_a_row": ("losses", "at most"),
    "phase_positions": ("open", "at most"),
    "minimum_equity": ("equity", "at least"),
}


class Placed(Protocol):
    """A row that belongs to a position."""

    @property
    def position(self) -> str: ...


Row = TypeVar("Row", bound=Placed)


@dataclass(frozen=True, slots=True)
class Walk:
    """One order group: the limits that it asked for, in points a package (a credit positive), and what it came to.

    ``filled`` is the cash of the fills' own prices, points a package; ``None`` where no whole package filled.
    """

    group: str
    purpose: str
    begun: datetime | None
    ended: datetime | None
    limits: tuple[float, ...]
    filled: float | None
    end: str
    reason: str
    legs: frozenset[str] = frozenset()

    @property
    def words(self) -> str:
        """For example ``2.55, 2.40, 2.30, filled 2.60``."""
        ended = self.end or "not filled" if self.filled is None else f"filled {number(self.filled)}"
        return ", ".join([*(number(limit) for limit in self.limits), ended])


@dataclass(frozen=True, slots=True)
class Life:
    """Everything that a journal says of one position, in the order it happened.

    ``worst`` is its lowest profit of all minutes, dollars after fees, and when; ``opened_with`` its contracts' Greeks
    when they were opened, by name. Older journals have neither.
    """

    position: str
    decision: Decision | None
    verdicts: tuple[VerdictNote, ...]
    walks: tuple[Walk, ...]
    fills: tuple[Fill, ...]
    risk: tuple[RiskNote, ...]
    trades: tuple[Trade, ...]
    worst: tuple[float, datetime] | None = None
    opened_with: Mapping[str, LegOpening] = field(default_factory=dict)
    rolls: tuple[RollNote, ...] = ()
    decisions: tuple[Decision, ...] = ()
    """The entry's decision, and one for each part that was added."""

    @property
    def bound(self) -> tuple[str, ...]:
        """What each rule said that shrank or denied, once each; of journals without verdicts, what risk rows say."""
        words = [said for verdict in self.verdicts for said in verdict.bound]
        words = words or [f"{note.rule} {note.severity}: {note.reason}" for note in self.risk]
        return tuple(dict.fromkeys(words))

    def decided(self, trade: Trade) -> Decision | None:
        """The decision that opened a part: the last one up to its opening, which may be told in the next minute."""
        known = [one for one in self.decisions if one.time <= trade.opened + MINUTE]
        return known[-1] if known else self.decision

    def judged(self, trade: Trade) -> VerdictNote | None:
        """The rules' answers to the proposal that opened a part."""
        known = [one for one in self.verdicts if one.time <= trade.opened]
        return known[-1] if known else None

    def walks_of(self, trade: Trade) -> tuple[Walk, ...]:
        """The order groups that opened, changed or closed a part: of its contracts, in its time."""
        names = {leg.name for leg in trade.legs}
        return tuple(
            walk
            for walk in self.walks
            if (not walk.legs or walk.legs & names)
            and (walk.ended is None or walk.ended + MINUTE >= trade.opened)
            and (walk.begun is None or walk.begun <= trade.closed)
        )

    @property
    def held(self) -> timedelta | None:
        """From the first opening to the last closing; ``None`` while nothing was closed."""
        if not self.trades:
            return None
        return max(trade.closed for trade in self.trades) - min(trade.opened for trade in self.trades)


def lives_of(journal: Journal) -> dict[str, Life]:
    """The life of every position that was ordered or closed, by its name, in order of appearance."""
    orders, fills, trades = by_position(journal.orders), by_position(journal.fills), by_position(journal.trades)
    taken = [decision for decision in journal.decisions if decision.outcome is Outcome.TRADE]
    decisions = by_key((decision.correlation, decision) for decision in taken if decision.correlation)
    verdicts = by_key((verdict.origin, verdict) for verdict in journal.verdicts if verdict.origin)
    risk = by_key((note.correlation, note) for note in journal.risk)
    lows, rolls = by_key(low for day in journal.exposures for low in day.lows.items()), by_position(journal.rolls)
    opened = by_position(journal.openings)
    found: dict[str, Life] = {}
    for name in dict.fromkeys([*orders, *fills, *trades]):
        steps, closed = orders.get(name, []), trades.get(name, [])
        told = [*(step.correlation for step in steps), *(trade.correlation for trade in closed)]
        origins = [*(correlation for correlation in told if correlation), ""]
        found[name] = Life(
            position=name,
            decision=next(iter(decisions.get(origins[0], ())), None),
            decisions=tuple(decisions.get(origins[0], ())),
            verdicts=(*verdicts.get(origins[0], ()), *verdicts.get(name, ())),
            walks=walks_of(steps, fills.get(name, [])),
            fills=tuple(fills.get(name, [])),
            risk=tuple(risk.get(origins[0], ())) if origins[0] else (),
            trades=tuple(closed),
            worst=min(lows.get(name, ()), default=None),
            opened_with={leg: one for opening in reversed(opened.get(name, [])) for leg, one in opening.legs.items()},
            rolls=tuple(rolls.get(name, ())),
        )
    return found


Key = TypeVar("Key", bound=Hashable)
Value = TypeVar("Value")


def by_key(pairs: Iterable[tuple[Key, Value]]) -> dict[Key, list[Value]]:
    """Values under their keys, in order."""
    found: dict[Key, list[Value]] = {}
    for key, value in pairs:
        found.setdefault(key, []).append(value)
    return found


def by_position(rows: Iterable[Row]) -> dict[str, list[Row]]:
    """Rows under their position; those without one are left out."""
    return by_key((row.position, row) for row in rows if row.position)


def walks_of(steps: Sequence[OrderStep], fills: Sequence[Fill]) -> tuple[Walk, ...]:
    """The order groups of one position, in order of their first step."""
    brought = by_key((fill.group, fill) for fill in fills)
    found = []
    for group, rows in by_key((step.group, step) for step in steps).items():
        asked = [row.limit_cash for row in rows if row.action in WALKED and row.limit_cash is not None]
        other = [row for row in rows if row.action not in WALKED]
        filled = filled_at(rows[-1].legs, brought.get(group, []))
        last = [fill.time for fill in brought.get(group, []) if fill.time is not None]
        found.append(
            Walk(
                group=group,
                purpose=rows[0].purpose,
                begun=rows[0].time,
                ended=max(last) if last else rows[-1].time,
                limits=tuple(asked),
                filled=filled,
                end=other[-1].action if other else "",
                reason=other[-1].reason if other and filled is None else rows[0].reason,
                legs=frozenset(leg for leg, _ in rows[0].legs),
            )
        )
    return tuple(found)


def filled_at(legs: Sequence[tuple[str, int]], fills: Sequence[Fill]) -> float | None:
    """Cash of the fills in points a package, a credit positive; ``None`` where they are not whole packages."""
    quantities = {name: sum(fill.quantity for fill in fills if fill.contract == name) for name, _ in legs}
    packages = {round(abs(quantities[name] / ratio), 9) for name, ratio in legs if ratio}
    if len(packages) != 1 or not any(packages):
        return None
    return -sum(fill.quantity * fill.price for fill in fills) / packages.pop()


OPEN = "still open"  # the exit of what has none


def still_open(life: Life, last: date) -> Trade | None:
    """What of a position no closed trade covers after ``last``, as a trade that has not ended; ``None`` where nothing.

    Its cash is that of its contracts' opening fills; its profit is zero, as it has none yet.
    """
    held = held_contracts(life)
    known = {name: contract for name in held if (contract := contract_named(name)) is not None}
    fills = [fill for fill in life.fills if fill.contract in known and fill.quantity * held[fill.contract] > 0]
    times = [fill.time for fill in fills if fill.time is not None]
    if not times:
        return None
    contracts = math.gcd(*(abs(held[name]) for name in known))
    decided = next((one for one in reversed(life.decisions) if one.time <= min(times) + MINUTE), life.decision)
    first = next(iter(known.values()))
    cash = -sum(fill.quantity * fill.price for fill in fills) * first.multiplier
    legs = []
    for name, contract in known.items():
        paid = [fill for fill in fills if fill.contract == name]
        price = sum(fill.quantity * fill.price for fill in paid) / sum(fill.quantity for fill in paid)
        is_call, ratio = contract.right is Right.CALL, held[name] // contracts
        legs.append(TradeLeg(name, ratio, contract.strike, is_call, contract.expiry, price, None))
    strategy = decided.strategy if decided is not None else life.position.rsplit("-", 2)[0]
    return Trade(
        strategy=strategy,
        position=life.position,
        underlying=first.underlying.ticker,
        structure=strategy_title(strategy),
        opened=min(times),
        closed=datetime.combine(last, time(16)),
        contracts=contracts,
        multiplier=first.multiplier,
        legs=tuple(legs),
        credit=cash,
        cash_in=cash,
        cash_out=0.0,
        fees=sum(fill.fee for fill in fills),
        profit=0.0,
        max_loss=None,
        exit_rule=OPEN,
        exit_reason="",
        underlying_entry=decided.spot if decided is not None else None,
        underlying_exit=None,
        vix_entry=decided.vix if decided is not None else None,
        vix_exit=None,
        part=OPEN,
    )


def held_contracts(life: Life) -> dict[str, int]:
    """Contracts of a position that are neither sold again nor covered by a closed trade, signed.

    What expires has no fill that closes it, what is closed has a trade: only both together tell what is held.
    """
    covered = Counter[str]()
    for trade in life.trades:
        covered.update({leg.name: leg.ratio * trade.contracts for leg in trade.legs})
    held: dict[str, int] = {}
    for name in dict.fromkeys(fill.contract for fill in life.fills):
        quantities = [fill.quantity for fill in life.fills if fill.contract == name]
        opened = sum(quantity for quantity in quantities if quantity * quantities[0] > 0)
        if sum(quantities) and round(opened) != covered[name]:
            held[name] = round(sum(quantities))
    return held


def part_words(trade: Trade) -> str:
    """One part of a position's life: when it came and went, and what it brought."""
    days = f"{trade.opened:%Y-%m-%d} to {trade.closed:%Y-%m-%d}"
    return f"{trade.part} {days} {money(trade.profit, signed=True)} ({trade.exit_rule.replace('_', ' ')})"


def spread_width(trade: Trade) -> float | None:
    """The widest distance, in points, between a sold and a bought strike of one right and expiry; None without one."""
    widths = [
        abs(sold.strike - bought.strike)
        for sold in trade.legs
        for bought in trade.legs
        if sold.ratio < 0 < bought.ratio and (sold.is_call, sold.expiry) == (bought.is_call, bought.expiry)
    ]
    return max(widths, default=None)


def underlying_words(trade: Trade, price: float | None, vix: float | None) -> str:
    """The underlying and VIX at one moment of a trade."""
    return f"{trade.underlying} {number(price)}, VIX {number(vix)}"


def trade_anchor(trade: Trade) -> str:
    """The id of a trade's place on the page; a position may have many parts, one after another."""
    place = "open" if trade.exit_rule == OPEN else "trade"
    part = () if trade.part in ("whole", OPEN) else (trade.part, f"{trade.opened:%Y%m%d%H%M}")
    return re.sub(r"[^A-Za-z0-9_-]+", "-", "-".join((place, trade.position, *part)))


def trade_words(trade: Trade) -> str:
    """A trade in a few words."""
    structure = trade.structure.replace("_", " ")
    return f"{trade.contracts} x {structure}, {money(trade.profit, signed=True)} ({trade.exit_reason})"


def open_trades(journal: Journal, lives: Mapping[str, Life]) -> tuple[Trade, ...]:
    """What was held at the last session's close, latest first, as trades that have not ended."""
    if not journal.equity:
        return ()
    found = (still_open(life, journal.equity[-1].day) for life in lives.values())
    return tuple(sorted((one for one in found if one is not None), key=lambda one: one.opened, reverse=True))


def held_words(held: timedelta | None) -> str:
    """How long in days, hours and minutes."""
    if held is None:
        return "not closed"
    minutes = int(held.total_seconds()) // 60
    parts = ((minutes // 1440, "d"), (minutes % 1440 // 60, "h"), (minutes % 60, "min"))
    return " ".join(f"{count} {unit}" for count, unit in parts if count) or "under a minute"


def life_lines(life: Life) -> list[str]:
    """A position's life in about ten lines: decision, rules, entry, fills, risk, exits, result."""
    lines = [title_line(life)]
    if life.decision is not None:
        decision = life.decision
        at = f"{decision.time:%Y-%m-%d %H:%M}"
        lines.append(f"decided  {at} {decision.reason}; VIX {number(decision.vix)}, spot {number(decision.spot)}")
    if life.verdicts:
        verdict = life.verdicts[0]
        lines.append(f"rules    {verdict.wanted} wanted, {verdict.contracts} allowed, {len(verdict.asked)} rules asked")
    lines += [f"bound    {words}" for words in life.bound[:3]]
    lines += [walk_line(walk) for walk in life.walks[:4]]
    if len(life.walks) > 4:
        lines.append(f"         and {len(life.walks) - 4} more order groups")
    entry = {walk.group for walk in life.walks if walk.purpose == "entry"}
    lines += [f"legs     {legs_line(life, entry)}"] if life.fills else []
    lines += [f"worst    {worst_words(life)}"] if life.worst is not None else []
    lines += [f"rolled   {roll.time:%Y-%m-%d %H:%M} {roll_words(roll)}" for roll in life.rolls[:4]]
    for trade in life.trades[:3]:
        lines.append(
            f"closed   {trade.closed:%Y-%m-%d %H:%M} {trade.exit_rule.replace('_', ' ')}: {trade.exit_reason}; "
            f"{trade.underlying} {number(trade.underlying_exit)}, VIX {number(trade.vix_exit)}"
        )
    if len(life.trades) > 3:
        lines.append(f"         and {len(life.trades) - 3} more parts")
    return [*lines, result_line(life)]


_FIGURES = re.compile(r"(?<![\w.-])\d+(?:\.\d+)?(?![\w.]*\w)")


def binding_number(decision: Decision) -> str:
    """The limit that bound and what was seen, when the decision has both and its reason does not name them already."""
    if decision.limit is None or decision.observed is None:
        return ""
    observed, limit = number(decision.observed), number(decision.limit)
    named = {number(float(one)) for one in _FIGURES.findall(decision.reason)}
    if {observed, limit} <= named:
        return ""
    observed, limit = (number(one, 0 if one == round(one) else 2) for one in (decision.observed, decision.limit))
    if decision.rule in NAMES:
        seen, bound = NAMES[decision.rule]
        return f" ({seen} {observed} against {bound} {limit})"
    return f" ({observed} against {limit})"


def entry_facts(
    trade: Trade, life: Life, uses: Sequence[LimitNote], own: Mapping[str, str] | None = None
) -> list[tuple[str, str]]:
    """Why a part was entered, its strategy's own limits, what the rules made of it, how full the day's limits were."""
    facts: list[tuple[str, str]] = []
    decision, verdict, own = life.decided(trade), life.judged(trade), own or {}
    if decision is not None:
        why = decision.reason.replace("_", " ") + binding_number(decision)
        facts.append(("Why it was entered", "; ".join([why, *found_words(trade, life, decision, own)])))
    if own:
        facts.append(("Its own limits", ", ".join(f"{name.replace('_', ' ')} {value}" for name, value in own.items())))
    if verdict is not None:
        facts.append(("Contracts", f"{verdict.wanted} wanted, {verdict.contracts} allowed"))
        facts += (
            [("Rules asked", f"{len(verdict.asked)}, {len(verdict.bound) or 'none'} bound")] if verdict.asked else []
        )
    bound = life.bound if verdict is None else verdict.bound
    facts += [("Bound by", words.replace("_", " ")) for words in bound]
    if uses:
        told = (f"{limit_title(use.rule)} {limit_words(use)}" for use in uses)
        facts.append(("Limits that day, at their fullest", "; ".join(told)))
    return facts


def found_words(trade: Trade, life: Life, decision: Decision, own: Mapping[str, str]) -> list[str]:
    """What the row found at an entry, beside what it asks for: its window, the VIX, days to expiry, deltas."""
    window = f" (window {decision.window})" if decision.window else ""
    words = [f"{decision.time:%A %H:%M}{window}"]
    if decision.vix is not None:
        # A value that is not the default reads ``0 (default 22)``.
        low, high = (float(own.get(name, "nan").split()[0]) for name in ("min_vix", "max_vix"))
        asked = f" (its row: {low:g} to {high:g})" if low <= decision.vix <= high else ""
        words.append(f"VIX {number(decision.vix)}{asked}")
    days = sorted({(leg.expiry - trade.opened.date()).days for leg in trade.legs})
    words.append(f"{' and '.join(map(str, days))} days to expiry")
    deltas = [number(one.delta) for leg in trade.legs
              if (one := life.opened_with.get(leg.name)) is not None and one.delta is not None]  # fmt: skip
    return [*words, f"delta {', '.join(deltas)}"] if deltas else words


OWN = re.compile(
    r"(?P<name>\w*(?:vix|delta|credit|debit|move|rank|days_to_expiry|entry_time)\w*) = (?P<value>[^[\n]+) \["
)


def own_limits(strategy: str, settings: str) -> dict[str, str]:
    """What a strategy's own settings demand of an entry (VIX, deltas, credit, day and so on), by name."""
    lines = (line.removeprefix(f"{strategy}.") for line in settings.splitlines() if line.startswith(f"{strategy}."))
    found = (match for line in lines if (match := OWN.match(line)) is not None and "exit" not in match["name"])
    return {match["name"]: match["value"] for match in found}


def limit_words(use: LimitNote) -> str:
    """How much of a limit was used, in its own unit and as a share."""
    share = "unknown" if use.share is None else percent(max(0.0, use.share), 0)
    seen, most = (number(value, 0 if abs(value) >= 100 or value == round(value) else 2)
                  for value in (use.observed, use.limit))  # fmt: skip
    return f"{seen} of {most} ({share})"


def worst_words(life: Life) -> str:
    """The lowest point of a position while it was held; a dash where the journal has none."""
    if life.worst is None:
        return EN_DASH
    profit, at = life.worst
    return f"{money(profit, signed=True)} at {at:%Y-%m-%d %H:%M}, by the prices of that minute, after the fees paid"


def roll_words(roll: RollNote) -> str:
    """What was rolled, into what, and why."""
    into = f"into {roll.into}" if roll.into is not None else f"into nothing ({roll.rule.replace('_', ' ')})"
    return f"{', '.join(roll.parts) or 'the whole'} {into}: {roll.reason}"


def title_line(life: Life) -> str:
    """What it was: name, contracts, structure, strategy."""
    if not life.trades:
        strategy = life.decision.strategy if life.decision else ""
        end = "that was not closed" if life.fills else "whose entry never filled"
        return f"{life.position}: {strategy_title(strategy) if strategy else 'a position'} {end}"
    trade = life.trades[0]
    what = f"{trade.contracts} x {trade.underlying} {trade.structure.replace('_', ' ')}"
    return f"{life.position}: {what}, {strategy_title(trade.strategy)}"


def walk_line(walk: Walk) -> str:
    """One order group: when, for what, how it walked."""
    times = " to ".join(dict.fromkeys(f"{moment:%H:%M}" for moment in (walk.begun, walk.ended) if moment))
    day = f"{walk.begun:%Y-%m-%d} " if walk.begun else ""
    return f"{walk.purpose or 'order':8} {day}{times} {walk.group}: {walk.words} ({walk.reason})"


def legs_line(life: Life, groups: set[str]) -> str:
    """Each leg that the entry filled, with its price and its quote of that minute."""

    def side(value: float | None) -> str:
        return "none" if value is None else f"{value:g}"

    rows = [fill for fill in life.fills if fill.group in groups] or list(life.fills)
    return "; ".join(
        f"{row.quantity:+g} {row.contract} at {row.price:g} (bid {side(row.bid)}, offer {side(row.ask)})"
        for row in rows
    )


def result_line(life: Life) -> str:
    """What it brought, and how long it was held."""
    if not life.trades:
        return "result   still open" if life.fills else "result   none"
    profit, fees = sum(trade.profit for trade in life.trades), sum(trade.fees for trade in life.trades)
    words = f"{money(profit, signed=True, cents=True)} after {money(fees, cents=True)} fees"
    worst = [trade.max_loss for trade in life.trades if trade.max_loss is not None]
    most = f", most it was to lose {money(max(worst))}" if worst else ""
    rest = "; the rest is still open" if held_contracts(life) else ""
    return f"result   {words}{most}; held {held_words(life.held)}{rest}"
