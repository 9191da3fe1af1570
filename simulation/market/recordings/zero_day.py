"""Same-day options by the time of day, beside prices of 5-minute bars: straddle, condor, decay, realised moves."""

from __future__ import annotations

import gzip
import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import date
from pathlib import Path

import numpy as np

from simulation.market.assets import anchor_years
from simulation.market.calendar import CASH_INDEX, OPEN_MINUTE, FloatArray, VarianceClock, calendar
from simulation.market.recordings.beside import USUAL_SURPRISE, Fears
from simulation.market.recordings.slices import implied_deviation, size_of_delta
from simulation.market.surface import (
    EQUITY_INDEX,
    TermState,
    black,
    shape_of,
    skew_strength,
    steepness,
    surface_day,
)

FARTHEST = 4.0  # points between forward by parity and index beyond which bars are of different moments
WIDTH, SOLD = 15.0, 0.16


@dataclass(frozen=True)
class Moment:
    """Options that expire today at one time: out-of-the-money mids by strike, forward by parity, and the close."""

    day: date
    clock: str
    minute: int
    forward: float
    strike: FloatArray
    sign: FloatArray
    mid: FloatArray
    last: float


def moments(path: Path) -> Iterator[Moment]:
    """What the file of bars holds, without moments whose bars do not fit each other."""
    with gzip.open(path, "rt", encoding="utf-8") as stream:
        table: dict[str, dict[str, dict[str, object]]] = json.load(stream)
    for written, clocks in sorted(table.items()):
        last = float(str(clocks.get("15:30", {}).get("spx", "nan")))
        for clock, bar in sorted(clocks.items()):
            found = _moment(date.fromisoformat(written), clock, bar, last)
            if found is not None:
                yield found


def _moment(day: date, clock: str, bar: dict[str, object], last: float) -> Moment | None:
    quotes = bar["strikes"]
    assert isinstance(quotes, dict)
    strikes = np.array(sorted(float(strike) for strike in quotes))
    sides = [quotes[f"{strike:.0f}"] for strike in strikes]
    call, put = (np.array([float(side.get(right, np.nan)) for side in sides]) for right in ("C", "P"))
    both = ~np.isnan(call) & ~np.isnan(put)
    spot = float(str(bar["spx"]))
    if both.sum() < 5:
        return None
    near = np.argsort(np.abs(strikes[both] - spot), kind="stable")[:7]
    forward = float(np.median((strikes + call - put)[both][near]))
    if abs(forward - spot) > FARTHEST:
        return None
    sign = np.where(strikes < forward, -1.0, 1.0)
    mid = np.where(sign < 0, put, call)
    kept = mid > 0.0
    hour, minute = (int(part) for part in clock.split(":"))
    return Moment(day, clock, hour * 60 + minute - OPEN_MINUTE, forward, strikes[kept], sign[kept], mid[kept], last)


def smile_at(one: Moment, level: float, fears: Fears) -> tuple[FloatArray, FloatArray]:
    """The model's deviations at the moment's strikes and at the money, for a volatility index of that minute."""
    row, days = fears.row(one.day), calendar()
    session = days.session_minutes(one.day)
    lasting = float(fears.lasting[row])
    memory = TermState(
        EQUITY_INDEX.lasting_variance(lasting), float(fears.recent[row]), lasting, skew_strength(one.day.year)
    )
    clock = VarianceClock(CASH_INDEX)
    flat = np.full(session + 1, level)
    made = surface_day(EQUITY_INDEX, flat, anchor_years(clock, one.day), memory, np.full(session + 1, USUAL_SURPRISE))
    at = slice(one.minute, one.minute + 1)
    theta = made.theta(clock.remaining_today(one.day))[at]
    shape = shape_of(theta, EQUITY_INDEX.rho, steepness(theta, made.eta[at]))
    return np.sqrt(shape.variance(np.log(one.strike / one.forward))), np.sqrt(theta)


@dataclass(frozen=True)
class Row:
    """A moment's figures, recorded and model: straddle and condor credit, put less call at half a percent, realised."""

    day: date
    clock: str
    straddle: tuple[float, float]
    credit: tuple[float, float]
    tilt: tuple[float, float]
    moved: float


def _credit(one: Moment, price: FloatArray, deviation: FloatArray) -> float:
    """Credit over width of a condor sold nearest to 16 delta by ``deviation``; NaN where a long is not in the file."""
    delta, credit = size_of_delta(one.forward, one.strike, deviation, one.sign), 0.0
    for sign in (-1.0, 1.0):
        side = np.flatnonzero(one.sign == sign)
        if not len(side):
            return float("nan")
        short = side[int(np.argmin(np.abs(delta[side] - SOLD)))]
        long = np.flatnonzero(np.abs(one.strike - (one.strike[short] + sign * WIDTH)) < 0.01)
        if not len(long) or abs(delta[short] - SOLD) > 0.06:
            return float("nan")
        credit += float(price[short] - price[long[0]])
    return credit / WIDTH


def row_of(one: Moment, fears: Fears, level: float) -> Row | None:
    """The moment's figures; ``None`` where the money is not between strikes of the file."""
    recorded = implied_deviation(one.mid, one.forward, one.strike, one.sign)
    known = ~np.isnan(recorded)
    if known.sum() < 5:
        return None
    away = np.log(one.strike / one.forward)
    money = float(np.interp(0.0, away[known], recorded[known]))
    model, centre = smile_at(one, level, fears)
    whole = np.full(len(one.strike), one.forward)
    price = black(whole, one.strike, model**2, 1.0, one.sign)
    half = []
    for deviations in (recorded, model):
        usable = ~np.isnan(deviations)
        sides = [
            float(
                black(
                    np.array([one.forward]), one.forward * float(np.exp(0.005 * sign)),
                    np.array([np.interp(0.005 * sign, away[usable], deviations[usable])]) ** 2.0, 1.0, sign,
                )[0]
            )
            for sign in (-1.0, 1.0)
        ]  # fmt: skip
        half.append(100.0 * (sides[0] - sides[1]) / one.forward)
    unit = 2.0 * 0.3989423 * 100.0
    return Row(
        one.day, one.clock, (unit * money, unit * float(centre[0])),
        (_credit(one, one.mid, recorded), _credit(one, price, model)), (half[0], half[1]),
        100.0 * abs(np.log(one.last / one.forward)),
    )  # fmt: skip


def rows_of(path: Path, fears: Fears, *, looked_at: bool = False) -> list[Row]:
    """Usable moments of every second day; the volatility index lies on a line from its open to its close.

    ``looked_at``: the days by which numbers were chosen, instead of those that only report.
    """
    found = []
    every = list(moments(path))
    kept = set(sorted({one.day for one in every})[0 if looked_at else 1 :: 2])
    for one in (one for one in every if one.day in kept):
        try:
            row = fears.row(one.day)
        except KeyError:
            continue
        session = calendar().session_minutes(one.day)
        opened, close = float(fears.bars.open[row]), float(fears.bars.close[row])
        made = row_of(one, fears, opened + (close - opened) * one.minute / session) if one.minute < session else None
        if made is not None:
            found.append(made)
    return found


def ratio_text(pairs: Sequence[tuple[float, float]]) -> str:
    """Mean recorded, mean model and their ratio with a 95 % interval over days."""
    table = np.array([pair for pair in pairs if not np.isnan(pair).any()])
    if len(table) < 20:
        return ""
    generator = np.random.default_rng(18)
    drawn = [table[generator.integers(len(table), size=len(table))].mean(axis=0) for _ in range(500)]
    low, high = np.percentile([mean[1] / mean[0] for mean in drawn], (2.5, 97.5))
    recorded, model = table.mean(axis=0)
    return f"{recorded:.3f}, {model:.3f}, {model / recorded:.2f} ({low:.2f} to {high:.2f})"


def zero_day_tables(folder: Path, fears: Fears) -> list[str]:
    """The table by time of day; nothing where the file of bars is absent."""
    path = folder / "bar_mids.json.gz"
    if not path.is_file():
        return list[str]()
    rows = rows_of(path, fears)
    lines = [
        "| time | days | straddle, % of the index: recorded, model, ratio (95 %) | 16-delta condor 15 points wide, "
        "credit over width | put less call at 0.5 %, % of the index | decay from the time before, recorded; model | "
        "move to 15:30 over straddle |",
        "|---|---|---|---|---|---|---|",
    ]
    before: tuple[float, float] | None = None
    for clock in sorted({row.clock for row in rows}):
        here = [row for row in rows if row.clock == clock]
        straddle = np.array([row.straddle for row in here]).mean(axis=0)
        decay = "" if before is None else "; ".join(f"{1.0 - straddle[k] / before[k]:.0%}" for k in (0, 1))
        moved = np.array([(row.moved, row.straddle[0]) for row in here if not np.isnan(row.moved)])
        after = f"{moved[:, 0].mean() / moved[:, 1].mean():.2f}" if clock < "15:00" else ""
        lines.append(
            f"| {clock} | {len(here)} | {ratio_text([row.straddle for row in here])} | "
            f"{ratio_text([row.credit for row in here])} | {ratio_text([row.tilt for row in here])} | "
            f"{decay} | {after} |"
        )
        before = (float(straddle[0]), float(straddle[1]))
    return lines
