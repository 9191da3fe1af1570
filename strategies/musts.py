"""What an entry must bring, when it is proposed and at each step of its walk: a credit, enough of it, a bounded debit.

A must is one number: the least that the package brings, in points, a credit positive. It travels with the entry.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable

from core.contracts import AssetKind, Package
from core.instruments import instrument_of
from core.settings.fields import OrderSettings
from core.settings.strategies import StrategySettings
from strategies.base import Skip

Must = Callable[[Package, StrategySettings, OrderSettings], float]


def spread_width(package: Package) -> float:
    """Points between the farthest strikes of one right and expiry; the widest of a package's sides."""
    strikes = defaultdict(list)
    for leg in package.legs:
        strikes[leg.contract.right, leg.contract.expiry].append(leg.contract.strike)
    return max(max(side) - min(side) for side in strikes.values())


def round_trip_fees(package: Package, orders: OrderSettings) -> float:
    """Dollars that a package costs to open and to close at the broker's price list."""
    total = 0.0
    for leg in package.legs:
        on_future = leg.contract.underlying.kind is AssetKind.FUTURE
        opening = orders.future_option_fee_to_open if on_future else orders.fee_to_open
        closing = orders.future_option_fee_to_close if on_future else orders.fee_to_close
        total += abs(leg.ratio) * (opening + closing)
    return total


def least_credit(package: Package, row: StrategySettings, orders: OrderSettings) -> float:
    """Points: a share of the width, and so many times the round trip's fees; the larger (methodology, section 5)."""
    multiplier = package.legs[0].contract.multiplier
    fees = row.min_credit_fees * round_trip_fees(package, orders) / multiplier
    return max(row.min_credit_of_width * spread_width(package), fees)


def net_credit(package: Package, own: StrategySettings, orders: OrderSettings) -> float:
    """Money comes in: one step of the price at least."""
    return instrument_of(package.legs[0].contract).ticks.step(0.0, len(package.legs))


def minimum_credit(package: Package, own: StrategySettings, orders: OrderSettings) -> float:
    """The share of the width and the fees that settings ask (methodology, section 5), and a credit in any case."""
    return max(least_credit(package, own, orders), net_credit(package, own, orders))


NET_CREDIT: Must = net_credit
MINIMUM_CREDIT: Must = minimum_credit


def maximum_debit(points: float) -> Must:
    """At most so many points are paid."""

    def must(package: Package, own: StrategySettings, orders: OrderSettings) -> float:
        return -points

    return must


def at_least(points: float) -> Must:
    """More than so many points come in, by one step of the price."""

    def must(package: Package, own: StrategySettings, orders: OrderSettings) -> float:
        return points + net_credit(package, own, orders)

    return must


def least_cash(musts: Iterable[Must], package: Package, own: StrategySettings, orders: OrderSettings) -> float | None:
    """The least that satisfies every must, in points; ``None`` without one."""
    return max((must(package, own, orders) for must in musts), default=None)


def too_little(brings: float, least: float | None) -> Skip | None:
    """Why a package that brings so much (points, a credit positive) is not taken."""
    if least is None or brings >= least - 1e-9:
        return None
    if least < 0:
        return Skip("debit", f"a debit of {-brings:.2f} is over the most of {-least:.2f}", -least, -brings)
    return Skip("credit", f"a credit of {brings:.2f} is under the least of {least:.2f}", least, brings)
