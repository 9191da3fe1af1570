"""What a broker says, and who judges it: LEAN's handler ends the algorithm on an error, and when the connection stays
away (DefaultBrokerageMessageHandler.cs:38, 97-119)."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from simulation.account.brokerages import BrokerageMessageEvent
from simulation.lean.enums import BrokerageMessageType
from simulation.lean.names import Named


class NewBrokerageOrderNotificationEventArgs(Named):
    """An order at the broker that the algorithm did not send."""

    def __init__(self, order: Any) -> None:
        self.order = order


class DefaultBrokerageMessageHandler(Named):
    """LEAN's judgement; a subclass may judge otherwise."""

    def __init__(self, algorithm: Any, initial_delay: timedelta | None = None, *rest: Any) -> None:
        del rest
        self._owner = algorithm
        self._delay = timedelta(minutes=15) if initial_delay is None else initial_delay
        self._connected = True

    def handle_message(self, message: BrokerageMessageEvent) -> None:
        """An error ends the algorithm; so does a connection that is away for the whole delay."""
        if message.type == BrokerageMessageType.ERROR:
            self._end(f"Brokerage Error: {message}")
        elif message.type == BrokerageMessageType.DISCONNECT and self._connected:
            self._connected = False
            self._owner._engine.call_later(self._delay, self._still_away)
        elif message.type == BrokerageMessageType.RECONNECT:
            self._connected = True

    def _still_away(self) -> None:
        if not self._connected:
            self._end("Brokerage Disconnected: the connection was not restored in time")

    def _end(self, text: str) -> None:
        self._owner.error(text)
        self._owner._engine.stop(text)

    def handle_order(self, event_args: NewBrokerageOrderNotificationEventArgs) -> bool:
        """Whether LEAN takes in an order that the algorithm did not send: by default not."""
        del event_args
        return False
