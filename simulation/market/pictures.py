"""Small pictures of a market without a plotting library: SVG panels of lines, and one-line charts for a terminal."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from html import escape

import numpy as np

from simulation.market.calendar import FloatArray

BLOCKS = "▁▂▃▄▅▆▇█"
WIDTH, HEIGHT = 760, 190
LEFT, RIGHT, TOP, BOTTOM = 58, 14, 26, 24
COLOURS = ("#1f5fa8", "#c2571a", "#5b7f2b", "#7a4aa0")


def sparkline(values: Sequence[float], width: int = 60) -> str:
    """One line of blocks: the lowest value is the lowest block. Longer series keep every stretch's last value."""
    known = np.asarray(values, dtype=np.float64)
    if len(known) > width:
        known = known[np.linspace(0, len(known) - 1, width).astype(np.int64)]
    low, high = float(np.nanmin(known)), float(np.nanmax(known))
    span = high - low or 1.0
    marks = [" " if np.isnan(value) else BLOCKS[int(7.999 * (value - low) / span)] for value in known.tolist()]
    return "".join(marks)


@dataclass(frozen=True)
class Line:
    """One line of a panel: its name and its points."""

    name: str
    x: FloatArray
    y: FloatArray


@dataclass(frozen=True)
class Panel:
    """One chart: a title, lines, and the labels under its ends; ``steps`` draws them as a histogram's outline."""

    title: str
    lines: tuple[Line, ...]
    ends: tuple[str, str] = ("", "")
    steps: bool = False


def _points(line: Line, panel: Panel, frame: tuple[float, float, float, float], top: float) -> str:
    left, right, low, high = frame
    x = LEFT + (line.x - left) / ((right - left) or 1.0) * (WIDTH - LEFT - RIGHT)
    y = top + TOP + (high - line.y) / ((high - low) or 1.0) * (HEIGHT - TOP - BOTTOM)
    if panel.steps:
        x, y = np.repeat(x, 2)[1:], np.repeat(y, 2)[:-1]
    kept = ~np.isnan(y)
    return " ".join(f"{a:.1f},{b:.1f}" for a, b in zip(x[kept], y[kept], strict=True))


def _panel(panel: Panel, top: float) -> list[str]:
    xs, ys = np.concatenate([line.x for line in panel.lines]), np.concatenate([line.y for line in panel.lines])
    frame = (float(np.nanmin(xs)), float(np.nanmax(xs)), float(np.nanmin(ys)), float(np.nanmax(ys)))
    base = top + HEIGHT - BOTTOM
    parts = [f'<text x="{LEFT}" y="{top + 16}" font-weight="600">{escape(panel.title)}</text>']
    for value, at in ((frame[3], top + TOP), (frame[2], base)):
        parts.append(f'<line x1="{LEFT}" x2="{WIDTH - RIGHT}" y1="{at}" y2="{at}" stroke="#ccc"/>')
        parts.append(f'<text x="{LEFT - 6}" y="{at + 4}" text-anchor="end">{value:,.5g}</text>')
    for at, anchor, text in ((LEFT, "start", panel.ends[0]), (WIDTH - RIGHT, "end", panel.ends[1])):
        parts.append(f'<text x="{at}" y="{base + 16}" text-anchor="{anchor}">{escape(text)}</text>')
    for number, line in enumerate(panel.lines):
        colour = COLOURS[number % len(COLOURS)]
        points = _points(line, panel, frame, top)
        parts.append(f'<polyline fill="none" stroke="{colour}" stroke-width="1.4" points="{points}"/>')
        right = WIDTH - RIGHT - 150 * (len(panel.lines) - 1 - number)
        parts.append(f'<text x="{right}" y="{top + 16}" text-anchor="end" fill="{colour}">{escape(line.name)}</text>')
    return parts


def svg(panels: Sequence[Panel]) -> str:
    """Panels under one another as one SVG picture."""
    body = [part for number, panel in enumerate(panels) for part in _panel(panel, number * HEIGHT)]
    height = HEIGHT * len(panels)
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" '
        'font-family="sans-serif" font-size="12">'
        f'<rect width="{WIDTH}" height="{height}" fill="white"/>' + "".join(body) + "</svg>\n"
    )


def path_picture(title: str, labels: Sequence[str], index: FloatArray, volatility: FloatArray) -> str:
    """The path of a market over its days: the index above, its volatility index below."""
    x = np.arange(len(index), dtype=np.float64)
    ends = (labels[0], labels[-1])
    return svg(
        [
            Panel(f"{title}: index", (Line("S&P 500", x, index),), ends),
            Panel("volatility index", (Line("VIX", x, volatility),), ends),
        ]
    )
