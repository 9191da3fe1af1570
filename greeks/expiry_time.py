"""How much time an option has left, to the second, by the moment at which its contract settles.

Nights, weekends and holidays count in full: time is calendar time, in years of 365 days. Both ends are turned into UTC
first, so that a daylight-saving change between them costs or adds its hour.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, date, datetime, time
from functools import lru_cache
from typing import Final
from zoneinfo import ZoneInfo

import numpy as np

from core.clock import closing_time, monthly_expiry
from core.contracts import Contract, Settlement
from core.instruments import INSTRUMENTS
from greeks.black_scholes import FloatArray

NEW_YORK: Final = ZoneInfo("America/New_York")
SECONDS_A_YEAR: Final = 365.0 * 86_400.0
OPEN: Final = time(9, 30)

OTHER_FUTURE_OPTIONS: Final = time(17, 0)  # the end of the day's session at CME


@lru_cache(maxsize=4096)
def settlement_time(root: str, expiry: date, settlement: Settlement) -> time:
    """New York time of day at which contracts of a root that expire on ``expiry`` stop being options."""
    if settlement is Settlement.CASH_MORNING:
        return OPEN
    if settlement is Settlement.PHYSICAL_FUTURE:
        if root == "ES":
            quarterly = expiry.month % 3 == 0 and expiry == monthly_expiry(expiry.year, expiry.month)
            return OPEN if quarterly else closing_time(expiry)
        row = INSTRUMENTS.get(root)
        return OTHER_FUTURE_OPTIONS if row is None else row.last_trading
    return closing_time(expiry)


def expires_at(contract: Contract) -> datetime:
    """Naive New York moment at which the contract stops being an option."""
    return datetime.combine(contract.expiry, settlement_time(contract.root, contract.expiry, contract.settlement))


def years_between(now: datetime, end: datetime) -> float:
    """Years of 365 days from ``now`` to ``end``, both naive New York; zero when ``end`` has passed."""
    return max(_utc_seconds(end) - _utc_seconds(now), 0.0) / SECONDS_A_YEAR


def years_to_expiry(contracts: Sequence[Contract], now: datetime) -> FloatArray:
    """Years left of every contract at ``now`` (naive New York); zero once settled, never negative."""
    if now.tzinfo is not None:
        raise ValueError(f"now: {now} carries a zone; expected naive New York time")
    start = _utc_seconds(now)
    ends = np.fromiter(
        (_end_seconds(contract.root, contract.expiry, contract.settlement) for contract in contracts),
        dtype=np.float64,
        count=len(contracts),
    )
    result: FloatArray = np.maximum(ends - start, 0.0) / SECONDS_A_YEAR
    return result


@lru_cache(maxsize=4096)
def _end_seconds(root: str, expiry: date, settlement: Settlement) -> float:
    return _utc_seconds(datetime.combine(expiry, settlement_time(root, expiry, settlement)))


def _utc_seconds(moment: datetime) -> float:
    """Seconds since 1970 UTC of a naive New York moment; the first of the two in the hour that autumn repeats."""
    return moment.replace(tzinfo=NEW_YORK).astimezone(UTC).timestamp()
