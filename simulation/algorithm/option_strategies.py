"""Option strategies by name: `OptionStrategies.iron_condor(canonical, ...)`, ordered as one combo market order."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from datetime import datetime
from typing import Any

from simulation.lean.enums import OptionRight
from simulation.lean.names import Named, signed
from simulation.lean.symbols import Symbol
from simulation.orders.order_parts import Leg

# Legs as: right, ratio, place of the strike among those given[, place of the expiration]; S = lots of the underlying.
# The order of the strikes: up = ascending, down = descending, as each LEAN method wants them.
_LEGS: dict[str, tuple[str, str]] = {
    "Covered Call": ("", "S+1 C-1@0"),
    "Covered Put": ("", "S-1 P-1@0"),
    "Protective Collar": ("down or equal", "S+1 C-1@0 P+1@1"),
    "Conversion": ("", "S+1 C-1@0 P+1@0"),
    "Naked Call": ("", "C-1@0"),
    "Naked Put": ("", "P-1@0"),
    "Bear Call Spread": ("up", "C-1@0 C+1@1"),
    "Bear Put Spread": ("down", "P+1@0 P-1@1"),
    "Bull Call Spread": ("up", "C+1@0 C-1@1"),
    "Bull Put Spread": ("down", "P-1@0 P+1@1"),
    "Straddle": ("", "C+1@0 P+1@0"),
    "Strangle": ("down", "C+1@0 P+1@1"),
    "Butterfly Call": ("down evenly", "C+1@0 C-2@1 C+1@2"),
    "Butterfly Put": ("down evenly", "P+1@0 P-2@1 P+1@2"),
    "Call Calendar Spread": ("dates", "C-1@0:0 C+1@0:1"),
    "Put Calendar Spread": ("dates", "P-1@0:0 P+1@0:1"),
    "Iron Butterfly": ("up evenly", "P+1@0 P-1@1 C-1@1 C+1@2"),
    "Iron Condor": ("up or equal", "P+1@0 P-1@1 C-1@2 C+1@3"),
    "Box Spread": ("down", "P+1@0 P-1@1 C+1@1 C-1@0"),
    "Jelly Roll": ("dates", "C-1@0:0 C+1@0:1 P+1@0:0 P-1@0:1"),
    "Bear Call Ladder": ("up", "C-1@0 C+1@1 C+1@2"),
    "Bear Put Ladder": ("down", "P+1@0 P-1@1 P-1@2"),
    "Call Backspread": ("up", "C-1@0 C+2@1"),
    "Put Backspread": ("down", "P-1@0 P+2@1"),
}


class OptionLegData(Leg):
    """A leg of a strategy: right, strike, expiration; its symbol is found when the strategy is ordered."""

    def __init__(self, right: OptionRight, strike: float, expiration: datetime, quantity: int) -> None:
        super().__init__(None, quantity)
        self.right = right
        self.strike = strike
        self.expiration = expiration


class UnderlyingLegData(Leg):
    """The leg in the underlying, in shares."""


class OptionStrategy(Named):
    """A named set of legs on one canonical option."""

    def __init__(
        self,
        name: str = "",
        canonical_symbol: Any = None,
        option_legs: list[OptionLegData] | None = None,
        underlying_legs: list[UnderlyingLegData] | None = None,
    ) -> None:
        self.name = name
        self.canonical_option = canonical_symbol
        self.underlying: Any = None if canonical_symbol is None else canonical_symbol.underlying
        self.option_legs = option_legs or []
        self.underlying_legs = underlying_legs or []
        self.set_symbols()

    def set_symbols(self) -> None:
        """Finds the contracts of legs that have no symbol yet."""
        canonical: Any = self.canonical_option
        for leg in self.option_legs:
            if leg.symbol is None and canonical is not None:
                style, root = canonical.id.option_style, canonical.id.symbol
                leg.symbol = Symbol.create_option(
                    self.underlying, root, canonical.id.market, style, leg.right, leg.strike, leg.expiration
                )


def _check(name: str, order: str, strikes: list[float], dates: list[datetime]) -> None:
    if order == "dates" and dates[0] >= dates[1]:
        raise ValueError(f"{name}: near expiration {dates[0]} must be before far expiration {dates[1]}")
    pairs = list(itertools.pairwise(strikes))
    if order.startswith("up") and any(b < a or (b == a and "equal" not in order) for a, b in pairs):
        raise ValueError(f"{name}: strike prices must be in ascending order, given {strikes}")
    if order.startswith("down") and any(b > a or (b == a and "equal" not in order) for a, b in pairs):
        raise ValueError(f"{name}: strike prices must be in descending order, given {strikes}")
    if "evenly" in order and abs(strikes[0] + strikes[2] - 2 * strikes[1]) > 1e-9:
        raise ValueError(f"{name}: intervals between exercise prices must be equal, given {strikes}")


def _factory(recipe: str, name: str, sign: int, terms: str) -> Callable[..., OptionStrategy]:
    """A strategy's maker. terms: LEAN's names of its strikes and expirations, in order."""

    @signed(f"canonical_option, {terms}")
    def make(canonical_option: Any, *values: Any) -> OptionStrategy:
        """Legs of the strategy; canonical option, strikes, expirations in LEAN's order."""
        canonical = getattr(canonical_option, "symbol", canonical_option)
        if not canonical.is_canonical():
            raise ValueError(f"{name}: canonical_option must contain canonical option symbol, given {canonical}")
        dates = [value for value in values if isinstance(value, datetime)]
        strikes = [float(value) for value in values if not isinstance(value, datetime)]
        order, legs = _LEGS[recipe]
        _check(name, order, strikes, dates)
        options, stock = [], []
        for leg in legs.split():
            head, _, place = leg.partition("@")
            ratio = int(head[1:]) * sign
            if head[0] == "S":
                stock.append(UnderlyingLegData(canonical.underlying, ratio * 100))
                continue
            at, _, when = place.partition(":")
            right = OptionRight.CALL if head[0] == "C" else OptionRight.PUT
            options.append(OptionLegData(right, strikes[int(at)], dates[int(when or 0)], ratio))
        return OptionStrategy(name, canonical, options, stock)

    return make


class OptionStrategies(Named):
    """LEAN's strategies; arguments are the canonical option, the strikes and the expiration(s)."""

    covered_call = staticmethod(_factory("Covered Call", "Covered Call", 1, "strike, expiration"))
    protective_call = staticmethod(_factory("Covered Call", "Protective Call", -1, "strike, expiration"))
    covered_put = staticmethod(_factory("Covered Put", "Covered Put", 1, "strike, expiration"))
    protective_put = staticmethod(_factory("Covered Put", "Protective Put", -1, "strike, expiration"))
    protective_collar = staticmethod(
        _factory("Protective Collar", "Protective Collar", 1, "call_strike, put_strike, expiration")
    )
    conversion = staticmethod(_factory("Conversion", "Conversion", 1, "strike, expiration"))
    reverse_conversion = staticmethod(_factory("Conversion", "Reverse Conversion", -1, "strike, expiration"))
    naked_call = staticmethod(_factory("Naked Call", "Naked Call", 1, "strike, expiration"))
    naked_put = staticmethod(_factory("Naked Put", "Naked Put", 1, "strike, expiration"))
    bear_call_spread = staticmethod(
        _factory("Bear Call Spread", "Bear Call Spread", 1, "leg_1_strike, leg_2_strike, expiration")
    )
    bear_put_spread = staticmethod(
        _factory("Bear Put Spread", "Bear Put Spread", 1, "leg_1_strike, leg_2_strike, expiration")
    )
    bull_call_spread = staticmethod(
        _factory("Bull Call Spread", "Bull Call Spread", 1, "leg_1_strike, leg_2_strike, expiration")
    )
    bull_put_spread = staticmethod(
        _factory("Bull Put Spread", "Bull Put Spread", 1, "leg_1_strike, leg_2_strike, expiration")
    )
    straddle = staticmethod(_factory("Straddle", "Straddle", 1, "strike, expiration"))
    short_straddle = staticmethod(_factory("Straddle", "Short Straddle", -1, "strike, expiration"))
    strangle = staticmethod(_factory("Strangle", "Strangle", 1, "call_leg_strike, put_leg_strike, expiration"))
    short_strangle = staticmethod(
        _factory("Strangle", "Short Strangle", -1, "call_leg_strike, put_leg_strike, expiration")
    )
    call_butterfly = staticmethod(
        _factory("Butterfly Call", "Butterfly Call", 1, "higher_strike, middle_strike, lower_strike, expiration")
    )
    butterfly_call = staticmethod(
        _factory("Butterfly Call", "Butterfly Call", 1, "higher_strike, middle_strike, lower_strike, expiration")
    )
    short_butterfly_call = staticmethod(
        _factory("Butterfly Call", "Short Butterfly Call", -1, "higher_strike, middle_strike, lower_strike, expiration")
    )
    put_butterfly = staticmethod(
        _factory("Butterfly Put", "Butterfly Put", 1, "higher_strike, middle_strike, lower_strike, expiration")
    )
    butterfly_put = staticmethod(
        _factory("Butterfly Put", "Butterfly Put", 1, "higher_strike, middle_strike, lower_strike, expiration")
    )
    short_butterfly_put = staticmethod(
        _factory("Butterfly Put", "Short Butterfly Put", -1, "higher_strike, middle_strike, lower_strike, expiration")
    )
    call_calendar_spread = staticmethod(
        _factory("Call Calendar Spread", "Call Calendar Spread", 1, "strike, near_expiration, far_expiration")
    )
    short_call_calendar_spread = staticmethod(
        _factory("Call Calendar Spread", "Short Call Calendar Spread", -1, "strike, near_expiration, far_expiration")
    )
    put_calendar_spread = staticmethod(
        _factory("Put Calendar Spread", "Put Calendar Spread", 1, "strike, near_expiration, far_expiration")
    )
    short_put_calendar_spread = staticmethod(
        _factory("Put Calendar Spread", "Short Put Calendar Spread", -1, "strike, near_expiration, far_expiration")
    )
    iron_butterfly = staticmethod(
        _factory("Iron Butterfly", "Iron Butterfly", 1, "otm_put_strike, atm_strike, otm_call_strike, expiration")
    )
    short_iron_butterfly = staticmethod(
        _factory(
            "Iron Butterfly", "Short Iron Butterfly", -1, "otm_put_strike, atm_strike, otm_call_strike, expiration"
        )
    )
    iron_condor = staticmethod(
        _factory(
            "Iron Condor",
            "Iron Condor",
            1,
            "long_put_strike, short_put_strike, short_call_strike, long_call_strike, expiration",
        )
    )
    short_iron_condor = staticmethod(
        _factory(
            "Iron Condor",
            "Short Iron Condor",
            -1,
            "short_put_strike, long_put_strike, long_call_strike, short_call_strike, expiration",
        )
    )
    box_spread = staticmethod(_factory("Box Spread", "Box Spread", 1, "higher_strike, lower_strike, expiration"))
    short_box_spread = staticmethod(
        _factory("Box Spread", "Short Box Spread", -1, "higher_strike, lower_strike, expiration")
    )
    jelly_roll = staticmethod(_factory("Jelly Roll", "Jelly Roll", 1, "strike, near_expiration, far_expiration"))
    short_jelly_roll = staticmethod(
        _factory("Jelly Roll", "Short Jelly Roll", -1, "strike, near_expiration, far_expiration")
    )
    bear_call_ladder = staticmethod(
        _factory("Bear Call Ladder", "Bear Call Ladder", 1, "lower_strike, middle_strike, higher_strike, expiration")
    )
    bull_call_ladder = staticmethod(
        _factory("Bear Call Ladder", "Bull Call Ladder", -1, "lower_strike, middle_strike, higher_strike, expiration")
    )
    bear_put_ladder = staticmethod(
        _factory("Bear Put Ladder", "Bear Put Ladder", 1, "higher_strike, middle_strike, lower_strike, expiration")
    )
    bull_put_ladder = staticmethod(
        _factory("Bear Put Ladder", "Bull Put Ladder", -1, "higher_strike, middle_strike, lower_strike, expiration")
    )
    call_backspread = staticmethod(
        _factory("Call Backspread", "Call Backspread", 1, "lower_strike, higher_strike, expiration")
    )
    short_call_backspread = staticmethod(
        _factory("Call Backspread", "Short Call Backspread", -1, "lower_strike, higher_strike, expiration")
    )
    put_backspread = staticmethod(
        _factory("Put Backspread", "Put Backspread", 1, "higher_strike, lower_strike, expiration")
    )
    short_put_backspread = staticmethod(
        _factory("Put Backspread", "Short Put Backspread", -1, "higher_strike, lower_strike, expiration")
    )
