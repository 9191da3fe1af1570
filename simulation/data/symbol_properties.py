"""Multipliers, ticks and lots of securities, in LEAN's symbol-properties format.

Source: Common/Securities/SymbolPropertiesDatabase.cs, SymbolProperties.cs, IndexOption/IndexOptionSymbolProperties.cs.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from simulation.lean.enums import SecurityType
from simulation.lean.errors import MalformedDataError
from simulation.lean.names import Named
from simulation.lean.symbols import Symbol

WILDCARD = "[*]"
HEADER = (
    "market,symbol,type,description,quote_currency,contract_multiplier,minimum_price_variation,lot_size,"
    "market_ticker,minimum_order_size,price_magnifier,strike_multiplier"
)
_TYPE_BY_NAME = {kind.name.replace("_", "").lower(): kind for kind in SecurityType}
Key = tuple[str, str, SecurityType]


def security_type_named(text: str) -> SecurityType | None:
    """The security type of a database's text ('equity', 'IndexOption'); None when it is none."""
    return _TYPE_BY_NAME.get(text.strip().lower())


def database_key(symbol: Symbol | str | None) -> str:
    """What both databases are asked for: root of index and futures options, underlying of equity options."""
    if symbol is None or isinstance(symbol, str):
        return symbol or WILDCARD
    kind = symbol.security_type
    if kind is SecurityType.OPTION:
        return symbol.underlying.value if symbol.has_underlying else WILDCARD
    if kind in (SecurityType.INDEX_OPTION, SecurityType.FUTURE_OPTION, SecurityType.FUTURE, SecurityType.BASE):
        return symbol.id.symbol
    return symbol.value


class SymbolProperties(Named):
    """What one unit of a security is. Prices in the quote currency."""

    __slots__ = (
        "contract_multiplier",
        "description",
        "lot_size",
        "market_ticker",
        "minimum_order_size",
        "minimum_price_variation",
        "price_magnifier",
        "quote_currency",
        "strike_multiplier",
    )

    def __init__(
        self,
        description: str,
        quote_currency: str,
        contract_multiplier: float,
        minimum_price_variation: float,
        lot_size: float,
        market_ticker: str,
        *scales: float | None,
        **named_scales: float | None,
    ) -> None:
        if lot_size <= 0:
            raise ValueError(f"lot_size {lot_size} of '{description}' must be above zero")
        self.description = description
        self.quote_currency = quote_currency
        self.contract_multiplier = contract_multiplier
        self.minimum_price_variation = minimum_price_variation
        self.lot_size = lot_size
        self.market_ticker = market_ticker
        extra: dict[str, float | None] = {"minimum_order_size": None, "price_magnifier": 1.0, "strike_multiplier": 1.0}
        extra.update(zip(extra, scales, strict=False))
        extra.update(named_scales)
        self.minimum_order_size = extra["minimum_order_size"]
        self.price_magnifier = extra["price_magnifier"]
        self.strike_multiplier = extra["strike_multiplier"]

    @staticmethod
    def get_default(quote_currency: str) -> SymbolProperties:
        """Properties of a security that the database does not know."""
        return SymbolProperties("", quote_currency.upper(), 1.0, 0.01, 1.0, "")


def index_option_tick(root: str, reference_price: float | None) -> float:
    """Tick of an index option by its own last price; overrides the database (IndexOptionSymbolProperties.cs:78)."""
    if reference_price is None:
        return 0.05
    if root == "VIXW":
        return 0.01
    if root == "VIX":
        return 0.05 if reference_price >= 3 else 0.01
    return 0.1 if reference_price >= 3 else 0.05


@dataclass(frozen=True, slots=True)
class Unread:
    """A row of the file whose numbers nobody has asked for yet: LEAN's database has more than ten thousand."""

    file: Path
    line: int
    cells: tuple[str, ...]

    def row(self) -> SymbolProperties:
        """The row. Raises MalformedDataError."""
        cells = [*self.cells, *[""] * (12 - len(self.cells))]
        try:
            return SymbolProperties(
                cells[3],
                cells[4],
                float(cells[5]),
                float(cells[6]),
                float(cells[7]),
                cells[8],
                minimum_order_size=float(cells[9]) if cells[9] else None,
                price_magnifier=float(cells[10]) if cells[10] else 1.0,
                strike_multiplier=float(cells[11]) if cells[11] else 1.0,
            )
        except ValueError as error:
            raise MalformedDataError(str(self.file), self.line, str(error)) from error


class SymbolPropertiesDatabase(Named):
    """Properties by market, ticker and security type, with the market's wildcard behind."""

    _current: list[SymbolPropertiesDatabase] = []  # noqa: RUF012  # LEAN's static instance

    def __init__(self, rows: Iterable[tuple[Key, SymbolProperties | Unread]]) -> None:
        self._rows: dict[Key, SymbolProperties | Unread] = {}
        self._market_of: dict[tuple[str, SecurityType], str] = {}
        for key, properties in rows:
            self._rows[key] = properties
            self._market_of.setdefault((key[1], key[2]), key[0])

    @staticmethod
    def from_file(file: Path) -> SymbolPropertiesDatabase:
        """Reads symbol-properties-database.csv; a row's numbers when it is first asked for.

        Raises MalformedDataError with the line.
        """
        return SymbolPropertiesDatabase(_read(file))

    def _find(self, key: Key) -> SymbolProperties | None:
        found = self._rows.get(key)
        if isinstance(found, Unread):
            found = self._rows[key] = found.row()
        return found

    @staticmethod
    def from_data_folder() -> SymbolPropertiesDatabase:
        """The database of the run. Raises ValueError outside a run."""
        if not SymbolPropertiesDatabase._current:
            raise ValueError("no run is going on: there is no symbol-properties database")
        return SymbolPropertiesDatabase._current[0]

    @staticmethod
    def use(database: SymbolPropertiesDatabase) -> None:
        """Makes a database the one of the run."""
        SymbolPropertiesDatabase._current[:] = [database]

    def get_symbol_properties(
        self, market: str, symbol: Symbol, security_type: SecurityType, default_quote_currency: str
    ) -> SymbolProperties:
        """Properties of a symbol; an option on a future without an own row takes the future's, else the wildcard's."""
        found = self._find((market, database_key(symbol), security_type))
        if found is None and isinstance(symbol, Symbol) and symbol.security_type is SecurityType.FUTURE_OPTION:
            found = self._find((market, symbol.underlying.id.symbol, SecurityType.FUTURE))
        if found is None:
            found = self._find((market, WILDCARD, security_type))
        return found or SymbolProperties.get_default(default_quote_currency)

    def try_get_market(self, symbol: str, security_type: SecurityType, market: str | None) -> tuple[bool, str]:
        """The first market that lists a ticker: (found, market)."""
        found = self._market_of.get((symbol, security_type))
        return found is not None, found or ""

    def set_entry(self, market: str, symbol: str, security_type: SecurityType, properties: SymbolProperties) -> bool:
        """Adds or replaces a row."""
        self._rows[(market, symbol, security_type)] = properties
        self._market_of.setdefault((symbol, security_type), market)
        return True

    def lines(self) -> Iterator[str]:
        """The database as lines of LEAN's CSV, header first."""
        yield HEADER
        for (market, symbol, kind), unread in self._rows.items():
            row = unread.row() if isinstance(unread, Unread) else unread
            cells: list[Any] = [market, symbol, kind.name.replace("_", "").lower(), row.description, row.quote_currency]
            cells += [_plain(row.contract_multiplier), _plain(row.minimum_price_variation), _plain(row.lot_size)]
            cells += [row.market_ticker, _plain(row.minimum_order_size)]
            cells += [_plain(row.price_magnifier), _plain(row.strike_multiplier)]
            yield ",".join(str(cell) for cell in cells).rstrip(",")


def _plain(value: float | None) -> str:
    if value is None:
        return ""
    return f"{value:.10f}".rstrip("0").rstrip(".")


def _read(file: Path) -> Iterator[tuple[Key, Unread]]:
    header_seen = False
    for number, line in enumerate(file.read_text(encoding="utf-8").splitlines(), start=1):
        if line.startswith("#") or not line.strip():
            continue
        if not header_seen:
            header_seen = True
            continue
        cells = line.split(",")
        kind = security_type_named(cells[2]) if len(cells) >= 8 else None
        if len(cells) < 8:
            raise MalformedDataError(str(file), number, f"{len(cells)} cells, at least 8 are needed: {line!r}")
        if kind is None:
            continue
        yield (cells[0], cells[1], kind), Unread(file, number, tuple(cells))
