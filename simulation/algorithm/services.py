"""What surrounds an algorithm: object store, settings, logs, charts, notifications."""

from __future__ import annotations

import importlib
import json
import re
from collections.abc import Callable, Iterator
from datetime import date, timedelta
from pathlib import Path
from types import ModuleType
from typing import Any

from simulation.data.chain_files import contracts_known_at
from simulation.lean.dictionaries import KeyValuePair
from simulation.lean.enums import OPTION_TYPES, DataMappingMode, DataNormalizationMode, Resolution, SecurityType
from simulation.lean.names import Named, signed
from simulation.lean.symbols import Symbol, symbol_of

_KEY = re.compile(r"^\.?[a-zA-Z0-9\\/_#\-\$= ]+\.?[a-zA-Z0-9]*$")
STORAGE_BYTES = 10 * 1024**3
STORAGE_FILES = 10_000


class ObjectStore(Named):
    """`self.object_store`: files below one folder. Keys may hold folders and one dot (LocalObjectStore.cs:115)."""

    def __init__(self, root: Path) -> None:
        self._root = root
        self.max_size = STORAGE_BYTES
        self.max_files = STORAGE_FILES

    def _path(self, key: str) -> Path:
        if not _KEY.match(key):
            raise ValueError(
                f"object store key '{key}' is refused: letters, digits, _ # - $ = space and folders "
                "are accepted, with one dot at most"
            )
        path = (self._root / key.replace("\\", "/").lstrip("/")).resolve()
        if not path.is_relative_to(self._root.resolve()):
            raise ValueError(f"object store key '{key}' is refused: it leads out of the store")
        return path

    def contains_key(self, path: str) -> bool:
        """Whether a key is stored."""
        return self._path(path).is_file()

    def __contains__(self, path: str) -> bool:
        return self.contains_key(path)

    def save_bytes(self, path: str, contents: bytes) -> bool:
        """Stores bytes; False when the store's limit of files or bytes would be passed."""
        target = self._path(path)
        known = [item for item in self._root.rglob("*") if item.is_file()] if self._root.exists() else []
        if target not in known and len(known) >= self.max_files:
            return False
        if sum(item.stat().st_size for item in known if item != target) + len(contents) > self.max_size:
            return False
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(contents)
        return True

    def read_bytes(self, path: str) -> bytes:
        """Stored bytes. Raises KeyError for an unknown key."""
        target = self._path(path)
        if not target.is_file():
            raise KeyError(
                f"Object with path '{path}' was not found in the current project. Please use "
                "contains_key before reading."
            )
        return target.read_bytes()

    def save(self, path: str, text: str | None = None, encoding: str | None = None) -> bool:
        """Stores text; without one, the file that was written at `get_file_path(path)` is taken over."""
        if text is None:
            return self.contains_key(path)
        return self.save_bytes(path, text.encode(encoding or "utf-8"))

    def save_string(self, path: str, text: str, encoding: str | None = None) -> bool:
        """Stores text."""
        return self.save(path, text, encoding)

    def read(self, path: str, encoding: str | None = None) -> str:
        """Stored text. Raises KeyError for an unknown key."""
        return self.read_bytes(path).decode(encoding or "utf-8")

    read_string = read

    def save_json(self, path: str, obj: Any) -> bool:
        """Stores an object as JSON."""
        return self.save(path, json.dumps(obj))

    def read_json(self, path: str) -> Any:
        """A stored JSON object."""
        return json.loads(self.read(path))

    def delete(self, path: str) -> bool:
        """Removes a key; False when it was not there."""
        target = self._path(path)
        if not target.is_file():
            return False
        target.unlink()
        return True

    def get_file_path(self, path: str) -> str:
        """Where the key's file is (or would be); its folder exists afterwards."""
        target = self._path(path)
        target.parent.mkdir(parents=True, exist_ok=True)
        return str(target)

    @property
    def keys(self) -> list[str]:
        """All keys."""
        if not self._root.exists():
            return list(())
        return sorted(
            str(item.relative_to(self._root)).replace("\\", "/") for item in self._root.rglob("*") if item.is_file()
        )

    def __iter__(self) -> Iterator[KeyValuePair]:
        return iter([KeyValuePair(key, self.read_bytes(key)) for key in self.keys])

    def clear(self) -> None:
        """Removes every key."""
        for key in self.keys:
            self.delete(key)


class AlgorithmSettings(Named):
    """`self.settings` with LEAN's defaults."""

    def __init__(self) -> None:
        self.seed_initial_prices = False
        self.daily_precise_end_time = True
        self.stale_price_time_span = timedelta(hours=1)
        self.free_portfolio_value_percentage = 0.0025
        self.free_portfolio_value: float | None = None
        self.minimum_order_margin_portfolio_percentage = 0.001
        self.rebalance_portfolio_on_security_changes: bool | None = None
        self.rebalance_portfolio_on_insight_changes: bool | None = None
        self.liquidate_enabled = True
        self.max_absolute_portfolio_target_percentage = 1_000_000_000.0
        self.min_absolute_portfolio_target_percentage = 0.0000000001
        self.data_subscription_limit = 2**31 - 1
        self.ignore_unknown_asset_holdings = True
        self.warm_up_resolution: Resolution | None = None
        self.warmup_resolution: Resolution | None = None
        self.trading_days_per_year: int | None = None
        self.automatic_indicator_warm_up = False
        self.performance_sample_period = timedelta(0)


class ScheduleSettings(Named):
    """A universe's own schedule."""

    def __init__(self) -> None:
        self.date_rule: Any = None

    def on(self, date_rule: Any) -> None:
        """Selects only on the dates of a rule."""
        self.date_rule = date_rule


class UniverseSettings(Named):
    """`self.universe_settings`: how members of a universe are subscribed."""

    def __init__(self) -> None:
        self.resolution = Resolution.MINUTE
        self.leverage = 0.0
        self.fill_forward = True
        self.extended_market_hours = False
        self.minimum_time_in_universe = timedelta(days=1)
        self.data_normalization_mode = DataNormalizationMode.ADJUSTED
        self.data_mapping_mode = DataMappingMode.OPEN_INTEREST
        self.contract_depth_offset = 0
        self.asynchronous: bool | None = None
        self.schedule = ScheduleSettings()


class NotificationManager(Named):
    """`self.notify`: nothing is sent in a backtest (NotificationManager.cs:64)."""

    def __init__(self) -> None:
        self.messages: list[tuple[str, tuple[Any, ...]]] = []

    def _refuse(self, kind: str, arguments: tuple[Any, ...]) -> bool:
        self.messages.append((kind, arguments))
        return False

    @signed("address, subject, message, data, headers", "address, subject, message, data=..., headers=None")
    def email(self, *arguments: Any) -> bool:
        """Not sent: False."""
        return self._refuse("email", arguments)

    @signed("phone_number, message")
    def sms(self, *arguments: Any) -> bool:
        """Not sent: False."""
        return self._refuse("sms", arguments)

    @signed("address, data=None, headers=None")
    def web(self, *arguments: Any) -> bool:
        """Not sent: False."""
        return self._refuse("web", arguments)

    @signed("id, message, token=None")
    def telegram(self, *arguments: Any) -> bool:
        """Not sent: False."""
        return self._refuse("telegram", arguments)

    @signed("hostname, username, password, file_path, file_content, port=None")
    def ftp(self, *arguments: Any) -> bool:
        """Not sent: False."""
        return self._refuse("ftp", arguments)


class Logs:
    """What the algorithm said, each line with its time; debug and error lines drop an immediate repetition.

    lines: with their kind in words. entries: kind and line, as LEAN's log file has it.
    """

    def __init__(self, now: Callable[[], Any]) -> None:
        self._now = now
        self.lines: list[str] = []
        self.entries: list[tuple[str, str]] = []
        self._last: dict[str, str] = {}

    def write(self, kind: str, message: Any) -> None:
        """Adds a line."""
        text = str(message)
        if not text.strip() or (kind != "log" and self._last.get(kind) == text):
            return
        self._last[kind] = text
        prefix = "" if kind == "log" else f"{kind.upper()}: "
        now = f"{self._now():%Y-%m-%d %H:%M:%S}"
        self.lines.append(f"{now} {prefix}{text}")
        self.entries.append((kind, f"{now} {text}"))


RESERVED_CHARTS = (
    "Strategy Equity",
    "Capacity",
    "Benchmark",
    "Drawdown",
    "Exposure",
    "Portfolio Turnover",
    "Portfolio Margin",
)
RESERVED_STATISTICS = (
    "Equity", "Fees", "Holdings", "Net Profit",
    "Probabilistic Sharpe Ratio", "Return", "Unrealized", "Volume", "Capacity",
)  # fmt: skip


class SubscriptionDataConfigService(Named):
    """Look-ups of subscriptions by symbol."""

    def __init__(self, engine: Any) -> None:
        self._engine = engine

    def get_subscription_data_configs(self, symbol: Any, include_internal_configs: bool = False) -> list[Any]:
        """Specifications of a symbol's subscriptions."""
        return [spec for spec in self._engine.configs.get(symbol, []) if include_internal_configs or not spec.internal]


class SubscriptionManager(Named):
    """`self.subscription_manager`."""

    def __init__(self, engine: Any) -> None:
        self._engine = engine
        self.subscription_data_config_service = SubscriptionDataConfigService(engine)

    @property
    def subscriptions(self) -> list[Any]:
        """All subscriptions that are not internal."""
        return [spec for specs in self._engine.configs.values() for spec in specs if not spec.internal]

    @property
    def count(self) -> int:
        """Number of subscriptions."""
        return len(self.subscriptions)

    def add_consolidator(self, symbol: Any, consolidator: Any, tick_type: Any = None) -> None:
        """Feeds a consolidator with a symbol's data."""
        self._engine.consolidators.add(symbol, consolidator, tick_type)

    def remove_consolidator(self, symbol: Any, consolidator: Any) -> None:
        """Stops feeding a consolidator."""
        self._engine.consolidators.remove(symbol, consolidator)


class TradingCalendar(Named):
    """`self.trading_calendar`: open and closed days of the US equity market."""

    def __init__(self, engine: Any) -> None:
        self._engine = engine

    def is_trading_day(self, day: date) -> bool:
        """Whether the US equity market opens on a date."""
        return bool(self._engine.hours_of("SPY").is_date_open(day))


DEFAULT_MARKETS = {
    SecurityType.EQUITY: "usa",
    SecurityType.OPTION: "usa",
    SecurityType.INDEX: "usa",
    SecurityType.INDEX_OPTION: "usa",
    SecurityType.FUTURE: "cme",
    SecurityType.FUTURE_OPTION: "cme",
}


class LazyModule(ModuleType):
    """Stands for a module until a member is asked for: an algorithm that never touches pandas does not wait for it."""

    def __getattr__(self, name: str) -> Any:
        return getattr(importlib.import_module(self.__name__), name)


class OptionChainProvider(Named):
    """LEAN's older way to a chain file."""

    def __init__(self, algorithm: Any) -> None:
        self._algorithm = algorithm

    def get_option_contract_list(self, symbol: Any, date: Any = None) -> list[Any]:
        """Contracts of the last chain file before a date, or before now, in the file's order."""
        wanted = symbol_of(symbol)
        if wanted.security_type not in OPTION_TYPES:
            wanted = Symbol.create_canonical_option(wanted)
        canonical = wanted if wanted.is_canonical() else wanted.canonical
        return contracts_known_at(self._algorithm._engine, canonical, date)

    def get_future_contract_list(self, symbol: Any, date: Any = None) -> list[Any]:
        """Contracts of the last futures chain file before a date, or before now, in the file's order."""
        wanted = symbol_of(symbol)
        return contracts_known_at(self._algorithm._engine, wanted if wanted.is_canonical() else wanted.canonical, date)


class WordsApi(Named):
    """The part of QCAlgorithm that writes lines, charts and figures."""

    _engine: Any
    logs: Logs
    charts: dict[str, dict[str, list[tuple[int, float]]]]
    runtime_statistics: dict[str, str]
    summary_statistics: dict[str, str]

    def log(self, message: Any) -> None:
        """Writes a line."""
        self.logs.write("log", message)

    def debug(self, message: Any) -> None:
        """Writes a line; an immediate repetition is dropped."""
        self.logs.write("debug", message)

    def error(self, message: Any) -> None:
        """Writes a line; an immediate repetition is dropped."""
        self.logs.write("error", message)

    @signed("series, value", "chart, series, value")
    def plot(self, *arguments: Any) -> None:
        """Adds a point to a chart: (series, value) or (chart, series, value); an indicator counts as its value."""
        if len(arguments) == 2:
            arguments = ("Strategy Equity", *arguments)
        chart, series, *values = arguments
        if chart in RESERVED_CHARTS and series in ("Equity", "Return", "Equity Drawdown"):
            raise ValueError(f"'{chart}' / '{series}' is reserved for the engine: choose another chart or series")
        for value in values:
            number = float(getattr(getattr(value, "current", value), "value", getattr(value, "current", value)))
            self.charts.setdefault(str(chart), {}).setdefault(str(series), []).append((self._engine.utc_ms, number))

    def record(self, series: str, value: float) -> None:
        """Same as plot."""
        self.plot(series, value)

    def add_chart(self, chart: Any) -> None:
        """Declares a chart with its series."""
        self.charts.setdefault(chart.name, {}).update({name: [] for name in getattr(chart, "series", {})})

    def set_runtime_statistic(self, name: str, value: Any) -> None:
        """Sets a figure of the run's banner; reserved names are refused."""
        if name in RESERVED_STATISTICS:
            raise ValueError(
                f"runtime statistic '{name}' is reserved: accepted is any name but {', '.join(RESERVED_STATISTICS)}"
            )
        self.runtime_statistics[name] = str(value)

    def set_summary_statistic(self, name: str, value: Any) -> None:
        """Sets a figure of the statistics block."""
        self.summary_statistics[name] = str(value)
