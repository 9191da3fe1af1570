"""The method over all history that is there: ``python run.py tool benchmarks.results [--write PAGE]``.

Every strategy under the settings as they are shipped, over `history` (``--start`` and ``--end`` narrow it) and over
daily files of SPY and VIX where they are (``--files FOLDER``, ``../shared/data`` unless given; from 2006), with
accounts of four sizes, and once more with promotion to be earned. Prints Markdown; with ``--write`` it takes the place
between the two marks of a page (docs/results.md). Nothing is chosen by its result: one seed, the shipped settings.

``--pictures [NAME ...]`` draws the pictures of README.md and docs/ anew, in the clone: a test holds each to what this
draws, so that no document shows figures that a run does not give.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from functools import cache, partial
from itertools import pairwise
from pathlib import Path
from typing import Any, Final

from benchmarks.market import day_picture, years_picture
from cli.backtest import run_and_report
from cli.options import JOURNAL, ROOT, BacktestOptions
from core.contracts import Contract, Right
from core.instruments import contract_named
from core.settings.strategies import TITLES
from core.storage import replace_file
from greeks.black_scholes import european_price
from greeks.implied import implied_volatility
from reporting.charts import thin
from reporting.intervals import Interval, Unit
from reporting.markup import Markup, element, figure, money, span
from reporting.performance import TargetRow, TradeStatistics
from reporting.report import RunRecord, Summary, tile_texts
from reporting.rows import EquityPoint, strategy_title

FILES = ROOT.parent / "shared" / "data"
SIZES = (40_000, 60_000, 90_000, 150_000)
GATED = 150_000  # the size of the run that has to earn its phases
BEGIN, END = "<!-- results: begin -->", "<!-- results: end -->"
CORES = 2


@dataclass(frozen=True, slots=True)
class Plan:
    """One run: its market by a name and as ``--market`` takes it, its days, its cash and whether phases are earned."""

    name: str
    market: str
    start: str | None
    end: str | None
    cash: int
    earned: bool = False

    @property
    def account(self) -> str:
        """The account as a row says it."""
        return f"{self.cash:,}" + (", phases earned" if self.earned else "")


@dataclass(frozen=True, slots=True)
class Outcome:
    """What is shown of a run. ``peak`` and ``mean_peak``: buying power used at most, of a day's equity."""

    plan: Plan
    start: date
    end: date
    targets: tuple[TargetRow, ...]
    strategies: tuple[TradeStatistics, ...]
    total: TradeStatistics
    worst: tuple[date, float] | None
    peak: float | None
    mean_peak: float | None
    orders: str
    seconds: float
    error: str | None


def plans(files: Path, days: tuple[str | None, str | None]) -> Iterator[Plan]:
    """Every run, the longest last; ``days`` are the first and last of ``history``, its own range where ``None``."""
    markets: list[tuple[str, str, str | None, str | None]] = [("history", "history", *days)]
    spy, vix = files / "spy-daily.csv", files / "vix-daily.csv"
    if spy.is_file() and vix.is_file():
        markets.append(("files", f"csv:spy={spy},vix={vix}", "2006-01-03", "2020-12-31"))
    for name, market, start, end in markets:
        yield from (Plan(name, market, start, end, cash) for cash in SIZES)
        if name == "history":
            yield Plan(name, market, start, end, GATED, earned=True)


def played(plan: Plan) -> Outcome:
    """Run one plan in a folder of its own and keep what is shown."""
    with tempfile.TemporaryDirectory() as folder:
        options = BacktestOptions(
            market=plan.market,
            start=plan.start,
            end=plan.end,
            cash=str(plan.cash),
            strategies="all",
            set_=[f"phases.earned_progression={str(plan.earned).lower()}"],
            out=Path(folder) / "run",
        )
        done = run_and_report(options)
        shares = list(used(done.folder / JOURNAL))
    record, summary = done.record, done.summary
    return Outcome(
        plan=plan,
        start=record.start,
        end=record.end,
        targets=summary.targets,
        strategies=summary.strategies,
        total=summary.total,
        worst=worst_day(record.equity),
        peak=max(shares, default=None),
        mean_peak=sum(shares) / len(record.equity) if shares and record.equity else None,
        orders=record.facts.get("Order list hash", "")[:16],
        seconds=done.seconds,
        error=done.error,
    )


def used(journal: Path) -> Iterator[float]:
    """The most buying power that each day used, as a share of its equity."""
    with journal.open(encoding="utf-8") as lines:
        for line in lines:
            row = json.loads(line)
            if row.get("kind") == "exposure" and row["equity"] > 0.0:
                yield float(row["margin_peak"]) / float(row["equity"])


def worst_day(equity: Sequence[EquityPoint]) -> tuple[date, float] | None:
    """The session with the largest loss, and its return."""
    moves = [(after.equity / before.equity - 1.0, after.day) for before, after in pairwise(equity)]
    return None if not moves else (min(moves)[1], min(moves)[0])


def percent(value: float | None, interval: Interval | None = None) -> str:
    """A share in percent, with its interval where there is one."""
    shown = figure(value, Unit.PERCENT)
    return shown if interval is None else f"{shown} ({span(interval, Unit.PERCENT)})"


def run_row(found: Outcome) -> str:
    """One run in one row."""
    by_name = {row.name: row for row in found.targets}
    trades, yearly, fall, sharpe = (
        by_name[name] for name in ("trades a year", "annual return", "largest drawdown", "Sharpe ratio")
    )
    day = "none" if found.worst is None else f"{percent(found.worst[1])} on {found.worst[0]}"
    cells = (
        found.plan.account,
        f"{found.total.count} ({figure(trades.measured, Unit.NUMBER)})",
        percent(found.total.win_rate, found.total.win_interval),
        percent(yearly.measured, yearly.interval),
        percent(fall.measured, fall.interval),
        figure(sharpe.measured, Unit.NUMBER) + f" ({span(sharpe.interval, Unit.NUMBER)})",
        day,
        f"{percent(found.mean_peak)}, {percent(found.peak)}",
        f"`{found.orders}`",
    )
    return "| " + " | ".join(cells) + " |"


def strategy_row(found: Outcome, row: TradeStatistics, judged: TargetRow | None) -> str:
    """One strategy of one run."""
    cells = (
        found.plan.account,
        row.name,
        str(row.count),
        percent(row.win_rate, row.win_interval),
        "none stated" if judged is None else f"{percent(judged.target)}: {judged.verdict.value}",
        f"{row.profit:,.0f}",
        "unknown" if row.profit_factor is None else f"{row.profit_factor:.2f}",
        "unknown" if row.largest_loss is None else f"{row.largest_loss:,.0f}",
    )
    return "| " + " | ".join(cells) + " |"


def verdicts(found: Outcome) -> str:
    """What of the method's promise a run kept."""
    kept: dict[str, list[str]] = {}
    for row in found.targets:
        kept.setdefault(row.verdict.value, []).append(row.name)
    words = "; ".join(f"{verdict}: {', '.join(names)}" for verdict, names in sorted(kept.items()))
    return f"- {found.plan.name}, {found.plan.account}: {words}." + (f" Stopped: {found.error}" if found.error else "")


def pages(outcomes: Sequence[Outcome]) -> list[str]:
    """All tables, a market at a time."""
    lines: list[str] = []
    for name in dict.fromkeys(one.plan.name for one in outcomes):
        group = [one for one in outcomes if one.plan.name == name]
        lines += ["", f"### {name}: {group[0].start} to {group[0].end}", ""]
        lines += ["| account | trades (a year) | won | return a year | largest drawdown | Sharpe | worst day "
                  "| buying power, mean of the days' peaks and highest | orders |"]  # fmt: skip
        lines += ["|---|---|---|---|---|---|---|---|---|", *(run_row(one) for one in group), ""]
        lines += ["| account | strategy | trades | won | target | profit | profit factor | largest loss |"]
        lines += ["|---|---|---|---|---|---|---|---|"]
        for one in group:
            judged = {row.name.removeprefix("win rate, "): row for row in one.targets}
            lines += [strategy_row(one, row, judged.get(strategy_title(row.name))) for row in one.strategies]
        lines += ["", *(verdicts(one) for one in group)]
    return lines


# The pictures of the documents

DOCS = Path(__file__).resolve().parents[1] / "docs"
FIRST, LAST = "2016-01-04", "2016-02-26"  # the README's example, and the days of config.json
EXAMPLES: Final[Mapping[str, tuple[str, str]]] = {
    "friday_0dte": ("2018-03-23", "2018-03-26"),
    "lt112": ("2018-03-07", "2018-07-31"),
    "futures_strangle": ("2018-03-13", "2018-07-31"),
    "leap_ladder": ("2018-03-12", "2018-12-31"),
    "ipmcc": ("2018-03-05", "2018-03-09"),
    "ratio": ("2018-03-13", "2018-05-31"),
    "enhanced": ("2018-03-13", "2018-05-31"),
    "butterfly": ("2018-02-09", "2018-02-12"),
    "diagonal": ("2018-03-13", "2018-05-31"),
    "box": ("2018-03-07", "2018-03-07"),
}
"""By strategy: first and last day of the run that its page shows an entry of."""
EXAMPLE_SETTINGS: Final[Mapping[str, Sequence[str]]] = {"box": ("box.cash_wanted=100000", "fills.model=mid")}
"""What such a run needs beside that: a box has to be wanted, and stays at mid, where nothing fills as `worked`."""
EXAMPLE_CASH: Final = "300000"
WIDTH = 900
COLUMNS = 4
TILE = (WIDTH // COLUMNS, 74)
MARGIN = 24
CHART = 200


def run_picture() -> str:
    """The report of Friday 0DTE alone over the README's example period, under config.json's settings."""
    with tempfile.TemporaryDirectory() as folder:
        done = run_and_report(
            BacktestOptions(start=FIRST, end=LAST, strategies="friday_0dte", out=Path(folder) / "run")
        )
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
        out, set_ = Path(folder) / "run", list(EXAMPLE_SETTINGS.get(strategy, ()))
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


def main(arguments: Sequence[str] | None = None) -> int:
    """Run every plan on two processes and print the tables."""
    parser = argparse.ArgumentParser(prog="benchmarks.results", description=__doc__)
    parser.add_argument("--files", type=Path, default=FILES)
    parser.add_argument("--write", type=Path, default=None)
    parser.add_argument("--only", default=None, help="history or files")
    parser.add_argument("--start", default=None, help="first day on history")
    parser.add_argument("--end", default=None, help="last day on history")
    parser.add_argument("--pictures", nargs="*", choices=sorted(PICTURES), default=None, help="draw these, or all")
    chosen = parser.parse_args(arguments)
    if chosen.pictures is not None:
        for name in chosen.pictures or PICTURES:
            replace_file(DOCS / name, PICTURES[name](), durable=False)
            sys.stdout.write(f"docs/{name}\n")
        return 0
    wanted = [plan for plan in plans(chosen.files, (chosen.start, chosen.end)) if chosen.only in (None, plan.name)]
    with multiprocessing.get_context("spawn").Pool(CORES) as pool:
        outcomes = pool.map(played, wanted, chunksize=1)
    text = "\n".join(pages(outcomes))
    sys.stdout.write(text + "\n")
    sys.stdout.write(f"\nseconds: {', '.join(f'{one.seconds:.0f}' for one in outcomes)}\n")
    if chosen.write is not None:
        page = chosen.write.read_text(encoding="utf-8")
        head, tail = page.split(BEGIN)[0], page.split(END)[1]
        replace_file(chosen.write, f"{head}{BEGIN}\n{text}\n{END}{tail}", durable=False)
    return 0


if __name__ == "__main__":
    sys.exit(main())
