"""What limits is remembered when it changes and comes back after a restart; what is read is checked like a stranger's.

Every plugin that has a memory gives it as JSON types and takes it back. A record that cannot be true is not used: its
plugin starts anew, entries are halted until a person looks, and the record is journalled.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Final

from core.bus import EventBus
from core.journal import Journal, RecordKind
from risk.proposal import MOST_DOLLARS, RiskPlugin
from state.manager import HierarchicalStateManager

MEMORY: Final = "risk"
"""Under which name the state keeps it."""


class RiskMemory:
    """Keeps and restores the memory of the plugins."""

    def __init__(
        self, state: HierarchicalStateManager, journal: Journal, bus: EventBus, plugins: tuple[RiskPlugin, ...]
    ) -> None:
        self._state = state
        self._journal = journal
        self._bus = bus
        self._plugins = tuple(sorted(plugins, key=lambda plugin: plugin.order))
        self._kept: dict[str, Mapping[str, object]] = {}

    def keep(self) -> None:
        """Write what changed since the last time."""
        now = {plugin.name: row for plugin in self._plugins if (row := plugin.memory())}
        if now != self._kept:
            self._kept = now
            self._state.remember(MEMORY, now)

    def restore(self) -> None:
        """Give every plugin back what the last process knew."""
        rows = self._state.recall(MEMORY)
        if rows is None:
            return
        for plugin in self._plugins:
            row = rows.get(plugin.name) if isinstance(rows, dict) else rows
            if row is None:
                continue
            try:
                plugin.restore(mapping(row))
            except (ValueError, TypeError, KeyError, OverflowError) as error:
                self._refuse(plugin.name, f"{type(error).__name__}: {error}")

    def _refuse(self, name: str, detail: str) -> None:
        reason = f"what was remembered of {name} cannot be read"
        self._journal.record(RecordKind.ERROR, component=name, reason=reason, detail=detail)
        self._bus.halt_entries(f"{reason}: {detail}")

    def verify(self) -> tuple[str, ...]:
        """Plugins with a memory have names of their own."""
        names = [plugin.name for plugin in self._plugins]
        return tuple(f"plugin {name} is there twice" for name in sorted({n for n in names if names.count(n) > 1}))


def limits_in_words(memory: object, now: datetime) -> list[str]:
    """What of a remembered record still limits at a time: locks with their end, suspensions. For a reader without
    plugins, so what cannot be true is named and the rest is told."""
    lines: list[str] = []
    for plugin, row in memory.items() if isinstance(memory, dict) else ():
        try:
            lines += _limits_of(str(plugin), mapping(row), now)
        except ValueError as error:
            lines.append(f"{plugin}: what was remembered cannot be read ({error})")
    return lines


def _limits_of(plugin: str, row: Mapping[str, object], now: datetime) -> list[str]:
    by = words(row, "tripped_by")
    lines = [
        f"locked: {plugin}{f' ({by})' if by else ''} until {until:%Y-%m-%d %H:%M}"
        for name in row
        if name.endswith("until") and (until := moment(row, name)) is not None and until > now
    ]
    if truth(row, "disabled"):
        lines.append(f"locked: {plugin} until a person resets it")
    suspended = row.get("suspended")
    return lines + [
        f"{name} is suspended by its own record since {since:%Y-%m-%d %H:%M}"
        for name in (suspended if isinstance(suspended, dict) else ())
        if isinstance(suspended, dict) and (since := moment(suspended, name)) is not None
    ]


def mapping(row: object) -> Mapping[str, object]:
    """A record of names with values. Raises ``ValueError``."""
    if not isinstance(row, dict):
        raise ValueError(f"{text_of(row)}; expected names with values")
    return row


def text_of(value: object) -> str:
    """A value in an error message, at most so long."""
    return repr(value)[:80]


def number(row: Mapping[str, object], name: str, least: float) -> float | None:
    """A number from ``least`` to what an account can be; ``None`` where none was kept. Raises ``ValueError``."""
    value = row.get(name)
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, int | float) or not least <= value < MOST_DOLLARS:
        raise ValueError(f"{name}: {text_of(value)}; expected a number from {least:g} to under {MOST_DOLLARS:g}")
    return float(value)


def moment(row: Mapping[str, object], name: str) -> datetime | None:
    """A naive time as ISO text; ``None`` where nothing was remembered. Raises ``ValueError``."""
    value = row.get(name)
    if value is None:
        return None
    try:
        found = datetime.fromisoformat(value) if isinstance(value, str) else None
    except ValueError:
        found = None
    if found is None or found.tzinfo is not None:
        raise ValueError(f"{name}: {text_of(value)}; expected a time without a zone, as ISO text")
    return found


def truth(row: Mapping[str, object], name: str) -> bool:
    """A truth value, false where nothing was remembered. Raises ``ValueError``."""
    value = row.get(name, False)
    if not isinstance(value, bool):
        raise ValueError(f"{name}: {text_of(value)}; expected true or false")
    return value


def words(row: Mapping[str, object], name: str) -> str:
    """A text, empty where nothing was remembered. Raises ``ValueError``."""
    value = row.get(name, "")
    if not isinstance(value, str):
        raise ValueError(f"{name}: {text_of(value)}; expected text")
    return value
