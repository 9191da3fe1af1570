"""``python run.py grid`` and ``montecarlo``: many runs on a Dask cluster, resumable; what the best of many is worth.

Each run is a cell. Its figures are kept in a file of its own as soon as it is done, so that an interrupted grid goes on
where it was. A cell depends on its settings, seed and market only: the result is the same for any number of workers.
What another version of the code came to is run again (decision 071).
"""

from __future__ import annotations

import contextlib
import hashlib
import io
import json
import math
import os
import platform
import re
import signal
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass, field
from functools import lru_cache
from itertools import product
from multiprocessing import resource_tracker
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from cli.errors import UserError
from cli.options import (
    RESULTS,
    ROOT,
    BacktestOptions,
    MarketOptions,
    command_of,
    plan_of,
    whole_number,
)

if TYPE_CHECKING:
    from distributed import Client

    from reporting.rows import EquityPoint

SEEDS = re.compile(r"(\d+)\.\.(\d+)")
MOST_CELLS = 10_000
CELLS = "cells"
CODE = ROOT  # whose files SOURCES names
SOURCES = (
    "core", "state", "market", "greeks", "risk", "execution", "strategies", "reporting", "simulation", "cli",
    "main.py", "trading_system.py", "requirements.lock",
)  # fmt: skip
FIGURES = ("total_return", "drawdown", "sharpe_of_a_day", "trades", "win_rate", "profit")


@dataclass(frozen=True, slots=True, kw_only=True)
class ManyOptions(MarketOptions):
    """What both commands take beside the options of a run, as text, unchecked."""

    seeds: Annotated[str, typer.Option(help="Seeds: 1..50 or 1,5,9. Example: --seeds 1..50")] = "1"
    workers: Annotated[
        str | None, typer.Option(help="Processes at a time; all cores without it. Example: --workers 2")
    ] = None
    cluster: Annotated[
        str | None, typer.Option(help="A Dask scheduler that is there already. Example: --cluster tcp://10.0.0.5:8786")
    ] = None
    name: Annotated[
        str, typer.Option(help="Folder in backtests/ for the results; the same one goes on. Example: --name vix")
    ] = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class GridOptions(ManyOptions):
    """Every option of ``grid``."""

    vary: Annotated[
        list[str],
        typer.Option(help="A setting and its values, as often as needed. Example: --vary friday_0dte.min_vix=0,22"),
    ] = field(default_factory=list)
    scenarios: Annotated[
        str | None, typer.Option(help="Named scenarios instead of --market. Example: --scenarios august-2024")
    ] = None


@dataclass(frozen=True, slots=True, kw_only=True)
class MonteCarloOptions(ManyOptions):
    """Every option of ``montecarlo``."""

    ruin: Annotated[
        str, typer.Option(help="Share of the start under which an account counts as ruined. Example: --ruin 0.5")
    ] = "0.5"


@dataclass(frozen=True, slots=True)
class Cell:
    """One run of many: what was varied, the seed, the market, and all options of the run."""

    values: tuple[tuple[str, str], ...]
    seed: str
    market: str
    settings: tuple[str, ...]
    start: str | None = None
    end: str | None = None
    cash: str | None = None
    strategies: str | None = None
    listings: str | None = None
    faults: str | None = None

    @property
    def key(self) -> str:
        """A name by everything that the run depends on."""
        return hashlib.sha256(json.dumps(asdict(self), sort_keys=True).encode()).hexdigest()[:24]

    def options(self, out: Path | None) -> BacktestOptions:
        """The run as ``backtest`` would be asked for it."""
        return BacktestOptions(
            start=self.start, end=self.end, cash=self.cash, strategies=self.strategies, seed=self.seed,
            set_=[*self.settings, *(f"{key}={value}" for key, value in self.values)], market=self.market,
            listings=self.listings, faults=self.faults, out=out,
        )  # fmt: skip


Figures = dict[str, float | None]


@lru_cache(maxsize=1)
def code_version() -> str:
    """Twelve hex digits of everything that a run's figures rest on beside its options: sources and pinned packages.

    Of the files as they are when a process first asks: what is not committed counts too.
    """
    digest = hashlib.sha256()
    for name in SOURCES:
        place = CODE / name
        inside = (path for path in place.rglob("*") if path.is_file() and "__pycache__" not in path.parts)
        for path in sorted(inside) if place.is_dir() else [place]:
            text = path.read_bytes()
            digest.update(f"{path.relative_to(CODE).as_posix()} {len(text)}\n".encode() + text)
    return digest.hexdigest()[:12]


@dataclass(frozen=True, slots=True)
class Spent:
    """What a cell took which worker: when it began and ended, by that machine's clock, and processor seconds."""

    worker: str
    began: float
    ended: float
    processor: float


def run_cell(cell: Cell) -> tuple[str, Figures, Spent]:
    """Run one cell in this process: the version of the code that did it, its figures, and what it took.

    What it says is not shown.
    """
    began, used = time.time(), time.process_time()
    code = code_version()
    from cli.backtest import run_and_report

    with tempfile.TemporaryDirectory(prefix="tomking-cell-") as folder, contextlib.redirect_stderr(io.StringIO()):
        done = run_and_report(cell.options(Path(folder) / "run"))
    if done.error is not None:
        raise UserError(f"a run stopped: {done.error.strip().splitlines()[-1]} ({cell.values}, seed {cell.seed})")
    figures = figures_of(done.record.equity, done.summary.total, done.record.risk_free)
    return code, figures, Spent(f"{platform.node()}-{os.getpid()}", began, time.time(), time.process_time() - used)


def figures_of(points: Sequence[EquityPoint], total: Any, risk_free: float) -> Figures:
    """What is kept of a run. ``sharpe_of_a_day`` is over bills and not of a year.

    It is None where under ``FEWEST_MOVES`` days moved the account by more than its interest: an account that only earns
    interest has no risk, and would be the best of every grid.
    """
    import numpy as np

    from reporting.intervals import FEWEST_MOVES
    from reporting.performance import HALF_A_CENT, TRADING_DAYS

    values = np.array([point.equity for point in points], dtype=np.float64)
    paid = np.array([point.interest for point in points[1:]], dtype=np.float64)
    changes = np.diff(values)
    returns = changes / values[:-1] - risk_free / TRADING_DAYS if len(values) > 1 else np.zeros(0)
    moved = int(np.count_nonzero(np.abs(changes - paid) > HALF_A_CENT))
    spread = float(returns.std(ddof=1)) if moved >= FEWEST_MOVES else 0.0
    scaled = (returns - returns.mean()) / spread if spread > 1e-15 else np.zeros(0)
    falls = 1 - values / np.maximum.accumulate(values) if len(values) else np.zeros(1)
    return {
        "total_return": float(values[-1] / values[0] - 1) if len(values) > 1 else None,
        "lowest": float(values.min() / values[0]) if len(values) else None,
        "drawdown": float(falls.max()),
        "sharpe_of_a_day": float(returns.mean()) / spread if spread > 1e-15 else None,
        "skewness": float((scaled**3).mean()) if len(scaled) else None,
        "kurtosis": float((scaled**4).mean()) if len(scaled) else None,
        "days": float(len(returns)),
        "trades": float(total.count),
        "win_rate": total.win_rate,
        "profit": float(total.profit),
    }


def seeds_of(text: str) -> list[str]:
    """Seeds from ``1..50`` or ``1,5,9``; raises ``UserError``."""
    found: list[str] = []
    for part in text.split(","):
        span = SEEDS.fullmatch(part.strip())
        if span is None:
            found.append(str(whole_number("--seeds", part.strip())))
        elif int(span[1]) > int(span[2]) or int(span[2]) - int(span[1]) >= MOST_CELLS:
            raise UserError(f"--seeds: {part!r}; expected first..last, for example 1..50")
        else:
            found += [str(seed) for seed in range(int(span[1]), int(span[2]) + 1)]
    return list(dict.fromkeys(found))


def varied(texts: Sequence[str]) -> list[tuple[str, list[str]]]:
    """Each setting that is varied with its values; raises ``UserError`` for what is no setting with values."""
    found: dict[str, list[str]] = {}
    for text in texts:
        key, equals, values = text.partition("=")
        listed = list(dict.fromkeys(value.strip() for value in values.split(",") if value.strip()))
        if not equals or not listed or key.strip() in found:
            raise UserError(f"--vary: {text!r}; expected key=a,b,c once for each key")
        found[key.strip()] = listed
    return list(found.items())


def cells_of(options: ManyOptions, axes: Sequence[tuple[str, list[str]]], markets: Sequence[str]) -> list[Cell]:
    """Every cell, in the order of axes, markets and seeds; each is checked before the first one runs."""
    if options.seed is not None:
        raise UserError(f"--seed: {options.seed!r}; expected --seeds, for example --seeds {options.seed}")
    seeds = seeds_of(options.seeds)
    count = len(seeds) * len(markets) * math.prod(len(values) for _, values in axes)
    if count > MOST_CELLS:
        raise UserError(f"{count:,} runs; expected at most {MOST_CELLS:,}")
    cells = [
        Cell(
            values=tuple(zip([key for key, _ in axes], choice, strict=True)),
            seed=seed,
            market=market.replace("{seed}", seed),
            settings=tuple(options.set_),
            start=options.start,
            end=options.end,
            cash=options.cash,
            strategies=options.strategies,
            listings=options.listings,
            faults=options.faults,
        )
        for choice in product(*(values for _, values in axes))
        for market in markets
        for seed in seeds
    ]
    for cell in {(cell.values, cell.market): cell for cell in cells}.values():
        plan_of(cell.options(None))
    from cli.backtest import with_range
    from cli.markets import open_market

    first = plan_of(cells[0].options(None))
    with_range(first, open_market(first.market, first.seed))  # its days; the other cells have the same
    return cells


def run_cells(cells: Sequence[Cell], folder: Path, client: Client) -> list[Figures]:
    """The figures of every cell, in their order; those that this very code came to already are not run again.

    Raises ``UserError`` where a worker of a cluster runs other code than this process.
    """
    from distributed import as_completed

    (folder / CELLS).mkdir(parents=True, exist_ok=True)
    waiting = {cell.key: cell for cell in cells if kept(folder, cell) is None}
    done = len(cells) - len(waiting)
    older = sum(1 for key in waiting if (folder / CELLS / f"{key}.json").is_file())
    if older:
        sys.stderr.write(f"{older} runs are there of another version of the code than {code_version()}: run again\n")
    tell(done, len(cells))
    first, begun, spent = done, time.monotonic(), list[Spent]()
    futures = {client.submit(run_cell, cell, key=f"cell-{key}"): key for key, cell in waiting.items()}  # type: ignore[no-untyped-call]
    try:
        for future in as_completed(futures):  # type: ignore[no-untyped-call]
            code, figures, took = future.result()
            if code != code_version():
                raise UserError(f"--cluster: a worker runs code {code}, this is {code_version()}; expected the same")
            keep(folder, futures[future], figures)
            done += 1
            spent.append(took)
            tell(done, len(cells), (time.monotonic() - begun) / (done - first) * (len(cells) - done))
    finally:
        client.cancel(list(futures))  # type: ignore[no-untyped-call]
    if spent:
        sys.stderr.write(f"{busy_words(spent)}\n")
    found = [kept(folder, cell) for cell in cells]
    return [figures for figures in found if figures is not None]


def tell(done: int, whole: int, left: float = 0.0) -> None:
    """How far it is and about how many seconds are left, on standard error."""
    more = f", about {left:,.0f} s left" if done < whole and left > 0 else ""
    sys.stderr.write(f"{done} of {whole} runs done{more}\n")
    sys.stderr.flush()


def busy_words(spent: Sequence[Spent]) -> str:
    """How much of the time between the first run's beginning and the last one's end the workers computed."""
    workers = len({one.worker for one in spent})
    elapsed = max(one.ended for one in spent) - min(one.began for one in spent)
    running, processor = (sum(one.ended - one.began for one in spent), sum(one.processor for one in spent))
    whole = max(workers * elapsed, 1e-9)
    return (
        f"{workers} workers ran {len(spent)} runs in {elapsed:,.1f} s: {running / whole:.1%} of that time in a run, "
        f"{processor / whole:.1%} on a processor ({processor / len(spent):,.1f} processor seconds a run)"
    )


def kept(folder: Path, cell: Cell) -> Figures | None:
    """What a cell came to in an earlier run of this grid by this code; None where nothing whole is there."""
    try:
        file = json.loads((folder / CELLS / f"{cell.key}.json").read_text(encoding="utf-8"))
    except (FileNotFoundError, ValueError):
        return None
    read = file.get("figures") if isinstance(file, dict) and file.get("code") == code_version() else None
    if not isinstance(read, dict) or not set(FIGURES) <= read.keys():
        return None
    return read if all(isinstance(read[name], int | float | None) for name in FIGURES) else None


def keep(folder: Path, key: str, figures: Figures) -> None:
    """Write a cell's figures in one step, with the version of the code."""
    fresh = folder / CELLS / f".{key}.tmp"
    fresh.write_text(json.dumps({"code": code_version(), "figures": figures}), encoding="utf-8")
    fresh.replace(folder / CELLS / f"{key}.json")


@contextlib.contextmanager
def cluster_client(options: ManyOptions) -> Iterator[Client]:
    """A client of the cluster that was asked for: one that is there, or processes of this machine."""
    from distributed import Client, LocalCluster

    count = whole_number("--workers", options.workers) if options.workers is not None else os.cpu_count() or 1
    if count < 1:
        raise UserError("--workers: '0'; expected 1 or more")
    if options.cluster is not None:
        try:
            with Client(options.cluster, timeout="10s") as client:  # type: ignore[no-untyped-call]
                yield client
        except (OSError, ValueError) as error:
            raise UserError(f"--cluster: {options.cluster!r} does not answer ({error})") from error
        return
    with unheard():
        local = LocalCluster(  # type: ignore[no-untyped-call]
            n_workers=count, threads_per_worker=1, dashboard_address="127.0.0.1:0", memory_limit=0, silence_logs=50
        )
    with local, Client(local) as client:  # type: ignore[no-untyped-call]
        yield client


@contextlib.contextmanager
def unheard() -> Iterator[None]:
    """Processes and threads begun inside do not hear Ctrl-C, which a terminal sends to all: this process ends them.

    What comes meanwhile is heard at the end.
    """
    if not hasattr(signal, "pthread_sigmask"):  # Windows
        yield
        return
    kept = {signal.SIGINT, signal.SIGHUP}
    before = signal.pthread_sigmask(signal.SIG_BLOCK, kept)
    try:
        resource_tracker.ensure_running()  # begun by the first process, it would let Ctrl-C through in that thread
        signal.pthread_sigmask(signal.SIG_BLOCK, kept)
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def folder_of(options: ManyOptions, cells: Sequence[Cell], kind: str) -> Path:
    """Where results go: by name, else by what is run, so that the same command goes on where it was."""
    digest = hashlib.sha256("".join(cell.key for cell in cells).encode()).hexdigest()[:8]
    name = options.name or f"{kind}-{digest}"
    if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._-]{0,79}", name):
        raise UserError(f"--name: {name!r}; expected letters, digits, dots, dashes and underscores")
    return ROOT / RESULTS / name


def run_grid(options: GridOptions) -> int:
    """Run the grid, print its table, write its page. Returns 0."""
    axes = varied(options.vary)
    names = [name.strip() for name in (options.scenarios or "").split(",") if name.strip()]
    markets = [f"scenario:{name}" for name in names] or [options.market]
    cells = cells_of(options, axes, markets)
    if len(cells) == 1:
        raise UserError("nothing varies: one run is python run.py backtest; expected --vary, --seeds or --scenarios")
    folder = folder_of(options, cells, "grid")
    with cluster_client(options) as client:
        results = run_cells(cells, folder, client)
    show_grid(cells, results, folder)
    return 0


def show_grid(cells: Sequence[Cell], results: Sequence[Figures], folder: Path) -> None:
    """The table on the terminal, the warning, and the page with the heat map."""
    from cli.runs import show
    from reporting.grids import best_of_many, grid_rows, write_grid

    groups: dict[tuple[tuple[tuple[str, str], ...], str], list[Figures]] = {}
    for cell, figures in zip(cells, results, strict=True):
        groups.setdefault((cell.values, cell.market), []).append(figures)
    rows = grid_rows(groups)
    show("Grid", rows[0], rows[1:], (1, 2, 3, 4, 5, 6))
    words = best_of_many(groups)
    typer.echo(words)
    write_grid(folder / "grid.html", groups, words)
    typer.echo(f"Results: {folder}, of code {code_version()}; open {folder / 'grid.html'} in a browser.")


def run_montecarlo(options: MonteCarloOptions) -> int:
    """Run years that never happened and print how their results are distributed. Returns 0."""
    import numpy as np

    from cli.options import a_share
    from cli.runs import show
    from reporting.intervals import Unit, wilson
    from reporting.markup import percent, span

    ruin = a_share("--ruin", options.ruin)
    if options.market not in ("history", "garch"):
        raise UserError(f"--market: {options.market!r}; montecarlo draws garch years, one for each of --seeds")
    cells = cells_of(options, [], ["garch:{seed}"])
    folder = folder_of(options, cells, "montecarlo")
    with cluster_client(options) as client:
        results = run_cells(cells, folder, client)
    quantiles = (0.05, 0.25, 0.50, 0.75, 0.95)
    rows = []
    for name, words in (("total_return", "return"), ("drawdown", "largest drawdown"), ("win_rate", "wins")):
        values = [value for figures in results if (value := figures[name]) is not None]
        cells_of_row = [percent(float(value)) for value in np.quantile(values, quantiles)] if values else ["-"] * 5
        rows.append((words, *cells_of_row))
    show(f"{len(results)} paths", ("Figure", *(f"{level:.0%}" for level in quantiles)), rows, (1, 2, 3, 4, 5))
    ruined = sum(1 for figures in results if (figures["lowest"] or 0.0) < ruin)
    chance = span(wilson(ruined, len(results)), Unit.PERCENT)
    typer.echo(
        f"under {ruin:.0%} of the start at some close: {ruined} of {len(results)} paths; 95 %: {chance} (Wilson)"
    )
    typer.echo(f"Results: {folder}, of code {code_version()}")
    return 0


grid: Callable[..., int] = command_of(
    run_grid,
    """Run values of settings, seeds and scenarios against each other, on all cores.

    An interrupted grid goes on where it was when the same command is given again; runs of another version of the code
    are run again.

    Examples:

    python run.py grid --vary friday_0dte.min_vix=15,18,22 --vary friday_0dte.profit_target=0.4,0.5 --seeds 1..8

    python run.py grid --vary friday_0dte.max_delta=20,25 --scenarios august-2024 --workers 2
    """,
    GridOptions,
)

montecarlo: Callable[..., int] = command_of(
    run_montecarlo,
    """Run years that never happened: how return, drawdown and ruin are distributed.

    Example:

    python run.py montecarlo --seeds 1..100 --cash 100000 --ruin 0.5
    """,
    MonteCarloOptions,
)
