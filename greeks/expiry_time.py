"""How much time an option has left, to the second, by the moment at which its contract settles.

Nights, weekends and holidays count in full: time is calendar time, in years of 365 days. Both ends are turned into UTC
first, so that a daylight-saving change between them costs or adds its hour.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, date, datetime, time, timedelta
from functools import lru_cache
from typing import Final
from zoneinfo import ZoneInfo

import numpy as np

from core.contracts import Contract, Settlement
from core.instruments import INSTRUMENTS
from greeks.black_scholes import FloatArray

NEW_YORK: Final = ZoneInfo("America/New_York")
SECONDS_A_YEAR: Final = 365.0 * 86_400.0
CLOSE: Final = time(16, 0)
EARLY_CLOSE: Final = time(13, 0)
OPEN: Final = time(9, 30)

OTHER_FUTURE_OPTIONS: Final = time(17, 0)  # the end of the day's session at CME


def is_early_close(day: date) -> bool:
    """Whether the New York exchanges close at 13:00: the day after Thanksgiving, and the weekdays that lead to
    Independence Day (Monday to Thursday, 3 July) and Christmas (Monday to Thursday, 24 December)."""
    if day.month == 11:
        return day.weekday() == 4 and 23 <= day.day <= 29
    return (day.month, day.day) in ((7, 3), (12, 24)) and day.weekday() < 4


@lru_cache(maxsize=4096)
def settlement_time(root: str, expiry: date, settlement: Settlement) -> time:
    """New York time of day at which contracts of a root that expire on ``expiry`` stop being options."""
    if settlement is Settlement.CASH_MORNING:
        return OPEN
    if settlement is Settlement.PHYSICAL_FUTURE:
        if root == "ES" and expiry.month % 3 == 0 and _is_third_friday(expiry):
            return OPEN
        row = INSTRUMENTS.get(root)
        return OTHER_FUTURE_OPTIONS if row is None else row.last_trading
    return EARLY_CLOSE if is_early_close(expiry) else CLOSE


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


def _is_third_friday(day: date) -> bool:
    """The third Friday, or the Thursday before it when that Friday is Good Friday and the contract is moved."""
    return (day.weekday() == 4 and 15 <= day.day <= 21) or (day.weekday() == 3 and _is_good_friday(day + timedelta(1)))


def _is_good_friday(day: date) -> bool:
    """Two days before Easter Sunday (Gregorian computus, Meeus)."""
    century, year = divmod(day.year, 100)
    golden = day.year % 19
    epact = (19 * golden + century - century // 4 - (century - (century + 8) // 25 + 1) // 3 + 15) % 30
    weekday = (32 + 2 * (century % 4) + 2 * (year // 4) - epact - year % 4) % 7
    shift = (golden + 11 * epact + 22 * weekday) // 451
    month, rest = divmod(epact + weekday - 7 * shift + 114, 31)
    return day == date(day.year, month, rest + 1) - timedelta(2)
