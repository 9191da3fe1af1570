"""The calendar of entry days: every Friday of the run, coloured and marked by what it came to."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from enum import Enum

from reporting.markup import Markup, element, join, money, number, table
from reporting.rows import Decision, Outcome, Trade

FRIDAY = 4
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


def trade_anchor(trade: Trade) -> str:
    """The id of a trade's place on the page."""
    return "trade-" + re.sub(r"[^A-Za-z0-9_-]+", "-", trade.position)


def day_cells(
    decisions: Sequence[Decision], trades: Sequence[Trade], first: date, last: date, *, fridays: bool
) -> tuple[DayCell, ...]:
    """One cell for each day on which the strategy decided or opened, and with ``fridays`` for every Friday."""
    decided: Mapping[date, Decision] = {decision.day: decision for decision in decisions}
    traded: Mapping[date, Trade] = {trade.opened.date(): trade for trade in trades}
    days = sorted({*(fridays_between(first, last) if fridays else ()), *decided, *traded})
    return tuple(day_cell(day, decided.get(day), traded.get(day)) for day in days)


def day_cell(day: date, decision: Decision | None, trade: Trade | None) -> DayCell:
    """What one day came to, from its decision and the trade opened on it."""
    if trade is not None:
        kind = DayKind.WIN if trade.won else DayKind.LOSS
        structure = trade.structure.replace("_", " ")
        words = f"{trade.contracts} x {structure}, {money(trade.profit, signed=True)} ({trade.exit_reason})"
        return DayCell(day, kind, words, trade_anchor(trade))
    if decision is None:
        return DayCell(day, DayKind.MISSING, "", None)
    if decision.outcome is Outcome.TRADE:
        return DayCell(day, DayKind.OPEN, decision.reason, None)
    kind = DayKind.CLOSED if decision.rule == "market_closed" else DayKind.SKIP
    return DayCell(day, kind, decision.reason + binding_number(decision), None)


def binding_number(decision: Decision) -> str:
    """The limit that bound and what was seen, when the decision has both."""
    if decision.limit is None or decision.observed is None:
        return ""
    observed, limit = number(decision.observed), number(decision.limit)
    if decision.rule in NAMES:
        seen, bound = NAMES[decision.rule]
        return f" ({seen} {observed} against {bound} {limit})"
    return f" ({observed} against {limit})"


def calendar(cells: Sequence[DayCell]) -> Markup:
    """Years under each other, months that wrap on narrow screens, a legend with counts, and a table of the same."""
    if not cells:
        return element("p", "No entry day in the range.", class_="note")
    years = sorted({cell.day.year for cell in cells}, reverse=True)
    readout = "Point at a day, or tab to it, to read what happened."
    return element(
        "div",
        legend(cells),
        element("p", readout, class_="readout", role="status", data_rest=readout),
        *(year_row(year, [cell for cell in cells if cell.day.year == year]) for year in years),
        day_table(cells),
        class_="calendar",
    )


def legend(cells: Sequence[DayCell]) -> Markup:
    """Each kind that occurs, with its colour, sign, meaning and count."""
    counts = Counter(cell.kind for cell in cells)
    items = (
        element("li", element("b", kind.sign, class_=f"day {kind.css}", aria_hidden="true"), f" {kind.words}: {count}")
        for kind in DayKind
        if (count := counts[kind])
    )
    return element("ul", *items, class_="legend")


def year_row(year: int, cells: Sequence[DayCell]) -> Markup:
    """One year: twelve short groups of boxes."""
    months = sorted({cell.day.month for cell in cells})
    groups = (
        element(
            "div",
            element("span", f"{date(year, month, 1):%b}", class_="month-name"),
            *(box(cell) for cell in cells if cell.day.month == month),
            class_="month",
        )
        for month in months
    )
    return element("div", element("h3", str(year)), element("div", *groups, class_="months"), class_="year")


def box(cell: DayCell) -> Markup:
    """One day's box: a link to its trade, or a plain box that says why not."""
    words = f"{cell.day:%a %Y-%m-%d}: {cell.kind.words}" + (f"; {cell.words}" if cell.words else "")
    content = (element("span", cell.kind.sign, aria_hidden="true"), element("span", words, class_="unseen"))
    if cell.target is not None:
        return element("a", *content, class_=f"day {cell.kind.css}", href=f"#{cell.target}", title=words)
    return element("b", *content, class_=f"day {cell.kind.css}", title=words)


def day_table(cells: Sequence[DayCell]) -> Markup:
    """The calendar as a table, folded away."""
    rows = [
        (
            cell.day.isoformat(),
            cell.kind.words,
            element("a", cell.words, href=f"#{cell.target}") if cell.target else cell.words,
        )
        for cell in cells
    ]
    return element(
        "details",
        element("summary", f"The same {len(cells)} days as a table"),
        join([table(("Day", "Outcome", "Why, or what came of it"), rows, "Every entry day of the run")]),
    )
