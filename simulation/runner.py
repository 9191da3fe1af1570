"""Runs one algorithm over one market: imports the file, makes its QCAlgorithm, runs the kernel, gathers what came
out."""

from __future__ import annotations

import ctypes
import gc
import hashlib
import importlib
import importlib.util
import itertools
import sys
import sysconfig
import time
import traceback
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime
from importlib.abc import Loader, MetaPathFinder
from importlib.machinery import ModuleSpec
from pathlib import Path
from types import ModuleType
from typing import Any, Protocol, runtime_checkable

from simulation.data.source import DataSource, KnowsAssets
from simulation.faults.kinds import FaultSettings
from simulation.lean.clock import UTC

NAMESPACES = ("clr", "System", "QuantConnect")
EMBEDDED = Path(__file__).parent / "embedded"
_RUNS = itertools.count(1)
MANY_FORGOTTEN = 300
SELDOM_SWEPT = (20_000, 20, 20)  # objects, and younger sweeps, between two of the collector's own


@dataclass(frozen=True, slots=True)
class Progress:
    """How far a run is: the algorithm's clock, the fraction of its dates, dollars of equity."""

    time: datetime
    fraction: float
    equity: float


@dataclass(frozen=True, slots=True)
class RunRequest:
    """What to run. `results` None: no files are written. `name` None: the algorithm's own.

    `warn` hears at once of an asset that the algorithm added and the market does not have. `faults`: the broker
    misbehaves by seed.
    """

    algorithm: Path
    source: DataSource
    parameters: Mapping[str, str]
    results: Path | None
    object_store: Path
    progress: Callable[[Progress], None] | None = None
    name: str | None = None
    warn: Callable[[str], None] | None = None
    faults: FaultSettings | None = None


@dataclass(frozen=True, slots=True)
class RunResult:
    """What a run gave. `equity` is (instants, dollars); `error` the traceback of the algorithm's exception."""

    algorithm_name: str
    start: datetime
    end: datetime
    equity: tuple[tuple[datetime, ...], tuple[float, ...]]
    orders: tuple[Any, ...]
    order_events: tuple[Any, ...]
    order_list_hash: str
    statistics: Mapping[str, str]
    closed_trades: tuple[Any, ...]
    log_lines: tuple[str, ...]
    error: str | None
    runtime_seconds: float
    runtime_statistics: Mapping[str, str] = field(default_factory=dict)


class AlgorithmExitError(Exception):
    """The algorithm asked Python to end: `sys.exit`, `exit` or `quit`."""


class _Namespaces(MetaPathFinder, Loader):
    """`clr`, `System` and `QuantConnect...`: LEAN's namespaces, each holding the names of AlgorithmImports."""

    def find_spec(self, fullname: str, path: Any = None, target: Any = None) -> ModuleSpec | None:
        """Answers for LEAN's namespaces only."""
        del path, target
        if fullname.split(".")[0] not in NAMESPACES:
            return None
        return ModuleSpec(fullname, self, is_package=True)

    def exec_module(self, module: ModuleType) -> None:
        """Fills a namespace."""
        names = importlib.import_module("AlgorithmImports")
        vars(module).update({key: value for key, value in vars(names).items() if not key.startswith("__")})
        vars(module)["AddReference"] = lambda name: None


@contextmanager
def importing(algorithm: Path) -> Iterator[None]:
    """While active, AlgorithmImports is ours and the algorithm's folder can be imported; afterwards nothing of it is
    left."""
    before, finders = dict(sys.modules), list(sys.meta_path)
    folder = str(algorithm.resolve().parent)
    places = [str(EMBEDDED), folder]
    sys.meta_path.append(_Namespaces())
    hidden = {name: sys.modules.pop(name) for name in list(sys.modules) if name == "AlgorithmImports"}
    sys.path[:0] = places
    try:
        yield
    finally:
        own = [finder for finder in sys.meta_path if finder not in finders]  # an algorithm may bring its own
        sys.meta_path[:] = finders
        for place in places:
            sys.path.remove(place)
        installed = sysconfig.get_path("purelib"), sysconfig.get_path("platlib")
        for name in set(sys.modules) - set(before):
            origin = getattr(sys.modules[name], "__file__", None) or ""
            if (
                name.split(".")[0] in ("AlgorithmImports", *NAMESPACES)
                or getattr(sys.modules[name], "__loader__", None) in own
                or (origin.startswith(folder) and not _keeps(name, origin, installed))
            ):
                del sys.modules[name]
        sys.modules.update(hidden)
        sys.modules.update(before)  # what the algorithm put in the place of another


def _keeps(name: str, origin: str, installed: tuple[str, ...]) -> bool:
    """Modules of installed packages and of this repository stay: they hold no state of a run.

    The environment may lie in the algorithm's own folder, and compiled packages cannot be imported a second time.
    """
    return origin.startswith(installed) or name.split(".")[0] in (
        "simulation",
        "core",
        "state",
        "market",
        "greeks",
        "risk",
        "execution",
        "strategies",
        "reporting",
        "cli",
    )


def load_algorithm(path: Path) -> type:
    """The QCAlgorithm of a file. Raises ValueError when there is none; errors of the file itself pass through."""
    from simulation.algorithm.algorithm import QCAlgorithm

    name = f"algorithm_{next(_RUNS)}_{path.stem}"
    spec = importlib.util.spec_from_file_location(name, path)
    if spec is None or spec.loader is None:
        raise ValueError(f"{path} is not a Python file")
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    try:
        spec.loader.exec_module(module)
    finally:
        del sys.modules[name]
    found = [
        item
        for item in vars(module).values()
        if isinstance(item, type)
        and issubclass(item, QCAlgorithm)
        and item is not QCAlgorithm
        and item.__module__ == name
    ]
    own = [item for item in found if not any(item is not other and issubclass(other, item) for other in found)]
    if not own:
        raise ValueError(f"{path} defines no class that inherits QCAlgorithm")
    return own[-1]


def run_backtest(request: RunRequest) -> RunResult:
    """Runs an algorithm. Its exceptions end the run and are in the result's `error`; a refused market or file
    raises."""
    from simulation.lean.identifiers import use_map_files

    before = use_map_files(request.source.map_resolver)
    try:
        return _run(request)
    finally:
        use_map_files(before)


def _run(request: RunRequest) -> RunResult:
    from simulation.algorithm.consolidators import Consolidators
    from simulation.algorithm.object_store import ObjectStore
    from simulation.data.market_hours import MarketHoursDatabase
    from simulation.data.symbol_properties import SymbolPropertiesDatabase
    from simulation.engine.kernel import Engine
    from simulation.lean.symbols import SymbolCache
    from simulation.results.sampling import Samples

    begun = time.perf_counter()
    MarketHoursDatabase.use(request.source.hours)
    SymbolPropertiesDatabase.use(request.source.properties)
    SymbolCache.clear()
    engine = Engine(request.source)
    engine.consolidators = Consolidators(engine)
    engine.samples = Samples(engine, every_step=request.results is not None)
    store = ObjectStore(request.object_store)
    error: str | None = None
    with importing(request.algorithm):
        try:
            with _exits_told():
                algorithm = _start(engine, request, store)
                if request.faults is not None:
                    engine.handler.suffer(request.faults)
                missing = _Missing(engine, request)
                missing.tell()
                with _swept(engine, request.progress, missing):
                    engine.run()
                del algorithm
        except Exception:  # whatever the algorithm raises is the run's result
            error = traceback.format_exc()
            if not (hasattr(engine, "algorithm") and hasattr(engine, "portfolio")):
                raise  # too early for a result: the caller gets the error itself
            engine.algorithm.error(f"Runtime Error: {error.strip().splitlines()[-1]}")
    return _result(engine, request, error, time.perf_counter() - begun)


@runtime_checkable
class DoesWithout(Protocol):
    """An algorithm that subscribes what it may need one day, and knows what it does not need now."""

    def does_without(self, ticker: str) -> bool:
        """Whether a market that lacks a ticker is none to complain of."""


class _Missing:
    """Tells of every asset that the algorithm asked for and the market has not, once, by the end of its first day."""

    def __init__(self, engine: Any, request: RunRequest) -> None:
        self._engine = engine
        self._warn = request.warn
        self._source = request.source if isinstance(request.source, KnowsAssets) else None
        self._seen: set[Any] = set()
        self._told = False

    def tell(self) -> None:
        """Looks at what was added since the last time."""
        if self._warn is None or self._source is None:
            return
        for symbol in [one for one in self._engine.securities.everything if one not in self._seen]:
            self._seen.add(symbol)
            specifications = self._engine.configs.get(symbol, ())
            if specifications and all(one.internal for one in specifications):
                continue  # the engine's own: the benchmark
            instead = self._source.missing_asset(symbol)
            if instead is not None and not self._is_spare(symbol):
                kind = str(symbol.security_type).lower().replace("_", " ")
                self._warn(
                    f"{symbol.value} ({kind}): this market has it not, nothing will come for it"
                    + ("" if self._told else f"; {instead}")
                )
                self._told = True

    def _is_spare(self, symbol: Any) -> bool:
        """Whether the algorithm says that it does without; most have nothing to say of it."""
        algorithm = self._engine.algorithm
        return isinstance(algorithm, DoesWithout) and algorithm.does_without(symbol.value)


@contextmanager
def _exits_told() -> Iterator[None]:
    """While active, an algorithm that calls `sys.exit` ends its run, and not the program that runs it."""
    try:
        yield
    except SystemExit as stop:
        code = "" if stop.code is None else repr(stop.code)
        told = AlgorithmExitError(f"the algorithm called sys.exit({code})")
        raise told.with_traceback(stop.__traceback__) from None  # the last line that it names is the algorithm's


def _start(engine: Any, request: RunRequest, store: Any) -> Any:
    """Makes the algorithm, calls initialize, moves the clock to its first instant."""
    from simulation.algorithm.algorithm import waiting_for
    from simulation.results.sampling import MINIMUM_STEP_MS, SAMPLES

    kind = load_algorithm(request.algorithm)
    with waiting_for(engine):
        algorithm = kind()
        algorithm.object_store = store
        algorithm.parameters = {str(key): str(value) for key, value in request.parameters.items()}
        algorithm.name = request.name or kind.__name__
        algorithm.algorithm_id = request.name or kind.__name__
        algorithm.initialize()
        algorithm.post_initialize()
    algorithm.lock()
    engine.samples.start()
    engine.sample_step_ms = max(MINIMUM_STEP_MS, (engine.end_ms - engine.start_ms) // SAMPLES)
    return algorithm


@contextmanager
def _swept(engine: Any, report: Callable[[Progress], None] | None, missing: _Missing | None = None) -> Iterator[None]:
    """While active, each day ends with its progress told and, after many securities left, their cycles collected.

    A removed security and its models hold each other. Left to Python's own schedule such cycles wait until they are
    a quarter of all that lives, and a year of chains grows by 20 MB. What lives before the run is set aside, so that a
    collection takes milliseconds. A day reads tens of thousands of rows of chains: Python's own schedule would look
    through them a hundred times a session.
    """
    span = max(engine.end_ms - engine.start_ms, 1)
    give_back = _trim()
    swept = 0

    def end_day(utc_ms: int) -> None:
        nonlocal swept
        if engine.forgotten - swept >= MANY_FORGOTTEN:
            swept = engine.forgotten
            gc.collect()
            give_back()
        if missing is not None:
            missing.tell()
        if report is not None:
            fraction = min(max((utc_ms - engine.start_ms) / span, 0.0), 1.0)
            report(Progress(engine.zone.local(utc_ms), fraction, float(engine.portfolio.total_portfolio_value)))

    engine.progress = end_day
    usual = gc.get_threshold()
    gc.collect()
    gc.freeze()
    gc.set_threshold(*SELDOM_SWEPT)
    try:
        yield
    finally:
        gc.set_threshold(*usual)
        gc.unfreeze()


def _trim() -> Callable[[], object]:
    """Hands freed memory back to the system where the C library offers it (glibc); elsewhere its allocator decides."""
    library = ctypes.CDLL(None) if sys.platform == "linux" else None
    trim = getattr(library, "malloc_trim", None)
    return (lambda: None) if trim is None else (lambda: trim(0))


def _result(engine: Any, request: RunRequest, error: str | None, seconds: float) -> RunResult:
    algorithm = engine.algorithm
    orders = tuple(sorted(engine.transactions.get_orders(), key=lambda order: order.id))
    statistics, trades = _summarize(engine, request)
    return RunResult(
        algorithm_name=algorithm.name,
        start=algorithm.start_date,
        end=algorithm.end_date,
        equity=(
            tuple(UTC.local(ms) for ms, _ in engine.samples.daily),
            tuple(value for _, value in engine.samples.daily),
        ),
        orders=orders,
        order_events=tuple(engine.order_events),
        order_list_hash=order_list_hash(orders, engine.order_events),
        statistics=statistics,
        closed_trades=trades,
        log_lines=tuple(algorithm.logs.lines),
        error=error,
        runtime_seconds=seconds,
        runtime_statistics=dict(algorithm.runtime_statistics),
    )


def _summarize(engine: Any, request: RunRequest) -> tuple[dict[str, str], tuple[Any, ...]]:
    """LEAN's statistics and closed trades; writes the result files when a folder was given."""
    from simulation.results import results

    summary = results.summarize(engine)
    if request.results is not None:
        results.write(engine, summary, request.results)
    return dict(summary.statistics), tuple(summary.closed_trades)


def order_list_hash(orders: tuple[Any, ...], events: list[Any]) -> str:
    """SHA-256 over every order and its fills: two runs with equal hashes sent and filled the same orders."""
    digest = hashlib.sha256()
    fills: dict[int, list[str]] = {}
    for event in events:
        if event.fill_quantity:
            fills.setdefault(event.order_id, []).append(
                f"{event.utc_ms}:{event.fill_quantity:.8f}@{event.fill_price:.8f}"
            )
    for order in orders:
        row = (
            order.id,
            order.symbol.value,
            f"{order.quantity:.8f}",
            f"{order.price:.8f}",
            order.time_ms,
            str(order.status),
        )
        digest.update("|".join(str(item) for item in (*row, *fills.get(order.id, ()))).encode())
        digest.update(b"\n")
    return digest.hexdigest()
