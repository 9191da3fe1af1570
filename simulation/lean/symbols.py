"""Symbol: what an algorithm holds to name a security. Interned, so that comparing and hashing cost nothing.

Sources: Common/Symbol.cs, Common/SymbolRepresentation.cs, Common/SymbolCache.cs.
"""

from __future__ import annotations

from datetime import date, datetime
from typing import Any, overload
from weakref import WeakValueDictionary

from simulation.lean.enums import OPTION_TYPES, OptionRight, OptionStyle, SecurityType
from simulation.lean.identifiers import DEFAULT_DATE, SecurityIdentifier, option_number, option_type_of
from simulation.lean.names import Named

_MONTH_LETTERS = "FGHJKMNQUVXZ"

MONTHS_EXPIRY_PRECEDES_CONTRACT = {
    "CL": 1,
    "MCL": 1,
    "HCL": 1,
    "NG": 1,
    "HO": 1,
    "RB": 1,
    "HP": 1,
    "NN": 1,
    "B": 2,
    "BZ": 2,
    "SB": 1,
    "YO": 1,
}
"""Futures that expire before their contract month, by how many months (FuturesExpiryUtilityFunctions.cs)."""

_UNDERLYING_OF = {
    SecurityType.OPTION: SecurityType.EQUITY,
    SecurityType.FUTURE_OPTION: SecurityType.FUTURE,
    SecurityType.INDEX_OPTION: SecurityType.INDEX,
}


class Symbol(Named):
    """A security's name. One object for each identity, so `is`, `==`, hashing and dictionaries agree and are fast."""

    __slots__ = ("__weakref__", "_canonical", "_is_canonical", "id", "security_type", "underlying", "value")

    id: SecurityIdentifier
    value: str
    underlying: Symbol
    security_type: SecurityType
    _canonical: Symbol | None
    _is_canonical: bool

    EMPTY: Symbol
    NONE: Symbol

    def __new__(cls, sid: SecurityIdentifier, value: str) -> Symbol:
        """LEAN's public constructor: derivatives get their standard value, everything else the given one."""
        if isinstance(sid, Symbol):
            return sid
        underlying = Symbol(sid.underlying, sid.underlying.symbol) if sid.has_underlying else None
        return _intern(sid, get_alias(sid, underlying) or value.upper(), underlying)

    @property
    def has_underlying(self) -> bool:
        """Whether this is a derivative."""
        return self.underlying is not None

    @property
    def canonical(self) -> Symbol:
        """The chain's symbol of an option or future. Raises ValueError for anything else."""
        found = self._canonical
        if found is None:
            found = self._canonical = self._make_canonical()
        return found

    def _make_canonical(self) -> Symbol:
        if self._is_canonical:
            return self
        if self.security_type in OPTION_TYPES:
            return Symbol.create_canonical_option(self.underlying, self.id.symbol, self.id.market)
        if self.security_type is SecurityType.FUTURE:
            return Symbol.create(self.id.symbol, SecurityType.FUTURE, self.id.market)
        raise ValueError(f"symbol '{self.value}' is no option and no future: it has no canonical symbol")

    def is_canonical(self) -> bool:
        """Whether this names a whole chain instead of one contract."""
        return self._is_canonical

    def has_canonical(self) -> bool:
        """Whether this is one contract of a chain."""
        return not self._is_canonical and (
            self.security_type in OPTION_TYPES or self.security_type is SecurityType.FUTURE
        )

    def has_underlying_symbol(self, symbol: Symbol) -> bool:
        """Whether the symbol is this one's underlying, or its underlying's underlying."""
        current: Symbol | None = self.underlying
        while current is not None:
            if current == symbol:
                return True
            current = current.underlying
        return False

    @staticmethod
    def create(
        ticker: str,
        security_type: SecurityType,
        market: str,
        alias: str | None = None,
        base_data_type: type | None = None,
    ) -> Symbol:
        """A symbol by ticker; for options and futures the canonical one.

        Raises ValueError for kinds that this engine does not trade.
        """
        if security_type is SecurityType.OPTION:
            return Symbol.create_canonical_option(Symbol.create(ticker, SecurityType.EQUITY, market))
        if security_type is SecurityType.INDEX_OPTION:
            return Symbol.create_canonical_option(Symbol.create(ticker, SecurityType.INDEX, market))
        if security_type is SecurityType.EQUITY:
            sid = SecurityIdentifier.generate_equity(ticker, market)
        elif security_type is SecurityType.BASE:
            name = f"{ticker.upper()}.{base_data_type.__name__}" if base_data_type is not None else ticker
            sid = SecurityIdentifier.pack(name, SecurityType.BASE, market)
        elif security_type in (SecurityType.FUTURE_OPTION, SecurityType.COMMODITY):
            raise ValueError(f"Symbol.create cannot make {security_type}; use create_option on the future's symbol")
        else:
            sid = SecurityIdentifier.pack(ticker.upper(), security_type, market)
        standard = get_alias(sid, None)
        return _intern(sid, (alias or standard or ticker).upper(), None)

    @overload
    @staticmethod
    def create_option(
        underlying_symbol: Symbol,
        market: str,
        style: OptionStyle,
        right: OptionRight,
        strike: float,
        expiry: date | datetime,
        alias: str | None = None,
    ) -> Symbol: ...
    @overload
    @staticmethod
    def create_option(
        underlying_symbol: Symbol,
        target_option: str,
        market: str,
        style: OptionStyle,
        right: OptionRight,
        strike: float,
        expiry: date | datetime,
        alias: str | None = None,
    ) -> Symbol: ...
    @overload
    @staticmethod
    def create_option(
        underlying: str,
        market: str,
        style: OptionStyle,
        right: OptionRight,
        strike: float,
        expiry: date | datetime,
        alias: str | None = None,
        map_symbol: bool = True,
    ) -> Symbol: ...
    @overload
    @staticmethod
    def create_option(sid: SecurityIdentifier, value: str, underlying: Symbol | None = None) -> Symbol: ...
    @staticmethod
    def create_option(*arguments: Any, **named: Any) -> Symbol:
        """An option contract's symbol, by underlying (symbol or ticker), root, market, style, right, strike, expiry."""
        if "sid" in named or (arguments and isinstance(arguments[0], SecurityIdentifier)):
            return _option_of_identifier(*arguments, **named)
        names = ["underlying_symbol", "market", "style", "right", "strike", "expiry", "alias", "map_symbol"]
        if "target_option" in named or (len(arguments) > 2 and (arguments[2] is None or isinstance(arguments[2], str))):
            names.insert(1, "target_option")
        if "underlying" in named:
            named["underlying_symbol"] = named.pop("underlying")
        values = _bind("create_option", names, arguments, named)
        underlying = values["underlying_symbol"]
        if isinstance(underlying, str):
            sid = SecurityIdentifier.generate_equity(underlying, values["market"], values.get("map_symbol", True))
            underlying = _intern(sid, underlying.upper(), None)
        else:
            underlying = symbol_of(underlying)
        sid = SecurityIdentifier.generate_option(
            values["expiry"],
            underlying.id,
            values.get("target_option"),
            values["market"],
            values["strike"],
            OptionRight(values["right"]),
            OptionStyle(values["style"]),
        )
        return _intern(sid, values.get("alias") or str(get_alias(sid, underlying)), underlying)

    @overload
    @staticmethod
    def create_canonical_option(
        underlying_symbol: Symbol, market: str | None = None, alias: str | None = None
    ) -> Symbol: ...
    @overload
    @staticmethod
    def create_canonical_option(
        underlying_symbol: Symbol, target_option: str | None, market: str | None = None, alias: str | None = None
    ) -> Symbol: ...
    @staticmethod
    def create_canonical_option(*arguments: Any, **named: Any) -> Symbol:
        """The chain symbol of the options on an underlying; target_option: the root when not the standard one."""
        names = ["underlying_symbol", "target_option", "market", "alias"]
        # LEAN's two overloads differ by a text in second place: a known market is a market, anything else a root.
        if len(arguments) == 2 and "market" not in named and str(arguments[1]).islower():
            names = ["underlying_symbol", "market", "alias"]
        values = _bind("create_canonical_option", names, arguments, named)
        underlying = symbol_of(values["underlying_symbol"])
        market = values.get("market") or underlying.id.market
        kind = option_type_of(underlying.security_type)
        style = OptionStyle.EUROPEAN if kind is SecurityType.INDEX_OPTION else OptionStyle.AMERICAN
        sid = SecurityIdentifier.generate_option(
            DEFAULT_DATE, underlying.id, values.get("target_option"), market, 0, OptionRight.CALL, style
        )
        return _intern(sid, values.get("alias") or str(get_alias(sid, underlying)), underlying)

    @staticmethod
    def create_future(ticker: str, market: str, expiry: date | datetime, alias: str | None = None) -> Symbol:
        """A future contract's symbol; expiry is its last trading date."""
        sid = SecurityIdentifier.generate_future(expiry, ticker, market)
        return _intern(sid, alias or str(get_alias(sid, None)), None)

    @staticmethod
    def get_alias(security_identifier: SecurityIdentifier, underlying: Symbol | None = None) -> str | None:
        """The standard value of a derivative; None for anything else."""
        return get_alias(security_identifier, underlying)

    @staticmethod
    def get_option_type_from_underlying(underlying_symbol: Symbol | SecurityType) -> SecurityType:
        """The kind of option on an underlying."""
        if isinstance(underlying_symbol, Symbol):
            return option_type_of(underlying_symbol.security_type)
        return option_type_of(underlying_symbol)

    @staticmethod
    def get_underlying_from_option_type(security_type: SecurityType) -> SecurityType:
        """The kind of underlying of a kind of option. Raises ValueError when it is no option."""
        if security_type not in _UNDERLYING_OF:
            raise ValueError(f"{security_type} is no option type; accepted are {sorted(map(str, _UNDERLYING_OF))}")
        return _UNDERLYING_OF[security_type]

    def compare_to(self, obj: Symbol | str) -> int:
        """-1, 0 or 1 by the values, without regard to case."""
        mine, other = _order_key(self), _order_key(obj)
        return (mine > other) - (mine < other)

    def equals(self, other: object) -> bool:
        """Same as ==."""
        return self == other

    def get_hash_code(self) -> int:
        """Same as hash()."""
        return hash(self)

    def to_string(self) -> str:
        """Same as str()."""
        return str(self)

    def __eq__(self, other: object) -> bool:
        if self is other:
            return True
        if isinstance(other, Symbol):
            return self.id == other.id
        if isinstance(other, str):
            return SymbolCache.find(other) is self
        if isinstance(other, SecurityIdentifier):
            return self.id == other
        own = getattr(other, "symbol", None)
        return own is self if isinstance(own, Symbol) else NotImplemented

    # Interning makes identity enough; the built-in hash keeps dictionaries at C speed.
    __hash__ = object.__hash__

    def __lt__(self, other: Symbol | str) -> bool:
        return _order_key(self) < _order_key(other)

    def __le__(self, other: Symbol | str) -> bool:
        return _order_key(self) <= _order_key(other)

    def __gt__(self, other: Symbol | str) -> bool:
        return _order_key(self) > _order_key(other)

    def __ge__(self, other: Symbol | str) -> bool:
        return _order_key(self) >= _order_key(other)

    def __str__(self) -> str:
        return SymbolCache.get_ticker(self)

    def __repr__(self) -> str:
        return str(self)

    def __copy__(self) -> Symbol:
        return self

    def __deepcopy__(self, memory: dict[int, object]) -> Symbol:
        return self


class _AliasedSymbol(Symbol):
    """A second value or time of day for one identity (a renamed ticker, a future's expiry): equal to, and hashed like,
    the first one."""

    __slots__ = ("primary",)
    primary: Symbol

    def __hash__(self) -> int:
        return object.__hash__(self.primary)


_interned: WeakValueDictionary[tuple[str, int, Symbol | None], Symbol] = WeakValueDictionary()


def _fill(symbol: Symbol, sid: SecurityIdentifier, value: str, underlying: Symbol | None) -> Symbol:
    symbol.id = sid
    symbol.value = value
    symbol.security_type = sid.security_type
    symbol.underlying = underlying  # type: ignore[assignment]  # LEAN types it as present; None is what C# gives too
    symbol._canonical = None
    derivative = sid.security_type is SecurityType.FUTURE or underlying is not None
    symbol._is_canonical = derivative and sid.date == DEFAULT_DATE
    return symbol


def _intern(sid: SecurityIdentifier, value: str, underlying: Symbol | None) -> Symbol:
    key = (sid.symbol, sid.properties, underlying)
    found = _interned.get(key)
    if found is None:
        found = _fill(object.__new__(Symbol), sid, value, underlying)
        _interned[key] = found
        return found
    if found.value == value and found.id.date == sid.date:
        return found
    alias = object.__new__(_AliasedSymbol)
    alias.primary = found
    return _fill(alias, sid, value, underlying)


def option_contract(canonical: Symbol, expiry: date, strike: float, right: OptionRight) -> Symbol:
    """The contract of a chain: the fast way that readers of universes and folders take. Strike in dollars."""
    chain = canonical.id
    number = option_number(expiry, chain.market, strike, (right, chain.option_style, chain.security_type))
    found = _interned.get((chain.symbol, number, canonical.underlying))
    if found is not None:
        return found
    sid = SecurityIdentifier(chain.symbol, number, chain.underlying)
    contract = _intern(sid, str(get_alias(sid, canonical.underlying)), canonical.underlying)
    contract._canonical = canonical
    return contract


def get_alias(sid: SecurityIdentifier, underlying: Symbol | None) -> str | None:
    """A derivative's standard value: 'SPXW  240712P05350000', '?SPXW', 'ES20U24', '/ES'; None for anything else."""
    if sid.security_type is SecurityType.FUTURE:
        return f"/{sid.symbol}" if sid.date == DEFAULT_DATE else future_value(sid.symbol, sid.date)
    if sid.security_type not in OPTION_TYPES or underlying is None:
        return None
    root = underlying.value if sid.symbol == underlying.id.symbol else sid.symbol
    if sid.date == DEFAULT_DATE:
        return f"?{root}"
    if len(root) > 5:
        root += "  "  # LEAN appends a blank twice: once in GetAlias, once in GenerateOptionTickerOSI
    right = "C" if sid.option_right is OptionRight.CALL else "P"
    return f"{root:<6}{sid.date:%y%m%d}{right}{round(sid.strike_price * 1000):08d}"


def future_value(ticker: str, expiry: date | datetime) -> str:
    """A future's value: ticker, day of expiry, letter and year of the contract month ('ES20U24')."""
    months = expiry.year * 12 + expiry.month - 1 + MONTHS_EXPIRY_PRECEDES_CONTRACT.get(ticker, 0)
    return f"{ticker}{expiry.day:02d}{_MONTH_LETTERS[months % 12]}{months // 12 % 100}"


def contract_month(symbol: Symbol) -> date:
    """First day of the contract month of a future, or of the future under an option (FuturesExpiryUtilityFunctions)."""
    if symbol.security_type is SecurityType.FUTURE_OPTION:
        symbol = symbol.underlying
    expiry = symbol.id.date
    months = expiry.year * 12 + expiry.month - 1 + MONTHS_EXPIRY_PRECEDES_CONTRACT.get(symbol.id.symbol, 0)
    return date(months // 12, months % 12 + 1, 1)


class SymbolCache(Named):
    """Tickers of the securities an algorithm added: what a text means, and what ``str(symbol)`` gives."""

    _symbols: dict[str, Symbol] = {}  # noqa: RUF012  # one table for a run, as LEAN's static class
    _tickers: dict[Symbol, str] = {}  # noqa: RUF012

    @staticmethod
    def set(ticker: str, symbol: Symbol) -> None:
        """Registers a ticker; a later one replaces an earlier one."""
        SymbolCache._symbols[ticker.upper()] = symbol
        SymbolCache._tickers[symbol] = ticker

    @staticmethod
    def find(ticker: str) -> Symbol | None:
        """The symbol of a ticker or of an identifier's text; None when there is none."""
        found = SymbolCache._symbols.get(ticker.upper())
        if found is None and " " in ticker:
            try:
                sid = SecurityIdentifier.parse(ticker)
            except ValueError:  # a text that only looks like an identifier
                return None
            found = Symbol(sid, sid.symbol)
        return found

    @staticmethod
    def get_symbol(ticker: str) -> Symbol:
        """The symbol of a ticker. Raises ValueError when no security of that ticker was added."""
        found = SymbolCache.find(ticker)
        if found is None:
            known = ", ".join(sorted(SymbolCache._symbols)[:8]) or "none"
            raise ValueError(f"ticker '{ticker}' names no added security; added are {known}")
        return found

    @staticmethod
    def get_ticker(symbol: Symbol) -> str:
        """The ticker a symbol was registered under, else its identifier's text."""
        return SymbolCache._tickers.get(symbol) or str(symbol.id)

    @staticmethod
    def clear() -> None:
        """Forgets every ticker; the runner calls it before a run."""
        SymbolCache._symbols.clear()
        SymbolCache._tickers.clear()


def symbol_of(thing: Any) -> Symbol:
    """The symbol of a Symbol, a ticker, or anything with a ``symbol`` (a security, a contract), as LEAN converts."""
    if isinstance(thing, Symbol):
        return thing
    if isinstance(thing, str):
        return SymbolCache.get_symbol(thing)
    own = getattr(thing, "symbol", None)
    if isinstance(own, Symbol):
        return own
    raise TypeError(f"{thing!r} names no security; accepted are a Symbol, a ticker, a security or a contract")


def _order_key(thing: Symbol | str) -> str:
    return (thing if isinstance(thing, str) else thing.value).upper()


def _option_of_identifier(sid: SecurityIdentifier, value: str, underlying: Symbol | None = None) -> Symbol:
    owner = underlying or Symbol(sid.underlying, sid.underlying.symbol)
    return _intern(sid, value.upper(), owner)


def _bind(function: str, names: list[str], arguments: tuple[Any, ...], named: dict[str, Any]) -> dict[str, Any]:
    if len(arguments) > len(names):
        raise TypeError(
            f"{function} takes at most {len(names)} arguments ({', '.join(names)}), {len(arguments)} were given"
        )
    values = dict(zip(names, arguments, strict=False))
    for name, value in named.items():
        if name not in names or name in values:
            raise TypeError(f"{function}: argument '{name}' is not accepted here; accepted are {', '.join(names)}")
        values[name] = value
    return values


Symbol.EMPTY = object.__new__(Symbol)
_fill(Symbol.EMPTY, SecurityIdentifier("", 0), "", None)
Symbol.NONE = object.__new__(Symbol)
_fill(Symbol.NONE, SecurityIdentifier("NONE", 0), "NONE", None)
