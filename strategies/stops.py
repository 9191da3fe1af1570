"""A stop never trades on one bad quote (methodology, section 5).

It is confirmed by the model, when the row would stop at the model's own values too, or by quotes that may be believed
and said so at two looks running. A deadline and an emergency need no confirmation: they do not come from a quote.
"""

from __future__ import annotations

from datetime import timedelta

from core.book import Position
from core.gateway import Gateway, Session
from core.parts import Urgency
from greeks.marks import Marks
from market.freshness import TwoLooks
from strategies.base import Action, Close, HoldContext, Strategy

_APART = timedelta(seconds=90)  # with something held every minute is looked at


class StopGuard:
    """Remembers what was seen a minute ago."""

    def __init__(self, gateway: Gateway, marks: Marks) -> None:
        self._gateway = gateway
        self._marks = marks
        self._looks = TwoLooks(_APART)

    def confirmed(self, strategy: Strategy, position: Position, action: Action, session: Session) -> bool:
        """Whether an action may be taken now; everything but an urgent close may."""
        if not isinstance(action, Close) or action.urgency is not Urgency.URGENT:
            return True
        now = self._gateway.now()
        parts = position.chosen(action.parts)
        usable = all(self._marks.believed(part.legs, now) for part in parts)
        key = f"{position.id} {action.rule} {' '.join(part.name for part in parts)}"
        return self._looks.confirmed(key, now, usable, self._agrees(strategy, position, action, session))

    def _agrees(self, strategy: Strategy, position: Position, action: Close, session: Session) -> bool | None:
        """Whether the row would do the same at the model's values; ``None`` where they are not known."""
        values = {part.name: self._marks.model_value_of(part) for part in position.parts}
        if any(values[part.name] is None for part in position.chosen(action.parts)):
            return None
        tick = self._gateway.tick(position.underlying.price_key)
        context = HoldContext(self._gateway.now(), session, values, None if tick is None else tick.price)
        answer = strategy.manage(position, context)
        answers = answer if isinstance(answer, tuple) else (answer,)
        return any(isinstance(one, Close) and one.rule == action.rule for one in answers)
