"""Margin of recognised option strategies, LEAN's formulas (OptionStrategyPositionGroupBuyingPowerModel.cs:50-438).

All amounts are dollars. A "unit" is the contract unit of trade: 100 for equity and index options, 1 for options on
futures, which is why LEAN margins a vertical on ES at its width in points.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from simulation.account.buying_power import (
    InitialMargin,
    InitialMarginParameters,
    MaintenanceMarginParameters,
    OptionInitialMargin,
)
from simulation.lean.enums import OptionRight
from simulation.lean.numbers import clean
from simulation.securities.securities import Security

Margin = Callable[[Security, float], float]


def maintenance_of(security: Security, quantity: float) -> float:
    """Maintenance margin of one position by its own model."""
    parameters = MaintenanceMarginParameters.for_quantity_at_current_price(security, quantity)
    return float(security.buying_power_model.get_maintenance_margin(parameters))


def initial_of(security: Security, quantity: float) -> InitialMargin:
    """Initial margin of one position by its own model."""
    parameters = InitialMarginParameters(security, quantity)
    margin = security.buying_power_model.get_initial_margin_requirement(parameters)
    return margin if isinstance(margin, InitialMargin) else InitialMargin(float(margin))


class Legs:
    """The legs of one group with their securities; `quantity` is how many times the strategy is held."""

    def __init__(self, positions: Sequence[tuple[Security, float]], quantity: float) -> None:
        self.positions = list(positions)
        self.quantity = abs(quantity)
        self.options = [(security, held) for security, held in positions if security.is_option]
        self.stocks = [(security, held) for security, held in positions if not security.is_option]

    def one(self, right: OptionRight, is_long: bool) -> tuple[Security, float]:
        """The only leg of a right on one side."""
        return next(leg for leg in self.options if leg[0].right == right and (leg[1] > 0) == is_long)

    def by_right(self, right: OptionRight) -> tuple[Security, float]:
        """The first leg of a right."""
        return next(leg for leg in self.options if leg[0].right == right)

    def by_strike(self) -> list[tuple[Security, float]]:
        """Option legs, lowest strike first."""
        return sorted(self.options, key=lambda leg: float(leg[0].strike_price))


def _nothing(legs: Legs, initial: bool) -> float:
    return 0.0 * legs.quantity


def _width(high: Security, low: Security, quantity: float) -> float:
    return max(clean((high.strike_price - low.strike_price) * low.contract_unit_of_trade * quantity), 0.0)


def _put_width(legs: Legs, initial: bool) -> float:
    """Short put strike less long put strike: iron condors and butterflies look at the put side only."""
    long, short = legs.one(OptionRight.PUT, True)[0], legs.one(OptionRight.PUT, False)[0]
    return _width(short, long, legs.quantity)


def _call_width(legs: Legs, initial: bool) -> float:
    long, short = legs.one(OptionRight.CALL, True)[0], legs.one(OptionRight.CALL, False)[0]
    return _width(long, short, legs.quantity)


def _middle_width(legs: Legs, initial: bool) -> float:
    ordered = legs.by_strike()
    return _width(ordered[1][0], ordered[0][0], legs.quantity)


def _own(security: Security, quantity: float, initial: bool) -> float:
    return abs(float(initial_of(security, quantity))) if initial else abs(maintenance_of(security, quantity))


def _naked(legs: Legs, initial: bool) -> float:
    return maintenance_of(*legs.options[0])


def _short_calendar(legs: Legs, initial: bool) -> float:
    security, held = next(leg for leg in legs.options if leg[1] < 0)
    return _own(security, held, initial)


def _jelly_roll(legs: Legs, initial: bool) -> float:
    last = max(security.expiry for security, _ in legs.options)
    security, held = next(leg for leg in legs.options if leg[1] < 0 and leg[0].expiry == last)
    return abs(maintenance_of(security, held))


def _short_pair(legs: Legs, initial: bool) -> float:
    """Short straddle and strangle: the larger single margin plus the other leg's price."""
    call, put = legs.by_right(OptionRight.CALL), legs.by_right(OptionRight.PUT)
    of_call, of_put = _own(*call, initial), _own(*put, initial)
    margin, other = (of_put, call) if of_put > of_call else (of_call, put)
    return float(margin + other[0].price * other[0].contract_unit_of_trade * abs(other[1]))


def _short_box(legs: Legs, initial: bool) -> float:
    long_call, short_call = legs.one(OptionRight.CALL, True), legs.one(OptionRight.CALL, False)
    long_put, short_put = legs.one(OptionRight.PUT, True), legs.one(OptionRight.PUT, False)
    contracts = abs(long_call[1])
    fees = max(contracts * 0.65, 1.0) * 4
    cost = short_call[0].ask_price - long_call[0].bid_price + short_put[0].ask_price - long_put[0].bid_price
    units = contracts * long_call[0].contract_unit_of_trade
    width = long_call[0].strike_price - short_call[0].strike_price
    return float(max(1.02 * (fees + cost * units), width * units))


def _call_ladder(bear: bool) -> Callable[[Legs, bool], float]:
    def margin(legs: Legs, initial: bool) -> float:
        ordered = legs.by_strike()
        if bear:
            return _call_width(Legs(ordered[:2], legs.quantity), initial)
        return abs(float(initial_of(*ordered[-1])))

    return margin


def _put_ladder(bull: bool) -> Callable[[Legs, bool], float]:
    def margin(legs: Legs, initial: bool) -> float:
        ordered = legs.by_strike()
        if bull:
            return _put_width(Legs(ordered[-2:], legs.quantity), initial)
        return abs(float(initial_of(*ordered[0])))

    return margin


# -------------------------------------------------------------------- with the underlying


def _in_the_money(option: Security, held: float, underlying: Security) -> float:
    return float(option.get_intrinsic_value(underlying.price) * option.contract_unit_of_trade * abs(held))


def _protective(legs: Legs, initial: bool) -> float:
    (option, held), (stock, shares) = legs.options[0], legs.stocks[0]
    if initial:
        return abs(float(initial_of(stock, shares)))
    units = option.contract_unit_of_trade * abs(held)
    distance = option.out_of_the_money_amount(stock.price) * units
    return float(min(0.1 * option.strike_price * units + distance, abs(maintenance_of(stock, shares))))


def _covered_call(legs: Legs, initial: bool) -> float:
    (option, held), (stock, shares) = legs.options[0], legs.stocks[0]
    option_value = option.holdings.quantity_value(held)
    if initial:
        return float(abs(option_value) * 0.8 + float(initial_of(stock, shares)))
    model, book = stock.buying_power_model, stock.holdings
    capped = book.quantity_value(shares, min(stock.price, option.scaled_strike_price))
    value = book.quantity_value(shares)
    at_cap = float(model.get_maintenance_margin(MaintenanceMarginParameters(stock, shares, 0.0, capped)))
    at_value = float(model.get_maintenance_margin(MaintenanceMarginParameters(stock, shares, 0.0, value)))
    return float(max(_in_the_money(option, held, stock) + at_cap, min(value, max(option_value, at_value))))


def _covered_put(legs: Legs, initial: bool) -> float:
    (option, held), (stock, shares) = legs.options[0], legs.stocks[0]
    return abs(float(initial_of(stock, shares))) + _in_the_money(option, held, stock)


def _stock_and_money(legs: Legs, right: OptionRight) -> float:
    (option, held), (stock, shares) = legs.by_right(right), legs.stocks[0]
    return abs(float(initial_of(stock, shares))) + _in_the_money(option, held, stock)


def _collar(legs: Legs, initial: bool) -> float:
    if initial:
        return _stock_and_money(legs, OptionRight.CALL)
    (put, held), (call, _), stock = legs.by_right(OptionRight.PUT), legs.by_right(OptionRight.CALL), legs.stocks[0][0]
    of_put = 0.1 * put.strike_price + put.out_of_the_money_amount(stock.price)
    return float(min(of_put, 0.25 * call.strike_price) * abs(held) * put.contract_unit_of_trade)


def _conversion(right: OptionRight) -> Callable[[Legs, bool], float]:
    def margin(legs: Legs, initial: bool) -> float:
        if initial:
            return _stock_and_money(legs, right)
        option, held = legs.by_right(right)
        stock = legs.stocks[0][0]
        share = 0.1 * option.strike_price * option.contract_unit_of_trade * abs(held)
        return float(share + _in_the_money(option, held, stock))

    return margin


FORMULAS: dict[str, Callable[[Legs, bool], float]] = {
    "Covered Call": _covered_call,
    "Protective Call": _protective,
    "Covered Put": _covered_put,
    "Protective Put": _protective,
    "Protective Collar": _collar,
    "Conversion": _conversion(OptionRight.CALL),
    "Reverse Conversion": _conversion(OptionRight.PUT),
    "Naked Call": _naked,
    "Naked Put": _naked,
    "Bear Call Spread": _call_width,
    "Bull Call Spread": _call_width,
    "Bear Put Spread": _put_width,
    "Bull Put Spread": _put_width,
    "Straddle": _nothing,
    "Strangle": _nothing,
    "Short Straddle": _short_pair,
    "Short Strangle": _short_pair,
    "Butterfly Call": _nothing,
    "Butterfly Put": _nothing,
    "Short Butterfly Call": _middle_width,
    "Short Butterfly Put": _middle_width,
    "Call Calendar Spread": _nothing,
    "Put Calendar Spread": _nothing,
    "Short Call Calendar Spread": _short_calendar,
    "Short Put Calendar Spread": _short_calendar,
    "Iron Butterfly": _put_width,
    "Short Iron Butterfly": _put_width,
    "Iron Condor": _put_width,
    "Short Iron Condor": _put_width,
    "Box Spread": _nothing,
    "Short Box Spread": _short_box,
    "Jelly Roll": _jelly_roll,
    "Short Jelly Roll": _jelly_roll,
    "Bear Call Ladder": _call_ladder(True),
    "Bull Call Ladder": _call_ladder(False),
    "Bear Put Ladder": _put_ladder(False),
    "Bull Put Ladder": _put_ladder(True),
}


def strategy_maintenance(name: str, legs: Legs) -> float:
    """Maintenance margin of a strategy; raises ValueError for one LEAN has no formula for (backspreads)."""
    return clean(_formula(name)(legs, False))


def strategy_initial(name: str, legs: Legs) -> InitialMargin:
    """Initial margin of a strategy: the formula, plus the net premium when that is a debit."""
    if name in ("Naked Call", "Naked Put"):
        margin = initial_of(*legs.options[0])
        if isinstance(margin, OptionInitialMargin):
            return OptionInitialMargin(abs(margin.value_without_premium), margin.premium)
        return margin
    premium = clean(sum(security.holdings.quantity_value(held) for security, held in legs.options))
    return OptionInitialMargin(_formula(name)(legs, True), premium)


def _formula(name: str) -> Callable[[Legs, bool], float]:
    formula = FORMULAS.get(name)
    if formula is None:
        raise ValueError(f"Option strategy {name} margin modeling has yet to be implemented")
    return formula
