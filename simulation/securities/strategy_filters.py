"""The strategy filters of OptionFilterUniverse: which contracts of the file make up a structure
(OptionFilterUniverse.cs:271-1059).

Each takes the rows, the underlying's close and the selection's date, and gives the rows of the legs, or none.
Offsets in dollars from the underlying's close; the expiry is the first at or after so many days.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from datetime import date, timedelta
from typing import Any

from simulation.lean.enums import OptionRight

Rows = list[Any]
CALL, PUT = OptionRight.CALL, OptionRight.PUT
NO_STRIKE = float("inf")


def _expiry_rows(rows: Iterable[Any], today: date, minimum_days: int) -> Rows:
    """Rows of the first expiry at or after so many days from the selection."""
    least = today + timedelta(days=minimum_days)
    later = [row for row in rows if row.expiry.date() >= least]
    if not later:
        return Rows()
    first = min(row.expiry for row in later)
    return sorted((row for row in later if row.expiry == first), key=lambda row: (row.strike, row.right))


def _distance(row: Any, spot: float, offset: float) -> float:
    return round(abs(spot + offset - float(row.strike)), 9)


def _strike(rows: Iterable[Any], spot: float, offset: float) -> float:
    """The strike nearest to the underlying plus an offset; of two as near the one whose identifier's text comes first,
    as LEAN sorts the contracts of an expiry (SecurityIdentifier.cs:996)."""
    candidates = list(rows)
    if not candidates:
        return NO_STRIKE
    least = min(_distance(row, spot, offset) for row in candidates)
    nearest = [row for row in candidates if _distance(row, spot, offset) <= least]
    if len({row.strike for row in nearest}) > 1:
        nearest.sort(key=lambda row: str(row.symbol.id))
    return float(nearest[0].strike)


def _first_strike(rows: Rows, spot: float, offset: float) -> float:
    """The same over all expiries, where LEAN keeps the order of the file."""
    return min(
        (row.strike for row in rows), key=lambda strike: round(abs(spot + offset - strike), 9), default=NO_STRIKE
    )


def _at(rows: Iterable[Any], strike: float, right: OptionRight | None = None) -> Rows:
    return [row for row in rows if _same(row.strike, strike) and (right is None or row.right == right)]


def _same(first: float, second: float) -> bool:
    return abs(first - second) < 1e-9


def _whole(rows: Rows, count: int) -> Rows:
    return rows if len(rows) == count else []


def _single(right: OptionRight) -> Callable[..., Rows]:
    def choose(
        rows: Rows, spot: float, today: date, min_days_till_expiry: int = 30, strike_from_atm: float = 0
    ) -> Rows:
        candidates = [row for row in _expiry_rows(rows, today, min_days_till_expiry) if row.right == right]
        return _at(candidates, _strike(candidates, spot, strike_from_atm)) if candidates else []

    return choose


def _spread(right: OptionRight) -> Callable[..., Rows]:
    def choose(
        rows: Rows,
        spot: float,
        today: date,
        min_days_till_expiry: int = 30,
        higher_strike_from_atm: float = 5,
        lower_strike_from_atm: float | None = None,
    ) -> Rows:
        low = -higher_strike_from_atm if lower_strike_from_atm is None else lower_strike_from_atm
        if higher_strike_from_atm <= low:
            raise ValueError(
                "Spread(): strike price arguments must be in descending order, "
                f"higher_strike_from_atm {higher_strike_from_atm}, lower {low}"
            )
        candidates = [row for row in _expiry_rows(rows, today, min_days_till_expiry) if row.right == right]
        if not candidates:
            return Rows()
        lower = _strike(candidates, spot, low)
        above = [row for row in candidates if row.strike > lower]
        if not above:
            return Rows()
        return _at(candidates, lower) + _at(above, _strike(above, spot, higher_strike_from_atm))

    return choose


def _two_expiries(rows: Rows, today: date, near_days: int, far_days: int, name: str) -> Rows:
    if far_days <= near_days:
        raise ValueError(f"{name}: expiry arguments must be in ascending order, near {near_days}, far {far_days}")
    if near_days < 0:
        raise ValueError(f"{name}: near expiry argument must be positive, not {near_days}")
    near = _expiry_rows(rows, today, near_days)
    if not near:
        return Rows()
    far = _expiry_rows([row for row in rows if row.expiry > near[0].expiry], today, far_days)
    return [near[0], far[0]] if far else []


def _calendar(right: OptionRight) -> Callable[..., Rows]:
    def choose(
        rows: Rows,
        spot: float,
        today: date,
        strike_from_atm: float = 0,
        min_near_days_till_expiry: int = 30,
        min_far_days_till_expiry: int = 60,
    ) -> Rows:
        candidates = _at(rows, _first_strike(rows, spot, strike_from_atm), right)
        return _two_expiries(candidates, today, min_near_days_till_expiry, min_far_days_till_expiry, "CalendarSpread()")

    return choose


def _call_put(rows: Rows, spot: float, call_offset: float, put_offset: float, out_of_the_money: bool) -> Rows:
    calls = [row for row in rows if row.right == CALL and (not out_of_the_money or row.strike > spot)]
    puts = [row for row in rows if row.right == PUT and (not out_of_the_money or row.strike < spot)]
    if not calls or not puts:
        return Rows()
    return _at(calls, _strike(calls, spot, call_offset)) + _at(puts, _strike(puts, spot, put_offset))


def strangle(
    rows: Rows,
    spot: float,
    today: date,
    min_days_till_expiry: int = 30,
    call_strike_from_atm: float = 5,
    put_strike_from_atm: float = -5,
) -> Rows:
    """An out-of-the-money call and put."""
    if call_strike_from_atm <= 0 or put_strike_from_atm >= 0:
        raise ValueError(
            "Strangle(): the call's offset must be positive and the put's negative, not "
            f"{call_strike_from_atm} and {put_strike_from_atm}"
        )
    return _call_put(
        _expiry_rows(rows, today, min_days_till_expiry), spot, call_strike_from_atm, put_strike_from_atm, True
    )


def straddle(rows: Rows, spot: float, today: date, min_days_till_expiry: int = 30) -> Rows:
    """A call and a put at the money."""
    return _call_put(_expiry_rows(rows, today, min_days_till_expiry), spot, 0, 0, False)


def protective_collar(
    rows: Rows,
    spot: float,
    today: date,
    min_days_till_expiry: int = 30,
    call_strike_from_atm: float = 5,
    put_strike_from_atm: float = -5,
) -> Rows:
    """A call above a put."""
    if call_strike_from_atm <= put_strike_from_atm:
        raise ValueError(
            "ProtectiveCollar(): strike price arguments must be in descending order, not "
            f"{call_strike_from_atm}, {put_strike_from_atm}"
        )
    pair = _call_put(
        _expiry_rows(rows, today, min_days_till_expiry), spot, call_strike_from_atm, put_strike_from_atm, False
    )
    if not pair:
        raise ValueError("ProtectiveCollar(): no expiry has a call and a put; LEAN's own filter fails here, too")
    return pair if pair[0].strike > pair[1].strike else []


def conversion(
    rows: Rows, spot: float, today: date, min_days_till_expiry: int = 30, strike_from_atm: float = 5
) -> Rows:
    """A call and a put at one strike."""
    return _call_put(_expiry_rows(rows, today, min_days_till_expiry), spot, strike_from_atm, strike_from_atm, False)


def _butterfly(right: OptionRight) -> Callable[..., Rows]:
    def choose(rows: Rows, spot: float, today: date, min_days_till_expiry: int = 30, strike_spread: float = 5) -> Rows:
        if strike_spread <= 0:
            raise ValueError(f"Butterfly(): strike_spread must be positive, not {strike_spread}")
        candidates = [row for row in _expiry_rows(rows, today, min_days_till_expiry) if row.right == right]
        if not candidates:
            return Rows()
        middle = _strike(candidates, spot, 0)
        lower = _strike([row for row in candidates if row.strike < spot and row.strike < middle], spot, -strike_spread)
        upper = -1.0 if lower == NO_STRIKE else middle * 2 - lower
        return _whole(
            [row for row in candidates if any(_same(row.strike, wanted) for wanted in (middle, lower, upper))], 3
        )

    return choose


def iron_butterfly(
    rows: Rows, spot: float, today: date, min_days_till_expiry: int = 30, strike_spread: float = 5
) -> Rows:
    """A straddle at the money with symmetric wings."""
    if strike_spread <= 0:
        raise ValueError(f"IronButterfly(): strike_spread must be positive, not {strike_spread}")
    candidates = _expiry_rows(rows, today, min_days_till_expiry)
    calls = [row for row in candidates if row.right == CALL and row.strike > spot]
    if not calls or not any(row.right == PUT and row.strike < spot for row in candidates):
        return Rows()
    middle = _strike(candidates, spot, 0)
    upper = _strike([row for row in calls if row.strike > middle], spot, strike_spread)
    lower = -1.0 if upper == NO_STRIKE else middle * 2 - upper
    return _whole(_at(candidates, middle) + _at(candidates, upper, CALL) + _at(candidates, lower, PUT), 4)


def iron_condor(
    rows: Rows,
    spot: float,
    today: date,
    min_days_till_expiry: int = 30,
    near_strike_spread: float = 5,
    far_strike_spread: float = 10,
) -> Rows:
    """A strangle with symmetric wings."""
    if not 0 < near_strike_spread < far_strike_spread:
        raise ValueError(
            "IronCondor(): strike arguments must be positive and in ascending order, not "
            f"{near_strike_spread}, {far_strike_spread}"
        )
    candidates = _expiry_rows(rows, today, min_days_till_expiry)
    calls = [row for row in candidates if row.right == CALL and row.strike > spot]
    puts = [row for row in candidates if row.right == PUT and row.strike < spot]
    if not calls or not puts:
        return Rows()
    near_call, near_put = _strike(calls, spot, near_strike_spread), _strike(puts, spot, -near_strike_spread)
    far_call = _strike([row for row in calls if row.strike > near_call], spot, far_strike_spread)
    far_put = -1.0 if far_call == NO_STRIKE else near_put - far_call + near_call
    legs = [(CALL, near_call), (PUT, near_put), (CALL, far_call), (PUT, far_put)]
    return _whole(
        [row for row in candidates if any(row.right == right and _same(row.strike, strike) for right, strike in legs)],
        4,
    )


def box_spread(rows: Rows, spot: float, today: date, min_days_till_expiry: int = 30, strike_spread: float = 5) -> Rows:
    """Calls and puts at two strikes around the money."""
    if strike_spread <= 0:
        raise ValueError(f"BoxSpread(): strike arguments must be positive, strike_spread {strike_spread}")
    candidates = _expiry_rows(rows, today, min_days_till_expiry)
    higher = _strike([row for row in candidates if row.strike > spot], spot, strike_spread)
    lower = _strike([row for row in candidates if row.strike < min(higher, spot)], spot, -strike_spread)
    return _whole([row for row in candidates if _same(row.strike, higher) or _same(row.strike, lower)], 4)


def jelly_roll(
    rows: Rows,
    spot: float,
    today: date,
    strike_from_atm: float = 0,
    min_near_days_till_expiry: int = 30,
    min_far_days_till_expiry: int = 60,
) -> Rows:
    """Call and put at one strike in two expiries."""
    strike = _first_strike(rows, spot, strike_from_atm)
    pair = _two_expiries(
        _at(rows, strike, CALL), today, min_near_days_till_expiry, min_far_days_till_expiry, "JellyRoll()"
    )
    expiries = {row.expiry for row in pair}
    return _whole([row for row in _at(rows, strike) if row.expiry in expiries], 4)


def _ladder(right: OptionRight) -> Callable[..., Rows]:
    def choose(
        rows: Rows,
        spot: float,
        today: date,
        min_days_till_expiry: int,
        higher_strike_from_atm: float,
        middle_strike_from_atm: float,
        lower_strike_from_atm: float,
    ) -> Rows:
        if not higher_strike_from_atm > middle_strike_from_atm > lower_strike_from_atm:
            raise ValueError("Ladder(): strike price arguments must be in descending order")
        left = _expiry_rows([row for row in rows if row.right == right], today, min_days_till_expiry)
        if not left:
            raise ValueError("Ladder(): no expiry is so many days away; LEAN's own filter fails here, too")
        chosen: Rows = []
        for offset in (lower_strike_from_atm, middle_strike_from_atm, higher_strike_from_atm):
            if not left:
                return Rows()
            chosen += _at(left, _strike(left, spot, offset))
            left = [row for row in left if row.strike > chosen[-1].strike]
        return chosen

    return choose


STRATEGY_FILTERS: dict[str, Callable[..., Rows]] = {
    "naked_call": _single(CALL),
    "naked_put": _single(PUT),
    "call_spread": _spread(CALL),
    "put_spread": _spread(PUT),
    "call_calendar_spread": _calendar(CALL),
    "put_calendar_spread": _calendar(PUT),
    "strangle": strangle,
    "straddle": straddle,
    "protective_collar": protective_collar,
    "conversion": conversion,
    "call_butterfly": _butterfly(CALL),
    "put_butterfly": _butterfly(PUT),
    "iron_butterfly": iron_butterfly,
    "iron_condor": iron_condor,
    "box_spread": box_spread,
    "jelly_roll": jelly_roll,
    "call_ladder": _ladder(CALL),
    "put_ladder": _ladder(PUT),
}
