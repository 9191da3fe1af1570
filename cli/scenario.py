"""``python run.py scenario``: a filled account through a named day or week; ``rehearse``: a day as live, with drills.

``soak``: a long time in one process, with what it holds of the machine.
"""

from __future__ import annotations

import gc
import json
import os
import queue
import shutil
import signal
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, fields
from datetime import date, datetime, timedelta
from datetime import time as clock_time
from math import inf
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from cli.backtest import Finished, StandIn, run_and_report
from cli.errors import RunFailedError, StoppedError, UserError
from cli.markets import open_market
from cli.options import JOURNAL, BacktestOptions, MarketOptions, a_date, a_share, command_of, plan_of
from core.clock import is_trading_day

if TYPE_CHECKING:
    from simulation.live_mode.rehearsal import Rehearsal
    from simulation.market.scenarios import Scenario
    from simulation.market.source import ModelledMarket
    from simulation.results.episodes import Verdict

FILLED = Path(__file__).with_name("filled.py")
USUAL_CASH = 150_000.0
LOOK_MINUTES = 30
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
    cash: Annotated[
        str | None, typer.Option(help="Dollars of the account; else the scenario's, or 150000. Example: --cash 60000")
    ] = None,
    seed: Annotated[int, typer.Option(help="Seed of the modelled minutes and quotes. Example: --seed 7")] = 1,
    set_: Annotated[
        list[str] | None, typer.Option("--set", help="Any setting. Example: --set margin.house_multiple=1.2")
    ] = None,
) -> int:
    """Fill an account to the limits of risk before a named day or week, take it through, and judge what it cost.

    What the ten rows do in it: backtest --market scenario:NAME.

    Examples:

    python run.py scenario --list

    python run.py scenario august-2024 --cash 530000

    python run.py scenario --all
    """
    from simulation.market.scenarios import names
    from simulation.results.episodes import table

    if list_ or (name is None and not all_):
        listing(names())
        return 0
    if name is not None and all_:
        raise UserError(f"{name} and --all: expected one of them")
    wanted = names() if all_ else [str(name)]
    judged = {one: shown(one, seed, cash, set_ or []) for one in wanted}
    if all_:
        typer.echo("\n".join(["", *table([row for row in judged.values() if row is not None])]))
    failed = [one for one, row in judged.items() if row is None or row.faults or not row.held]
    if failed:
        raise RunFailedError(f"{len(failed)} of {len(wanted)} scenarios did not pass: {', '.join(failed)}")
    return 0


def listing(names: list[str]) -> None:
    """Print every scenario with its title."""
    from simulation.market.scenarios import scenario as load

    for one in names:
        plan = load(one)
        typer.echo(f"{one:22} {plan.start} to {plan.end}  {plan.title}")


def shown(name: str, seed: int, cash: str | None, settings: list[str]) -> Verdict | None:
    """Run one scenario, print its path and what came of it; ``None`` when the algorithm stopped with an error."""
    from simulation.results.episodes import range_of, tell

    path = run_scenario(name, seed)
    options = options_of(path, seed, cash, settings)
    plan_of(options)  # what is asked for wrongly is refused before anything is printed
    tries = path.plan.tries
    typer.echo(f"\n{name}: {path.plan.title}\n  {path.plan.facts}\n  will try: {tries[:1].lower()}{tries[1:]}")
    for label, values in (("S&P 500", path.index), ("VIX", path.volatility)):
        known = [value for value in values if value == value]
        ends = f"{known[0]:,.2f} to {known[-1]:,.2f}, between {min(known):,.2f} and {max(known):,.2f}"
        typer.echo(f"  {label:8} {sparkline(values)}  {ends}")
    begun, shock = time.monotonic(), range_of(path.plan)[1]
    done = run_and_report(options, stand_in=StandIn(FILLED, asked_of(path.plan)))
    (done.folder / "path.svg").write_text(path.picture(), encoding="utf-8")
    typer.echo(f"  {outcome(done)} in {time.monotonic() - begun:.1f} s; {done.folder}")
    if done.error is not None:
        typer.echo(f"  stopped: {done.error.strip().splitlines()[-1]}")
        return None
    verdict = judged_of(name, float(options.cash or USUAL_CASH), shock, done.folder)
    typer.echo("\n".join(tell(verdict)))
    return verdict


def asked_of(plan: Scenario) -> dict[str, str]:
    """The parameters of what stands in: the shock, and what the scenario says of filling the account."""
    from simulation.results.episodes import range_of

    asked = {"shock": range_of(plan)[1].isoformat()}
    if plan.open_until is not None:
        asked["open_until"] = plan.open_until.isoformat()
    if plan.pin is not None:
        asked["pin"] = f"{plan.pin:g}"
    return asked


def judged_of(name: str, cash: float, shock: date, folder: Path) -> Verdict:
    """The verdict of what a run left in its folder."""
    from simulation.results.episodes import verdict_of

    told = json.loads(next(folder.rglob("sessions.json")).read_text(encoding="utf-8"))
    rows = (folder / JOURNAL).read_text(encoding="utf-8").splitlines()
    return verdict_of(name, cash, shock, told, [json.loads(row) for row in rows])


def options_of(path: ScenarioPath, seed: int, cash: str | None, settings: list[str]) -> BacktestOptions:
    """The backtest that runs the scenario: from the days on which the account is filled."""
    from simulation.results.episodes import range_of

    first, _, end = range_of(path.plan)
    usual = f"{USUAL_CASH if path.plan.cash is None else path.plan.cash:.0f}"
    return BacktestOptions(
        market=f"scenario:{path.plan.name}",
        seed=str(seed),
        start=first.isoformat(),
        end=end.isoformat(),
        cash=cash or usual,
        set_=["phases.earned_progression=false", *settings],
    )


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

    Typed: status, explain, halt, resume, reduce, suspend, reconcile, close_all, take_over, kill, start, stop,
    disconnect, connect, quotes stop|cross|nobid|noask|go, index stop|go, fill none|go|half|lost,
    cancel refuse|go, update refuse|go, trade by hand QUANTITY 'SYMBOL' PRICE.

    Examples:

    python run.py rehearse --date 2016-02-12 --speed 120

    python run.py rehearse --script drill.txt
    """
    from simulation.live_mode.account import LiveAccount
    from simulation.live_mode.rehearsal import ExpectationError, Rehearsal, ScriptError, play_script, read_script
    from simulation.live_mode.session import LiveRequest, LiveSession

    day = a_date("--date", date_)
    if not 0 < speed < inf:
        raise UserError(f"--speed: {speed:g}; expected minutes above 0, for example 120")
    options = BacktestOptions(start=date_, end=date_, market=market, seed=str(seed), set_=list(set_ or ()))
    plan = plan_of(options)
    opened = open_market(plan.market, seed)
    if not (opened.first or day) <= day <= (opened.last or day):
        raise UserError(f"--date: {day} is outside of the market's days, {opened.first} to {opened.last}")
    if not is_trading_day(day):
        sys.stderr.write(f"warning: {day} is no trading day: nothing will open\n")
    make_anew(store)
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


def make_anew(store: Path) -> None:
    """Remove the state of an earlier rehearsal; ``UserError`` for a folder or file that is anything else."""
    from cli.status import states_in

    if store.exists() and (not store.is_dir() or (any(store.iterdir()) and not states_in(store))):
        raise UserError(f"--store: {store} is there and holds no rehearsal; expected a folder that is new or of one")
    shutil.rmtree(store, ignore_errors=True)


def play_typed(rehearsal: Rehearsal, day: date, speed: float) -> None:
    """From 9:28 to 16:10 at a speed; what is typed happens at the next minute. Ctrl-C ends it with its sum."""
    session, at = rehearsal.session, datetime.combine(day, datetime.min.time()).replace(hour=9, minute=28)
    end, typed = at.replace(hour=16, minute=10), typed_lines()
    real = (end - at).total_seconds() / 60 / speed
    print(
        f"{day:%A} {day} as live, from 9:28 to 16:10 New York time, in {real:.1f} minutes.\n"
        "Type help for what can be said and done, status for how it stands; Ctrl-C ends it.",
        flush=True,
    )
    try:
        rehearsal.start(at)
        while at < end:
            for words in next(typed):
                do_typed(rehearsal, words, at)
            at += timedelta(minutes=1)
            rehearsal.pass_to(at, at.minute % LOOK_MINUTES == 0)
            time.sleep(60 / speed)
        if session.engine is not None:
            session.stop()
            rehearsal.tell()
    except StoppedError as stop:
        if stop.number != signal.SIGINT:
            raise
        print(flush=True)
        if session.engine is not None:  # its threads may stand anywhere
            rehearsal.act("kill")
    rehearsal.sum_up()


def do_typed(rehearsal: Rehearsal, words: str, at: datetime) -> None:
    """What a person typed; what cannot be done is said, and the day goes on."""
    from simulation.live_mode.rehearsal import ExpectationError, ScriptError

    try:
        if words == "start":
            rehearsal.start(at)
        else:
            rehearsal.act(words)
    except (ScriptError, ExpectationError, RuntimeError) as error:
        print(f"error: {error}", flush=True)


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


# A long time in one process


@dataclass(frozen=True, slots=True, kw_only=True)
class SoakOptions(MarketOptions):
    """Every option of ``soak``, as text, unchecked."""

    night: Annotated[
        str | None,
        typer.Option(help="Instead of a year: 24 hours as live from 9:00 of this day. Example: --night 2018-02-13"),
    ] = None
    growth: Annotated[
        str, typer.Option(help="How much memory may grow after the third sample, a share. Example: --growth 0.5")
    ] = "0.5"


@dataclass(frozen=True, slots=True)
class Sample:
    """What the process held at one moment: megabytes in memory, open handles, objects of Python; None: not told."""

    when: str
    megabytes: float | None
    handles: int | None
    objects: int
    seconds: float


MORE_HANDLES = 8  # that a process may have at the end beyond those of the third sample
WARM = 2  # samples before which caches fill
SOAK_FAULTS = "0.02"
SOAK_YEAR = ("2016-01-04", "2016-12-30")
NIGHT_HOURS = 24


class Meter:
    """Samples the process whenever a new name (a month, an hour) begins."""

    def __init__(self) -> None:
        self.samples: list[Sample] = []
        self._begun = time.monotonic()

    def look(self, when: str) -> None:
        """Take a sample unless this one was taken."""
        if self.samples and self.samples[-1].when == when:
            return
        place = Path("/proc/self")
        pages = int((place / "statm").read_text().split()[1]) if (place / "statm").is_file() else None
        megabytes = None if pages is None else pages * os.sysconf("SC_PAGE_SIZE") / 1e6
        handles = len(list((place / "fd").iterdir())) if (place / "fd").is_dir() else None
        gc.collect()
        seconds = time.monotonic() - self._begun
        self.samples.append(Sample(when, megabytes, handles, len(gc.get_objects()), seconds))

    def complaints(self, growth: float) -> list[str]:
        """What grew too much from the third sample to the last; nothing where there are fewer or nothing is told."""
        found: list[str] = []
        if len(self.samples) <= WARM + 1:
            return found
        before, after = self.samples[WARM], self.samples[-1]
        if before.megabytes is not None and after.megabytes is not None:
            grown = after.megabytes / before.megabytes - 1
            if grown > growth:
                found.append(f"memory grew by {grown:.0%} from {before.when} to {after.when}; at most {growth:.0%}")
        if before.handles is not None and after.handles is not None and after.handles - before.handles > MORE_HANDLES:
            found.append(f"{after.handles - before.handles} more open handles in {after.when} than in {before.when}")
        return found

    def show(self, title: str) -> None:
        """The samples as a table."""
        from cli.runs import show

        rows = [
            (one.when, "-" if one.megabytes is None else f"{one.megabytes:,.0f}",
             "-" if one.handles is None else str(one.handles), f"{one.objects:,}", f"{one.seconds:.0f}")
            for one in self.samples
        ]  # fmt: skip
        show(title, ("From", "Memory, MB", "Handles", "Objects", "Seconds"), rows, (1, 2, 3, 4))


def run_soak(options: SoakOptions) -> int:
    """A year, or a night, in this process; the table, then what grew. Raises ``RunFailedError`` for what grew."""
    growth = a_share("--growth", options.growth)
    meter = Meter()
    errors = soak_night(options, meter) if options.night is not None else soak_year(options, meter)
    meter.look("the end")
    meter.show("A night as live" if options.night is not None else "A year in one process")
    complaints = [*meter.complaints(growth), *errors]
    if complaints:
        raise RunFailedError("\n".join(complaints))
    typer.echo("nothing grew beyond its bounds, nothing failed")
    return 0


def soak_year(options: SoakOptions, meter: Meter) -> list[str]:
    """Days with faults in one process, a sample at each month; what the journal says failed."""
    start, end = options.start or SOAK_YEAR[0], options.end or SOAK_YEAR[1]
    chosen = {item.name: getattr(options, item.name) for item in fields(MarketOptions)}
    with tempfile.TemporaryDirectory(prefix="tomking-soak-") as folder:
        asked = BacktestOptions(
            **{**chosen, "start": start, "end": end, "faults": options.faults or SOAK_FAULTS},
            out=Path(folder) / "run",
        )
        done = run_and_report(asked, lambda reading: meter.look(f"{reading.time:%Y-%m}"))
    typer.echo(outcome(done))
    stopped = [f"stopped: {done.error.strip().splitlines()[-1]}"] if done.error is not None else []
    return [
        *stopped,
        *(f"{one.time}: {one.component}: {one.reason} {one.detail}" for one in done.record.journal.errors),
    ]


def soak_night(options: SoakOptions, meter: Meter) -> list[str]:
    """Twenty-four hours of the live mode, a sample at each hour; what the journal says failed."""
    from simulation.live_mode.account import LiveAccount
    from simulation.live_mode.session import LiveRequest, LiveSession

    day = a_date("--night", str(options.night))
    until = day + timedelta(days=1)
    chosen = {item.name: getattr(options, item.name) for item in fields(MarketOptions)}
    plan = plan_of(BacktestOptions(**{**chosen, "start": day.isoformat(), "end": until.isoformat()}))
    opened = open_market(plan.market, plan.seed)
    at = datetime.combine(day, clock_time(9))
    with tempfile.TemporaryDirectory(prefix="tomking-soak-") as folder:
        store = Path(folder)
        session = LiveSession(
            LiveRequest(plan.algorithm, opened.source, plan.parameters, store, LiveAccount(), plan.seed)
        )
        session.start(at)
        for _ in range(NIGHT_HOURS):
            meter.look(f"{at:%m-%d %H:%M}")
            at += timedelta(hours=1)
            session.until(at)
        session.stop()
        errors = [
            f"{row['time']}: {row['component']}: {row['reason']}"
            for path in store.rglob("*.jsonl")
            for line in path.read_text(encoding="utf-8").splitlines()
            if '"kind":"error"' in line and (row := json.loads(line))
        ]
    return errors


soak: Callable[..., int] = command_of(
    run_soak,
    """Run a year with faults in one process, or a night as live, and watch memory and open handles.

    Examples:

    python run.py soak

    python run.py soak --start 2017-01-03 --end 2017-06-30 --strategies friday_0dte,futures_strangle

    python run.py soak --night 2018-02-13 --strategies futures_strangle
    """,
    SoakOptions,
)
