"""Names, orders and the account on a QCAlgorithm: what is sent, moved, cancelled, held and still worked.

Rules that the recordings of the real engine demand: a group is sent with a positive quantity and its signs on the legs;
a credit is a negative limit, here and nowhere else; every leg's ticket is updated and cancelled (the live plug-in waits
for all). A limit leaves as a multiple of the exchange's step and of LEAN's, which LEAN then leaves alone.

Names to LEAN's symbols and back: underlyings, the contracts of futures, option contracts and their chains.

A future's contract month is read from LEAN's own name of it (``CL20M16``: LEAN, SymbolRepresentation.cs,
GenerateFutureTicker; recording p13), for its identifier holds only the day on which it ends.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from datetime import date, datetime, time, timedelta
from functools import partial
from itertools import groupby, pairwise
from operator import attrgetter
from typing import Any

from AlgorithmImports import Dividend as LeanDividend
from AlgorithmImports import (
    Leg,
    Market,
    OptionRight,
    OptionStyle,
    OptionUniverse,
    OrderStatus,
    Resolution,
    SecurityType,
    Symbol,
    UpdateOrderFields,
)

from core.bus import do_all
from core.contracts import MONTH_CODES, AssetKind, Contract, Listed, Package, Right, Underlying
from core.gateway import (
    AROUND_A_MONTH,
    AT_THE_MONEY,
    MONTH_DAYS,
    Account,
    Dividend,
    Holding,
    ImpliedClose,
    Listing,
    OpenOrder,
    OrderRefusedError,
    asked,
    read_whole,
)
from core.instruments import (
    INSTRUMENTS,
    UNDERLYINGS,
    Instrument,
    instrument_of,
    outright_price,
    underlying_named,
    unit_price,
)

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
        self._rows: dict[tuple[str, date], dict[tuple[float, Right], Any]] = {}
        self._files: dict[Any, dict[date, list[Any]]] = {}
        self._rows_of: date | None = None
        self._fronts: dict[str, tuple[date, str | None]] = {}
        self._forgotten: date | None = None

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

    def chain(self, root: str, first: date, last: date) -> Listed:
        """Contracts of the newest universe file on a root that expire in the closed range, by expiry, strike, right."""
        rows = {(day, *key): row for day, found in self._within(root, first, last) for key, row in found.items()}
        keys = sorted(rows)
        return Listed([key[1:] for key in keys], lambda at: self.contract(rows[keys[at]].symbol))

    def expiries(self, root: str, first: date, last: date) -> set[date]:
        """The days on which they expire; of each one contract is made."""
        return {day for day, rows in self._days(root, first, last) if self._has(root, rows)}

    def _within(self, root: str, first: date, last: date) -> Iterator[tuple[date, dict[tuple[float, Right], Any]]]:
        for day, rows in self._days(root, first, last):
            if self._has(root, rows):
                known = self._rows.setdefault((root, day), {})
                for row in (row for row in rows if str(row.id.symbol) == root):
                    known[float(row.strike), Right.CALL if row.right == OptionRight.CALL else Right.PUT] = row
                yield day, known

    def _days(self, root: str, first: date, last: date) -> Iterator[tuple[date, list[Any]]]:
        for canonical in self._chains_of(INSTRUMENTS[root], first, last):
            yield from (pair for pair in self._listed(canonical).items() if first <= pair[0] <= last)

    def _has(self, root: str, rows: Sequence[Any]) -> bool:
        """Whether rows of one chain and day are a root's, on the future that its rule names: one tells for all."""
        return any(self.contract(row.symbol) is not None for row in rows if str(row.id.symbol) == root)

    def _listed(self, canonical: Any) -> dict[date, list[Any]]:
        """The rows of a chain's newest universe file by expiry; read once a day, an empty one again."""
        today = self._algorithm.time.date()
        if self._rows_of != today:
            self._rows, self._files, self._rows_of = {}, {}, today
        known = self._files.get(canonical)
        if known is None:
            known = {}
            for moment, rows in groupby(self._algorithm.option_chain(canonical), attrgetter("expiry")):
                known.setdefault(moment.date(), []).extend(rows)  # most rows of one expiry stand together
            if known:
                self._files[canonical] = known
        return known

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

    def listing(self, contract: Contract, close: bool = True) -> Listing | None:
        """What the newest universe file says of a contract; LEAN gives 0 for what a file does not have.

        Asked for the volatility of an option on a future, which no file has, LEAN raises (OptionUniverse.cs).
        """
        row = self._rows.get((contract.root, contract.expiry), {}).get((contract.strike, contract.right))
        if row is None:
            return None
        on_future = contract.underlying.kind is AssetKind.FUTURE
        price, volatility = float(row.last_price) if close else 0.0, 0.0 if on_future else float(row.implied_volatility)
        return Listing(price if price > 0 else None, volatility if volatility > 0 else None)

    def implied_closes(self, root: str, sessions: int) -> Iterator[ImpliedClose]:
        """At-the-money volatilities of the last chain files of a root, by a history of its universe."""
        underlying = self._symbols[INSTRUMENTS[root].underlying]
        canonical = Symbol.create_canonical_option(underlying, root, Market.USA, "?" + root)
        for universe in self._algorithm.history[OptionUniverse](canonical, sessions):
            close = 0.0 if universe.underlying is None else float(universe.underlying.close)
            if close > 0:
                yield from _around_a_month(universe, (universe.end_time - timedelta(days=1)).date(), close)

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
        """Drop contracts that are long gone, once a day, so that memory stays flat over years."""
        limit = self._algorithm.time.date() - _KEPT_AFTER_EXPIRY
        if limit == self._forgotten:
            return
        self._forgotten = limit
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


_DONE = (OrderStatus.FILLED, OrderStatus.CANCELED, OrderStatus.INVALID)


class LeanOrders:
    """The part of the gateway that deals with the broker."""

    def __init__(self, algorithm: Any) -> None:
        self._algorithm = algorithm
        self._names = LeanNames(algorithm)
        self._tickets: dict[int, Any] = {}

    def dividends(self, ticker: str, days: int) -> Sequence[Dividend]:
        """By a history of the share's dividends, which LEAN reads out of its factor file: dollars, at the ex-dates."""
        symbol, now = self._names.symbol(ticker), self._algorithm.time
        history = self._algorithm.history[LeanDividend] if symbol is not None else None
        rows = () if history is None else read_whole(history(symbol, now - timedelta(days=days), now, Resolution.DAILY))
        return tuple(Dividend(row.time.date(), float(row.distribution)) for row in rows)

    def send(self, package: Package, quantity: int, limit_cash: float, tag: str) -> tuple[int, ...]:
        """One combo limit order, quantity positive, signs on the legs. Raises OrderRefusedError."""
        try:
            if len(package.legs) == 1:
                contract, signed = package.legs[0].contract, quantity * package.legs[0].ratio
                handle, price = self._names.handle(contract), outright_price(contract, signed, limit_cash)
                tickets = [self._algorithm.limit_order(handle, signed, price, tag=tag)]
            else:
                legs = [Leg.create(self._names.handle(leg.contract), leg.ratio) for leg in package.legs]
                limit = -instrument_of(package.legs[0].contract).ticks.limit(limit_cash)
                tickets = list(self._algorithm.combo_limit_order(legs, quantity, limit, tag=tag))
        except Exception as error:  # .NET's own classes; whatever it is, nothing was sent
            raise OrderRefusedError.because(error) from error
        invalid = [ticket for ticket in tickets if ticket.status == OrderStatus.INVALID]
        if invalid or len(tickets) != len(package.legs):
            response = invalid[0].submit_request.response if invalid else None
            raise OrderRefusedError("incomplete group" if response is None else str(response.error_message))
        for ticket in tickets:
            self._tickets[int(ticket.order_id)] = ticket
        return tuple(int(ticket.order_id) for ticket in tickets)

    def send_shares(self, ticker: str, quantity: int, price: float, tag: str) -> int:
        """One limit order for shares or a future, at a step of its price. Raises OrderRefusedError."""
        try:
            symbol = self._names.symbol(ticker)
            ticket = self._algorithm.limit_order(symbol, quantity, unit_price(ticker, price), tag=tag)
        except Exception as error:  # .NET's own classes; whatever it is, nothing was sent
            raise OrderRefusedError.because(error) from error
        if ticket.status == OrderStatus.INVALID:
            raise OrderRefusedError(str(ticket.submit_request.response.error_message))
        return int(ticket.order_id)

    def reprice_shares(self, order_id: int, price: float, tag: str) -> bool:
        """Update the limit of an order for shares or a future."""
        ticket = self._ticket(order_id)
        if ticket is None or ticket.status in _DONE:
            return False
        fields = UpdateOrderFields()
        fields.limit_price, fields.tag = unit_price(self._names.name_of(ticket.symbol), price), tag
        return bool(asked(ticket.update, fields).is_success)

    def reprice(self, order_ids: Sequence[int], limit_cash: float, tag: str) -> bool:
        """Update every leg's ticket with the same limit (the live plug-in waits for all of them)."""
        accepted = True
        for order_id in order_ids:
            ticket = self._ticket(order_id)
            contract = None if ticket is None else self._names.contract(ticket.symbol)
            if contract is None or ticket.status in _DONE:
                accepted = False
                continue
            fields = UpdateOrderFields()
            if len(order_ids) > 1:
                fields.limit_price = -instrument_of(contract).ticks.limit(limit_cash)
            else:
                fields.limit_price = outright_price(contract, float(ticket.quantity), limit_cash)
            fields.tag = tag
            accepted = bool(asked(ticket.update, fields).is_success) and accepted
        return accepted

    def cancel(self, order_ids: Sequence[int], tag: str) -> None:
        """Cancel every leg's ticket that still works, whatever becomes of the others. Raises OrderRefusedError."""
        tickets = [ticket for order_id in order_ids if (ticket := self._ticket(order_id)) is not None]
        do_all(partial(asked, ticket.cancel, tag) for ticket in tickets if ticket.status not in _DONE)

    def _ticket(self, order_id: int) -> Any:
        """The ticket of an order, also of one that was sent before a restart; ``None`` when LEAN knows none."""
        return self._tickets.get(order_id) or self._algorithm.transactions.get_order_ticket(order_id)

    def forget(self, order_ids: Sequence[int]) -> None:
        """Drop the tickets of a finished group, so that memory stays flat over years."""
        for order_id in order_ids:
            self._tickets.pop(order_id, None)

    def account(self) -> Account:
        """Equity and cash of LEAN's portfolio, and its own margin figure as a second opinion."""
        portfolio = self._algorithm.portfolio
        return Account(float(portfolio.total_portfolio_value), float(portfolio.cash), float(portfolio.margin_remaining))

    def book_interest(self, amount: float) -> None:
        """Add to LEAN's dollars; it moves cash and total, and no profit (recorded: conformance, july, p15)."""
        if self._algorithm.live_mode:
            raise ValueError(f"interest {amount}: a live account's interest is booked by the broker")
        self._algorithm.portfolio.cash_book["USD"].add_amount(amount)

    def holdings(self) -> Sequence[Holding]:
        """Everything that LEAN's portfolio holds, by name."""
        held = []
        for entry in self._algorithm.portfolio:
            holding = entry.value
            if holding.invested:
                quantity, average = float(holding.quantity), float(holding.average_price)
                held.append(Holding(self._names.name_of(entry.key), quantity, average, float(holding.price)))
        return tuple(sorted(held, key=lambda row: row.name))

    def open_orders(self) -> Sequence[OpenOrder]:
        """Every order that LEAN still works, by id."""
        rows = []
        for order in self._algorithm.transactions.get_open_orders():
            manager = order.group_order_manager
            group = None if manager is None else int(manager.id)
            rows.append(
                OpenOrder(
                    int(order.id),
                    self._names.name_of(order.symbol),
                    float(order.quantity),
                    group,
                    str(order.tag or ""),
                    tuple(str(number) for number in order.broker_id),
                )
            )
        return tuple(sorted(rows, key=lambda row: row.order_id))

    def name_of(self, symbol: Any) -> str:
        """``Contract.name`` of an option's symbol, the price key of anything else."""
        return self._names.name_of(symbol)


def _around_a_month(universe: Any, day: date, close: float) -> Iterator[ImpliedClose]:
    """Of a day's chain the last expiry before a month from it and the first from then on, where it has them."""
    for expiry, near in around_a_month(universe, day, close):
        for away in sorted({away for away, _ in near if away <= AT_THE_MONEY}):  # outwards until one tells something
            values = [value for apart, row in near if apart == away and (value := float(row.implied_volatility)) > 0]
            if values:
                yield ImpliedClose(day, expiry, sum(values) / len(values))
                break


_AROUND = 6  # rows to each side of the money: three strikes, a call and a put each
_PROBED = 12  # places of a file, or of an expiry's strikes, that are looked at before their order is believed


def around_a_month(universe: Any, day: date, close: float) -> Iterator[tuple[date, list[tuple[float, Any]]]]:
    """The last expiry before a month from a chain's day and the first from then on, each with its rows near the close.

    Of a file in the order of expiries a few rows are read, for each costs a call into LEAN; not every file is in order.
    """
    rows = _in_order(universe.data)
    place = _first(rows, (0, len(rows)), _expiry_of, day + timedelta(days=MONTH_DAYS))
    for index in (place - 1, place):
        expiry = _expiry_of(rows[index]) if 0 <= index < len(rows) else date.max
        if AROUND_A_MONTH[0] <= (expiry - day).days <= AROUND_A_MONTH[1]:
            beside, ahead = ((0, place), 0) if index < place else ((place, len(rows)), 1)
            end = _first(rows, beside, _expiry_of, expiry + timedelta(days=ahead))
            yield expiry, _near(rows, (min(end, place), max(end, place)), expiry, close)


def _in_order(rows: Any) -> Any:
    """A chain's rows by expiry: as they are where they rise, else sorted by expiry and strike.

    Ours rise. LEAN's own do not all: its AAPL files hold the calls of every expiry before the puts, SPX of 2015 begins
    with its last expiry (Data/option/usa/universes/aapl, Data/indexoption/usa/universes/spx).
    """
    if _rises([_expiry_of(rows[place]) for place in _places(0, len(rows))]):
        return rows
    return sorted(rows, key=lambda row: (_expiry_of(row), _strike_of(row)))


def _places(low: int, high: int) -> list[int]:
    """Some evenly placed rows of a span, its first two and its last among them."""
    steps = {low + (high - 1 - low) * step // _PROBED for step in range(_PROBED + 1)}
    return sorted(steps | {min(low + 1, high - 1)}) if high > low else []


def _rises(values: Sequence[Any]) -> bool:
    return all(before <= after for before, after in pairwise(values))


def _near(rows: Any, span: tuple[int, int], expiry: date, close: float) -> list[tuple[float, Any]]:
    """How far from the close strikes lie (a share): of rows near it where calls and puts stand by strike, else all."""
    low, high = span
    if high - low > 2 * _AROUND and _rises([_strike_of(rows[place]) for place in _places(low, high)]):
        place = _first(rows, span, _strike_of, close)
        near = [rows[at] for at in range(max(place - _AROUND, low), min(place + _AROUND, high))]
        if _expiry_of(near[0]) == _expiry_of(near[-1]) == expiry:
            return [(abs(_strike_of(row) / close - 1), row) for row in near]
    every = (rows[at] for at in range(low, high))
    return [(abs(_strike_of(row) / close - 1), row) for row in every if _expiry_of(row) == expiry]


def _first(rows: Any, span: tuple[int, int], value_of: Callable[[Any], Any], wanted: Any) -> int:
    """The first place of a span whose value reaches one (``bisect`` cannot index a list of .NET)."""
    low, high = span
    while low < high:
        middle = (low + high) // 2
        if value_of(rows[middle]) >= wanted:
            high = middle
        else:
            low = middle + 1
    return low


def _expiry_of(row: Any) -> date:
    found: date = row.id.date.date()
    return found


def _strike_of(row: Any) -> float:
    return float(row.id.strike_price)
