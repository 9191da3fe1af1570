"""What an entry must bring: the least credit of a spread or condor, when proposed and at each step of its walk."""

from __future__ import annotations

from collections import defaultdict

from core.contracts import AssetKind, Package
from core.settings.fields import OrderSettings
from core.settings.strategies import StrategySettings
from strategies.base import Skip


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


def thin_credit(package: Package, credit: float, row: StrategySettings, orders: OrderSettings) -> Skip | None:
    """Why a spread or condor at this credit (points a package) is not worth its fees and its width."""
    floor = least_credit(package, row, orders)
    if credit > 0 and credit >= floor - 1e-9:
        return None
    return Skip("credit", f"a credit of {credit:.2f} is under the least of {floor:.2f}", floor, credit)
