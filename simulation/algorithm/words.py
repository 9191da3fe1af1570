"""What an algorithm says: lines, charts, figures, notifications."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from simulation.lean.names import Named, signed


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
