"""Futures and options: what they are beyond a security, and which class a symbol gets."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from simulation.lean.dictionaries import KeyValuePair, LeanDictionary
from simulation.lean.enums import DataNormalizationMode, OptionRight, SecurityType, SettlementType
from simulation.lean.names import signed
from simulation.lean.symbols import Symbol, SymbolCache
from simulation.securities.securities import Equity, Index, Security


class Future(Security):
    """A futures contract, or the canonical future of a root."""

    def __init__(self, engine: Any, symbol: Any, hours: Any, properties: Any) -> None:
        super().__init__(engine, symbol, hours, properties)
        self.is_tradable = not symbol.is_canonical()
        self.settlement_type = SettlementType.CASH  # whatever the exchange says (Future.cs:101)
        self.contract_filter: Any = None
        self.mapped: Any = None  # the contract of a continuous future; None on a contract and without a map file

    @property
    def expiry(self) -> datetime:
        """Date of expiry, at midnight."""
        return self.symbol.id.date  # type: ignore[no-any-return]

    def settlement_price(self) -> float:
        """Price at the first instant of this exchange date that LEAN looks at a future: the first open interest of the
        day, which comes before the session, else now (FutureSettlementModel.cs Scan)."""
        now = self._engine.data_ms
        midnight = self.zone.midnight_ms(self.local_time.date())
        for feed in self._interest_feeds:
            ends = feed.column(now).end
            place = None if ends is None else int(ends.searchsorted(midnight))
            if place is not None and place < len(ends) and ends.item(place) <= now:
                return self.price_at(int(ends.item(place)))
        return float(self.price)

    @signed("universe_func", "min_expiry, max_expiry", "min_expiry_days, max_expiry_days")
    def set_filter(self, *arguments: Any) -> None:
        """Sets the universe's filter: a function of the universe, or (min expiry, max expiry) as days or timedeltas."""
        self._engine.set_filter(self, arguments)

    @property
    def is_future_chain(self) -> bool:
        """Whether this is the canonical future."""
        return bool(self.symbol.is_canonical())


class Option(Security):
    """An option contract, or the canonical option of a root. Strikes in dollars; one contract delivers
    `contract_unit_of_trade` units."""

    is_option = True

    def __init__(self, engine: Any, symbol: Any, hours: Any, properties: Any) -> None:
        super().__init__(engine, symbol, hours, properties)
        self.data_normalization_mode = DataNormalizationMode.RAW
        self.exercise_settlement = SettlementType.PHYSICAL_DELIVERY
        self.contract_unit_of_trade = int(properties.contract_multiplier)
        self.underlying: Any = None
        self.contract_filter: Any = None
        self.price_model: Any = None
        self.option_assignment_model: Any = None
        self.option_exercise_model: Any = None
        self.enable_greek_approximation = False

    @property
    def bid_price(self) -> float:
        """Last bid that was not zero; 0 when there has been none."""
        return self._side("bid")

    @property
    def ask_price(self) -> float:
        """Last ask that was not zero; 0 when there has been none."""
        return self._side("ask")

    @property
    def strike_price(self) -> float:
        """Strike in the underlying's price units."""
        return self.symbol.id.strike_price  # type: ignore[no-any-return]

    @property
    def scaled_strike_price(self) -> float:
        """Strike times the strike multiplier."""
        return self.strike_price * float(getattr(self.symbol_properties, "strike_multiplier", 1.0))

    @property
    def expiry(self) -> datetime:
        """Date of expiry, at midnight."""
        return self.symbol.id.date  # type: ignore[no-any-return]

    @property
    def right(self) -> OptionRight:
        """CALL or PUT."""
        return self.symbol.id.option_right  # type: ignore[no-any-return]

    @property
    def style(self) -> Any:
        """AMERICAN or EUROPEAN."""
        return self.symbol.id.option_style

    @property
    def contract_multiplier(self) -> float:
        """Dollars per point of one contract."""
        return float(self.symbol_properties.contract_multiplier)

    @property
    def is_option_chain(self) -> bool:
        """Whether this is the canonical option."""
        return bool(self.symbol.is_canonical())

    @property
    def is_option_contract(self) -> bool:
        """Whether this is a contract."""
        return not self.is_option_chain

    def get_intrinsic_value(self, underlying_price: float) -> float:
        """What exercising is worth per unit, never negative."""
        return max(0.0, self.get_pay_off(underlying_price))

    def get_pay_off(self, underlying_price: float) -> float:
        """Underlying less strike for a call, strike less underlying for a put."""
        gain = underlying_price - self.scaled_strike_price
        return gain if self.right == OptionRight.CALL else -gain

    def is_auto_exercised(self, underlying_price: float) -> bool:
        """Whether the intrinsic value is a cent or more (Option.cs:329)."""
        return round(self.get_intrinsic_value(underlying_price), 8) >= 0.01

    def out_of_the_money_amount(self, underlying_price: float) -> float:
        """How far out of the money, never negative."""
        return max(0.0, -self.get_pay_off(underlying_price))

    def get_exercise_quantity(self, exercise_order_quantity: float | None = None) -> float:
        """Units of the underlying that change hands: exercising a call buys, exercising a put sells.

        exercise_order_quantity: the change of the option position, negative when a long one is exercised; the whole
        position when not given (Option.cs:312).
        """
        change = -float(self.holdings.quantity) if exercise_order_quantity is None else exercise_order_quantity
        units = change * self.contract_unit_of_trade
        return -units if self.right == OptionRight.CALL else units

    def set_price_model(self, price_model: Any) -> None:
        """Replaces the price model: LEAN's, or an object with `evaluate(parameters)`."""
        self.price_model = price_model

    def set_option_assignment_model(self, option_assignment_model: Any) -> None:
        """Replaces the early-assignment model."""
        self.option_assignment_model = option_assignment_model

    def set_option_exercise_model(self, option_exercise_model: Any) -> None:
        """Replaces the exercise model."""
        self.option_exercise_model = option_exercise_model

    @signed(
        "universe_func",
        "min_strike, max_strike",
        "min_expiry, max_expiry",
        "min_strike, max_strike, min_expiry, max_expiry",
        "min_strike, max_strike, min_expiry_days, max_expiry_days",
    )
    def set_filter(self, *arguments: Any) -> None:
        """Sets the universe's filter: a function of the universe, (min strike, max strike), (min expiry, max expiry)
        or all four."""
        self._engine.set_filter(self, arguments)


class IndexOption(Option):
    """A cash-settled option on an index."""

    def __init__(self, engine: Any, symbol: Any, hours: Any, properties: Any) -> None:
        super().__init__(engine, symbol, hours, properties)
        self.exercise_settlement = SettlementType.CASH


class FutureOption(Option):
    """An option on a future: one contract delivers one future (SecurityService.cs:196)."""

    def __init__(self, engine: Any, symbol: Any, hours: Any, properties: Any) -> None:
        super().__init__(engine, symbol, hours, properties)
        self.contract_unit_of_trade = 1


SECURITY_CLASSES: dict[SecurityType, type[Security]] = {
    SecurityType.EQUITY: Equity,
    SecurityType.INDEX: Index,
    SecurityType.OPTION: Option,
    SecurityType.INDEX_OPTION: IndexOption,
    SecurityType.FUTURE: Future,
    SecurityType.FUTURE_OPTION: FutureOption,
}


class SecurityManager(LeanDictionary[Security]):
    """`algorithm.securities`: active securities by symbol. Removed and delisted ones stay reachable with `[]`."""

    def __init__(self) -> None:
        super().__init__()
        self.everything: dict[Any, Security] = {}
        self.broken_paths = 0  # how often what the path of a security rests on was replaced
        self.repriced = 0  # how often what prices are read from was replaced, of any security

    def _key(self, key: Any) -> Any:
        if isinstance(key, Symbol | str):
            return key
        return getattr(key, "symbol", key)

    def __getitem__(self, key: Any) -> Security:
        wanted = self._key(key)
        security = self._entries.get(wanted) or self.everything.get(wanted)
        if security is None and isinstance(wanted, str):
            security = self._named(wanted)
        if security is None:
            raise KeyError(
                f"This asset symbol ({key}) was not found in your security list. Please add this "
                "security or check it exists before using it."
            )
        return security

    def _named(self, text: str) -> Security | None:
        """The security of a ticker or of an identifier's text."""
        found = next((s for s in self.everything.values() if s.symbol.value == text.upper()), None)
        symbol = SymbolCache.find(text) if found is None else None
        return found if symbol is None else self.everything.get(symbol)

    def add_security(self, security: Security) -> None:
        """Registers a security under its symbol."""
        self._entries[security.symbol] = security
        self.everything[security.symbol] = security

    def forget(self, symbol: Any) -> None:
        """Drops a security that left and was never ordered; asking for it again makes it anew."""
        self.everything.pop(symbol, None)

    def retire(self, symbol: Any) -> None:
        """Takes a security out of the active ones."""
        self._entries.pop(symbol, None)

    def __contains__(self, key: object) -> bool:
        wanted = self._key(key)
        if isinstance(wanted, str):
            return self._named(wanted) is not None
        return wanted in self.everything

    def is_active(self, symbol: Any) -> bool:
        """Whether a security is neither removed nor delisted."""
        return symbol in self._entries

    def get(self, key: Any, default_value: Any = None) -> Any:
        """The security of a symbol, removed ones included (SecurityManager.cs TryGetValue)."""
        wanted = self._key(key)
        if isinstance(wanted, str):
            return self._named(wanted) or default_value
        return self.everything.get(wanted, default_value)

    def try_get_value(self, key: Any, value: Any = None) -> tuple[bool, Any]:
        """C#'s TryGetValue as pythonnet shows it."""
        found = self.get(key)
        return found is not None, value if found is None else found

    @property
    def total(self) -> list[Security]:
        """All securities ever added."""
        return list(self.everything.values())

    def items(self) -> list[KeyValuePair]:
        """All active pairs."""
        return [KeyValuePair(symbol, security) for symbol, security in self._entries.items()]
