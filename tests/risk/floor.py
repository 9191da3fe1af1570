"""The executor's room with minutes as the system has them, and quotes that a test makes bad."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from types import MappingProxyType

from core.book import EntryIntent, Position
from core.contracts import Contract, Quote
from core.events import Command, CommandAnswered, MarketData, MinutePassed
from state.store import StateStore
from strategies.base import Action, Answer, Deadline, EntryContext, Hold, HoldContext, Skip, Strategy, Window
from tests.execution.desk import Room
from tests.fake_gateway import FakeGateway, build


class Holder(Strategy):
    """Holds through everything."""

    name = "holder"

    def entry_windows(self) -> tuple[Window, ...]:
        return ()

    def deadlines(self) -> tuple[Deadline, ...]:
        return ()

    def propose(self, context: EntryContext, rank: int) -> Answer:
        return Skip("never", "a test proposes")

    def still_wanted(self, entry: EntryIntent, brings: float, context: EntryContext) -> Skip | None:
        return None

    def manage(self, position: Position, context: HoldContext) -> Action:
        return Hold()

    def verify(self) -> tuple[str, ...]:
        return ()


class Floor(Room):
    """The executor's room with minutes as the system has them."""

    parameters: Mapping[str, str] = MappingProxyType({})
    """Of the next process."""

    def __init__(self, folder: Path, vix: float = 24.0) -> None:
        super().__init__(folder, vix)
        self.answers: list[CommandAnswered] = []
        self.system.bus.subscribe(CommandAnswered, self.answers.append, component="test")

    def pass_minutes(self, count: int = 1) -> None:
        for _ in range(count):
            self.gateway.time += timedelta(minutes=1)
            now = self.gateway.time
            self.system.clock.advance(now)
            self.gateway.work_orders()
            for ticker in ("VIX", "SPY", "SPX"):
                price = self.gateway.price_of(ticker)
                self.system.bus.publish(
                    MarketData(time=now, ticker=ticker, open=price, high=price, low=price, price=price, fresh_at=now)
                )
            self.system.bus.publish(MinutePassed(time=now))

    def opened(self, contracts: int = 1) -> str:
        name = self.open(contracts)
        assert isinstance(name, str)
        self.pass_minutes(6)
        assert name in self.system.book.positions
        return name

    def say(self, command: Command, subject: str = "") -> CommandAnswered:
        self.system.command(self.gateway.time, command, subject)
        return self.answers[-1]

    def where(self) -> str:
        return self.state.system.name

    def again(self) -> Floor:
        """The next process over the same store and broker."""
        self.system.managers[StateStore].close()
        again = object.__new__(Floor)
        again.gateway, again.answers, again.parameters = self.gateway, [], self.parameters
        again.system, again.sink = build(self.gateway, **self.parameters)
        again.executor = again.system.managers[type(self.executor)]
        again.state = again.system.managers[type(self.state)]
        again.system.bus.subscribe(CommandAnswered, again.answers.append, component="test")
        return again


def crossed(floor: Floor, contract: Contract, quote: Quote | None) -> None:
    """The contract's quote is replaced; the account's figure moves with its middle, as an engine's does."""
    true_quote = FakeGateway.quote

    def quoted(gateway: FakeGateway, asked: Contract) -> Quote | None:
        shown = true_quote(gateway, asked)
        if quote is None or asked.name != contract.name or shown is None:
            return shown
        return replace(quote, time=gateway.time)

    floor.gateway.quote = quoted.__get__(floor.gateway)  # type: ignore[method-assign]
