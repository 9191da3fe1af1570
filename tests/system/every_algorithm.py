"""``main.py`` with the made-up strategy that opens every structure, for the engine; risk lets everything through."""

# Private: _strategies, _approve: the roster knows the rows of the method only, and no rule of risk is tried here.

from __future__ import annotations

from core.book import Refusal
from main import TomKing
from risk.manager import UnifiedRiskManager
from risk.proposal import Decision, Proposal
from tests.every_structure import OPENED, install


class EveryStructureOnTheEngine(TomKing):
    """Runs the made-up strategy beside none of the method's."""

    slots = tuple(OPENED)

    def plan_day(self) -> None:
        """Before the day is planned, the strategy is put in place of the method's."""
        risk = self.system.managers[UnifiedRiskManager]

        def review(proposal: Proposal) -> Decision:
            return Decision(1, "allowed", "", None, None, (), risk._approve(proposal.intent, 1))

        def still_allowed(*_: object) -> Refusal | None:
            return None

        risk.review = review  # type: ignore[method-assign]
        risk.still_allowed = still_allowed  # type: ignore[method-assign, assignment]
        self.system.coordinator._strategies.clear()
        install(self.system, self.slots)
        super().plan_day()
