"""The part of QCAlgorithm that adds and removes securities, chains and their prices."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from enum import IntEnum
from typing import Any

from simulation.account import brokerages
from simulation.algorithm.services import OptionChainProvider
from simulation.data.chain_files import FileChains
from simulation.engine.history import last_known
from simulation.engine.kernel import Engine
from simulation.lean.bars import BaseData
from simulation.lean.enums import DataNormalizationMode, Resolution, SecurityType
from simulation.lean.names import signed
from simulation.lean.symbols import Symbol, SymbolCache, symbol_of
from simulation.securities.continuous import add_continuous
from simulation.securities.securities import Security
from simulation.securities.subscriptions import OPTION_TYPES
from simulation.securities.universes import ChainedApi, ScheduledUniverse, coarse_universe, ticker_universe

INDEX_ROOTS = {"SPXW": "SPX", "VIXW": "VIX", "NDXP": "NDX", "NQX": "NDX", "RUTW": "RUT"}


class AddingApi(ChainedApi):
    """add_* and remove_*, option_chain, last known prices."""

    _engine: Engine
    settings: Any
    universe_settings: Any
    securities: Any
    time: Any
    liquidate: Any
    transactions: Any
    debug: Any
    _locked: bool
    _initializers: list[Any]
    _replaces_models = False

    # -- one security ------------------------------------------------------------------------------------------------

    def _add(
        self,
        symbol: Any,
        resolution: Resolution | None,
        fill_forward: bool | None,
        extended: bool | None,
        leverage: float,
        continuous: tuple[Any, Any, int] = (None, None, 0),
    ) -> Any:
        """Subscribes one symbol by hand, from the end of this step on. continuous: of a canonical future, its mapping,
        its normalization and its depth."""
        engine = self._engine
        chosen = self.universe_settings.resolution if resolution is None else Resolution(resolution)
        if chosen < Resolution.MINUTE:
            raise engine.refused(f"resolution {chosen} of {symbol.value}")
        fill = self.universe_settings.fill_forward if fill_forward is None else fill_forward
        wide = self.universe_settings.extended_market_hours if extended is None else extended
        if symbol.is_canonical():
            chain = self._add_chain(symbol, chosen, fill, wide)
            if symbol.security_type == SecurityType.FUTURE:
                terms = {"resolution": chosen, "fill_forward": fill, "extended": wide}
                add_continuous(engine, chain, terms, continuous)
            return chain
        if symbol.security_type in OPTION_TYPES:
            return self.add_option_contract(symbol, chosen, fill, leverage, wide)
        engine.subscriptions.configure(symbol, chosen, fill, wide)
        security = engine.subscriptions.create(symbol)
        if symbol.security_type == SecurityType.EQUITY:
            security.data_normalization_mode = self.universe_settings.data_normalization_mode
        if leverage:
            security.set_leverage(leverage)
        SymbolCache.set(symbol.value, symbol)
        engine.subscriptions.add_by_hand(symbol, f"user-{symbol.id.market}-{int(symbol.security_type)}", chosen, 0)
        self._seed_if_wanted(security)
        return security

    @signed(
        "security_type, ticker, resolution=None, fill_forward=None, extended_market_hours=None, "
        "data_mapping_mode=None, "
        "data_normalization_mode=None",
        "security_type, ticker, resolution, fill_forward, leverage, extended_market_hours, data_mapping_mode=None, "
        "data_normalization_mode=None",
        "security_type, ticker, resolution, market, fill_forward, leverage, extended_market_hours, "
        "data_mapping_mode=None, "
        "data_normalization_mode=None",
        "symbol, resolution=None, fill_forward=None, leverage=0.0, extended_market_hours=None, data_mapping_mode=None, "
        "data_normalization_mode=None, contract_depth_offset=0",
    )
    def add_security(self, what: Any, *arguments: Any) -> Any:
        """Adds a security by symbol, or by type and ticker."""
        if isinstance(what, Symbol):
            values = [*arguments, *(None, None, 0.0, None, None, None, 0)[len(arguments) :]]
            resolution, fill_forward, leverage, extended, mapping, normalization, depth = values
            security = self._add(what, resolution, fill_forward, extended, leverage, (mapping, normalization, depth))
        else:
            terms = _security_terms(arguments)
            ticker, resolution, market, fill_forward, leverage, extended, mapping, normalization = terms
            if what == SecurityType.OPTION:
                return self.add_option(ticker, resolution, market, fill_forward, leverage)
            if what == SecurityType.FUTURE:
                return self.add_future(
                    ticker, resolution, market, fill_forward, leverage, extended, mapping, normalization
                )
            symbol = Symbol.create(ticker, what, market or brokerages.DEFAULT_MARKETS[what])
            security = self._add(symbol, resolution, fill_forward, extended, leverage)
        if normalization is not None:
            security.data_normalization_mode = normalization
        return security

    def add_equity(
        self,
        ticker: str,
        resolution: Resolution | None = None,
        market: str | None = None,
        fill_forward: bool = True,
        leverage: float = 0.0,
        extended_market_hours: bool = False,
        data_normalization_mode: DataNormalizationMode | None = None,
    ) -> Any:
        """Adds a share or fund."""
        symbol = Symbol.create(ticker, SecurityType.EQUITY, market or "usa")
        security = self._add(symbol, resolution, fill_forward, extended_market_hours, leverage)
        if data_normalization_mode is not None:
            security.data_normalization_mode = data_normalization_mode
        return security

    def add_index(
        self, ticker: str, resolution: Resolution | None = None, market: str | None = None, fill_forward: bool = True
    ) -> Any:
        """Adds an index."""
        return self._add(
            Symbol.create(ticker, SecurityType.INDEX, market or "usa"), resolution, fill_forward, False, 0.0
        )

    # -- options -----------------------------------------------------------------------------------------------------

    @signed(
        "underlying, resolution=None, market=None, fill_forward=None, leverage=0.0",
        "underlying, target_option, resolution=None, market=None, fill_forward=None, leverage=0.0",
    )
    def add_option(
        self,
        underlying: str | Symbol,
        *arguments: Any,
        resolution: Resolution | None = None,
        market: str | None = None,
        fill_forward: bool | None = None,
        leverage: float = 0.0,
        target_option: str | None = None,
    ) -> Any:
        """Adds the chain of an underlying: (underlying, [target_option], resolution, market, fill_forward,
        leverage)."""
        values = list(arguments)
        if values and isinstance(values[0], str):
            target_option = values.pop(0)
        elif values and values[0] is None and len(values) > 1 and isinstance(values[1], Resolution):
            values.pop(0)
        given: list[Any] = [*values, *(resolution, market, fill_forward, leverage)[len(values) :]]
        resolution, market, fill_forward, leverage = given
        symbol = underlying
        if isinstance(symbol, str):
            known = SymbolCache.find(symbol)
            symbol = (
                known
                if known is not None and not known.is_canonical()
                else Symbol.create(symbol, SecurityType.EQUITY, market or "usa")
            )
        symbol = symbol_of(symbol)
        canonical = (
            Symbol.create_canonical_option(symbol, target_option, market or symbol.id.market, f"?{target_option}")
            if target_option
            else Symbol.create_canonical_option(symbol)
        )
        return self._add(canonical, resolution, fill_forward, None, leverage)

    @signed(
        "underlying, resolution=None, market=None, fill_forward=True",
        "underlying, target_option, resolution=None, market=None, fill_forward=True",
        "symbol, resolution=None, fill_forward=True",
        "symbol, target_option, resolution=None, fill_forward=True",
    )
    def add_index_option(self, underlying: str | Symbol, *arguments: Any, **named: Any) -> Any:
        """Adds the chain of an index: (underlying, [target_option], resolution, [market], fill_forward)."""
        values = list(arguments)
        target = named.get("target_option")
        if values and (isinstance(values[0], str) or (values[0] is None and len(values) > 1)):
            target = values.pop(0)
        resolution = values.pop(0) if values else named.get("resolution")
        if values and (values[0] is None or isinstance(values[0], str)):
            values.pop(0)
        fill_forward = values.pop(0) if values else named.get("fill_forward", True)
        if isinstance(underlying, str):
            root = INDEX_ROOTS.get(underlying.upper())
            if root is not None:
                self.debug(
                    f"Warning: '{underlying}' is an index option ticker, using index '{root}' as the underlying and "
                    f"'{underlying}' as the target option."
                )
                target, underlying = underlying, root
            underlying = Symbol.create(underlying, SecurityType.INDEX, named.get("market") or "usa")
        symbol = symbol_of(underlying)
        if symbol.security_type != SecurityType.INDEX:
            raise ValueError(
                f"Symbol provided must be of type SecurityType.INDEX, not {symbol.security_type} ({symbol.value})"
            )
        return (
            self.add_option(symbol, target, resolution, symbol.id.market, fill_forward)
            if target
            else self.add_option(symbol, resolution, symbol.id.market, fill_forward)
        )

    def _add_chain(self, canonical: Any, resolution: Resolution, fill_forward: bool, extended: bool) -> Any:
        engine = self._engine
        security = engine.subscriptions.create(canonical)
        SymbolCache.set(canonical.value, canonical)
        security.is_tradable = False
        if canonical.has_underlying and canonical.security_type != SecurityType.FUTURE_OPTION:
            if canonical.underlying not in engine.configs:
                self._add(canonical.underlying, resolution, fill_forward, extended, 0.0)
            engine.securities[canonical.underlying].data_normalization_mode = DataNormalizationMode.RAW
        engine.subscriptions.add_chain(security, resolution, fill_forward, extended)
        return security

    def add_option_contract(
        self,
        symbol: Any,
        resolution: Resolution | None = None,
        fill_forward: bool = True,
        leverage: float = 0.0,
        extended_market_hours: bool = False,
    ) -> Any:
        """Adds one option contract, and its underlying when that is missing; data begins with the next bar."""
        symbol = symbol_of(symbol)
        engine = self._engine
        if symbol.security_type not in OPTION_TYPES or not symbol.has_underlying or symbol.is_canonical():
            raise ValueError(
                f"Unexpected option symbol {symbol.value}. Please provide a valid option contract "
                "with its underlying set."
            )
        chosen = self.universe_settings.resolution if resolution is None else Resolution(resolution)
        underlying = symbol.underlying
        known = engine.securities.get(underlying)
        if known is None or (not engine.configs.get(underlying) and underlying not in engine.subscriptions.feeds):
            known = self._add(underlying, chosen, fill_forward, extended_market_hours, leverage)
        elif known.is_delisted:
            raise ValueError(
                f"The underlying {underlying.security_type} asset ({underlying.value}) is delisted "
                f"(current time is {self.time})"
            )
        elif (
            symbol.security_type == SecurityType.OPTION
            and self._locked
            and known.data_normalization_mode != DataNormalizationMode.RAW
        ):
            raise ValueError(
                f"The underlying {underlying.security_type} asset ({underlying.value}) is set to "
                f"{known.data_normalization_mode}, "
                "please change this to DataNormalizationMode.RAW with the set_data_normalization() method"
            )
        known.data_normalization_mode = DataNormalizationMode.RAW
        engine.subscriptions.configure(symbol, chosen, fill_forward, extended_market_hours)
        option = engine.subscriptions.create(symbol)
        option.is_tradable = True
        key = f"contracts-{symbol.id.market}-{int(underlying.security_type)}"
        minimum = int(self.universe_settings.minimum_time_in_universe.total_seconds() * 1000)
        engine.subscriptions.add_by_hand(symbol, key, chosen, minimum)
        self._seed_if_wanted(option)
        return option

    def add_index_option_contract(
        self, symbol: Any, resolution: Resolution | None = None, fill_forward: bool = True
    ) -> Any:
        """Adds one index option contract."""
        contract = symbol_of(symbol)
        if contract.security_type != SecurityType.INDEX_OPTION or contract.is_canonical():
            raise ValueError(
                f"Symbol provided must be non-canonical and of type SecurityType.INDEX_OPTION, not {contract.value}"
            )
        return self.add_option_contract(contract, resolution, fill_forward)

    def add_future_option_contract(
        self,
        symbol: Any,
        resolution: Resolution | None = None,
        fill_forward: bool = True,
        leverage: float = 0.0,
        extended_market_hours: bool = False,
    ) -> Any:
        """Adds one contract of an option on a future."""
        contract = symbol_of(symbol)
        if contract.is_canonical():
            raise ValueError(f"Expected a contract of an option on a future, not the canonical {contract.value}")
        return self.add_option_contract(contract, resolution, fill_forward, leverage, extended_market_hours)

    # -- futures -----------------------------------------------------------------------------------------------------

    @signed(
        "ticker, resolution=None, market=None, fill_forward=None, leverage=0.0, extended_market_hours=None, "
        "data_mapping_mode=None, data_normalization_mode=None, contract_depth_offset=0"
    )
    def add_future(self, ticker: str, *arguments: Any) -> Any:
        """Adds a future's chain, whose contracts `set_filter` chooses, and the continuous future, which the map file
        puts on a contract.

        After the ticker: resolution, market, fill_forward, leverage, extended_market_hours, data_mapping_mode,
        data_normalization_mode, contract_depth_offset (months behind the front month, 2 at most).
        """
        values = [*arguments, *(None, None, None, 0.0, None, None, None, 0)[len(arguments) :]]
        resolution, market, fill_forward, leverage, extended, mapping, normalization, depth = values
        known, where = self._engine.source.properties.try_get_market(ticker.upper(), SecurityType.FUTURE, None)
        place = market or (where if known else "cme")
        canonical = Symbol.create(ticker, SecurityType.FUTURE, place)
        return self._add(canonical, resolution, fill_forward, extended, leverage, (mapping, normalization, depth))

    def add_future_contract(
        self,
        symbol: Any,
        resolution: Resolution | None = None,
        fill_forward: bool = True,
        leverage: float = 0.0,
        extended_market_hours: bool = False,
    ) -> Any:
        """Adds one futures contract."""
        return self._add(symbol_of(symbol), resolution, fill_forward, extended_market_hours, leverage)

    def add_future_option(self, symbol: Any, option_filter: Callable[[Any], Any] | None = None) -> None:
        """Adds the option chain of every contract that the future's filter selects."""
        canonical = symbol_of(symbol)
        if not canonical.is_canonical():
            raise ValueError(
                "Symbol provided must be canonical (i.e. the Symbol returned from add_future(), not "
                "add_future_contract())."
            )
        self._engine.subscriptions.chain_options(canonical, option_filter or _everything)

    def add_universe(self, *arguments: Any) -> Any:
        """Adds a universe: ([security type,] name, [resolution, ...] selector of tickers), or (selector of coarse
        data[, fine selector])."""
        functions = [
            value for value in arguments if callable(value) and not isinstance(value, Resolution | SecurityType)
        ]
        names = [value for value in arguments if isinstance(value, str)]
        resolution = next((value for value in arguments if isinstance(value, Resolution)), Resolution.DAILY)
        engine = self._engine
        if isinstance(arguments[0], ScheduledUniverse):
            universe = arguments[0]._joined(engine)
            engine.subscriptions.add_selector(universe)
            return universe
        if not functions:
            raise engine.refused(f"add_universe of {type(arguments[0]).__name__}")
        universe = (
            ticker_universe(engine, names[0], resolution, functions[0]) if names else coarse_universe(engine, functions)
        )
        engine.subscriptions.add_selector(universe)
        return universe

    def symbol(self, ticker: str) -> Symbol:
        """The symbol of a ticker that was added, or of an identifier's text. Raises ValueError for anything else."""
        return SymbolCache.get_symbol(ticker)

    def __getattr__(self, name: str) -> Any:
        if name in _REFUSED:
            raise self._engine.refused(f"QCAlgorithm.{name}")
        return super().__getattr__(name)

    # -- removal -----------------------------------------------------------------------------------------------------

    def remove_security(self, symbol: Any, tag: str | None = None) -> bool:
        """Cancels a symbol's orders, closes its position at market, and ends its subscription when LEAN's rules
        allow."""
        symbol = symbol_of(symbol)
        security: Security | None = self.securities.get(symbol)
        if security is None:
            return False
        tag = tag or "Removed"
        if not self._engine.is_warming_up:
            self.transactions.cancel_open_orders(symbol, tag)
        if security.invested:
            self.liquidate(symbol, tag=tag)
        security.reset()
        for child in self._engine.subscriptions.lonely_members(symbol):
            self.remove_security(child, tag)
        self._engine.subscriptions.remove_by_hand(symbol)
        return True

    def remove_option_contract(self, symbol: Any, tag: str | None = None) -> bool:
        """Same as remove_security."""
        return self.remove_security(symbol, tag)

    # -- chains of a file --------------------------------------------------------------------------------------------

    def option_chain(self, symbol: Any, flatten: bool = False) -> Any:
        """The whole chain of the last file that is known: yesterday's closes, volatilities and Greeks."""
        del flatten
        return self._engine.file_chain(_canonical_option(symbol_of(symbol)))

    def option_chains(self, symbols: Iterable[Any], flatten: bool = False) -> FileChains:
        """The file chains of several symbols by canonical."""
        del flatten
        wanted = [_canonical_option(symbol_of(symbol)) for symbol in symbols]
        return FileChains({canonical: self._engine.file_chain(canonical) for canonical in wanted})

    def future_chain(self, symbol: Any, flatten: bool = False) -> Any:
        """The futures chain of the last file that is known."""
        del flatten
        wanted = symbol_of(symbol)
        return self._engine.file_chain(wanted if wanted.is_canonical() else wanted.canonical)

    futures_chain = future_chain

    def futures_chains(self, symbols: Iterable[Any], flatten: bool = False) -> FileChains:
        """The futures chains of several symbols by canonical."""
        return FileChains({symbol_of(symbol).canonical: self.future_chain(symbol, flatten) for symbol in symbols})

    @property
    def option_chain_provider(self) -> OptionChainProvider:
        """Symbols of the last chain file."""
        return OptionChainProvider(self)

    @property
    def future_chain_provider(self) -> OptionChainProvider:
        """Symbols of the last futures chain file."""
        return OptionChainProvider(self)

    # -- models and first prices -------------------------------------------------------------------------------------

    def initialize_models(self, security: Security) -> None:
        """Gives a new security the brokerage's models; with an initializer of the algorithm's own, those that LEAN's
        constructors set."""
        own = bool(self._initializers) and self._replaces_models
        brokerages.initialize(security, brokerages.InteractiveBrokersBrokerageModel() if own else self.brokerage_model)

    def add_security_for_order(self, symbol: Any) -> Security:
        """A symbol that is ordered without being subscribed is added and given its last known price (QT:1269)."""
        expired = symbol.has_underlying and symbol.id.date.date() < self._engine.zone.date_of(self._engine.utc_ms)
        if symbol.is_canonical() or expired or symbol.security_type == SecurityType.INDEX:
            raise ValueError(
                f"The symbol {symbol} is not found in the algorithm's securities collection and "
                "cannot be re-added "
                "due to it being delisted or no longer tradable."
            )
        security: Security = self._add(symbol, None, None, None, 0.0)
        if not self.settings.seed_initial_prices:
            self.seed([security])
        return security

    def _seed_if_wanted(self, security: Security) -> None:
        if self.settings.seed_initial_prices:
            self.seed([security])

    def seed(self, securities: Iterable[Security]) -> None:
        """Gives securities without a price their last known one."""
        for security in securities:
            if not security.price and not security.symbol.is_canonical():
                for point in self.get_last_known_prices(security):
                    security.set_market_price(point)

    def get_last_known_prices(self, security: Any) -> list[BaseData]:
        """The last trade, quote and open interest that are known of a symbol."""
        return last_known(self._engine, symbol_of(security))

    def get_last_known_price(self, security: Any) -> BaseData | None:
        """The last data point that is known of a symbol."""
        points = self.get_last_known_prices(security)
        return points[-1] if points else None


def _canonical_option(symbol: Any) -> Any:
    if symbol.security_type in OPTION_TYPES:
        return symbol if symbol.is_canonical() else symbol.canonical
    return Symbol.create_canonical_option(symbol)


def _everything(universe: Any) -> Any:
    return universe


_REFUSED = (
    "add_forex", "add_cfd", "add_crypto", "add_crypto_future", "add_data", "add_alpha",
    "add_risk_management", "set_alpha", "set_execution",
    "set_portfolio_construction", "set_risk_management", "set_universe_selection",
    "emit_insights", "download",
)  # fmt: skip


def _security_terms(arguments: tuple[Any, ...]) -> tuple[Any, ...]:
    """LEAN's three lists after the type: with market and leverage, with leverage, with neither; all in one order."""
    ticker, resolution, *rest = (*arguments, None, None)[: max(len(arguments), 2)]
    market = rest.pop(0) if rest and isinstance(rest[0], str) else None
    fill_forward = rest.pop(0) if rest else None
    leverage = 0.0
    if rest and isinstance(rest[0], int | float) and not isinstance(rest[0], bool | IntEnum):
        leverage = float(rest.pop(0))
    extended, mapping, normalization = (*rest, None, None, None)[:3]
    return ticker, resolution, market, fill_forward, leverage, extended, mapping, normalization
