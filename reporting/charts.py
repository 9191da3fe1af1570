"""Pictures drawn as SVG: the account's path, one trade's payoff at expiry, and panels of lines under one another.

On the page shapes stretch with it (``preserveAspectRatio="none"``, lines that keep their width); every label is HTML
beside them, so text keeps its size on a telephone. Each picture has a text equivalent. Panels stand alone in a file.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from greeks.black_scholes import european_price
from reporting.markup import Markup, element, escape, join, money, percent
from reporting.rows import EquityPoint, Trade, TradeLeg

WIDTH = 1000.0
HEIGHT = 300.0
MOST_POINTS = 1200
PANEL_WIDTH, PANEL_HEIGHT = 760, 190
LEFT, RIGHT, TOP, BOTTOM = 58, 14, 26, 24  # margins of a panel
COLOURS = ("#1f5fa8", "#c2571a", "#5b7f2b", "#7a4aa0")

FloatArray = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Scale:
    """Maps a range of values onto a length; ``flip`` puts large values at the small end, as SVG's y axis wants."""

    low: float
    high: float
    length: float
    flip: bool = False

    def at(self, value: float) -> float:
        """Where ``value`` stands, in drawing units."""
        share = (value - self.low) / (self.high - self.low) if self.high > self.low else 0.5
        return round((1 - share if self.flip else share) * self.length, 2)

    def share(self, value: float) -> float:
        """Where ``value`` stands, in percent of the length."""
        return round(self.at(value) / self.length * 100, 2)


def nice_ticks(low: float, high: float, wanted: int = 5) -> list[float]:
    """Round numbers that cover ``low`` to ``high`` in about ``wanted`` steps of 1, 2, 2.5 or 5 times a power of ten."""
    if not high > low:
        return [low]
    raw = (high - low) / wanted
    power = 10.0 ** math.floor(math.log10(raw))
    step = next(power * factor for factor in (1, 2, 2.5, 5, 10) if raw <= power * factor * (1 + 1e-9))
    first, last = math.floor(low / step + 1e-9), math.ceil(high / step - 1e-9)
    return [index * step for index in range(first, last + 1)]


def thin(points: Sequence[EquityPoint], most: int = MOST_POINTS) -> list[EquityPoint]:
    """At most about ``most`` points that keep each stretch's lowest and highest, first and last point."""
    if len(points) <= most:
        return list(points)
    stretch = math.ceil(len(points) / (most / 2))
    kept = {0, len(points) - 1}
    for start in range(0, len(points), stretch):
        part = range(start, min(start + stretch, len(points)))
        kept.add(min(part, key=lambda index: points[index].equity))
        kept.add(max(part, key=lambda index: points[index].equity))
    return [points[index] for index in sorted(kept)]


def account_charts(points: Sequence[EquityPoint], beside: Mapping[str, Sequence[EquityPoint]]) -> Markup:
    """Equity above, drawdown below, on one time axis; pointing at it reads out a day.

    ``beside`` are benchmarks by name, drawn from the account's own beginning: dashed, then dotted.
    """
    if len(points) < 2:
        return element("p", "No equity was recorded.", class_="note")
    falls = drawdowns(points)
    kept = set(thin(points))
    shown = [(point, fall) for point, fall in zip(points, falls, strict=True) if point in kept]
    equity = [point.equity for point, _ in shown]
    drops = [-fall for _, fall in shown]
    days = [point.day for point, _ in shown]
    others = {name: scaled for name, line in beside.items() if (scaled := scaled_to(points, line))}
    drawn = [*equity, *(value for line in others.values() for _, value in line)]
    ticks = nice_ticks(min(drawn), max(drawn))
    drop_ticks = nice_ticks(min([*drops, -0.01]), 0.0, 3)
    fall_digits = 0 if drop_ticks[1] - drop_ticks[0] >= 0.01 - 1e-9 else 1
    first, last = points[0], points[-1]
    worst = max(falls)
    styles = ("Dashed", "Dotted")
    lines = "; ".join(f"{style}: {name}" for style, name in zip(styles, others, strict=False))
    dashed = f" {lines}, from the account's beginning." if lines else ""
    readout = f"{first.day} {money(first.equity)} to {last.day} {money(last.equity)}; largest drawdown {percent(worst)}"
    data = json.dumps([[int(f"{day:%Y%m%d}"), round(value), round(drop, 4)] for day, value, drop in
                       zip(days, equity, drops, strict=True)], separators=(",", ":"))  # fmt: skip
    return element(
        "figure",
        element("p", readout, class_="readout", role="status", data_rest=readout),
        line_chart("Equity", days, equity, ticks, [money(tick) for tick in ticks], "equity", tuple(others.values())),
        line_chart(
            "Drawdown", days, drops, drop_ticks, [percent(tick, fall_digits) for tick in drop_ticks], "drawdown"
        ),
        element("figcaption", f"Equity and drawdown at each session's close.{dashed}"),
        class_="account",
        data_path=data,
    )


def scaled_to(points: Sequence[EquityPoint], beside: Sequence[EquityPoint]) -> list[tuple[date, float]]:
    """A benchmark's days and values inside the account's range, as if it had begun with the account's first equity."""
    inside = [point for point in beside if points[0].day <= point.day <= points[-1].day]
    if len(inside) < 2:
        return list[tuple[date, float]]()
    kept = thin(inside)
    return [(point.day, point.equity / inside[0].equity * points[0].equity) for point in kept]


def drawdowns(points: Sequence[EquityPoint]) -> list[float]:
    """Fall from the highest close so far, as a fraction, for each point."""
    highest = -math.inf
    falls = []
    for point in points:
        highest = max(highest, point.equity)
        falls.append(1 - point.equity / highest)
    return falls


def line_chart(
    title: str,
    days: Sequence[date],
    values: Sequence[float],
    ticks: Sequence[float],
    labels: Sequence[str],
    kind: str,
    beside: Sequence[Sequence[tuple[date, float]]] = (),
) -> Markup:
    """One line over time with a filled area to the bottom (or to zero), grid lines and HTML labels.

    ``beside`` are other lines, dashed and dotted, without an area.
    """
    across = Scale(days[0].toordinal(), days[-1].toordinal(), WIDTH)
    up = Scale(ticks[0], ticks[-1], HEIGHT, flip=True)
    path = path_of(zip(days, values, strict=True), across, up)
    floor = up.at(min(max(0.0, ticks[0]), ticks[-1]))
    grid = join(Markup(f'<path class="grid" d="M0,{up.at(tick):g}H{WIDTH:g}"/>') for tick in ticks)
    upright = join(Markup(f'<path class="grid" d="M{across.at(day.toordinal()):g},0V{HEIGHT:g}"/>')
                   for day, _ in time_ticks(days[0], days[-1]))  # fmt: skip
    area = Markup(f'<path class="area" d="M0,{floor:g}L{path}L{WIDTH:g},{floor:g}Z"/>')
    line = Markup(f'<polyline class="line" points="{path}"/>')
    dashes = join(
        Markup(f'<polyline class="{name}" points="{path_of(other, across, up)}"/>')
        for name, other in zip(("beside", "beside dotted"), beside, strict=False)
    )
    side = join(
        element("span", label, style=f"top:{up.share(tick)}%") for tick, label in zip(ticks, labels, strict=True)
    )
    below = join(
        element("span", label, style=f"left:{across.share(day.toordinal())}%")
        for day, label in time_ticks(days[0], days[-1])
    )
    drawing = svg(join([grid, upright, area, dashes, line]), f"{title} from {days[0]} to {days[-1]}")
    return element(
        "div",
        element("div", title, class_="chart-title"),
        element("div", side, class_="side", aria_hidden="true"),
        element("div", drawing, element("i", class_="guide"), class_="plot"),
        element("div", below, class_="below", aria_hidden="true"),
        class_=f"chart {kind}",
    )


def path_of(points: Iterable[tuple[date, float]], across: Scale, up: Scale) -> str:
    """Points of a line in drawing units."""
    return " ".join(f"{round(across.at(day.toordinal()), 1):g},{round(up.at(value), 1):g}" for day, value in points)


def time_ticks(first: date, last: date) -> list[tuple[date, str]]:
    """Where the time axis is labelled: at years, or at months of a range under two years; at most about eight."""
    if (last - first).days > 730:
        every = max(1, math.ceil((last.year - first.year) / 8))
        years = range(first.year + 1, last.year + 1, every)
        return [(date(year, 1, 1), str(year)) for year in years]
    months = [date(year, month, 1) for year in range(first.year, last.year + 1) for month in range(1, 13)]
    inside = [month for month in months if first < month <= last]
    every = max(1, math.ceil(len(inside) / 6))
    return [(month, f"{month:%b %Y}") for month in inside[::every]]


def svg(content: Markup, label: str) -> Markup:
    """A drawing that fills its box, named for screen readers."""
    return Markup(
        f'<svg viewBox="0 0 {WIDTH:g} {HEIGHT:g}" preserveAspectRatio="none" role="img" '
        f'aria-label="{escape(label)}">{content}</svg>'
    )


NOTHING: Mapping[str, float] = {}
CURVED = 28  # steps of a picture in which an option lives on


def payoff_chart(trade: Trade, volatilities: Mapping[str, float] = NOTHING) -> Markup:
    """Profit at the first expiry over the underlying's price, with strikes and the price at entry and exit marked.

    ``volatilities`` by contract: what lives on is worth what its volatility at its entry says, without interest.
    """
    end = min(leg.expiry for leg in trade.legs)
    later = {leg.name for leg in trade.legs if leg.expiry > end}
    if not later <= volatilities.keys():
        return element("p", "Legs expire on different days, one at an unknown volatility: no picture.", class_="note")
    marks = [leg.strike for leg in trade.legs]
    marks += [price for price in (trade.underlying_entry, trade.underlying_exit) if price is not None]
    margin = max((max(marks) - min(marks)) * 0.15, max(marks) * 0.002)
    low, high = min(marks) - margin, max(marks) + margin
    prices = price_grid(trade, low, high)
    prices = sorted({*prices, *break_evens(trade, prices, volatilities)})
    profits = [profit_at_expiry(trade, price, volatilities) for price in prices]
    across = Scale(low, high, WIDTH)
    up = Scale(min([*profits, 0.0]) * 1.1, max([*profits, 0.0]) * 1.1 or 1.0, HEIGHT, flip=True)
    zero, words = up.at(0.0), payoff_words(trade, volatilities)
    sides = join(element("span", money(value), style=f"top:{up.share(value)}%") for value in payoff_ticks(profits, up))
    title = f"Profit at the first expiry, {end}, dollars" if later else "Profit at expiry, dollars"
    return element(
        "figure",
        element("div", title, class_="chart-title"),
        element("div", sides, class_="side"),
        element("div", svg(payoff_drawing(trade, prices, profits, across, up), words), class_="plot"),
        element("div", payoff_labels(trade, prices, across, volatilities), class_="below"),
        element("figcaption", words),
        class_="payoff",
        style=f"--zero:{zero / HEIGHT * 100:.1f}%",
    )


def price_grid(trade: Trade, low: float, high: float) -> list[float]:
    """Prices between which a payoff is straight; many where an option lives on and bends it."""
    bent = len({leg.expiry for leg in trade.legs}) > 1
    low = max(low, min(leg.strike for leg in trade.legs) / 20) if bent else low  # a price above zero
    steps = (low + (high - low) * step / CURVED for step in range(CURVED + 1)) if bent else (low, high)
    return sorted({*steps, *(leg.strike for leg in trade.legs)})


def payoff_drawing(trade: Trade, prices: Sequence[float], profits: Sequence[float], across: Scale, up: Scale) -> Markup:
    """The areas of gain and loss, the payoff's line, and the lines of entry and exit."""
    zero = up.at(0.0)
    outline = [f"{across.at(price):.5g},{up.at(profit):.4g}" for price, profit in zip(prices, profits, strict=True)]
    parts = []
    for kind, keep in (("gain", max), ("loss", min)):
        edge = " ".join(
            f"{across.at(price):.5g},{up.at(keep(profit, 0.0)):.4g}"
            for price, profit in zip(prices, profits, strict=True)
        )
        parts.append(Markup(f'<path class="{kind}" d="M0,{zero:g}L{edge}L{WIDTH:g},{zero:g}Z"/>'))
    parts.append(Markup(f'<path class="axis" d="M0,{zero:g}H{WIDTH:g}"/>'))
    parts.append(Markup(f'<polyline class="line" points="{" ".join(outline)}"/>'))
    for kind, mark in (("entry", trade.underlying_entry), ("exit", trade.underlying_exit)):
        if mark is not None:
            parts.append(Markup(f'<path class="{kind}" d="M{across.at(mark):g},0V{HEIGHT:g}"/>'))
    return join(parts)


LABEL_SHARE = 13.0  # percent of a picture's width that a price under it takes
LABEL_RISE = 9.0  # percent of its height that a sum beside it takes


def payoff_ticks(profits: Sequence[float], up: Scale) -> list[float]:
    """Zero, the best and the worst of the picture; what would lie on another label is left out."""
    kept = [0.0]
    for value in (max(profits), min(profits)):
        if all(abs(up.share(value) - up.share(other)) >= LABEL_RISE for other in kept):
            kept.append(value)
    return kept


def payoff_labels(
    trade: Trade, prices: Sequence[float], across: Scale, volatilities: Mapping[str, float] = NOTHING
) -> Markup:
    """Break-evens and strikes under the picture as far as they fit; its words name all break-evens."""
    strikes = sorted({leg.strike for leg in trade.legs})
    ends = strikes if len(strikes) == 1 else [strikes[0], strikes[-1]]
    kept: list[tuple[float, str, str | None]] = []
    wanted = [(price, f"{price:,.5g}", "even") for price in break_evens(trade, prices, volatilities)]
    for price, words, kind in [*wanted, *((price, f"{price:g}", None) for price in (*ends, *strikes[1:-1]))]:
        if all(abs(across.share(price) - across.share(other)) >= LABEL_SHARE for other, _, _ in kept):
            kept.append((price, words, kind))
    return join(
        element("span", words, class_=kind, style=f"left:{across.share(price)}%") for price, words, kind in kept
    )


def payoff_words(trade: Trade, volatilities: Mapping[str, float] = NOTHING) -> str:
    """The picture in words: strikes, break-evens and both extremes between the outer strikes.

    Beyond them it may go on for ever, as from the strike of a single option: no extreme is claimed there.
    """
    strikes = sorted({leg.strike for leg in trade.legs})
    profits = [profit_at_expiry(trade, strike, volatilities) for strike in strikes]
    edge = (strikes[-1] - strikes[0]) or strikes[0] * 0.05
    grid = price_grid(trade, strikes[0] - edge, strikes[-1] + edge)
    evens = ", ".join(f"{price:,.2f}" for price in break_evens(trade, grid, volatilities)) or "none"
    best, worst = money(max(profits), signed=True), money(min(profits), signed=True)
    extremes = f"best {best}, worst between the strikes {worst}" if len(strikes) > 1 else f"{best} at the strike"
    ends = {leg.expiry for leg in trade.legs}
    when = "At expiry" if len(ends) == 1 else f"At {min(ends)}, what lives on by its volatility at entry"
    if len(ends) > 1:
        extremes = "; ".join(f"{money(one, signed=True)} at {at:g}" for at, one in zip(strikes, profits, strict=True))
    return (
        f"{when}, after the fees paid, over the underlying's price: {extremes}, break-even {evens} (bold). "
        "Dotted line: price at entry; solid: at exit."
    )


def profit_at_expiry(trade: Trade, price: float, volatilities: Mapping[str, float] = NOTHING) -> float:
    """Entry cash and what the legs are worth at the first expiry at ``price``, less the fees paid, in dollars."""
    end = min(leg.expiry for leg in trade.legs)
    value = sum(leg.ratio * worth(leg, price, (leg.expiry - end).days / 365.0, volatilities) for leg in trade.legs)
    return trade.cash_in - trade.fees + value * trade.multiplier * trade.contracts


def worth(leg: TradeLeg, price: float, years: float, volatilities: Mapping[str, float]) -> float:
    """A leg's value in points with some years left to live."""
    if years <= 0:
        return max(price - leg.strike if leg.is_call else leg.strike - price, 0.0)
    return float(european_price(price, leg.strike, years, volatilities[leg.name], 0.0, 0.0, leg.is_call)[0])


def break_evens(trade: Trade, prices: Sequence[float], volatilities: Mapping[str, float] = NOTHING) -> list[float]:
    """Where the payoff crosses zero between neighbouring ``prices``; straight where all legs end on one day."""
    found = []
    profits = [profit_at_expiry(trade, price, volatilities) for price in prices]
    for (left, low), (right, high) in pairwise(zip(prices, profits, strict=True)):
        if low * high >= 0:
            continue
        for _ in range(1 if len({leg.expiry for leg in trade.legs}) == 1 else 4):
            crossing = left + (right - left) * low / (low - high)
            value = profit_at_expiry(trade, crossing, volatilities)
            left, low, right, high = (left, low, crossing, value) if low * value < 0 else (crossing, value, right, high)
        found.append(crossing)
    return found


@dataclass(frozen=True, slots=True)
class Line:
    """One line of a panel: its name and its points."""

    name: str
    x: FloatArray
    y: FloatArray


@dataclass(frozen=True, slots=True)
class Panel:
    """One chart: a title, lines, and the labels under its ends; ``steps`` draws them as a histogram's outline."""

    title: str
    lines: tuple[Line, ...]
    ends: tuple[str, str] = ("", "")
    steps: bool = False


def _points(line: Line, panel: Panel, frame: tuple[float, float, float, float], top: float) -> str:
    left, right, low, high = frame
    x = LEFT + (line.x - left) / ((right - left) or 1.0) * (PANEL_WIDTH - LEFT - RIGHT)
    y = top + TOP + (high - line.y) / ((high - low) or 1.0) * (PANEL_HEIGHT - TOP - BOTTOM)
    if panel.steps:
        x, y = np.repeat(x, 2)[1:], np.repeat(y, 2)[:-1]
    kept = ~np.isnan(y)
    return " ".join(f"{a:.1f},{b:.1f}" for a, b in zip(x[kept], y[kept], strict=True))


def _panel(panel: Panel, top: float) -> list[str]:
    xs, ys = np.concatenate([line.x for line in panel.lines]), np.concatenate([line.y for line in panel.lines])
    frame = (float(np.nanmin(xs)), float(np.nanmax(xs)), float(np.nanmin(ys)), float(np.nanmax(ys)))
    base = top + PANEL_HEIGHT - BOTTOM
    parts = [f'<text x="{LEFT}" y="{top + 16}" font-weight="600">{escape(panel.title)}</text>']
    for value, at in ((frame[3], top + TOP), (frame[2], base)):
        parts.append(f'<line x1="{LEFT}" x2="{PANEL_WIDTH - RIGHT}" y1="{at}" y2="{at}" stroke="#ccc"/>')
        parts.append(f'<text x="{LEFT - 6}" y="{at + 4}" text-anchor="end">{value:,.5g}</text>')
    for at, anchor, text in ((LEFT, "start", panel.ends[0]), (PANEL_WIDTH - RIGHT, "end", panel.ends[1])):
        parts.append(f'<text x="{at}" y="{base + 16}" text-anchor="{anchor}">{escape(text)}</text>')
    for number, line in enumerate(panel.lines):
        colour = COLOURS[number % len(COLOURS)]
        points = _points(line, panel, frame, top)
        parts.append(f'<polyline fill="none" stroke="{colour}" stroke-width="1.4" points="{points}"/>')
        right = PANEL_WIDTH - RIGHT - 150 * (len(panel.lines) - 1 - number)
        parts.append(f'<text x="{right}" y="{top + 16}" text-anchor="end" fill="{colour}">{escape(line.name)}</text>')
    return parts


def panels_svg(panels: Sequence[Panel]) -> str:
    """Panels under one another as one SVG picture."""
    body = [part for number, panel in enumerate(panels) for part in _panel(panel, number * PANEL_HEIGHT)]
    height = PANEL_HEIGHT * len(panels)
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {PANEL_WIDTH} {height}" '
        'font-family="sans-serif" font-size="12">'
        f'<rect width="{PANEL_WIDTH}" height="{height}" fill="white"/>' + "".join(body) + "</svg>\n"
    )


def path_picture(title: str, labels: Sequence[str], index: FloatArray, volatility: FloatArray) -> str:
    """The path of a market over its days: the index above, its volatility index below."""
    x = np.arange(len(index), dtype=np.float64)
    ends = (labels[0], labels[-1])
    return panels_svg(
        [
            Panel(f"{title}: index", (Line("S&P 500", x, index),), ends),
            Panel("volatility index", (Line("VIX", x, volatility),), ends),
        ]
    )
