"""SecurityIdentifier: LEAN's permanent identity of a security, packed in one number and printed in base 36.

Layout of the number (Common/SecurityIdentifier.cs:74-104), lowest digits first: security type (2 decimal digits),
market (3), strike scale (2), strike (6), option style (1), date as days since 1899-12-30 (5), option right (1).
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import date, datetime, timedelta
from functools import lru_cache

from simulation.lean.enums import OPTION_TYPES, OptionRight, OptionStyle, SecurityType
from simulation.lean.names import Named

DEFAULT_DATE = datetime(1899, 12, 30)
"""The date of an identifier that has none (canonical options and futures, indices)."""

_DAY_ZERO = date(1899, 12, 30).toordinal()
_MARKET_SCALE = 100
_STRIKE_SCALE_SCALE = 100_000
_STRIKE_SCALE = 10_000_000
_STYLE_SCALE = 10_000_000_000_000
_DAYS_SCALE = 100_000_000_000_000
_RIGHT_SCALE = 10_000_000_000_000_000_000
_NEGATIVE_STRIKE_BIT = 1 << 19
_LARGEST_STRIKE_DIGITS = 475_711
_DIGITS = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZ"

MARKET_CODES: dict[str, int] = {
    "empty": 0,
    "usa": 1,
    "fxcm": 2,
    "oanda": 3,
    "dukascopy": 4,
    "bitfinex": 5,
    "cmeglobex": 6,
    "nymex": 7,
    "cbot": 8,
    "ice": 9,
    "cboe": 10,
    "india": 11,
    "kraken": 13,
    "binance": 16,
    "bitstamp": 21,
    "comex": 22,
    "cme": 23,
    "sgx": 24,
    "hkfe": 25,
    "nyseliffe": 26,
    "cfe": 33,
    "bybit": 37,
    "coinbase": 38,
    "interactivebrokers": 39,
    "eurex": 40,
    "ose": 41,
}
_MARKET_NAMES = {code: name for name, code in MARKET_CODES.items()}

Day = date | datetime
MapResolver = Callable[[str, str], "tuple[str, datetime] | None"]
"""Ticker of today and market -> first ticker and first date by the map files; None when there is no map file."""

_map_resolver: list[MapResolver | None] = [None]


def use_map_files(resolver: MapResolver | None) -> MapResolver | None:
    """Equity identifiers carry the first ticker and date of the folder's map files; the runner sets them for a run.

    Gives those that were in use before.
    """
    before, _map_resolver[0] = _map_resolver[0], resolver
    return before


def day(moment: date | datetime) -> datetime:
    """Midnight of a date or datetime."""
    return datetime(moment.year, moment.month, moment.day)


def encode_base36(number: int) -> str:
    """A non-negative number in base 36, upper case; '0' for zero."""
    digits = ""
    while number:
        number, digit = divmod(number, 36)
        digits = _DIGITS[digit] + digits
    return digits or "0"


@lru_cache(maxsize=4096)
def pack_strike(strike: float) -> tuple[int, int]:
    """Six significant digits of a strike and their scale, as LEAN packs them. Raises ValueError when it needs more."""
    digits = round(abs(strike) * 1_000_000)
    if digits == 0:
        return 0, 0
    scale = 0
    while digits % 10 == 0:
        digits //= 10
        scale += 1
    if digits > _LARGEST_STRIKE_DIGITS:
        raise ValueError(
            f"strike {strike}: LEAN's identifier holds at most {_LARGEST_STRIKE_DIGITS} as significant digits"
        )
    return (digits | _NEGATIVE_STRIKE_BIT if strike < 0 else digits), scale


def unpack_strike(digits: int, scale: int) -> float:
    """The strike that `pack_strike` packed."""
    sign = 1
    if digits & _NEGATIVE_STRIKE_BIT:
        digits ^= _NEGATIVE_STRIKE_BIT
        sign = -1
    power = scale - 6
    value = digits * 10**power if power >= 0 else digits / 10**-power
    return float(sign * value)


def _market_code(market: str) -> int:
    code = MARKET_CODES.get(market.lower())
    if code is None:
        raise ValueError(f"market '{market}' is not known; known are {', '.join(sorted(MARKET_CODES))}")
    return code


class SecurityIdentifier(Named):
    """LEAN's permanent identity of a security. Immutable; equal when ticker, number and underlying are equal."""

    __slots__ = (
        "_hash",
        "_text",
        "_underlying",
        "date",
        "market",
        "option_right",
        "option_style",
        "properties",
        "security_type",
        "strike_price",
        "symbol",
    )

    symbol: str
    properties: int
    date: datetime
    market: str
    security_type: SecurityType
    strike_price: float
    option_right: OptionRight
    option_style: OptionStyle

    def __init__(self, symbol: str, properties: int, underlying: SecurityIdentifier | None = None) -> None:
        self.symbol = symbol
        self.properties = properties
        self._underlying = underlying
        self._hash = hash((symbol, properties))
        self._text: str | None = None
        rest, kind = divmod(properties, _MARKET_SCALE)
        rest, market = divmod(rest, 1000)
        rest, scale = divmod(rest, 100)
        rest, digits = divmod(rest, 1_000_000)
        rest, style = divmod(rest, 10)
        right, days = divmod(rest, 100_000)
        self.security_type = SecurityType(kind)
        self.market = _MARKET_NAMES.get(market, str(market))
        self.date = DEFAULT_DATE + timedelta(days=days)
        if self.security_type in OPTION_TYPES:
            self.strike_price = unpack_strike(digits, scale)
            self.option_right = OptionRight(right)
            self.option_style = OptionStyle(style)

    @property
    def has_underlying(self) -> bool:
        """Whether this is a derivative with an underlying identifier."""
        return self._underlying is not None

    @property
    def underlying(self) -> SecurityIdentifier:
        """The underlying's identifier. Raises ValueError when there is none."""
        if self._underlying is None:
            raise ValueError(f"identifier '{self}' has no underlying; check has_underlying first")
        return self._underlying

    @staticmethod
    def pack(
        symbol: str,
        security_type: SecurityType,
        market: str,
        moment: Day = DEFAULT_DATE,
        underlying: SecurityIdentifier | None = None,
    ) -> SecurityIdentifier:
        """An identifier that is no option."""
        number = (
            (moment.toordinal() - _DAY_ZERO) * _DAYS_SCALE + _market_code(market) * _MARKET_SCALE + int(security_type)
        )
        return SecurityIdentifier(symbol, number, underlying)

    @staticmethod
    def generate_option(
        expiry: Day,
        underlying: SecurityIdentifier,
        target_option: str | None,
        market: str,
        strike: float,
        option_right: OptionRight,
        option_style: OptionStyle,
    ) -> SecurityIdentifier:
        """An option's identifier. target_option: its root when that is not the underlying's ticker (SPXW, OG)."""
        root = target_option or option_root(underlying)
        kind = option_type_of(underlying.security_type)
        number = option_number(expiry, market, strike, (option_right, option_style, kind))
        return SecurityIdentifier(root.upper(), number, underlying)

    @staticmethod
    def generate_future(expiry: Day, symbol: str, market: str) -> SecurityIdentifier:
        """A future's identifier. Its date keeps the time of day that it was made with; the number does not."""
        made = SecurityIdentifier.pack(symbol.upper(), SecurityType.FUTURE, market, expiry)
        if isinstance(expiry, datetime):
            made.date = expiry
        return made

    @staticmethod
    def generate_equity(
        symbol: str,
        market: str,
        map_symbol: bool = True,
        map_file_provider: object = None,
        mapping_resolve_date: datetime | None = None,
    ) -> SecurityIdentifier:
        """An equity's identifier: its first ticker and date by the map files when there are any.

        Raises ValueError for a map file provider or a resolve date: the engine has the run's map files only.
        """
        if map_file_provider is not None or mapping_resolve_date is not None:
            raise ValueError(
                "generate_equity: map_file_provider and mapping_resolve_date are not implemented; pass None"
            )
        first, first_date = symbol.upper(), DEFAULT_DATE
        resolver = _map_resolver[0]
        if map_symbol and resolver is not None:
            first, first_date = resolver(first, market) or (first, first_date)
        return SecurityIdentifier.pack(first.upper(), SecurityType.EQUITY, market, first_date)

    @staticmethod
    def generate_index(symbol: str, market: str) -> SecurityIdentifier:
        """An index's identifier."""
        return SecurityIdentifier.pack(symbol.upper(), SecurityType.INDEX, market)

    @staticmethod
    def parse(value: str) -> SecurityIdentifier:
        """Reads 'SPXW 32J6GDPRWXHSE|SPX 31'. Raises ValueError when the text is no identifier."""
        identifier: SecurityIdentifier | None = None
        for part in reversed(value.split("|")):
            words = part.split()
            if len(words) != 2:
                raise ValueError(
                    f"'{value}' is no security identifier; accepted is 'TICKER BASE36', derivatives with '|UNDERLYING'"
                )
            identifier = SecurityIdentifier(words[0], int(words[1], 36), identifier)
        if identifier is None:
            raise ValueError("an empty text is no security identifier")
        return identifier

    def __eq__(self, other: object) -> bool:
        if self is other:
            return True
        if not isinstance(other, SecurityIdentifier):
            return NotImplemented
        return (
            self.properties == other.properties
            and self.symbol == other.symbol
            and self._underlying == other._underlying
        )

    def __hash__(self) -> int:
        return self._hash

    def __lt__(self, other: SecurityIdentifier) -> bool:
        return str(self) < str(other)

    def __str__(self) -> str:
        if self._text is None:
            own = f"{self.symbol} {encode_base36(self.properties)}"
            self._text = own if self._underlying is None else f"{own}|{self._underlying}"
        return self._text

    __repr__ = __str__


def option_number(
    expiry: date | datetime, market: str, strike: float, kind: tuple[OptionRight, OptionStyle, SecurityType]
) -> int:
    """The packed number of an option."""
    right, style, security_type = kind
    digits, scale = pack_strike(float(strike))
    return (
        int(right) * _RIGHT_SCALE
        + (expiry.toordinal() - _DAY_ZERO) * _DAYS_SCALE
        + int(style) * _STYLE_SCALE
        + digits * _STRIKE_SCALE
        + scale * _STRIKE_SCALE_SCALE
        + _market_code(market) * _MARKET_SCALE
        + int(security_type)
    )


_OPTION_TYPE_OF = {
    SecurityType.EQUITY: SecurityType.OPTION,
    SecurityType.FUTURE: SecurityType.FUTURE_OPTION,
    SecurityType.INDEX: SecurityType.INDEX_OPTION,
}


def option_type_of(underlying_type: SecurityType) -> SecurityType:
    """The kind of option on a kind of underlying. Raises ValueError when options on it do not exist."""
    kind = _OPTION_TYPE_OF.get(underlying_type)
    if kind is None:
        raise ValueError(f"no options on {underlying_type}; accepted are EQUITY, FUTURE and INDEX")
    return kind


_FUTURE_OPTION_ROOTS = {
    "EH": "OEH",
    "KE": "OKE",
    "TN": "OTN",
    "UB": "OUB",
    "YM": "OYM",
    "ZB": "OZB",
    "ZC": "OZC",
    "ZF": "OZF",
    "ZL": "OZL",
    "ZM": "OZM",
    "ZN": "OZN",
    "ZO": "OZO",
    "ZS": "OZS",
    "ZT": "OZT",
    "ZW": "OZW",
    "RTY": "RTO",
    "GC": "OG",
    "HG": "HXE",
    "SI": "SO",
    "CL": "LO",
    "HO": "OH",
    "NG": "ON",
    "PA": "PAO",
    "PL": "PO",
    "RB": "OB",
    "6A": "ADU",
    "6B": "GBU",
    "6C": "CAU",
    "6E": "EUU",
    "6J": "JPU",
    "6S": "CHU",
}
_FUTURE_OF_OPTION_ROOT = {option: future for future, option in _FUTURE_OPTION_ROOTS.items()}

_INDEX_OF_OPTION_ROOT = {"RUTW": "RUT", "SPXW": "SPX", "VIXW": "VIX", "NDXP": "NDX", "NQX": "NDX"}


def option_root(underlying: SecurityIdentifier) -> str:
    """The standard option root on an underlying: GC -> OG, ES -> ES, SPY -> SPY."""
    if underlying.security_type is SecurityType.FUTURE:
        return _FUTURE_OPTION_ROOTS.get(underlying.symbol, underlying.symbol)
    return underlying.symbol


def future_option_root(future_ticker: str) -> str:
    """Option root of a future: CL -> LO."""
    return _FUTURE_OPTION_ROOTS.get(future_ticker.upper(), future_ticker.upper())


def future_of_option_root(root: str) -> str:
    """Future ticker of an option root: LO -> CL."""
    return _FUTURE_OF_OPTION_ROOT.get(root.upper(), root.upper())


def index_of_option_root(root: str) -> str:
    """Index ticker of an index-option root: SPXW -> SPX."""
    return _INDEX_OF_OPTION_ROOT.get(root.upper(), root.upper())


def is_morning_settled(root: str) -> bool:
    """Whether an index-option root settles on the opening: SPX, NDX, VIX, RUT do, SPXW and other weeklies do not."""
    return root.upper() not in _INDEX_OF_OPTION_ROOT
