"""All that is known of an option root and of what it is written on, one row each; nothing else in the house knows one.

An option on a future names two things by its underlying: the family (``ES``), by which risk, groups and betas count it,
and the one contract of it that it is exercised into (``ESM16``), whose price it stands on: ``Underlying.price_key``.
"""

from __future__ import annotations

import math
import re
from dataclasses import dataclass, replace
from datetime import date, datetime, time
from enum import StrEnum
from functools import lru_cache

from core import ticks
from core.contracts import (
    MARKET_CLOSE,
    MONTH_CODES,
    AssetKind,
    Contract,
    ExerciseStyle,
    Right,
    Settlement,
    Underlying,
)
from core.ticks import TickRule


class Group(StrEnum):
    """Correlation groups (methodology, section 3)."""

    EQUITY_FUTURES = "A1"
    EQUITY_OPTIONS = "A2"
    SAFE_HAVEN = "B1"
    METALS = "B2"
    CRUDE = "C1"
    NATURAL_GAS = "C2"
    GRAINS = "D1"
    PROTEINS = "D2"
    CURRENCIES = "E"


@dataclass(frozen=True, slots=True)
class UnderlyingFacts:
    """A share, an index or a family of futures.

    ``market`` is LEAN's name of its market; ``sp500_scale`` S&P 500 index points per point of it, ``None`` for what is
    not an S&P 500 equivalent; ``beta`` to SPY, ``None`` to measure it; ``dividend_yield`` continuous a year, ``None``
    for the settings'; ``multiplier`` dollars a point of one unit; ``tick`` the step of its own price; ``months`` the
    contract months that options are written on.
    """

    ticker: str
    kind: AssetKind
    group: Group | None
    market: str = "usa"
    sp500_scale: float | None = None
    beta: float | None = None
    dividend_yield: float | None = None
    multiplier: float = 1.0
    tick: float = 0.01
    months: tuple[int, ...] = ()

    def month(self, month: date | None) -> Underlying:
        """It as options carry it: a future with its contract month, anything else with ``None``."""
        return Underlying(self.ticker, self.kind, self.multiplier, month=month)


_INDEX, _EQUITY, _FUTURE = AssetKind.INDEX, AssetKind.EQUITY, AssetKind.FUTURE
_QUARTERS = (3, 6, 9, 12)
_EVEN = (2, 4, 6, 8, 10, 12)
_EVERY = tuple(range(1, 13))


def _shares(group: Group, *tickers: str, dividend_yield: float | None = None) -> list[UnderlyingFacts]:
    return [UnderlyingFacts(ticker, _EQUITY, group, dividend_yield=dividend_yield) for ticker in tickers]


def _future(
    ticker: str, group: Group, market: str, multiplier: float, tick: float, months: tuple[int, ...] = ()
) -> UnderlyingFacts:
    return UnderlyingFacts(ticker, _FUTURE, group, market, None, None, 0.0, multiplier, tick, months)


def _sp500(facts: UnderlyingFacts, scale: float) -> UnderlyingFacts:
    return replace(facts, sp500_scale=scale, beta=1.0)


# Multipliers and ticks of futures: LEAN's symbol-properties-database.csv, which has the exchanges' own.
UNDERLYINGS: dict[str, UnderlyingFacts] = {
    row.ticker: row
    for row in (
        UnderlyingFacts("VIX", _INDEX, None),
        _sp500(UnderlyingFacts("SPX", _INDEX, Group.EQUITY_OPTIONS), 1.0),
        _sp500(UnderlyingFacts("XSP", _INDEX, Group.EQUITY_OPTIONS), 10.0),
        _sp500(UnderlyingFacts("SPY", _EQUITY, Group.EQUITY_OPTIONS), 10.0),
        *_shares(Group.EQUITY_OPTIONS, "QQQ", "IWM", "DIA"),
        *_shares(Group.SAFE_HAVEN, "TLT"),
        *_shares(Group.SAFE_HAVEN, "GLD", dividend_yield=0.0),
        *_shares(Group.METALS, "SLV", dividend_yield=0.0),
        *_shares(Group.CRUDE, "USO", dividend_yield=0.0),
        *_shares(Group.CRUDE, "XLE", "XOP"),
        *_shares(Group.NATURAL_GAS, "UNG", dividend_yield=0.0),
        *_shares(Group.CURRENCIES, "FXE", dividend_yield=0.0),
        _sp500(_future("ES", Group.EQUITY_FUTURES, "cme", 50.0, 0.25, _QUARTERS), 1.0),
        _sp500(_future("MES", Group.EQUITY_FUTURES, "cme", 5.0, 0.25), 1.0),
        _future("NQ", Group.EQUITY_FUTURES, "cme", 20.0, 0.25),
        _future("MNQ", Group.EQUITY_FUTURES, "cme", 2.0, 0.25),
        _future("RTY", Group.EQUITY_FUTURES, "cme", 50.0, 0.10),
        _future("M2K", Group.EQUITY_FUTURES, "cme", 5.0, 0.10),
        _future("YM", Group.EQUITY_FUTURES, "cbot", 5.0, 1.0),
        _future("MYM", Group.EQUITY_FUTURES, "cbot", 0.5, 1.0),
        _future("GC", Group.SAFE_HAVEN, "comex", 100.0, 0.10, _EVEN),
        _future("MGC", Group.SAFE_HAVEN, "comex", 10.0, 0.10),
        _future("ZB", Group.SAFE_HAVEN, "cbot", 1000.0, 0.03125, _QUARTERS),
        _future("ZN", Group.SAFE_HAVEN, "cbot", 1000.0, 0.015625),
        _future("SI", Group.METALS, "comex", 5000.0, 0.005),
        _future("SIL", Group.METALS, "comex", 1000.0, 0.005),
        _future("HG", Group.METALS, "comex", 25000.0, 0.0005),
        _future("PL", Group.METALS, "nymex", 50.0, 0.10),
        _future("PA", Group.METALS, "nymex", 100.0, 0.50),
        _future("CL", Group.CRUDE, "nymex", 1000.0, 0.01, _EVERY),
        _future("MCL", Group.CRUDE, "nymex", 100.0, 0.01),
        _future("QM", Group.CRUDE, "nymex", 500.0, 0.025),
        _future("RB", Group.CRUDE, "nymex", 42000.0, 0.0001),
        _future("HO", Group.CRUDE, "nymex", 42000.0, 0.0001),
        _future("NG", Group.NATURAL_GAS, "nymex", 10000.0, 0.001),
        _future("ZC", Group.GRAINS, "cbot", 5000.0, 0.0025),
        _future("ZS", Group.GRAINS, "cbot", 5000.0, 0.0025),
        _future("ZW", Group.GRAINS, "cbot", 5000.0, 0.0025),
        _future("LE", Group.PROTEINS, "cme", 40000.0, 0.00025),
        _future("HE", Group.PROTEINS, "cme", 40000.0, 0.00025),
        _future("GF", Group.PROTEINS, "cme", 50000.0, 0.00025),
        _future("6E", Group.CURRENCIES, "cme", 125000.0, 0.00005, _QUARTERS),
        _future("6B", Group.CURRENCIES, "cme", 62500.0, 0.0001),
        _future("6A", Group.CURRENCIES, "cme", 100000.0, 0.00005),
        _future("6C", Group.CURRENCIES, "cme", 100000.0, 0.00005),
        _future("6J", Group.CURRENCIES, "cme", 12500000.0, 0.0000005),
        _future("M6E", Group.CURRENCIES, "cme", 12500.0, 0.0001),
        _future("M6A", Group.CURRENCIES, "cme", 10000.0, 0.0001),
    )
}


class OptionMonth(StrEnum):
    """How many months the option's own month is after the one in which it expires."""

    SAME = "same"
    NEXT = "next"


@dataclass(frozen=True, slots=True)
class Instrument:
    """One option root.

    ``exchange`` lists it; ``multiplier`` is dollars per point of premium; ``last_trading`` the New York time at which
    an expiring contract stops (on half days of the share market three hours earlier where it follows that market);
    ``option_month`` tells the contract month of an option on a future from its expiry.
    """

    root: str
    facts: UnderlyingFacts
    exchange: str
    style: ExerciseStyle
    settlement: Settlement
    multiplier: float
    ticks: TickRule
    last_trading: time = MARKET_CLOSE
    option_month: OptionMonth = OptionMonth.SAME

    @property
    def underlying(self) -> str:
        """Ticker of what it is written on; a family's for options on futures."""
        return self.facts.ticker

    @property
    def kind(self) -> AssetKind:
        """What it is written on."""
        return self.facts.kind

    @property
    def market(self) -> str:
        """LEAN's name of its market."""
        return self.facts.market

    @property
    def index_scale(self) -> float:
        """S&P 500 index points per point of its underlying (10 for SPY); 1 where it is no equivalent."""
        return self.facts.sp500_scale or 1.0

    def contract(self, expiry: date, strike: float, right: Right, handle: object = None) -> Contract:
        """A contract of this root, on the future that it is exercised into where it is one on futures."""
        underlying = self.facts.month(self.future_month(expiry))
        return Contract(
            underlying, self.root, expiry, strike, right, self.style, self.settlement, self.multiplier, handle
        )

    def future_month(self, expiry: date) -> date | None:
        """First day of the month of the future under an option that expires then; ``None`` for other kinds.

        The first listed month at or after the option's own; an E-mini option that expires after its month's third
        Friday stands on the next quarter (CME 358A.02, 310, 115, 18A, 261A; the same as LEAN's
        FuturesOptionsUnderlyingMapper.cs, recording p13).
        """
        if self.kind is not _FUTURE:
            return None
        month = expiry.replace(day=1)
        if self.option_month is OptionMonth.NEXT or (self.root == "ES" and _after_third_friday(expiry)):
            month = _next_month(month)
        while month.month not in self.facts.months:
            month = _next_month(month)
        return month

    def points(self, hundred: float) -> float:
        """A threshold that settings state in points of SPX options, in this root's points.

        The same dollars, or the same number of ticks where that is more: 0.50 points of an option on SPX are 50 dollars
        and ten ticks; 0.50 points of one on the euro would be 62,500 dollars.
        """
        same_dollars = hundred * _REFERENCE_MULTIPLIER / self.multiplier
        return max(same_dollars, hundred / _REFERENCE_TICK * self.ticks.least)


_REFERENCE_MULTIPLIER = 100.0
_REFERENCE_TICK = 0.05


def _index(root: str, underlying: str, settlement: Settlement, rule: TickRule, last_trading: time) -> Instrument:
    facts = UNDERLYINGS[underlying]
    return Instrument(root, facts, "Cboe", ExerciseStyle.EUROPEAN, settlement, 100.0, rule, last_trading)


def _class(root: str, rule: TickRule) -> Instrument:
    style, settlement = ExerciseStyle.AMERICAN, Settlement.PHYSICAL_SHARES
    return Instrument(root, UNDERLYINGS[root], "OPRA", style, settlement, 100.0, rule)


def _on_future(
    root: str, family: str, exchange: str, rule: TickRule, last_trading: time, month: OptionMonth = OptionMonth.NEXT
) -> Instrument:
    facts, style = UNDERLYINGS[family], ExerciseStyle.AMERICAN
    settlement = Settlement.PHYSICAL_FUTURE
    return Instrument(root, facts, exchange, style, settlement, facts.multiplier, rule, last_trading, month)


# Last trading times: Cboe Rule 4.13 (morning settled: the opening print ends them, they trade last the day before),
# OCC (shares: the close), CME 358A.01.I, 310.01.I, 115.01.I, 18A01.I, 261A.01.I.
INSTRUMENTS: dict[str, Instrument] = {
    row.root: row
    for row in (
        _index("SPXW", "SPX", Settlement.CASH_AFTERNOON, ticks.INDEX, MARKET_CLOSE),
        _index("SPX", "SPX", Settlement.CASH_MORNING, ticks.INDEX, time(9, 30)),
        _index("XSP", "XSP", Settlement.CASH_AFTERNOON, ticks.MINI_INDEX, MARKET_CLOSE),
        *(_class(root, ticks.PENNY) for root in ("SPY", "QQQ", "IWM")),
        *(_class(root, ticks.PENNY_CLASS) for root in ("DIA", "TLT", "GLD", "SLV", "USO", "XLE", "XOP", "UNG")),
        _class("FXE", ticks.NICKEL_CLASS),
        _on_future("ES", "ES", "CME", ticks.E_MINI, MARKET_CLOSE, OptionMonth.SAME),
        _on_future("LO", "CL", "NYMEX", ticks.CRUDE, time(14, 30)),
        _on_future("OG", "GC", "COMEX", ticks.GOLD, time(13, 30)),
        _on_future("OZB", "ZB", "CBOT", ticks.BOND, time(17, 0)),
        _on_future("EUU", "6E", "CME", ticks.EURO, time(10, 0), OptionMonth.SAME),
    )
}

_CONTRACT = re.compile(
    r"(?P<root>[A-Z0-9]+) (?P<expiry>\d{6})(?P<right>[CP])(?P<strike>\d+(\.\d+)?(e[+-]?\d+)?)", re.ASCII
)
_FUTURE_KEY = re.compile(rf"(?P<ticker>[A-Z0-9]+?)(?P<code>[{MONTH_CODES}])(?P<year>\d\d)", re.ASCII)


@lru_cache(maxsize=1024)  # what is held is asked for at each look at the broker
def contract_named(name: str) -> Contract | None:
    """The contract of a ``Contract.name``, without a gateway handle.

    ``None`` for a ticker, a root in no row, and a day or a strike that cannot be.
    """
    match = _CONTRACT.fullmatch(name)
    row = None if match is None else INSTRUMENTS.get(match["root"])
    if match is None or row is None:
        return None
    try:
        expiry = datetime.strptime(match["expiry"], "%y%m%d").date()
    except ValueError:  # six digits that are no day
        return None
    strike = float(match["strike"])
    if not 0.0 < strike < math.inf:
        return None
    return row.contract(expiry, strike, Right.CALL if match["right"] == "C" else Right.PUT)


def underlying_named(key: str) -> Underlying | None:
    """What a price key names (``SPY``, ``SPX``, ``ESM16``), without a gateway handle; ``None`` for anything else.

    A family of futures (``ES``) is nothing with a price of its own, so not named by its ticker alone.
    """
    facts = UNDERLYINGS.get(key)
    if facts is not None:
        return None if facts.kind is _FUTURE else facts.month(None)
    match = _FUTURE_KEY.fullmatch(key)
    facts = None if match is None else UNDERLYINGS.get(match["ticker"])
    if match is None or facts is None or facts.kind is not _FUTURE:
        return None
    return facts.month(date(2000 + int(match["year"]), MONTH_CODES.index(match["code"]) + 1, 1))


def facts_of(key: str) -> UnderlyingFacts | None:
    """The row of a ticker, a family or a price key; ``None`` for what the house does not know."""
    facts = UNDERLYINGS.get(key)
    if facts is not None:
        return facts
    named = underlying_named(key)
    return None if named is None else UNDERLYINGS.get(named.ticker)


def group_of(key: str) -> Group | None:
    """The correlation group of a ticker, a family or a price key; ``None`` for what is in none."""
    facts = facts_of(key)
    return None if facts is None else facts.group


def group_name(ticker: str) -> str:
    """A correlation group's name; ``none`` for what is in no group."""
    group = group_of(ticker)
    return "none" if group is None else group.value


def unit_of(ticker: str) -> float:
    """Dollars a point of one share, or of one future."""
    named = underlying_named(ticker)
    return 1.0 if named is None else named.multiplier


def outright_price(contract: Contract, quantity: float, limit_cash: float) -> float:
    """Price of an order with one leg, from a limit in our sign."""
    buying = quantity > 0
    return instrument_of(contract).ticks.price(-limit_cash if buying else limit_cash, buying)


def unit_price(key: str, price: float) -> float:
    """A price of shares or a future at the nearest step of it; a cent where no row knows it."""
    facts = facts_of(key)
    step = 0.01 if facts is None else facts.tick
    return round(round(price / step) * step, 10)


def is_sp500(key: str) -> bool:
    """Whether something counts as an S&P 500 equivalent (methodology, section 3)."""
    facts = facts_of(key)
    return facts is not None and facts.sp500_scale is not None


def instrument_of(contract: Contract) -> Instrument:
    """The row of a contract's root. Raises KeyError for a contract that no row made."""
    return INSTRUMENTS[contract.root]


def adjusted_of(name: str) -> str | None:
    """The ticker of the shares that a contract was written on before it was adjusted; ``None`` for any other contract.

    The clearing house numbers the root of what is adjusted (OCC: ``TLT`` becomes ``TLT1``); LEAN keeps the root in the
    contract's own symbol, so the gateway knows no instrument of it and names it as LEAN does.
    """
    root, space, _ = name.partition(" ")
    facts = UNDERLYINGS.get(root.rstrip("0123456789"))
    if not space or root in INSTRUMENTS or not root[-1].isdigit() or facts is None:
        return None
    return facts.ticker if facts.kind is AssetKind.EQUITY else None


def roots_of(ticker: str) -> tuple[str, ...]:
    """Option roots written on a ticker or a family, in the table's order."""
    return tuple(row.root for row in INSTRUMENTS.values() if row.underlying == ticker)


def _next_month(month: date) -> date:
    return date(month.year + month.month // 12, month.month % 12 + 1, 1)


def _after_third_friday(day: date) -> bool:
    first = day.replace(day=1).weekday()
    return day.day > 1 + (4 - first) % 7 + 14
