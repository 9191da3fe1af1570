"""Which strategies a run enables, and who lets them look ahead of their entry windows."""

from __future__ import annotations

from core.bus import EventBus
from core.events import EntryAhead
from core.journal import Journal, RecordKind
from core.settings.fields import RunSettings
from strategies.base import EntryContext, Strategy
from strategies.row import Row
from strategies.tools import Tools


class StrategyRoster:
    """The strategies that a run enables, of all that exist."""

    def __init__(self, strategies: tuple[Strategy, ...], settings: RunSettings) -> None:
        known = {strategy.name: strategy for strategy in strategies}
        unknown = sorted(set(settings.strategies) - set(known))
        if unknown:
            raise ValueError(f"run.strategies: {unknown} unknown; expected some of {sorted(known)}")
        self.enabled = tuple(known[name] for name in settings.strategies)

    def verify(self) -> tuple[str, ...]:
        """Unknown names were refused when it was made."""
        return ()


class EntryPreparer:
    """Lets each row look ahead of its windows, for each of its slots and for each position it may add to."""

    def __init__(self, bus: EventBus, journal: Journal, tools: Tools, roster: StrategyRoster) -> None:
        self._journal = journal
        self._tools = tools
        self._rows = {strategy.name: strategy for strategy in roster.enabled if isinstance(strategy, Row)}
        bus.subscribe(EntryAhead, self._on_ahead, component="entry_ahead")

    def _on_ahead(self, event: EntryAhead) -> None:
        row = self._rows.get(event.strategy)
        window = None if row is None else next((one for one in row.entry_windows() if one.name == event.window), None)
        day = event.time.date()
        if row is None or window is None or not window.falls_on(day) or not self._tools.is_open(day):
            return
        for context in self._contexts(row, event):
            try:
                row.prepare(context)
            except Exception as error:  # what fails ahead of a window will say so in it; nothing is decided here
                detail = f"{type(error).__name__}: {error}"
                self._journal.record(
                    RecordKind.ERROR, component=row.name, reason="failed while looking ahead", detail=detail
                )

    def _contexts(self, row: Row, event: EntryAhead) -> list[EntryContext]:
        session = self._tools.calendar.session(event.time.date())
        if session is None:
            raise ValueError(f"{event.time:%Y-%m-%d}: no session; expected an open day")
        context = EntryContext(
            now=event.time,
            session=session,
            vix=self._tools.vix.reading(event.time),
            equity=self._tools.gateway.account().equity,
            phase=self._tools.phases.phase,
            window=event.window,
        )
        return row.contexts(context)

    def verify(self) -> tuple[str, ...]:
        """Nothing can be wrong with it before the market opens."""
        return ()
