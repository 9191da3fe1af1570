"""Futures: tickers by LEAN's names, and the expiry date of a contract month.

Sources in Common/Securities/Future: FuturesExpiryFunctions.cs, FuturesExpiryUtilityFunctions.cs.
"""

from __future__ import annotations

from calendar import monthrange
from collections.abc import Callable, Set
from datetime import date, datetime, time, timedelta

from simulation.lean.names import Named

Holidays = Set[date]
Rule = Callable[[int, int, Holidays], date]

_DAY = timedelta(days=1)
_WEDNESDAY, _FRIDAY = 2, 4
_QUARTERS = frozenset({3, 6, 9, 12})
_CYCLES: dict[str, frozenset[int]] = {
    "ZC": frozenset({3, 5, 7, 9, 12}),
    "ZW": frozenset({3, 5, 7, 9, 12}),
    "KE": frozenset({3, 5, 7, 9, 12}),
    "ZO": frozenset({3, 5, 7, 9, 12}),
    "ZS": frozenset({1, 3, 5, 7, 8, 9, 11}),
    "ZM": frozenset({1, 3, 5, 7, 8, 9, 10, 12}),
    "ZL": frozenset({1, 3, 5, 7, 8, 9, 10, 12}),
    "MGC": frozenset({2, 4, 6, 8, 10, 12}),
    "LE": frozenset({2, 4, 6, 8, 10, 12}),
}


class Futures(Named):
    """Tickers of the futures that this engine knows, by sector."""

    class Indices(Named):
        """Equity indices and volatility."""

        SP_500_E_MINI = "ES"
        NASDAQ_100_E_MINI = "NQ"
        DOW_30_E_MINI = "YM"
        RUSSELL_2000_E_MINI = "RTY"
        MICRO_SP_500_E_MINI = "MES"
        MICRO_NASDAQ_100_E_MINI = "MNQ"
        MICRO_DOW_30_E_MINI = "MYM"
        MICRO_RUSSELL_2000_E_MINI = "M2K"
        VIX = "VX"

    class Energy(Named):
        """Oil, gas and their products."""

        CRUDE_OIL_WTI = "CL"
        MICRO_CRUDE_OIL_WTI = "MCL"
        HEATING_OIL = "HO"
        GASOLINE = "RB"
        NATURAL_GAS = "NG"

    Energies = Energy

    class Metals(Named):
        """Precious metals and copper."""

        GOLD = "GC"
        SILVER = "SI"
        PLATINUM = "PL"
        PALLADIUM = "PA"
        COPPER = "HG"
        MICRO_GOLD = "MGC"
        MICRO_SILVER = "SIL"

    class Financials(Named):
        """United States treasuries."""

        Y_30_TREASURY_BOND = "ZB"
        Y_10_TREASURY_NOTE = "ZN"
        Y_5_TREASURY_NOTE = "ZF"
        Y_2_TREASURY_NOTE = "ZT"
        ULTRA_US_TREASURY_BOND = "UB"
        ULTRA_TEN_YEAR_US_TREASURY_NOTE = "TN"

    class Currencies(Named):
        """Currencies against the dollar."""

        EUR = "6E"
        GBP = "6B"
        JPY = "6J"
        CAD = "6C"
        AUD = "6A"
        CHF = "6S"
        NZD = "6N"
        MICRO_EUR = "M6E"
        BTC = "BTC"
        ETH = "ETH"

    class Grains(Named):
        """Grains and oilseeds."""

        CORN = "ZC"
        SRW_WHEAT = "ZW"
        WHEAT = "ZW"
        HRW_WHEAT = "KE"
        SOYBEANS = "ZS"
        SOYBEAN_MEAL = "ZM"
        SOYBEAN_OIL = "ZL"
        OATS = "ZO"

    class Meats(Named):
        """Livestock."""

        LIVE_CATTLE = "LE"


def nth_weekday(year: int, month: int, weekday: int, count: int) -> date:
    """The count-th weekday (Monday is 0) of a month."""
    first = date(year, month, 1)
    return first + timedelta(days=(weekday - first.weekday()) % 7 + 7 * (count - 1))


def third_friday(year: int, month: int) -> date:
    """The third Friday of a month."""
    return nth_weekday(year, month, _FRIDAY, 3)


def add_business_days(start: date, count: int, holidays: Holidays) -> date:
    """A date some business days after (before, when negative) another; the start itself is not counted."""
    step = _DAY if count > 0 else -_DAY
    day, left = start, abs(count)
    while left:
        day += step
        left -= _is_business_day(day, holidays)
    return day


def nth_last_business_day(year: int, month: int, count: int, holidays: Holidays) -> date:
    """The count-th business day from the end of a month."""
    day = date(year, month, monthrange(year, month)[1])
    left = count - _is_business_day(day, holidays)
    while left:
        day -= _DAY
        left -= _is_business_day(day, holidays)
    return day


def _is_business_day(day: date, holidays: Holidays) -> bool:
    return day.weekday() < 5 and day not in holidays


def _before_holiday(day: date, holidays: Holidays) -> date:
    return add_business_days(day, -1, holidays) if day in holidays else day


def _previous_month(year: int, month: int) -> tuple[int, int]:
    return (year - 1, 12) if month == 1 else (year, month - 1)


def _index(year: int, month: int, holidays: Holidays) -> date:
    return _before_holiday(third_friday(year, month), holidays)


def _volatility(year: int, month: int, holidays: Holidays) -> date:
    following = third_friday(*((year + 1, 1) if month == 12 else (year, month + 1)))
    expiry = following - timedelta(days=30)
    return expiry - _DAY if expiry in holidays or following in holidays else expiry


def _metal(year: int, month: int, holidays: Holidays) -> date:
    return nth_last_business_day(year, month, 3, holidays)


def _crude(year: int, month: int, holidays: Holidays, days: int = 3) -> date:
    reference = date(*_previous_month(year, month), 25)
    return add_business_days(reference, -(days + (not _is_business_day(reference, holidays))), holidays)


def _micro_crude(year: int, month: int, holidays: Holidays) -> date:
    return _crude(year, month, holidays, days=4)


def _oil_product(year: int, month: int, holidays: Holidays) -> date:
    return nth_last_business_day(*_previous_month(year, month), 1, holidays)


def _natural_gas(year: int, month: int, holidays: Holidays) -> date:
    return add_business_days(date(year, month, 1), -3, holidays)


def _long_treasury(year: int, month: int, holidays: Holidays) -> date:
    return nth_last_business_day(year, month, 8, holidays)


def _last_business_day(year: int, month: int, holidays: Holidays) -> date:
    return nth_last_business_day(year, month, 1, holidays)


def _currency(year: int, month: int, holidays: Holidays) -> date:
    return add_business_days(nth_weekday(year, month, _WEDNESDAY, 3), -2, holidays)


def _canadian_dollar(year: int, month: int, holidays: Holidays) -> date:
    return add_business_days(nth_weekday(year, month, _WEDNESDAY, 3), -1, holidays)


def _coin(year: int, month: int, holidays: Holidays) -> date:
    day = date(year, month, monthrange(year, month)[1])
    return _before_holiday(day - timedelta(days=(day.weekday() - _FRIDAY) % 7), holidays)


def _grain(year: int, month: int, holidays: Holidays) -> date:
    return add_business_days(date(year, month, 15), -1, holidays)


_RULES: dict[str, tuple[Rule, frozenset[int] | None]] = {
    **dict.fromkeys(("ES", "NQ", "YM", "RTY", "MES", "MNQ", "MYM", "M2K"), (_index, _QUARTERS)),
    "VX": (_volatility, None),
    **dict.fromkeys(("GC", "SI", "PL", "PA", "HG", "MGC", "SIL"), (_metal, None)),
    "CL": (_crude, None),
    "MCL": (_micro_crude, None),
    "HO": (_oil_product, None),
    "RB": (_oil_product, None),
    "NG": (_natural_gas, None),
    **dict.fromkeys(("ZB", "ZN", "UB", "TN"), (_long_treasury, _QUARTERS)),
    **dict.fromkeys(("ZF", "ZT"), (_last_business_day, _QUARTERS)),
    **dict.fromkeys(("6E", "6B", "6J", "6A", "6S", "6N"), (_currency, None)),
    "M6E": (_currency, _QUARTERS),
    "6C": (_canadian_dollar, None),
    **dict.fromkeys(("BTC", "ETH"), (_coin, None)),
    **dict.fromkeys(("ZC", "ZW", "KE", "ZO", "ZS", "ZM", "ZL"), (_grain, None)),
    "LE": (_last_business_day, None),
}


# The time of day that LEAN's functions add to the date; midnight where they add none.
_TIMES: dict[str, time] = {
    **dict.fromkeys(("ES", "NQ", "YM", "RTY", "MES", "MNQ", "MYM", "M2K"), time(13, 30)),
    "VX": time(13, 0),
    "HG": time(17, 0),
    **dict.fromkeys(("ZB", "ZN", "UB", "ZF", "ZT"), time(12, 1)),
    **dict.fromkeys(("6E", "6B", "6J", "6A", "6S", "6N", "6C", "M6E"), time(14, 16)),
    **dict.fromkeys(("BTC", "ETH"), time(15, 0)),
    "LE": time(12, 0),
}


def moment_of_expiry(ticker: str, day: date) -> datetime:
    """What LEAN's identifier of a listed contract has for a date: the last trading date with its time of day."""
    return datetime.combine(day, _TIMES.get(ticker.upper(), time()))


def known_futures() -> frozenset[str]:
    """Tickers whose expiry this engine knows."""
    return frozenset(_RULES)


def expiry_of_contract_month(ticker: str, month: date | datetime, holidays: Holidays) -> date:
    """Last trading date of a contract month. holidays: exchange and bank holidays of the future.

    Raises ValueError for a future whose rule this engine does not have.
    """
    rule = _RULES.get(ticker.upper())
    if rule is None:
        raise ValueError(f"no expiry rule for the future '{ticker}'; known are {', '.join(sorted(_RULES))}")
    compute, cycle = rule
    cycle = cycle or _CYCLES.get(ticker.upper())
    year, number = month.year, month.month
    while cycle is not None and number not in cycle:
        year, number = (year + 1, 1) if number == 12 else (year, number + 1)
    return compute(year, number, holidays)
