"""The account through time: months and years, drawdowns, rolling figures, crises, benchmarks beside it, exposure."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import date

import numpy as np
from numpy.typing import NDArray

from reporting.charts import line_chart, nice_ticks, thin
from reporting.fields import ExposureDay, Used, limit_title
from reporting.markup import EN_DASH, Markup, element, join, money, number, percent, table
from reporting.performance import HALF_A_CENT, TRADING_DAYS
from reporting.rows import EquityPoint, strategy_title

MOST_DRAWDOWNS = 10
ROLLING = 63  # sessions of a rolling figure: a quarter
LEAST_MOVED = 10  # of them, for a Sharpe ratio: of a quarter that earned only interest it says nothing
LEAST_FALL = 1e-9
CRISES: tuple[tuple[str, date, date], ...] = (
    ("Lehman and after", date(2008, 9, 15), date(2008, 11, 20)),
    ("Flash crash", date(2010, 5, 6), date(2010, 7, 2)),
    ("Downgrade of the United States", date(2011, 7, 22), date(2011, 10, 3)),
    ("China's devaluation", date(2015, 8, 18), date(2015, 9, 29)),
    ("Oil and China again", date(2015, 12, 29), date(2016, 2, 11)),
    ("Brexit", date(2016, 6, 23), date(2016, 6, 27)),
    ("Volatility funds collapse", date(2018, 1, 26), date(2018, 2, 9)),
    ("Last quarter of 2018", date(2018, 9, 20), date(2018, 12, 24)),
    ("Pandemic", date(2020, 2, 19), date(2020, 3, 23)),
    ("Rates and inflation", date(2022, 1, 3), date(2022, 10, 12)),
    ("Yen carry trades unwind", date(2024, 7, 31), date(2024, 8, 7)),
    ("Tariffs", date(2025, 4, 2), date(2025, 4, 8)),
)
"""Named windows with their first and last day, by the S&P 500's high before and low after the event."""
MONTHS = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")


@dataclass(frozen=True, slots=True)
class Benchmark:
    """What the account is set beside: ``points`` are in units of its own (only ratios count), one a session."""

    name: str
    points: tuple[EquityPoint, ...]


@dataclass(frozen=True, slots=True)
class Drawdown:
    """A fall from a peak: ``depth`` is a fraction, ``recovered`` None while it lasts.

    ``sessions`` are those from the peak to the recovery, or to the end of the run.
    """

    peak: date
    trough: date
    recovered: date | None
    depth: float
    sessions: int


def period_returns(points: Sequence[EquityPoint], *, monthly: bool) -> dict[tuple[int, int], float]:
    """Return of each month or year (month 0), a fraction, from the last close before it to its own last close.

    The first period begins at the first point.
    """
    last: dict[tuple[int, int], float] = {}
    for point in points[1:] if points and points[0].opening else points:
        last[point.day.year, point.day.month if monthly else 0] = point.equity
    found, before = {}, points[0].equity if points else math.nan
    for key, value in last.items():
        found[key] = value / before - 1 if before > 0 else math.nan
        before = value
    return found


def worst_drawdowns(points: Sequence[EquityPoint], most: int = MOST_DRAWDOWNS) -> list[Drawdown]:
    """The deepest falls from a peak to the session that reached it again, deepest first; they do not overlap."""
    found: list[Drawdown] = []
    peak = trough = 0
    for index, point in enumerate(points):
        if point.equity >= points[peak].equity:
            _add(found, points, (peak, trough, index), over=True)
            peak = trough = index
        elif point.equity < points[trough].equity or trough == peak:
            trough = index
    if points:
        _add(found, points, (peak, trough, len(points) - 1), over=False)
    return sorted(found, key=lambda fall: (-fall.depth, fall.peak))[:most]


def _add(found: list[Drawdown], points: Sequence[EquityPoint], places: tuple[int, int, int], *, over: bool) -> None:
    peak, trough, end = places
    depth = 1 - points[trough].equity / points[peak].equity
    if depth > LEAST_FALL:
        recovered = points[end].day if over else None
        found.append(Drawdown(points[peak].day, points[trough].day, recovered, depth, end - peak))


def rolling(points: Sequence[EquityPoint], risk_free: float) -> list[tuple[date, float, float | None]]:
    """Day, yearly volatility and Sharpe ratio of the quarter that ends there; no ratio where hardly a day moved."""
    if len(points) <= ROLLING:
        return list[tuple[date, float, float | None]]()
    values: NDArray[np.float64] = np.array([point.equity for point in points], dtype=np.float64)
    returns = np.diff(values) / values[:-1]
    paid = np.array([point.interest for point in points[1:]], dtype=np.float64)
    moved = np.lib.stride_tricks.sliding_window_view(np.abs(np.diff(values) - paid) > HALF_A_CENT, ROLLING).sum(axis=1)
    windows = np.lib.stride_tricks.sliding_window_view(returns, ROLLING)
    spread = windows.std(axis=1, ddof=1)
    excess = windows.mean(axis=1) - risk_free / TRADING_DAYS
    year = math.sqrt(TRADING_DAYS)
    return [
        (point.day, float(wide) * year, float(mean / wide) * year if days >= LEAST_MOVED else None)
        for point, wide, mean, days in zip(points[ROLLING:], spread, excess, moved, strict=True)
    ]


def return_between(points: Sequence[EquityPoint], first: date, last: date) -> float | None:
    """Return from the last close before ``first`` to the last in the window; None where the window is not covered."""
    before = [point.equity for point in points if point.day < first]
    inside = [point.equity for point in points if first <= point.day <= last]
    return inside[-1] / before[-1] - 1 if before and inside and before[-1] > 0 else None


def history_part(points: Sequence[EquityPoint], benchmarks: Sequence[Benchmark], risk_free: float) -> list[Markup]:
    """The whole part of the page."""
    if len(points) < 2:
        return [element("p", "No equity was recorded.", class_="note")]
    return [
        months_table(points),
        year_bars(points, benchmarks),
        drawdowns_table(points),
        *rolling_charts(points, risk_free),
        crises_table(points, benchmarks),
    ]


def signed(value: float | None) -> Markup:
    """A return with the class of its sign; a dash where there is none."""
    if value is None or math.isnan(value):
        return element("span", EN_DASH)
    side = "up" if value > 0 else "down" if value < 0 else None
    return element("span", percent(value), class_=side)


def months_table(points: Sequence[EquityPoint]) -> Markup:
    """A row a year, a column a month; months outside of the run are empty."""
    months = period_returns(points, monthly=True)
    years = period_returns(points, monthly=False)
    rows = [
        (str(year), *(signed(months[year, month]) if (year, month) in months else "" for month in range(1, 13)),
         signed(years[year, 0]))
        for year in sorted({year for year, _ in months}, reverse=True)
    ]  # fmt: skip
    shown = table(("Year", *MONTHS, "Year's"), rows, "Returns by month", tuple(range(1, 14)), stacked=True)
    return join([element("h3", "Month by month"), element("div", shown, class_="months-table")])


def year_bars(points: Sequence[EquityPoint], benchmarks: Sequence[Benchmark]) -> Markup:
    """A bar a year, the benchmarks' under it."""
    own = period_returns(points, monthly=False)
    others = [period_returns(benchmark.points, monthly=False) for benchmark in benchmarks]
    values = [value for found in (own, *others) for value in found.values() if math.isfinite(value)]
    longest = max((abs(value) for value in values), default=0.0) or 1.0
    rows = []
    for (year, _), value in sorted(own.items()):
        rows.append(bar(str(year), value, longest, "own"))
        rows += [bar("", other[year, 0], longest, "beside") for other in others if (year, 0) in other]
    names = ", then ".join(benchmark.name for benchmark in benchmarks)
    words = f"Each year's return; under it {names}." if names else "Each year's return."
    return join([element("h3", "Year by year"), element("div", *rows, class_="bars"),
                 element("p", words, class_="note")])  # fmt: skip


def bar(label: str, value: float, longest: float, kind: str) -> Markup:
    """One bar to the left or right of the middle, its figure beside it."""
    share = abs(value) / longest * 50
    left = 50 - share if value < 0 else 50.0
    side = "down" if value < 0 else "up"
    strip = element("i", class_=f"{kind} {side}", style=f"left:{left:.2f}%;width:{share:.2f}%")
    return element("div", element("b", label), element("span", strip, class_="strip"), element("em", percent(value)))


def drawdowns_table(points: Sequence[EquityPoint]) -> Markup:
    """The ten worst, with what it took to recover."""
    falls = worst_drawdowns(points)
    title = element("h3", "The worst drawdowns")
    if not falls:
        return join([title, element("p", "The account was never under its peak.", class_="note")])
    rows = [
        (percent(fall.depth), str(fall.peak), str(fall.trough),
         str(fall.recovered) if fall.recovered else "not recovered", str(fall.sessions))
        for fall in falls
    ]  # fmt: skip
    head = ("Depth", "Peak", "Lowest", "Recovered", "Sessions")
    return join([title, table(head, rows, "The worst drawdowns, by session closes", (4,), stacked=True)])


def rolling_charts(points: Sequence[EquityPoint], risk_free: float) -> list[Markup]:
    """Volatility and Sharpe ratio of each quarter; of a run that is shorter, words."""
    rows = rolling(points, risk_free)
    title = element("h3", "Rolling figures")
    if len(rows) < 2:
        words = f"Rolling figures need more than {ROLLING} sessions."
        return [title, element("p", words, class_="note")]
    words = (
        f"Each over the {ROLLING} sessions before; a Sharpe ratio only where at least {LEAST_MOVED} of them moved the "
        "account by more than its interest."
    )
    charts = [title]
    lines = [("Volatility of a quarter, a year", [(day, wide) for day, wide, _ in rows], True)]
    lines.append(("Sharpe ratio of a quarter", [(day, ratio) for day, _, ratio in rows if ratio is not None], False))
    for name, line, share in lines:
        if len(line) < 2:
            continue
        values = [value for _, value in line]
        ticks = nice_ticks(min(*values, 0.0), max(*values, 0.01), 4)
        digits = 0 if ticks[1] - ticks[0] >= 0.01 - 1e-9 else 1
        labels = [percent(tick, digits) if share else number(tick, 1) for tick in ticks]
        charts.append(line_chart(name, [day for day, _ in line], values, ticks, labels, "rolling"))
    return [element("div", *charts), element("p", words, class_="note")]


def crises_table(points: Sequence[EquityPoint], benchmarks: Sequence[Benchmark]) -> Markup:
    """What the account did in each named window that the run covers."""
    rows = []
    for title, first, last in CRISES:
        own = return_between(points, first, last)
        if own is not None:
            others = (signed(return_between(benchmark.points, first, last)) for benchmark in benchmarks)
            rows.append((title, str(first), str(last), signed(own), *others))
    heading = element("h3", "Crises")
    if not rows:
        return join([heading, element("p", "This run covers none of the named crises.", class_="note")])
    head = ("Crisis", "From", "To", "Account", *(benchmark.name for benchmark in benchmarks))
    return join([heading, table(head, rows, "Returns in named crises", tuple(range(3, len(head))), stacked=True)])


# Exposure

NEAR = 0.8
MOST_EXPOSURES = 260  # points of a small picture


def exposure_part(days: Sequence[ExposureDay], points: Sequence[EquityPoint]) -> list[Markup]:
    """What of each limit was used through time: pictures, the distance to each limit, by strategy and by group."""
    sessions = [point for point in points if not point.opening]
    if not days or len(sessions) < 2:
        return [element("p", "Nothing was held at any look, or the journal is of an older version.", class_="note")]
    words = (
        "Buying power is the most in use at any minute of a day, not at its close; all else is of the half hour in "
        "which most of it was in use. A day without a position counts as zero."
    )
    return [
        element("p", words, class_="note"),
        element("div", *exposure_charts({day.day: day for day in days}, sessions), class_="small-charts"),
        limits_table(days, len(sessions)),
        used_table("By strategy", days, [day.strategies for day in days], strategy_title),
        used_table("By group", days, [day.groups for day in days], lambda name: f"Group {name}"),
    ]


def exposure_charts(days: Mapping[date, ExposureDay], sessions: Sequence[EquityPoint]) -> list[Markup]:
    """Small pictures of buying power, counts and Greeks; what is unknown throughout has none."""

    def count(day: ExposureDay, rule: str) -> float | None:
        return next((note.observed for note in day.limits if note.rule == rule), None)

    def power(day: ExposureDay) -> float | None:
        return day.margin_peak / day.equity if day.equity > 0 else None

    wanted: tuple[tuple[str, Callable[[ExposureDay], float | None], Callable[[float], str]], ...] = (
        ("Buying power at its peak, of equity", power, percent),
        ("Short-volatility positions", lambda day: count(day, "short_volatility"), lambda value: f"{value:g}"),
        ("Positions", lambda day: float(day.whole.positions), lambda value: f"{value:g}"),
        ("Delta, S&P 500 (SPY) shares", lambda day: day.whole.delta, lambda value: number(value, 0)),
        ("Gamma, SPY shares a dollar", lambda day: day.whole.gamma, lambda value: number(value, 1)),
        ("Vega, dollars a point", lambda day: day.whole.vega, lambda value: number(value, 0)),
        ("Theta, dollars a day", lambda day: day.whole.theta, lambda value: number(value, 0)),
    )
    caps = [(day.day, day.margin_cap / day.equity) for day in days.values() if day.margin_cap and day.equity > 0]
    charts = []
    for title, read, write in wanted:
        known = [(point.day, read(days[point.day]) if point.day in days else 0.0) for point in sessions]
        line = thin([EquityPoint(day, value) for day, value in known if value is not None], MOST_EXPOSURES)
        beside = [caps] if read is power and len(caps) > 1 else []
        line, beyond = bounded(line) if read is not power else (line, "")
        values = [*(point.equity for point in line), *(value for other in beside for _, value in other)]
        ticks = nice_ticks(min(*values, 0.0), max(*values, 0.0), 3)
        if len(line) < 2 or len(ticks) < 2:
            continue
        name = f"{title}; dashed: its cap" if beside else title + beyond
        days_of, shown = [point.day for point in line], [point.equity for point in line]
        charts.append(line_chart(name, days_of, shown, ticks, [write(tick) for tick in ticks], "rolling", beside))
    return charts


def bounded(line: Sequence[EquityPoint]) -> tuple[list[EquityPoint], str]:
    """A line cut where a few days stand far out, and how many: an option's last hours hide all else in a picture.

    Greeks of an option that ends today have no bound. Kept is four times what 98 % of the days stay within.
    """
    sizes = sorted(abs(point.equity) for point in line)
    most = 4 * sizes[int(0.98 * (len(sizes) - 1))] if sizes else 0.0
    out = [point.equity for point in line if abs(point.equity) > most > 0.0]
    cut = [replace(point, equity=min(max(point.equity, -most), most)) for point in line] if out else list(line)
    days = "day" if len(out) == 1 else "days"
    return cut, f"; {len(out)} {days} beyond, to {number(max(out, key=abs), 0)}" if out else ""


def limits_table(days: Sequence[ExposureDay], sessions: int) -> Markup:
    """How near each limit came: its fullest use, when, and on how many days it was nearly or wholly used."""
    rows = []
    for rule in dict.fromkeys(note.rule for day in days for note in day.limits):
        notes = [note for day in days for note in day.limits if note.rule == rule and note.share is not None]
        if not notes:
            continue
        fullest = max(notes, key=lambda note: note.share or 0.0)
        shares = [note.share or 0.0 for note in notes]
        left = max(1 - (fullest.share or 0.0), 0.0)
        rows.append((
            limit_title(rule), percent(fullest.share),
            percent(left), f"{fullest.at:%Y-%m-%d %H:%M}", plain(fullest.observed), plain(fullest.limit),
            percent(math.fsum(shares) / sessions), str(sum(share >= NEAR for share in shares)),
            str(sum(share >= 1 - LEAST_FALL for share in shares)),
        ))  # fmt: skip
    head = ("Limit", "Fullest", "Left", "When", "Observed", "Limit's value", "Mean of days", "Days from 80 %",
            "Days at it")  # fmt: skip
    shown = table(head, rows, "Distance to each limit, by looks each half hour", (1, 2, 4, 5, 6, 7, 8), stacked=True)
    return join([element("h3", "Distance to each limit"), shown])


def plain(value: float) -> str:
    """Counts whole, money and Greeks to the cent."""
    return number(value, 0 if value == round(value) else 2)


def used_table(
    title: str, days: Sequence[ExposureDay], by: Sequence[Mapping[str, Used]], name_of: Callable[[str], str]
) -> Markup:
    """A row a name: on how many days it held, how many positions, and its most of each figure."""
    rows = []
    for name in dict.fromkeys(name for used in by for name in used):
        found = [used[name] for used in by if name in used]
        mean = math.fsum(used.positions for used in found) / len(found)
        rows.append((
            name_of(name), str(len(found)), str(max(used.positions for used in found)), number(mean, 1),
            money(most(used.margin for used in found)), number(most(used.delta for used in found), 0),
            number(most(used.vega for used in found), 0), number(most(used.theta for used in found), 0),
        ))  # fmt: skip
    head = ("Name", "Days held", "Most positions", "Mean positions", "Most buying power", "Largest delta",
            "Largest vega", "Largest theta")  # fmt: skip
    caption = f"{title}, {len(days)} days with a position"
    return join([element("h3", title), table(head, rows, caption, tuple(range(1, 8)), stacked=True)])


def most(values: Iterable[float | None]) -> float | None:
    """The value farthest from zero, with its sign; None where none is known."""
    return max((value for value in values if value is not None), key=abs, default=None)
