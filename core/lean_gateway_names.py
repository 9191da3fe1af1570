"""Names to LEAN's symbols and back: underlyings, the contracts of futures, option contracts and their chains.

A future's contract month is read from LEAN's own name of it (``CL20M16``: LEAN, SymbolRepresentation.cs,
GenerateFutureTicker; recording p13), for its identifier holds only the day on which it ends.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from datetime import date, datetime, time, timedelta
from typing import Any

from AlgorithmImports import Market, OptionRight, OptionStyle, SecurityType, Symbol

from core.contracts import MONTH_CODES, AssetKind, Contract, Right, Underlying
from core.gateway import Listing
from core.instruments import INSTRUMENTS, UNDERLYINGS, Instrument, underlying_named

OPTION_TYPES = (SecurityType.OPTION, SecurityType.INDEX_OPTION, SecurityType.FUTURE_OPTION)
_FUTURE = re.compile(rf"(?P<ticker>[A-Z0-9]+?)(?P<day>\d\d)(?P<code>[{MONTH_CODES}])(?P<year>\d\d)")
_KEPT_AFTER_EXPIRY = timedelta(days=3)  # settlement comes a night later


class LeanNames:
    """What each name of ours is to one QCAlgorithm. Futures are looked up in the day's chain of their family."""

    def __init__(self, algorithm: Any) -> None:
        self._algorithm = algorithm
        self._symbols: dict[str, Any] = {}
        self._canonicals: dict[str, Any] = {}
        self._contracts: dict[Any, Contract] = {}
        self._handles: dict[str, Any] = {}
        self._rows: dict[str, Any] = {}
        self._rows_of: date | None = None
        self._fronts: dict[str, tuple[date, str | None]] = {}

    # Underlyings

    def remember(self, key: str, symbol: Any) -> None:
        """Keep the symbol of a watched underlying."""
        self._symbols[key] = symbol

    def key_of(self, key: str) -> str | None:
        """A price key; a family of futures by its front contract, the next to end; ``None`` where none is listed."""
        facts = UNDERLYINGS.get(key)
        if facts is None or facts.kind is not AssetKind.FUTURE:
            return key
        today = self._algorithm.time.date()
        known = self._fronts.get(key)
        if known is None or known[0] != today:
            listed = sorted((ends, name) for name, (ends, _) in self._futures(key).items() if ends > today)
            known = self._fronts[key] = (today, listed[0][1] if listed else None)
        return known[1]

    def symbol(self, key: str) -> Any:
        """LEAN's symbol of a watched underlying or of a listed future; ``None`` for anything else."""
        found = self._symbols.get(key)
        if found is not None:
            return found
        named = underlying_named(key)
        if named is None or named.kind is not AssetKind.FUTURE:
            return None
        _, symbol = self._futures(named.ticker).get(key, (None, None))
        if symbol is not None:
            self._symbols[key] = symbol
        return symbol

    def _futures(self, family: str) -> dict[str, tuple[date, Any]]:
        """The listed contracts of a family by price key: the day on which each ends, and its symbol."""
        market = UNDERLYINGS[family].market
        canonical = Symbol.create(family, SecurityType.FUTURE, market)
        found = {}
        for row in self._algorithm.future_chain(canonical):
            named = future_of(row.symbol)
            if named is not None:
                found[named.price_key] = (row.symbol.id.date.date(), row.symbol)
        return found

    # Options

    def chain(self, root: str, first: date, last: date) -> list[Contract]:
        """Contracts of the newest universe file on a root that expire in the closed range, in no order."""
        today = self._algorithm.time.date()
        if self._rows_of != today:
            self._rows, self._rows_of = {}, today
        found = []
        for canonical in self._chains_of(INSTRUMENTS[root], first, last):
            for row in self._algorithm.option_chain(canonical):
                if first <= row.expiry.date() <= last and str(row.symbol.id.symbol) == root:
                    contract = self.contract(row.symbol)
                    if contract is not None:
                        self._rows[contract.name] = row
                        found.append(contract)
        return found

    def is_listed(self, root: str) -> bool:
        """Whether any chain of a root has a contract; a family of futures is asked for its listed contracts."""
        instrument = INSTRUMENTS[root]
        if instrument.kind is AssetKind.FUTURE:
            symbols = [symbol for _, symbol in self._futures(instrument.underlying).values()]
        else:
            symbols = [self._canonical(instrument)]
        return any(True for symbol in symbols for _ in self._algorithm.option_chain(symbol))

    def _chains_of(self, instrument: Instrument, first: date, last: date) -> Iterator[Any]:
        """By what LEAN finds the chains that can hold expiries of a range: one, or one a future under them."""
        if instrument.kind is not AssetKind.FUTURE:
            yield self._canonical(instrument)
            return
        days = (first + timedelta(days=ahead) for ahead in range((last - first).days + 1))
        for month in sorted({month for day in days if (month := instrument.future_month(day)) is not None}):
            symbol = self.symbol(instrument.facts.month(month).price_key)
            if symbol is not None:
                yield symbol

    def _canonical(self, instrument: Instrument) -> Any:
        symbol = self._symbols[instrument.underlying]
        if instrument.kind is not AssetKind.INDEX or instrument.root == instrument.underlying:
            return symbol
        if instrument.root not in self._canonicals:
            root = instrument.root
            self._canonicals[root] = Symbol.create_canonical_option(symbol, root, Market.USA, "?" + root)
        return self._canonicals[instrument.root]

    def listing(self, contract: Contract) -> Listing | None:
        """What the newest universe file says of a contract; LEAN gives 0 for what a file does not have.

        Asked for the volatility of an option on a future, which no file has, LEAN raises (OptionUniverse.cs).
        """
        row = self._rows.get(contract.name)
        if row is None:
            return None
        on_future = contract.underlying.kind is AssetKind.FUTURE
        close, volatility = float(row.last_price), 0.0 if on_future else float(row.implied_volatility)
        return Listing(close if close > 0 else None, volatility if volatility > 0 else None)

    def contract(self, symbol: Any) -> Contract | None:
        """Our value of an option's symbol; ``None`` for a root of no row, or a future that is not the rule's.

        A contract is found again by its name alone, so one on another future than its root and expiry tell is none.
        """
        known = self._contracts.get(symbol)
        if known is not None:
            return known
        instrument = INSTRUMENTS.get(str(symbol.id.symbol))
        if instrument is None:
            return None
        right = Right.CALL if symbol.id.option_right == OptionRight.CALL else Right.PUT
        contract = instrument.contract(symbol.id.date.date(), float(symbol.id.strike_price), right, symbol)
        if instrument.kind is AssetKind.FUTURE and future_of(symbol.underlying) != contract.underlying:
            return None
        self._contracts[symbol] = contract
        self._handles[contract.name] = symbol
        return contract

    def handle(self, contract: Contract) -> Any:
        """LEAN's symbol of a contract, made anew for one that was remembered over a restart.

        Raises KeyError where its underlying is neither watched nor listed any more.
        """
        found = contract.handle or self._handles.get(contract.name)
        if found is not None:
            return found
        underlying = self.symbol(contract.underlying.price_key)
        if underlying is None:
            raise KeyError(f"{contract.underlying.price_key}: not listed; expected the underlying of {contract.name}")
        right = OptionRight.CALL if contract.right is Right.CALL else OptionRight.PUT
        expiry = datetime.combine(contract.expiry, time())
        if contract.underlying.kind is AssetKind.INDEX:
            style = OptionStyle.EUROPEAN
            return Symbol.create_option(underlying, contract.root, Market.USA, style, right, contract.strike, expiry)
        market, style = INSTRUMENTS[contract.root].market, OptionStyle.AMERICAN
        return Symbol.create_option(underlying, market, style, right, contract.strike, expiry)

    def name_of(self, symbol: Any) -> str:
        """``Contract.name`` of an option's symbol, the price key of a future's, the ticker of anything else."""
        if symbol.security_type in OPTION_TYPES:
            contract = self.contract(symbol)
            return str(symbol.value) if contract is None else contract.name
        future = future_of(symbol)
        return str(symbol.value) if future is None else future.price_key

    def forget_expired(self) -> None:
        """Drop contracts that are long gone, so that memory stays flat over years."""
        limit = self._algorithm.time.date() - _KEPT_AFTER_EXPIRY
        self._contracts = {symbol: row for symbol, row in self._contracts.items() if row.expiry >= limit}
        self._handles = {row.name: symbol for symbol, row in self._contracts.items()}


def future_of(symbol: Any) -> Underlying | None:
    """The single future that a symbol is; ``None`` for a canonical symbol and everything else."""
    if symbol.security_type != SecurityType.FUTURE:
        return None
    match = _FUTURE.fullmatch(str(symbol.value))
    facts = None if match is None else UNDERLYINGS.get(match["ticker"])
    if match is None or facts is None:
        return None
    return facts.month(date(2000 + int(match["year"]), MONTH_CODES.index(match["code"]) + 1, 1))
