"""``python run.py scenario``: main.py through a named day or week; ``rehearse``: a day as live, with drills."""

from __future__ import annotations

import queue
import shutil
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from cli.backtest import NOTHING_HELD, Finished, run_and_report
from cli.errors import RunFailedError, UserError
from cli.markets import open_market
from cli.options import BacktestOptions, a_date, plan_of

if TYPE_CHECKING:
    from simulation.live_mode.rehearsal import Rehearsal
    from simulation.market.scenarios import Scenario
    from simulation.market.source import ModelledMarket

BLOCKS = "▁▂▃▄▅▆▇█"


@dataclass(frozen=True, slots=True)
class ScenarioPath:
    """A scenario's market and the closes of its days; NaN where the volatility index published nothing."""

    plan: Scenario
    market: ModelledMarket
    days: list[date]
    index: list[float]
    volatility: list[float]

    def picture(self) -> str:
        """The path as an SVG chart."""
        import numpy as np

        from reporting.charts import path_picture

        labels = [day.isoformat() for day in self.days]
        return path_picture(self.plan.title, labels, np.array(self.index), np.array(self.volatility))


def run_scenario(name: str, seed: int = 1) -> ScenarioPath:
    """The market of a scenario, as a data source, and its path; raises ``UserError`` for an unknown name."""
    from simulation.market.scenarios import ScenarioError, scenario
    from simulation.market.source import ModelledMarket

    try:
        plan = scenario(name)
    except ScenarioError as error:
        raise UserError(str(error)) from error
    market = ModelledMarket.from_history(f"scenario:{name}", seed=seed)
    first, last = market.default_range()
    days = [day for day in market.book.days() if first <= day <= last]
    index, volatility = ([market.book.path(ticker, day) for day in days] for ticker in ("SPX", "VIX"))
    unknown = float("nan")
    closes = [unknown if path is None else float(path.points[-1]) for path in index]
    levels = [unknown if path is None else float(path.points[-1]) for path in volatility]
    return ScenarioPath(plan, market, days, closes, levels)


def scenario(
    name: Annotated[str | None, typer.Argument(help="Scenario to run. Example: august-2024")] = None,
    all_: Annotated[bool, typer.Option("--all", help="Run every scenario, one after another.")] = False,
    list_: Annotated[bool, typer.Option("--list", help="Say what there is, and run nothing.")] = False,
    seed: Annotated[int, typer.Option(help="Seed of the modelled minutes and quotes. Example: --seed 7")] = 1,
    set_: Annotated[
        list[str] | None, typer.Option("--set", help="Any setting. Example: --set friday_0dte.min_vix=0")
    ] = None,
) -> int:
    """Run main.py through a named day or week, and show its path.

    Examples:

    python run.py scenario --list

    python run.py scenario august-2024

    python run.py scenario --all
    """
    from simulation.market.scenarios import names

    if list_ or (name is None and not all_):
        listing(names())
        return 0
    if name is not None and all_:
        raise UserError(f"{name} and --all: expected one of them")
    wanted = names() if all_ else [str(name)]
    failed = [one for one in wanted if not shown(one, seed, set_ or [])]
    if failed:
        raise RunFailedError(f"{len(failed)} of {len(wanted)} scenarios stopped with an error: {', '.join(failed)}")
    return 0


def listing(names: list[str]) -> None:
    """Print every scenario with its title."""
    from simulation.market.scenarios import scenario as load

    for one in names:
        plan = load(one)
        typer.echo(f"{one:22} {plan.start} to {plan.end}  {plan.title}")


def shown(name: str, seed: int, settings: list[str]) -> bool:
    """Run one scenario, print its path and what came of it; False when the algorithm stopped with an error."""
    path = run_scenario(name, seed)
    plan_of(options_of(path, seed, settings))  # what is asked for wrongly is refused before anything is printed
    tries = path.plan.tries
    typer.echo(f"\n{name}: {path.plan.title}\n  {path.plan.facts}\n  will try: {tries[:1].lower()}{tries[1:]}")
    for label, values in (("S&P 500", path.index), ("VIX", path.volatility)):
        known = [value for value in values if value == value]
        ends = f"{known[0]:,.2f} to {known[-1]:,.2f}, between {min(known):,.2f} and {max(known):,.2f}"
        typer.echo(f"  {label:8} {sparkline(values)}  {ends}")
    begun = time.monotonic()
    done = run_and_report(options_of(path, seed, settings))
    (done.folder / "path.svg").write_text(path.picture(), encoding="utf-8")
    typer.echo(f"  {outcome(done)} in {time.monotonic() - begun:.1f} s; {done.folder}")
    if NOTHING_HELD in done.record.warnings:
        typer.echo(f"  {NOTHING_HELD}")
    if done.error is not None:
        typer.echo(f"  stopped: {done.error.strip().splitlines()[-1]}")
    return done.error is None


def options_of(path: ScenarioPath, seed: int, settings: list[str]) -> BacktestOptions:
    """The backtest that runs the scenario."""
    cash = None if path.plan.cash is None else f"{path.plan.cash:.0f}"
    return BacktestOptions(market=f"scenario:{path.plan.name}", seed=str(seed), cash=cash, set_=list(settings))


def outcome(done: Finished) -> str:
    """Trades, return and drawdown in one line."""
    total, equity = done.summary.total, done.summary.equity
    text = f"{total.count} trades, {total.wins} won, {total.profit:+,.0f} dollars after fees"
    if equity is None:
        return text
    return f"{text}, return {equity.total_return:+.2%}, largest drawdown {equity.drawdown:.2%}"


def typed_lines() -> Iterator[list[str]]:
    """What was typed since the last time, without waiting for more."""
    lines: queue.Queue[str] = queue.Queue()

    def read() -> None:
        for line in sys.stdin:
            lines.put(line.strip())

    threading.Thread(target=read, name="typed", daemon=True).start()
    while True:
        found = []
        while not lines.empty():
            found.append(lines.get())
        yield [line for line in found if line]


def rehearse(
    date_: Annotated[str, typer.Option("--date", help="Day to rehearse. Example: --date 2016-02-12")] = "2016-02-12",
    speed: Annotated[float, typer.Option(help="Minutes that a real minute brings. Example: --speed 120")] = 120.0,
    script: Annotated[Path | None, typer.Option(help="Drills from a file, without waiting. Example: drill.txt")] = None,
    market: Annotated[str, typer.Option(help="Market, as for backtest. Example: --market lean:data")] = "history",
    seed: Annotated[int, typer.Option(help="Seed of market and threads. Example: --seed 7")] = 1,
    store: Annotated[Path, typer.Option(help="Folder of the state; made anew.")] = Path("backtests/rehearsal"),
    set_: Annotated[
        list[str] | None, typer.Option("--set", help="Any setting. Example: --set friday_0dte.min_vix=0")
    ] = None,
) -> int:
    """Play a day as live: state, positions and orders as they change; type commands and drills.

    Typed: status, halt, resume, reduce, reconcile, close_all, kill, start, stop, disconnect, connect,
    quotes stop|cross|nobid|noask|go, index stop|go, fill none|go|half, cancel refuse|go, update refuse|go,
    trade by hand QUANTITY 'SYMBOL' PRICE.

    Examples:

    python run.py rehearse --date 2016-02-12 --speed 120

    python run.py rehearse --script drill.txt
    """
    from simulation.live_mode.account import LiveAccount
    from simulation.live_mode.rehearsal import ExpectationError, Rehearsal, ScriptError, play_script, read_script
    from simulation.live_mode.session import LiveRequest, LiveSession

    day = a_date("--date", date_)
    if speed <= 0:
        raise UserError(f"--speed {speed}: must be above 0")
    options = BacktestOptions(start=date_, end=date_, market=market, seed=str(seed), set_=list(set_ or ()))
    plan = plan_of(options)
    opened = open_market(plan.market, seed)
    shutil.rmtree(store, ignore_errors=True)
    session = LiveSession(LiveRequest(plan.algorithm, opened.source, plan.parameters, store, LiveAccount(), seed))
    rehearsal = Rehearsal(session, store, lambda text: print(text, flush=True))
    if script is not None:
        if not script.is_file():
            raise UserError(f"--script {script}: no such file")
        try:
            play_script(rehearsal, read_script(script.read_text(encoding="utf-8"), day))
        except ScriptError as error:
            raise UserError(f"--script {script}: {error}") from error
        except ExpectationError as error:
            raise RunFailedError(f"{script}: {error}") from error
    else:
        play_typed(rehearsal, day, speed)
    return 0


def play_typed(rehearsal: Rehearsal, day: date, speed: float) -> None:
    """From 9:28 to 16:10 at a speed; what is typed happens at the next minute."""
    from simulation.live_mode.rehearsal import ExpectationError, ScriptError

    session, at = rehearsal.session, datetime.combine(day, datetime.min.time()).replace(hour=9, minute=28)
    end, typed = at.replace(hour=16, minute=10), typed_lines()
    rehearsal.start(at)
    while at < end:
        for words in next(typed):
            try:
                if words == "start":
                    rehearsal.start(at)
                else:
                    rehearsal.act(words)
            except (ScriptError, ExpectationError, RuntimeError) as error:
                print(f"error: {error}", flush=True)
        at += timedelta(minutes=1)
        if session.engine is not None:
            session.until(at)
        rehearsal.tell()
        time.sleep(60 / speed)
    if session.engine is not None:
        session.stop()


def sparkline(values: Sequence[float], width: int = 60) -> str:
    """A line of blocks: the lowest value is the lowest block. Longer series keep every stretch's last value."""
    import numpy as np

    known = np.asarray(values, dtype=np.float64)
    if len(known) > width:
        known = known[np.linspace(0, len(known) - 1, width).astype(np.int64)]
    low, high = float(np.nanmin(known)), float(np.nanmax(known))
    span = high - low or 1.0
    marks = [" " if np.isnan(value) else BLOCKS[int(7.999 * (value - low) / span)] for value in known.tolist()]
    return "".join(marks)
