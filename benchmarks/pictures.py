"""Draws the pictures of README.md and docs/ anew: `python run.py tool benchmarks.pictures`, in the clone.

A test holds each picture to what this draws, so that no document shows figures that a run does not give.
"""

from __future__ import annotations

import json
import sys
import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import cache, partial
from pathlib import Path
from typing import Any, Final

from benchmarks.market import day_picture, years_picture
from cli.backtest import run_and_report
from cli.options import BacktestOptions
from core.contracts import Contract, Right
from core.instruments import contract_named
from core.settings.strategies import TITLES
from core.storage import replace_file
from greeks.black_scholes import european_price
from greeks.implied import implied_volatility
from reporting.charts import thin
from reporting.markup import Markup, element, money
from reporting.report import RunRecord, Summary, tile_texts
from reporting.rows import EquityPoint

DOCS = Path(__file__).resolve().parents[1] / "docs"
START, END = "2016-01-04", "2016-02-26"  # the README's example, and the days of config.json
EXAMPLES: Final[Mapping[str, tuple[str, str]]] = {
    "friday_0dte": ("2018-03-23", "2018-03-26"),
    "lt112": ("2018-03-07", "2018-03-07"),
    "leap_ladder": ("2018-03-12", "2018-03-12"),
    "ipmcc": ("2018-03-05", "2018-03-09"),
    "ratio": ("2018-03-13", "2018-03-13"),
    "enhanced": ("2018-03-13", "2018-03-13"),
    "butterfly": ("2018-02-09", "2018-02-12"),
    "diagonal": ("2018-03-13", "2018-03-13"),
}
"""By strategy: first and last day of the run that its page shows an entry of."""
EXAMPLE_CASH: Final = "300000"
WIDTH = 900
COLUMNS = 4
TILE = (WIDTH // COLUMNS, 74)
MARGIN = 24
CHART = 200


def run_picture() -> str:
    """The report of Friday 0DTE alone over the README's example period, under config.json's settings."""
    with tempfile.TemporaryDirectory() as folder:
        done = run_and_report(BacktestOptions(start=START, end=END, strategies="friday_0dte", out=Path(folder) / "run"))
    return report_picture(done.record, done.summary)


def report_picture(record: RunRecord, summary: Summary) -> str:
    """Title, tiles and equity of a run; the same run gives the same text."""
    tiles = tile_texts(record, summary)
    rows = -(-len(tiles) // COLUMNS)
    top = 84 + rows * TILE[1]
    parts = [
        element("rect", width=WIDTH, height=top + CHART + MARGIN, fill="#ffffff"),
        text(MARGIN, 38, record.title, 22, "#17202a"),
        text(MARGIN, 62, f"{record.start} to {record.end}. Market: {record.provenance.market}", 13, "#5d6d7e"),
    ]
    for index, (name, value, note) in enumerate(tiles):
        left, upper = MARGIN + index % COLUMNS * TILE[0], 84 + index // COLUMNS * TILE[1]
        parts += [
            text(left, upper + 14, name, 12, "#5d6d7e"),
            text(left, upper + 38, value, 20, "#17202a"),
            text(left, upper + 55, shortened(note), 10, "#5d6d7e"),
        ]
    parts += chart(record.equity, top)
    return drawn(parts, top + CHART + MARGIN)


def text(left: float, base: float, words: object, size: int, colour: str) -> Markup:
    """One line of text; ``base`` is its baseline."""
    return element("text", words, x=round(left, 1), y=round(base, 1), font_size=size, fill=colour)


def shortened(note: str, most: int = 38) -> str:
    """A note that stays within its tile."""
    return note if len(note) <= most else f"{note[: most - 1].rstrip()}\N{HORIZONTAL ELLIPSIS}"


def chart(points: Sequence[EquityPoint], top: float) -> tuple[Markup, ...]:
    """The equity at each session's close, its lowest and highest marked; nothing with under two points."""
    shown = thin(points)
    if len(shown) < 2:
        return ()
    low, high = min(point.equity for point in shown), max(point.equity for point in shown)
    first, days = shown[0].day.toordinal(), shown[-1].day.toordinal() - shown[0].day.toordinal() or 1
    wide, tall = WIDTH - 2 * MARGIN, CHART - 40

    def at(point: EquityPoint) -> str:
        across = MARGIN + wide * (point.day.toordinal() - first) / days
        down = top + 20 + tall * (high - point.equity) / ((high - low) or 1.0)
        return f"{across:.1f},{down:.1f}"

    line = " ".join(at(point) for point in shown)
    return (
        element("polyline", points=line, fill="none", stroke="#1f6feb", stroke_width=1.6),
        text(MARGIN, top + 12, f"{money(high)} at its highest", 10, "#5d6d7e"),
        text(MARGIN, top + CHART - 6, f"{money(low)} at its lowest", 10, "#5d6d7e"),
    )


# Payoffs: an entry of a strategy out of a run, with every number of it


@dataclass(frozen=True, slots=True)
class Example:
    """The first entry of a strategy that a run filled: its legs with signed quantities and prices in points."""

    strategy: str
    opened: datetime
    spot: float
    vix: float
    legs: tuple[tuple[Contract, int, float], ...]
    fees: float
    ends: tuple[str, ...]

    @property
    def cash(self) -> float:
        """Dollars that its legs brought, before fees."""
        return -sum(count * price * contract.multiplier for contract, count, price in self.legs)

    def profit(self, price: float) -> float:
        """Dollars at the first expiry at a price of the underlying, fees of the entry paid.

        A leg that lives on is worth what the volatility of its entry price says, without interest.
        """
        end = min(contract.expiry for contract, _, _ in self.legs)
        value = 0.0
        for contract, count, paid in self.legs:
            call = contract.right is Right.CALL
            worth = max(price - contract.strike if call else contract.strike - price, 0.0)
            if contract.expiry > end:
                figures = (contract.strike, (contract.expiry - self.opened.date()).days / 365.0)
                volatility = implied_volatility(paid, self.spot, *figures, 0.0, 0.0, call).volatility
                left = (contract.expiry - end).days / 365.0
                worth = float(european_price(price, contract.strike, left, volatility, 0.0, 0.0, call)[0])
            value += count * worth * contract.multiplier
        return self.cash - self.fees + value


@cache
def example(strategy: str) -> Example:
    """Of the strategy's run. Raises KeyError where it opened nothing."""
    start, end = EXAMPLES[strategy]
    with tempfile.TemporaryDirectory() as folder:
        out, set_ = Path(folder) / "run", ["phases.earned_progression=false"]
        days = BacktestOptions(start=start, end=end, cash=EXAMPLE_CASH, strategies=strategy, set_=set_, out=out)
        run_and_report(days)
        lines = (out / "journal.jsonl").read_text(encoding="utf-8").splitlines()
    return examples_of([json.loads(line) for line in lines])[strategy]


def examples_of(rows: Sequence[Mapping[str, Any]]) -> Mapping[str, Example]:
    """The first filled entry of each strategy in a journal's rows."""
    fills: dict[str, list[Mapping[str, Any]]] = {}
    for row in rows:
        if row["kind"] == "fill":
            fills.setdefault(row["group"], []).append(row)
    spots = {row["correlation"]: row for row in rows if row["kind"] == "decision" and row["outcome"] == "trade"}
    found: dict[str, Example] = {}
    for row in rows:
        entry = row["kind"] == "order" and (row["purpose"], row["action"]) == ("entry", "sent")
        if not entry or row["strategy"] in found or row["group"] not in fills or row["correlation"] not in spots:
            continue
        filled, decided = fills[row["group"]], spots[row["correlation"]]
        legs = [(contract_named(fill["contract"]), round(fill["quantity"]), fill["price"]) for fill in filled]
        ends = tuple(_end(trade) for trade in rows if _is_of(trade, row["position"]))
        found[row["strategy"]] = Example(
            row["strategy"],
            datetime.fromisoformat(filled[-1]["time"]),
            decided["spot"],
            decided["vix"],
            tuple((contract, count, price) for contract, count, price in legs if contract is not None),
            sum(fill["fee"] for fill in filled),
            ends or ("It stands at the end of the run.",),
        )
    return found


def _is_of(row: Mapping[str, Any], position: str) -> bool:
    return bool(row["kind"] == "trade_closed" and row["position"] == position)


def _end(row: Mapping[str, Any]) -> str:
    part = "" if row["part"] == "whole" else f"{row['part']}: "
    return f"{part}{row['exit_rule']} on {row['closed'][:10]}, {row['reason']}; profit {row['profit']:,.2f}"


def payoff_picture(strategy: str) -> str:
    """An entry's payoff at its first expiry, its legs, what they brought, and what became of it."""
    one = example(strategy)
    strikes = [contract.strike for contract, _, _ in one.legs]
    low, high = min(*strikes, one.spot), max(*strikes, one.spot)
    margin = max(0.35 * (high - low), 0.04 * one.spot)
    prices = sorted({low - margin + (high - low + 2 * margin) * step / 240 for step in range(241)} | set(strikes))
    profits = [one.profit(price) for price in prices]
    top, bottom = max(*profits, 0.0), min(*profits, 0.0)
    tall, left, wide, begin = 190, MARGIN, WIDTH - 2 * MARGIN, 84

    def at(price: float, profit: float) -> tuple[float, float]:
        across = left + wide * (price - prices[0]) / (prices[-1] - prices[0])
        return across, begin + tall * (top - profit) / ((top - bottom) or 1.0)

    line = " ".join(f"{x:.1f},{y:.1f}" for x, y in map(at, prices, profits))
    zero, here = at(prices[0], 0.0)[1], at(one.spot, 0.0)[0]
    ticker, first = one.legs[0][0].underlying.price_key, min(contract.expiry for contract, _, _ in one.legs)
    words = [
        f"{count:+d} {contract.root} {contract.expiry} {contract.strike:g} {contract.right.value} at {price:g}"
        for contract, count, price in one.legs
    ]
    words += [f"{'Received' if one.cash > 0 else 'Paid'} {abs(one.cash):,.2f} dollars, fees {one.fees:,.2f}."]
    words += [f"Between {prices[0]:,.2f} and {prices[-1]:,.2f}: best {max(profits):,.2f}, worst {min(profits):,.2f}."]
    height = begin + tall + 34 + 17 * (len(words) + len(one.ends)) + MARGIN
    parts = [
        element("rect", width=WIDTH, height=height, fill="#ffffff"),
        text(left, 34, f"{TITLES[strategy]}: {ticker} on {one.opened:%Y-%m-%d %H:%M}", 20, "#17202a"),
        text(left, 58, f"Profit in dollars on {first} over the price of {ticker}; it stood at {one.spot:,.2f}, "
             f"the VIX at {one.vix:.2f}", 13, "#5d6d7e"),
        element("line", x1=left, x2=left + wide, y1=round(zero, 1), y2=round(zero, 1), stroke="#aeb6bf"),
        element("line", x1=round(here, 1), x2=round(here, 1), y1=begin, y2=begin + tall, stroke="#aeb6bf",
                stroke_dasharray="3 3"),
        element("polyline", points=line, fill="none", stroke="#1f6feb", stroke_width=1.8),
    ]  # fmt: skip
    for strike in sorted(set(strikes)):
        parts.append(text(at(strike, 0.0)[0] - 10, begin + tall + 14, f"{strike:g}", 10, "#5d6d7e"))
    for place, sentence in enumerate((*words, *one.ends)):
        parts.append(text(left, begin + tall + 40 + 17 * place, sentence, 12, "#17202a"))
    return drawn(parts, height)


def drawn(parts: Sequence[Markup], height: float) -> str:
    """A picture of its parts."""
    body = element(
        "svg",
        *(Markup(f"\n  {part}") for part in parts),
        Markup("\n"),
        xmlns="http://www.w3.org/2000/svg",
        viewBox=f"0 0 {WIDTH} {height}",
        width=WIDTH,
        height=height,
        role="img",
        font_family="system-ui, sans-serif",
    )
    return f"{body}\n"


PAYOFFS = {f"strategies/{name}.svg": partial(payoff_picture, name) for name in EXAMPLES}
PICTURES: Mapping[str, Callable[[], str]] = {
    "report.svg": run_picture,
    "market-day.svg": day_picture,
    "market-years.svg": years_picture,
    **PAYOFFS,
}

if __name__ == "__main__":
    for name in sys.argv[1:] or PICTURES:
        replace_file(DOCS / name, PICTURES[name](), durable=False)
        print(f"docs/{name}")
