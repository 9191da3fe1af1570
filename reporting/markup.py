"""Small pieces of HTML, everything escaped, and how figures are written for people."""

from __future__ import annotations

import html
from collections.abc import Iterable, Sequence

from reporting.intervals import FEWEST_MOVES, Interval, Unit
from reporting.performance import FEW, EquityStatistics, TargetRow

MINUS = "\N{MINUS SIGN}"
EN_DASH = "\N{EN DASH}"


class Markup(str):
    """Text that already is HTML; everything else is escaped where it enters a page."""

    __slots__ = ()


def escape(value: object) -> Markup:
    """HTML for any value: markup stays, text is escaped, quotes included."""
    return value if isinstance(value, Markup) else Markup(html.escape(str(value), quote=True))


def join(parts: Iterable[object]) -> Markup:
    """Parts one after another, each escaped unless it is markup."""
    return Markup("".join(escape(part) for part in parts))


def element(tag: str, *content: object, **attributes: object) -> Markup:
    """One element. ``class_`` and ``data_x`` become ``class`` and ``data-x``; an attribute of None is left out."""
    written = "".join(
        f' {name.rstrip("_").replace("_", "-")}="{escape(value)}"'
        for name, value in attributes.items()
        if value is not None
    )
    return Markup(f"<{tag}{written}>{join(content)}</{tag}>")


def table(
    head: Sequence[str],
    rows: Iterable[Sequence[object]],
    caption: str,
    numeric: Sequence[int] = (),
    *,
    stacked: bool = False,
) -> Markup:
    """A table with a caption for screen readers, in a box that scrolls sideways on narrow screens.

    ``numeric`` are the columns set flush right. ``stacked``: on narrow screens each row becomes a block of its cells,
    each with its column's name, so that nothing is wider than the screen.
    """
    side = {index: "number" for index in numeric}
    top = join(element("th", title, scope="col", class_=side.get(index)) for index, title in enumerate(head))
    names = head if stacked else [None] * len(head)

    def cells(row: Sequence[object]) -> Iterable[Markup]:
        for index, (cell, name) in enumerate(zip(row, names, strict=True)):
            yield element("td", cell, class_=side.get(index), data_name=name)

    body = join(element("tr", *cells(row)) for row in rows)
    parts = (element("caption", caption), element("thead", element("tr", top)), element("tbody", body))
    whole = element("table", *parts, class_="stacked" if stacked else None)
    return element("div", whole, class_="scroll", tabindex="0", role="region", aria_label=caption)


def section(title: str, identity: str, *content: object) -> Markup:
    """A titled part of the page that a link can reach."""
    return element("section", element("h2", title), *content, id=identity)


def money(value: float | None, *, signed: bool = False, cents: bool = False) -> str:
    """Dollars with thousands separated; a dash where unknown."""
    if value is None:
        return EN_DASH
    digits = f"{abs(value):,.{2 if cents else 0}f}"
    nothing = float(digits.replace(",", "")) <= 0
    sign = "" if nothing else MINUS if value < 0 else "+" if signed else ""
    return f"{sign}${digits}"


def percent(value: float | None, digits: int = 1) -> str:
    """A fraction as a percentage; a dash where unknown. Adding 0.0 takes the sign off a zero."""
    return EN_DASH if value is None else f"{round(value * 100, digits) + 0.0:,.{digits}f} %".replace("-", MINUS)


def number(value: float | None, digits: int = 2) -> str:
    """A plain figure; a dash where unknown."""
    return EN_DASH if value is None else f"{round(value, digits) + 0.0:,.{digits}f}".replace("-", MINUS)


def figure(value: float | None, unit: Unit) -> str:
    """A figure in its unit."""
    return percent(value) if unit is Unit.PERCENT else number(value)


def span(interval: Interval | None, unit: Unit) -> str:
    """An interval in its figure's unit; a dash where there is none."""
    if interval is None:
        return EN_DASH
    return f"{figure(interval.low, unit)} to {figure(interval.high, unit)}"


def target_texts(row: TargetRow) -> tuple[str, str, str]:
    """A target, what was measured and its interval as texts; where there is none, why."""
    target = ("under " if row.at_most else "") + figure(row.target, row.unit)
    measured = row.absent if row.measured is None and row.absent else figure(row.measured, row.unit)
    interval = row.absent if row.interval is None and row.absent else span(row.interval, row.unit)
    return target, measured, interval


def sharpe_texts(equity: EquityStatistics) -> tuple[str, str]:
    """The Sharpe ratio and what it rests on; without enough days that moved, how many there were."""
    basis = f"session closes over bills at {percent(equity.risk_free, 2)} a year"
    if equity.sharpe is None:
        return FEW, f"{equity.moved} of {FEWEST_MOVES} days moved"
    return number(equity.sharpe), basis
