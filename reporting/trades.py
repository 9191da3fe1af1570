"""The trades of a run on the page: each whole with its payoff and what its journal says, older ones as rows.

And what their fills rest on: the assumption, what the same trades come to under others, and how many entries filled.

The quotes are those of each fill's own minute, journalled with it. Only the prices of fills change: when a trade was
opened and closed, and what expired, stays as it was run.

Above them stands the calendar of entry days: every Friday of the run, coloured and marked by what it came to.
"""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from collections.abc import Callable, Container, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from enum import Enum
from itertools import groupby
from typing import TypeVar

from core.fills import FillAssumption, FillRule
from reporting.charts import payoff_chart
from reporting.fields import LimitNote
from reporting.lives import (
    OPEN,
    Life,
    binding_number,
    entry_facts,
    held_words,
    lives_of,
    open_trades,
    own_limits,
    part_words,
    roll_words,
    spread_width,
    trade_anchor,
    trade_words,
    underlying_words,
    worst_words,
)
from reporting.markup import EN_DASH, Markup, element, join, money, number, percent, table
from reporting.rows import Decision, EngineTrade, Fill, Journal, Outcome, Trade, strategy_title

FRIDAY = 4
Row = TypeVar("Row")


class DayKind(Enum):
    """What a day came to: css class, sign shown in its box, and words. Signs, not colours alone, tell them apart."""

    WIN = ("win", "+", "traded, won")
    LOSS = ("loss", "\N{MINUS SIGN}", "traded, lost")
    OPEN = ("open", "o", "traded, still open at the end")
    SKIP = ("skip", "\N{MIDDLE DOT}", "skipped")
    CLOSED = ("closed", "x", "market closed")
    MISSING = ("missing", "?", "no decision recorded")

    def __init__(self, css: str, sign: str, words: str) -> None:
        self.css = css
        self.sign = sign
        self.words = words


@dataclass(frozen=True, slots=True)
class DayCell:
    """One entry day: what happened in words, and the trade it links to when there is one."""

    day: date
    kind: DayKind
    words: str
    target: str | None


def fridays_between(first: date, last: date) -> Iterable[date]:
    """Every Friday from ``first`` to ``last``, both included."""
    day = first + timedelta(days=(FRIDAY - first.weekday()) % 7)
    while day <= last:
        yield day
        day += timedelta(days=7)


def day_cells(
    decisions: Sequence[Decision], trades: Sequence[Trade], first: date, last: date, *, fridays: bool
) -> tuple[DayCell, ...]:
    """One cell for each day on which the strategy decided or opened, and with ``fridays`` for every Friday."""
    decided, traded = grouped((one.day, one) for one in decisions), grouped((one.opened.date(), one) for one in trades)
    days = sorted({*(fridays_between(first, last) if fridays else ()), *decided, *traded})
    return tuple(day_cell(day, decided.get(day, ()), traded.get(day, ())) for day in days)


def grouped(rows: Iterable[tuple[date, Row]]) -> dict[date, list[Row]]:
    """Rows under their days."""
    found: dict[date, list[Row]] = {}
    for day, row in rows:
        found.setdefault(day, []).append(row)
    return found


def day_cell(day: date, decisions: Sequence[Decision], trades: Sequence[Trade]) -> DayCell:
    """What one day came to, from its decisions (one a window, ticker or number) and the trades opened on it."""
    opened = [trade for trade in trades if trade.exit_rule == OPEN]
    trades = [trade for trade in trades if trade.exit_rule != OPEN]
    if trades:
        kind = DayKind.WIN if sum(trade.profit for trade in trades) > 0 else DayKind.LOSS
        return DayCell(day, kind, told(trade_words(trade) for trade in trades), trade_anchor(trades[0]))
    if not decisions:
        return DayCell(day, DayKind.MISSING, "", None)
    taken = [decision.reason for decision in decisions if decision.outcome is Outcome.TRADE]
    if taken:
        target = trade_anchor(opened[0]) if opened else None
        return DayCell(day, DayKind.OPEN, told(one.replace("_", " ") for one in taken), target)
    closed = all(decision.rule == "market_closed" for decision in decisions)
    words = told(decision.reason + binding_number(decision) for decision in decisions)
    return DayCell(day, DayKind.CLOSED if closed else DayKind.SKIP, words, None)


MOST_TOLD = 3


def told(words: Iterable[str]) -> str:
    """What was said, once each; of very much the first and how many more."""
    once = list(dict.fromkeys(words))
    more = [f"and {len(once) - MOST_TOLD} more"] if len(once) > MOST_TOLD else []
    return "; ".join([*once[:MOST_TOLD], *more])


def calendar(cells: Sequence[DayCell]) -> Markup:
    """Years under each other, months that wrap on narrow screens, a legend with counts, and a table of the same."""
    if not cells:
        return element("p", "No entry day in the range.", class_="note")
    short = {cell.day for cell in cells[:-MOST_WORDS]}
    years = sorted({cell.day.year for cell in cells}, reverse=True)
    readout = "Point at a day, or tab to it, to read what happened."
    return element(
        "div",
        legend(cells),
        element("p", readout, class_="readout", role="status", data_rest=readout),
        *(year_row(year, [cell for cell in cells if cell.day.year == year], short) for year in years),
        day_table(cells),
        class_="calendar",
    )


def legend(cells: Sequence[DayCell]) -> Markup:
    """Each kind that occurs, with its colour, sign, meaning and count."""
    counts = Counter(cell.kind for cell in cells)
    items = [
        element("li", element("b", kind.sign, class_=f"day {kind.css}", aria_hidden="true"), f" {kind.words}: {count}")
        for kind in DayKind
        if (count := counts[kind])
    ]
    if len(cells) > MOST_WORDS:
        sign = element("b", "3", class_=f"day {DayKind.SKIP.css}", aria_hidden="true")
        items.append(element("li", sign, " skipped three times in a row"))
    return element("ul", *items, class_="legend")


def year_row(year: int, cells: Sequence[DayCell], short: Container[date] = ()) -> Markup:
    """One year: twelve short groups of boxes; of the days of ``short`` the kind alone is told."""
    months = sorted({cell.day.month for cell in cells})
    groups = (
        element(
            "div",
            element("span", f"{date(year, month, 1):%b}", class_="month-name"),
            *boxes([cell for cell in cells if cell.day.month == month], short),
            class_="month",
        )
        for month in months
    )
    return element("div", element("h3", str(year)), element("div", *groups, class_="months"), class_="year")


def boxes(cells: Sequence[DayCell], short: Container[date]) -> Iterable[Markup]:
    """A box a day; days of ``short`` that were skipped one after another share a box that says how many."""
    for together, group in groupby(cells, key=lambda cell: cell.kind is DayKind.SKIP and cell.day in short):
        days = list(group)
        if not together or len(days) == 1:
            yield from (box(cell, cell.day in short) for cell in days)
            continue
        words = f"{days[0].day} to {days[-1].day}: {len(days)} times {DayKind.SKIP.words}"
        yield element("b", len(days), class_=f"day {DayKind.SKIP.css}", title=words)


def box(cell: DayCell, short: bool = False) -> Markup:
    """One day's box: a link to its trade, or a plain box that says why not. Its title is what the page reads out."""
    words = f"{cell.day}: {cell.kind.words}" if short else f"{cell.day:%a %Y-%m-%d}: {cell.kind.words}"
    if cell.words and not short:
        words += f"; {cell.words}"
    if cell.target is not None:
        return element("a", cell.kind.sign, class_=f"day {cell.kind.css}", href=f"#{cell.target}", title=words)
    return element("b", cell.kind.sign, class_=f"day {cell.kind.css}", title=words)


MOST_WORDS = 90  # entry days of a strategy that say why: four months of every day; the table below has all
_NUMBERS = re.compile(r"\d+(?:[.,]\d+)*")


def day_table(cells: Sequence[DayCell]) -> Markup:
    """The calendar as a table, folded away; days in a row that came to the same but for numbers are one row."""
    runs = [list(row) for _, row in groupby(cells, key=lambda cell: (cell.kind, cell.target, _pattern(cell.words)))]
    rows = []
    for run in runs:
        first, last = run[0], run[-1]
        days = str(first.day) if first is last else f"{first.day} to {last.day}, {len(run)} days"
        words = first.words if first.words == last.words else f"{first.words}; at the end {last.words}"
        rows.append((days, first.kind.words, element("a", words, href=f"#{first.target}") if first.target else words))
    return element(
        "details",
        element("summary", f"The same {len(cells)} days as a table"),
        join([table(("Day", "Outcome", "Why, or what came of it"), rows, "Every entry day of the run")]),
    )


def _pattern(words: str) -> str:
    """Words without their numbers."""
    return _NUMBERS.sub("#", words)


MOST_CARDS = 40  # trades that are shown whole; older ones are rows, so that a page of years stays small


def trade_list(journal: Journal, settings: str = "") -> list[Markup]:
    """Every trade, folded, latest first; the page's script adds filters and an order above them.

    ``settings``: the whole of them as text, of which each strategy's own limits of entry are shown.
    """
    lives, uses = lives_of(journal), {day.day: day.limits for day in journal.exposures}
    latest, held = sorted(journal.trades, key=lambda trade: trade.opened, reverse=True), open_trades(journal, lives)

    def cards(trades: Sequence[Trade]) -> Markup:
        shown = (
            trade_card(one, lives[one.position], uses.get(one.opened.date(), ()), own_limits(one.strategy, settings))
            for one in trades
        )
        return element("div", *shown, class_="trade-list")

    parts = [join([element("h3", "Still open at the end"), cards(held), element("h3", "Closed")])] if held else []
    if not latest:
        return [*parts, element("p", "No trade was closed.", class_="note")]
    parts.append(cards(latest[:MOST_CARDS]))
    if len(latest) > MOST_CARDS:
        words = (
            f"{len(latest) - MOST_CARDS} earlier trades as rows; python run.py explain NAME tells each of them whole."
        )
        rows = element("tbody", *(trade_row(trade, lives[trade.position]) for trade in latest[MOST_CARDS:]),
                       class_="trade-list")  # fmt: skip
        head = element("thead", element("tr", *(element("th", name, scope="col") for name in ROW_HEAD)))
        shown = element("table", element("caption", words), head, rows, class_="rows")
        parts.append(element("div", shown, class_="scroll", tabindex="0", role="region", aria_label=words))
    return parts


OPENING = ("entry", "adjust")  # purposes of orders that open a part
ROW_HEAD = ("Trade", "Opened", "What", "Entry order", "Exit", "Held", "Profit")


def trade_row(trade: Trade, life: Life) -> Markup:
    """One trade in a row."""
    walk = next((walk.words for walk in life.walks_of(trade) if walk.purpose in OPENING), "")
    what = f"{trade.contracts} x {trade.underlying} {trade.structure.replace('_', ' ')}"
    why = f"{trade.exit_rule.replace('_', ' ')}: {trade.exit_reason}"
    held = held_words(trade.closed - trade.opened)
    cells = (life.position, f"{trade.opened:%Y-%m-%d %H:%M}", what, walk, why, held, result_of(trade))
    return element("tr", *(element("td", cell) for cell in cells), id=trade_anchor(trade), **filter_marks(trade))


def result_of(trade: Trade) -> Markup:
    """What a trade brought, coloured by its sign."""
    if trade.exit_rule == OPEN:
        return element("span", "open", class_="note")
    return element("span", money(trade.profit, signed=True), class_="up" if trade.won else "down")


def filter_marks(trade: Trade) -> dict[str, str]:
    """By what the page's script filters and orders a trade: strategy, exit, month, result, opening, profit, minutes."""
    result = "open" if trade.exit_rule == OPEN else "won" if trade.won else "lost"
    minutes = int((trade.closed - trade.opened).total_seconds()) // 60
    marks = (
        strategy_title(trade.strategy), trade.exit_rule.replace("_", " "), f"{trade.opened:%Y-%m}", result,
        trade.opened.isoformat(timespec="minutes"), f"{trade.profit:.2f}", str(minutes),
    )  # fmt: skip
    return {"data_marks": "|".join(marks)}


def engine_trades_table(trades: Sequence[EngineTrade]) -> Markup:
    """The trades of an algorithm that is not ours, latest first."""
    if not trades:
        return element("p", "No trade was closed.", class_="note")
    rows = [
        (f"{trade.opened:%Y-%m-%d %H:%M}", f"{trade.closed:%Y-%m-%d %H:%M}", trade.name, f"{trade.quantity:+,.10g}",
         number(trade.entry), number(trade.exit), money(trade.fees, cents=True),
         money(trade.profit, signed=True, cents=True))
        for trade in sorted(trades, key=lambda trade: trade.opened, reverse=True)
    ]  # fmt: skip
    head = ("Opened", "Closed", "What", "Quantity", "Entry", "Exit", "Fees", "Profit")
    words = "Closed trades as LEAN counts them, each leg on its own; profit after fees"
    return join([element("p", f"{words}.", class_="note"), table(head, rows, words, (3, 4, 5, 6, 7), stacked=True)])


def trade_card(
    trade: Trade, life: Life, uses: Sequence[LimitNote] = (), own: Mapping[str, str] | None = None
) -> Markup:
    """One trade: why and against which limits it was entered, legs, orders' walks, why it ended, money, its payoff.

    ``uses``: the fullest uses of the account's limits on the day of its entry; ``own``: its strategy's, by name.
    """
    result, named = result_of(trade), trade.structure.replace("_", " ")
    part = "" if trade.part in ("whole", OPEN, *named.split()) else f" ({trade.part})"
    title = f"{trade.opened:%Y-%m-%d %H:%M} {trade.contracts} x {trade.underlying} {named}{part} "
    legs = table(
        ("Leg", "Per package", "Entry", "Exit", "Delta", "Volatility"),
        [(leg.name, f"{leg.ratio:+d}", number(leg.entry), number(leg.exit), *opened_with(life, leg.name))
         for leg in trade.legs],
        "Legs; prices in points, delta and volatility of a contract when it was opened",
        (1, 2, 3, 4, 5),
    )  # fmt: skip
    facts = [
        *entry_facts(trade, life, uses, own),
        ("Entry", f"{trade.opened:%Y-%m-%d %H:%M}, {underlying_words(trade, trade.underlying_entry, trade.vix_entry)}"),
        *(ended_facts(trade, life) if trade.exit_rule != OPEN else [
            ("Cash in", money(trade.cash_in, signed=True)), ("Fees", money(trade.fees, cents=True)),
        ]),
    ]  # fmt: skip
    rows = join(
        element("tr", element("th", name, scope="row"), element("td", value))
        for name, value in (*facts, *life_facts(trade, life))
    )
    body = element("div", join([legs, element("table", rows)]))
    volatilities = {name: one.volatility for name, one in life.opened_with.items() if one.volatility}
    return element(
        "details",
        element("summary", title, result),
        element("div", body, payoff_chart(trade, volatilities), class_="trade"),
        id=trade_anchor(trade),
        **filter_marks(trade),
    )


def ended_facts(trade: Trade, life: Life) -> list[tuple[str, str]]:
    """Why a trade ended, and its money."""
    planned = f"{money(trade.max_loss)} as planned"
    if len(life.trades) > 1:
        planned += " beside the rest of its position"
    worst = "no bound" if trade.largest_loss is None else f"{money(trade.largest_loss)} at most"
    return [
        ("Exit", f"{trade.closed:%Y-%m-%d %H:%M}, {underlying_words(trade, trade.underlying_exit, trade.vix_exit)}"),
        ("Why it was closed", f"{trade.exit_rule.replace('_', ' ')}: {trade.exit_reason}"),
        ("Cash in, out", f"{money(trade.cash_in, signed=True)}, {money(trade.cash_out, signed=True)}"),
        ("Fees", money(trade.fees, cents=True)),
        ("Profit", money(trade.profit, signed=True, cents=True)),
        ("Largest loss", f"{planned}, {worst} by its own fills"),
    ]


def opened_with(life: Life, leg: str) -> tuple[str, str]:
    """Delta and volatility of a contract in the minute of its opening; dashes where they were unknown."""
    known = life.opened_with.get(leg)
    return (EN_DASH, EN_DASH) if known is None else (number(known.delta), percent(known.volatility))


def life_facts(trade: Trade, life: Life) -> list[tuple[str, object]]:
    """What the journal says of a trade beyond its money: walks, rules that bound, holding time, parts."""
    width = spread_width(trade)
    facts: list[tuple[str, object]] = [
        (f"{walk.purpose or 'order'} order".capitalize(), walk.words) for walk in life.walks_of(trade)
    ]
    if width is not None and trade.credit > 0:
        points = trade.credit / (trade.contracts * trade.multiplier)
        facts.append(("Credit over width", f"{number(points)} of {number(width)} points, {percent(points / width)}"))
    facts.append(("Worst point", worst_words(life)))
    facts += [("Rolled", f"{roll.time:%Y-%m-%d %H:%M} {roll_words(roll)}") for roll in life.rolls]
    facts.append(("Held", held_words(trade.closed - trade.opened)))
    if trade.exit_rule == OPEN and life.trades:
        facts.append(("Closed of it", "; ".join(part_words(one) for one in life.trades)))
    elif len(life.trades) > 1:
        facts.append(("Part", f"{trade.part}, one of {len(life.trades)} of {life.position}"))
        facts.append(("Whole position", "; ".join(part_words(one) for one in life.trades)))
    rows = element("a", "journal.jsonl", href="journal.jsonl")
    return [*facts, ("Journal", join([f"python run.py explain {life.position}; rows of ", rows]))]


@dataclass(frozen=True, slots=True)
class FillOutcome:
    """What the compared trades come to at one assumption: dollars after fees, and how many of them won."""

    name: str
    profit: float
    wins: int
    words: str


@dataclass(frozen=True, slots=True)
class FillSummary:
    """``compared`` of ``trades`` positions have the quotes of all their fills; ``sent`` entries went to the broker.

    ``given_up`` is the share of the way from mid to natural that fills paid, by dollars; ``None`` where both were one.
    """

    rule: FillRule | None
    outcomes: tuple[FillOutcome, ...]
    compared: int
    trades: int
    given_up: float | None
    sent: int
    filled: int

    @property
    def title(self) -> str:
        """The assumption in words."""
        return "Fills: the broker's own" if self.rule is None else f"Fills: {assumption_words(self.rule)}"

    @property
    def rate(self) -> str:
        """Filled of sent entries."""
        return f"{self.filled / self.sent:.0%} of the entries that were sent" if self.sent else "no entry was sent"


def assumption_words(rule: FillRule) -> str:
    """What ``fills.model`` and ``fills.share`` mean, in words."""
    worked = f"worked, the limit or better once it has given up {rule.share:.0%} of the way from mid to natural"
    return {
        FillAssumption.WORKED: worked,
        FillAssumption.NATURAL: "natural, each leg's bid or offer once the limit is there",
        FillAssumption.MID: "mid, kinder than any market",
        FillAssumption.LEAN: "LEAN's own rule, which selects the losing trades",
    }[rule.model]


def summarise_fills(journal: Journal, rule: FillRule | None) -> FillSummary:
    """Everything that is said of a run's fills."""
    share = rule.share if rule is not None else 1.0
    by_position: dict[str, list[Fill]] = defaultdict(list)
    for fill in journal.fills:
        by_position[fill.position].append(fill)
    trades: dict[str, list[Trade]] = defaultdict(list)
    for trade in journal.trades:
        trades[trade.position].append(trade)
    known = [
        (by_position[name], rows)
        for name, rows in trades.items()
        if by_position[name] and all(fill.far is not None for fill in by_position[name])
    ]
    given_up = _given_up([fill for fills, _ in known for fill in fills])
    paid = "the fills of this run" if given_up is None else f"gave up {given_up:.0%} of the way, by dollars"
    ways: tuple[tuple[str, str, Callable[[Fill], float]], ...] = (
        ("as run", paid, lambda fill: 0.0),
        ("mid", "kinder than any market", lambda fill: _better(fill, 0.0)),
        ("worked", f"{share:.0%} of the way from mid to natural", lambda fill: _better(fill, share)),
        ("natural", "each leg's bid or offer", lambda fill: _better(fill, 1.0)),
    )
    sent = {order.group for order in journal.orders if order.purpose == "entry" and order.action == "sent"}
    return FillSummary(
        rule=rule,
        outcomes=tuple(_outcome(name, words, known, way) for name, words, way in ways),
        compared=len(known),
        trades=len(trades),
        given_up=given_up,
        sent=len(sent),
        filled=len(sent & {fill.group for fill in journal.fills}),
    )


def table_rows(fills: FillSummary) -> list[tuple[str, str, str, str]]:
    """For terminal and page: name, profit, wins, meaning; then how many entries filled, and what was left out."""
    rows = [
        (row.name, money(row.profit, signed=True), f"{row.wins} of {fills.compared}", row.words)
        for row in (fills.outcomes if fills.compared else ())
    ]
    rows.append(("entries filled", "", f"{fills.filled} of {fills.sent}", fills.rate))
    if fills.compared < fills.trades:
        left = fills.trades - fills.compared
        rows.append(("left out", "", f"{left} of {fills.trades}", "trades of which a quote is unknown"))
    return rows


def _outcome(
    name: str, words: str, known: Sequence[tuple[list[Fill], list[Trade]]], way: Callable[[Fill], float]
) -> FillOutcome:
    profits = [
        sum(trade.profit for trade in rows) + sum(way(fill) * rows[0].multiplier for fill in fills)
        for fills, rows in known
    ]
    return FillOutcome(name, sum(profits), sum(profit > 0 for profit in profits), words)


def _better(fill: Fill, share: float) -> float:
    """Points times contracts by which a leg would have filled better at a share of the way from its mid."""
    far, mid = fill.far, fill.mid
    there = fill.price if far is None or mid is None else mid + share * (far - mid)
    return fill.quantity * (fill.price - there)


def _given_up(fills: Sequence[Fill]) -> float | None:
    paid = sum(_better(fill, 0.0) for fill in fills)
    whole = sum(_better(fill, 0.0) - _better(fill, 1.0) for fill in fills)
    return paid / whole if whole > 1e-9 else None
