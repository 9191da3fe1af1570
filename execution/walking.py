"""The walk of one order group from the mid through natural, and whether an entry is still wanted at its next step."""

from __future__ import annotations

from core.book import EntryIntent, EntryJudge, Refusal
from core.gateway import Gateway
from core.settings.fields import OrderSettings
from execution.groups import OrderGroup
from execution.pricing import crossing_limit, walk_limit
from market.chains import PackagePrice, current_price
from state.tables import OrderPurpose

_MOST_ATTEMPTS = 10


class PriceWalk:
    """Finds the next limit of a group; asks the judges about an entry before it stands there."""

    def __init__(self, gateway: Gateway, settings: OrderSettings) -> None:
        self._gateway = gateway
        self._settings = settings
        self.judges: list[EntryJudge] = []

    def price(self, group: OrderGroup) -> PackagePrice | None:
        """The group's package at its quotes now."""
        return current_price(self._gateway, group.package, closing=group.purpose is not OrderPurpose.ENTRY)

    def limit(self, group: OrderGroup, price: PackagePrice) -> float:
        """The walk goes on from the market's prices, but never back up: that would run away from a fill."""
        if not group.urgency.crosses and group.step <= self._settings.walk_steps:
            limit = walk_limit(price, group.step, self._settings)
            return limit if group.limit is None else min(limit, group.limit)
        beyond = group.step + 1 if group.urgency.crosses else group.step - self._settings.walk_steps
        return crossing_limit(price, min(beyond, _MOST_ATTEMPTS))

    def refusal(self, group: OrderGroup) -> Refusal | None:
        """Why an entry ends at the step it has come to: the first judge that has something against it.

        It is judged by what the step would bring: the better of its limit and natural, since a marketable limit
        executes at natural or better. Without prices it cannot be judged, so it ends.
        """
        if group.purpose is not OrderPurpose.ENTRY or group.entry is None:
            return None
        price = self.price(group)
        if price is None:
            return Refusal("quotes", "a leg has no quote to trade at")
        brings = max(self.limit(group, price), price.natural)
        answers = (_ask(judge, group.entry, group.contracts, brings) for judge in self.judges)
        return next((answer for answer in answers if answer is not None), None)


def _ask(judge: EntryJudge, entry: EntryIntent, contracts: int, brings: float) -> Refusal | None:
    try:
        return judge.still_allowed(entry, contracts, brings)
    except Exception as error:  # fail closed: whatever went wrong in a judge, the entry ends
        return Refusal("judge_error", f"{type(judge).__name__} failed: {type(error).__name__}: {error}")
