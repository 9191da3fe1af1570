"""Named days and weeks as data: a start, a daily path, the shape of single days, and what goes wrong with the feed.

``scenarios.toml`` holds them. A scenario is composed of a prelude (quiet days before it, so that averages and
ranges have something to look back on), rows of known closes and segments between them, bars and minute shapes of
single days, faults and silences. Every part is optional but the path.
"""

from __future__ import annotations

import difflib
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import date, timedelta
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np

from simulation.market.calendar import TRADED_SHARE, WEIGHT_OF_YEAR, FloatArray, calendar
from simulation.market.days import DayShape, stream
from simulation.market.history import DailyBars, MarketHistory, Role
from simulation.market.quotes import QuoteFaults

FILE = Path(__file__).with_name("scenarios.toml")
PRELUDE_DAYS = 300
KNOWN_KEYS = frozenset(
    {"title", "facts", "tries", "start", "end", "source", "index", "vix", "prelude", "rows", "segments"}
    | {
        "bars",
        "vix_bars",
        "shapes",
        "vix_shapes",
        "faults",
        "silent",
        "cash",
        "flows",
        "shock",
        "calm",
        "open_until",
        "pin",
    }
)


class ScenarioError(ValueError):
    """A scenario that does not exist or is written wrongly; the message says which are there, or which key is wrong."""


@dataclass(frozen=True)
class Scenario:
    """One scenario as its file gives it."""

    name: str
    title: str
    facts: str
    start: date
    end: date
    index: tuple[float, ...]  # closes, the one before the start first
    vix: tuple[float, ...]
    prelude_volatility: float
    cash: float | None
    source: str | None = None  # a market whose own days these are
    bars: Mapping[int, tuple[float, ...]] = field(default_factory=dict)
    vix_bars: Mapping[int, tuple[float, ...]] = field(default_factory=dict)
    shapes: Mapping[int, DayShape] = field(default_factory=dict)
    vix_shapes: Mapping[int, DayShape] = field(default_factory=dict)
    faults: Mapping[int, QuoteFaults] = field(default_factory=dict)
    silent: Mapping[tuple[str, int], tuple[int, int]] = field(default_factory=dict)
    flows: Mapping[date, float] = field(
        default_factory=dict
    )  # cash paid in (positive) or taken out by the start of a day
    tries: str = ""
    shock: date | None = None  # before this day an account is filled that is to be tried; none: the first of its days
    calm: date | None = None  # when what it is about is over
    open_until: date | None = None  # to which day that account is offered more; none: the one before the shock
    pin: float | None = None  # index level at which packages of the shock's own day are sold and held into its close

    @property
    def days(self) -> list[date]:
        """Trading days of the scenario itself."""
        return calendar().between(self.start, self.end)


@lru_cache(maxsize=1)
def _file() -> dict[str, Any]:
    return tomllib.loads(FILE.read_text(encoding="utf-8"))


def names() -> list[str]:
    """Every scenario, in the file's order."""
    return list(_file())


def scenario(name: str) -> Scenario:
    """The scenario of that name; raises ScenarioError with the nearest names."""
    table = _file()
    if name not in table:
        near = difflib.get_close_matches(name, table, n=3)
        hint = f"; did you mean {' or '.join(near)}?" if near else ""
        raise ScenarioError(f"scenario: {name!r} is not in the library{hint} (known: {', '.join(table)})")
    return parsed(name, table[name])


def parsed(name: str, raw: Mapping[str, Any]) -> Scenario:
    """A scenario from its table; raises ScenarioError naming a key that is unknown or missing."""
    unknown = sorted(set(raw) - KNOWN_KEYS)
    if unknown:
        raise ScenarioError(f"scenario {name}: unknown key {unknown[0]!r}; expected {', '.join(sorted(KNOWN_KEYS))}")
    for key in ("title", "start"):
        if key not in raw:
            raise ScenarioError(f"scenario {name}: {key} is missing")
    start = raw["start"]
    index, vix = _path(name, raw) if "source" not in raw else ((), ())
    count = len(index) - 1
    end = raw["end"] if "source" in raw else _nth_day(start, count)
    return Scenario(
        name,
        raw["title"],
        raw.get("facts", "Made up; no such days are on record."),
        start,
        end,
        index,
        vix,
        float(raw.get("prelude", max(0.06, vix[0] / 100.0 * 0.8 if vix else 0.1))),
        raw.get("cash"),
        raw.get("source"),
        {_ordinal(day): tuple(map(float, prices)) for day, prices in raw.get("bars", {}).items()},
        {_ordinal(day): tuple(map(float, prices)) for day, prices in raw.get("vix_bars", {}).items()},
        {_ordinal(day): _shape(nodes) for day, nodes in raw.get("shapes", {}).items()},
        {_ordinal(day): _shape(nodes) for day, nodes in raw.get("vix_shapes", {}).items()},
        {_ordinal(day): QuoteFaults(**fault) for day, fault in raw.get("faults", {}).items()},
        {
            (str(item["ticker"]), item["day"].toordinal()): (int(item["first"]), int(item["last"]))
            for item in raw.get("silent", [])
        },
        {_nth_day(start, int(day)): float(dollars) for day, dollars in raw.get("flows", [])},
        raw.get("tries", ""),
        raw.get("shock"),
        raw.get("calm"),
        raw.get("open_until"),
        raw.get("pin"),
    )


def _ordinal(text: str) -> int:
    return date.fromisoformat(text).toordinal()


def _shape(nodes: list[list[float]]) -> DayShape:
    table = np.asarray(nodes, dtype=np.float64)
    return DayShape(table[:, 0], table[:, 1])


def _nth_day(start: date, count: int) -> date:
    first = calendar().index(calendar().on_or_after(start))
    return date.fromordinal(int(calendar().ordinals[first + count - 1]))


def _path(name: str, raw: Mapping[str, Any]) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Closes of index and VIX.

    Known rows first, then segments of [days, whole move in percent, VIX at the end, daily percent].
    """
    index, vix = [float(raw["index"])], [float(raw["vix"])]
    for close, volatility in raw.get("rows", []):
        index.append(float(close))
        vix.append(float(volatility))
    draw = stream(0, f"scenario/{name}")
    for days, move, target, daily in raw.get("segments", []):
        noise = draw.standard_normal(int(days))
        noise = (noise - noise.mean()) * daily / 100.0
        steps = np.log1p(move / 100.0) / days + noise
        closes = index[-1] * np.exp(np.cumsum(steps))
        passed = np.arange(1, int(days) + 1) / days
        levels = np.log(vix[-1]) + passed * np.log(target / vix[-1]) - 3.0 * np.cumsum(noise)
        index += np.round(closes, 2).tolist()
        vix += np.round(np.exp(levels), 2).tolist()
    return tuple(index), tuple(vix)


def history_of(plan: Scenario) -> MarketHistory:
    """The scenario's days behind its prelude, as daily history."""
    days = plan.days
    first = calendar().index(days[0])
    before = calendar().ordinals[first - PRELUDE_DAYS : first]
    quiet, fear = _prelude(plan, len(before))
    ordinals = np.concatenate((before, [day.toordinal() for day in days])).astype(np.int64)
    close = np.concatenate((quiet, plan.index[1:]))
    vix = np.concatenate((fear, plan.vix[1:]))
    bars = [_day_bar(plan, int(ordinals[row]), close[row - 1] if row else close[0], close[row], vix[max(row - 1, 0)])
            for row in range(len(close))]  # fmt: skip
    table = np.asarray(bars)
    index = DailyBars(
        f"scenario {plan.name}", Role.INDEX, ordinals, table[:, 0], table[:, 1], table[:, 2], close, TRADED_SHARE,
        (f"scenario {plan.name}: {plan.facts}",),
    )  # fmt: skip
    known = np.full((len(close), 3), np.nan)
    for row, ordinal in enumerate(ordinals.tolist()):
        if ordinal in plan.vix_bars:
            known[row] = plan.vix_bars[ordinal]
    fears = DailyBars(f"{plan.name} VIX", Role.VOLATILITY, ordinals, known[:, 0], known[:, 1], known[:, 2], vix)
    return MarketHistory(index, fears, {})


def _prelude(plan: Scenario, count: int) -> tuple[FloatArray, FloatArray]:
    """Quiet days that end at the scenario's start.

    A slow rise with its own daily noise, and a VIX about its starting level.
    """
    draw = stream(0, f"prelude/{plan.name}")
    daily = plan.prelude_volatility / WEIGHT_OF_YEAR**0.5
    noise = draw.standard_normal(count) * daily
    walk = np.cumsum(noise + 0.0003)
    close = np.round(plan.index[0] * np.exp(walk - walk[-1]), 2)
    fear = np.empty(count)
    level = 0.0
    for row in range(count):
        level = 0.93 * level - 4.0 * float(noise[row]) + 0.03 * float(draw.standard_normal())
        fear[row] = level
    fear = np.round(plan.vix[0] * np.exp(np.clip(fear - fear[-1], -0.6, 0.6)), 2)
    return close, fear


def _day_bar(plan: Scenario, ordinal: int, before: float, close: float, vix: float) -> tuple[float, float, float]:
    """Open, high and low.

    The known ones, or a third of the move overnight and room of half a deviation around the rest.
    """
    if ordinal in plan.bars:
        opened, high, low = plan.bars[ordinal]
        return opened, high, low
    draw = stream(0, f"bars/{plan.name}", ordinal)
    daily = vix / 100.0 * 0.8 / WEIGHT_OF_YEAR**0.5
    opened = round(before * (close / before) ** 0.33 * float(np.exp(0.3 * daily * draw.standard_normal())), 2)
    up, down = 0.45 * daily * draw.exponential(size=2)
    high, low = max(opened, close) * float(np.exp(up)), min(opened, close) * float(np.exp(-down))
    shape = plan.shapes.get(ordinal)
    if shape is not None:
        high, low = max(high, float(shape.level.max())), min(low, float(shape.level.min()))
    return opened, round(high, 2), round(low, 2)


def run_range(plan: Scenario) -> tuple[date, date]:
    """The days to run: the scenario's own, with two weeks of the prelude before them."""
    first = calendar().on_or_after(plan.start - timedelta(days=14))
    return (first, plan.end) if plan.source is None else (plan.start, plan.end)
