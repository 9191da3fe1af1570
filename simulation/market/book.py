"""Everything in one market by ticker and by option root, each part made when first asked for.

A market is named by what it stands on: history, files, simulated years or a scenario.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from datetime import date, timedelta
from typing import cast

import numpy as np
from numpy.typing import NDArray

from simulation.data.columns import FactorRow, MapRow, MarginRow
from simulation.lean.enums import SecurityType
from simulation.lean.symbols import Symbol
from simulation.market.asset_days import AssetDay, AssetSpec, Carry, Kind
from simulation.market.assets import Asset, AssetSeries, DrivenAsset
from simulation.market.calendar import TRADED_SHARE, FloatArray, IntArray, Profile, calendar
from simulation.market.corporate import SHARES, FundShare, ShareLaw, halted_minutes, index_carry, risk_free
from simulation.market.daily_columns import HIGH, LOW, OPEN, DaysOfMinutes, MinutesColumn
from simulation.market.days import DayShape, MinutePath
from simulation.market.factors import LAWS, FactorLaw, follow, simulate
from simulation.market.futures import FUTURES, FutureDay, FutureLaw, FutureStrip
from simulation.market.garch import simulated_history
from simulation.market.history import DailyBars, MarketHistory, files_of, from_arch, from_csv
from simulation.market.listings import RULES, ListingBook, Listings
from simulation.market.quotes import ETF_QUOTES, INDEX_QUOTES, MORNING_QUOTES, QuoteFaults, QuoteLaw
from simulation.market.scenarios import Scenario, history_of, run_range, scenario
from simulation.market.valuation import OptionRoot, Style

Silence = tuple[int, int]


@dataclass
class Book:
    """One market: its range, its underlyings and the options on them.

    ``makers`` builds a driver when its ticker is first used; ``silent`` holds minutes (first and last) in which a
    ticker publishes nothing on a day.
    """

    name: str
    first_day: date
    last_day: date
    default_range: tuple[date, date]
    listings: Listings
    makers: dict[str, Callable[[], Asset]] = field(default_factory=dict)
    share_makers: dict[str, Callable[[], FundShare]] = field(default_factory=dict)
    strips: dict[str, FutureStrip] = field(default_factory=dict)
    volatilities: dict[str, str] = field(default_factory=dict)  # ticker of a volatility index -> its underlying
    roots: dict[str, OptionRoot] = field(default_factory=dict)
    notes: tuple[str, ...] = ()
    quote_faults: dict[int, QuoteFaults] | QuoteFaults | None = None
    silent: dict[tuple[str, int], Silence] = field(default_factory=dict)
    cash_flows: dict[date, float] = field(default_factory=dict)
    _assets: dict[str, Asset] = field(default_factory=dict)
    _shares: dict[str, FundShare] = field(default_factory=dict)
    _share_closes: dict[str, tuple[IntArray, FloatArray]] = field(default_factory=dict)
    _daily: dict[str, tuple[IntArray, list[FloatArray]] | None] = field(default_factory=dict)
    _halts: dict[int, NDArray[np.bool_] | None] = field(default_factory=dict)

    def asset(self, ticker: str) -> Asset:
        """The driver of that name; raises KeyError for one that the market has not."""
        if ticker not in self._assets:
            self._assets[ticker] = self.makers[ticker]()
        return self._assets[ticker]

    def share(self, ticker: str) -> FundShare:
        """The fund of that name; raises KeyError for one that the market has not."""
        if ticker not in self._shares:
            self._shares[ticker] = self.share_makers[ticker]()
        return self._shares[ticker]

    def ticker(self, symbol: Symbol) -> str | None:
        """The model's name for a security with a price of its own; ``None`` for what it has not."""
        name = symbol.id.symbol
        if symbol.security_type is SecurityType.INDEX:
            return name if name in self.makers or name in self.volatilities else None
        if symbol.security_type is SecurityType.EQUITY:
            return name if name in self.share_makers else None
        return None

    def root(self, symbol: Symbol) -> OptionRoot | None:
        """The option root of an index's or a fund's contract or chain."""
        if symbol.security_type is SecurityType.FUTURE_OPTION:
            strip = self.strips.get(symbol.underlying.id.symbol)
            return None if strip is None else strip.root(symbol.underlying)
        return self.roots.get(symbol.id.symbol)

    def inside(self, day: date) -> bool:
        """True for days of the market's range."""
        return self.first_day <= day <= self.last_day

    def asset_day(self, ticker: str, day: date) -> AssetDay | None:
        """Everything about one underlying on one day; ``None`` outside the range."""
        if not self.inside(day):
            return None
        if ticker in self.share_makers:
            return self.share(ticker).day(day)
        return self.asset(ticker).day(day) if ticker in self.makers else None

    def future_day(self, symbol: Symbol, day: date) -> FutureDay | None:
        """One futures contract on one day; ``None`` when it is not listed then."""
        strip = self.strips.get(symbol.id.symbol)
        return strip.day(symbol, day) if strip is not None and self.inside(day) else None

    def path(self, ticker: str, day: date) -> MinutePath | None:
        """Minutes of a price or of a volatility index."""
        if ticker in self.volatilities:
            return self.asset(self.volatilities[ticker]).volatility(day) if self.inside(day) else None
        state = self.asset_day(ticker, day)
        return None if state is None else state.spot

    def days(self) -> list[date]:
        """Trading days of the range."""
        return calendar().between(self.first_day, self.last_day)

    def minutes(self, day: date) -> int:
        """Session length."""
        return calendar().session_minutes(day)

    def kept_minutes(self, ticker: str, day: date, count: int) -> NDArray[np.bool_] | None:
        """Which minutes are published; ``None`` for all of them."""
        halted = self.halted(day)
        silent = self.silent.get((ticker, day.toordinal()))
        if silent is None:
            return None if halted is None else ~halted
        now = np.arange(count)
        kept = (now < silent[0]) | (now > silent[1])
        return np.asarray(kept if halted is None else kept & ~halted)

    def halted(self, day: date) -> NDArray[np.bool_] | None:
        """Minutes in which a circuit breaker has stopped all trading; ``None`` on a day without."""
        key = day.toordinal()
        if key not in self._halts:
            index = self.asset("SPX")
            row, state = index.row(day), self.asset_day("SPX", day)
            before = 0.0 if row is None else float(index.series.close[row - 1])
            self._halts[key] = None if state is None else halted_minutes(state.spot, before, day)
        return self._halts[key]

    def faults(self, day: date) -> QuoteFaults | None:
        """What goes wrong with quotes on ``day``."""
        if isinstance(self.quote_faults, dict):
            return self.quote_faults.get(day.toordinal())
        return self.quote_faults

    def daily(self, ticker: str) -> tuple[IntArray, list[FloatArray]] | None:
        """Days of the range and their open, high, low and close; from the minutes where a source has closes only.

        Worked out once; nobody writes to the columns. Where nothing but closes is known they are ``MinutesColumn``.
        """
        if ticker not in self._daily:
            self._daily[ticker] = self._find_daily(ticker)
        return self._daily[ticker]

    def _find_daily(self, ticker: str) -> tuple[IntArray, list[FloatArray]] | None:
        if ticker in self.share_makers:
            days, prices = self.share(ticker).daily(self.first_day, self.last_day)
        else:
            found = self._daily_columns(ticker)
            if found is None:
                return None
            days, prices = found
        unknown = np.flatnonzero(np.isnan(prices[0]))
        if len(unknown) == len(days):
            table = DaysOfMinutes(days, lambda day: self.path(ticker, day))
            rows = np.arange(len(days))
            lazy = [cast(FloatArray, MinutesColumn(table, which, rows)) for which in (OPEN, HIGH, LOW)]
            return days, [*lazy, prices[3]]
        for row in unknown:
            path = self.path(ticker, date.fromordinal(int(days[row])))
            if path is not None:
                prices[0][row], prices[1][row], prices[2][row] = path.points[0], path.high.max(), path.low.min()
        return days, prices

    def closes_of(self, ticker: str, first: date, last: date) -> FloatArray | None:
        """Daily closes from ``first`` to ``last``; ``None`` for what is no index of the market."""
        found = self._daily_columns(ticker)
        if found is None:
            return None
        inside = (found[0] >= first.toordinal()) & (found[0] <= last.toordinal())
        return np.asarray(found[1][3][inside])

    def _daily_columns(self, ticker: str) -> tuple[IntArray, list[FloatArray]] | None:
        volatile = ticker in self.volatilities
        name = self.volatilities[ticker] if volatile else ticker
        if name not in self.makers:
            return None
        series = self.asset(name).series
        columns = series.volatility if volatile else self.asset(name).columns()
        inside = (series.days >= self.first_day.toordinal()) & (series.days <= self.last_day.toordinal())
        inside &= ~np.isnan(columns[3])
        return series.days[inside], [column[inside].copy() for column in columns]

    def usual_volume(self, ticker: str) -> float:
        """Units traded on a usual day; 0 for an index."""
        return self.share(ticker).law.volume if ticker in self.share_makers else 0.0

    def profile(self, ticker: str) -> Profile:
        """How the ticker's variance is spread over a day."""
        return self.share(ticker).spec.profile if ticker in self.share_makers else TRADED_SHARE

    def factor_rows(self, symbol: Symbol) -> list[FactorRow] | None:
        """Dividends of a fund as LEAN factors."""
        if symbol.security_type is not SecurityType.EQUITY or symbol.id.symbol not in self.share_makers:
            return None
        return self.share(symbol.id.symbol).factor_rows(self.first_day, self.last_day)

    def map_rows(self, ticker: str) -> list[MapRow] | None:
        """A fund's ticker, which never changed, from its first day on; ``None`` for what is no fund of the market."""
        if ticker not in self.share_makers:
            return None
        law = SHARES[ticker]
        days = (min(law.since, self.first_day), LAST_MAPPED_DAY)
        return [MapRow(day, ticker, law.exchange) for day in days]

    def margin_rows(self, symbol: Symbol) -> list[MarginRow] | None:
        """Margins of a future; the cash products have none."""
        strip = self.strips.get(symbol.id.symbol)
        return None if strip is None else strip.margin_rows(self.first_day)

    def price_range(self, ticker: str) -> Callable[[date, int], tuple[float, float] | None]:
        """Lowest and highest close of the ``span`` days before a day: what strikes are listed around."""

        def lookup(day: date, span: int) -> tuple[float, float] | None:
            days, prices = self._closes(ticker)
            end = int(np.searchsorted(days, day.toordinal()))
            closes = prices[max(0, end - span) : end]
            return (float(closes.min()), float(closes.max())) if len(closes) else None

        return lookup

    def _closes(self, ticker: str) -> tuple[IntArray, FloatArray]:
        if ticker in self.share_makers:
            if ticker not in self._share_closes:
                self._share_closes[ticker] = self.share(ticker).closes()
            return self._share_closes[ticker]
        series = self.asset(ticker).series
        return series.days, series.close

    def add_root(self, root: str, ticker: str, style: Style, law: QuoteLaw, volatility: str) -> None:
        """Lists an option root on a ticker, its spreads following the volatility index of that underlying."""
        self.roots[root] = OptionRoot(
            root,
            style,
            law,
            ListingBook(RULES[root], self.listings, self.price_range(ticker)),
            lambda day: self.asset_day(ticker, day),
            lambda day: self.volatility_points(volatility, day),
        )

    def volatility_points(self, underlying: str, day: date) -> FloatArray | None:
        """Minutes of an underlying's volatility index, published or not."""
        made = self.asset(underlying).volatility_path(day)
        return None if made is None else made.points


DEFAULT_START, DEFAULT_END = date(2018, 1, 2), date(2018, 12, 31)
VOLATILITIES = {"VIX": "SPX", "VXN": "NDX", "RVX": "RUT", "GVZ": "GOLD", "OVX": "OIL", "EVZ": "EURO", "VXTLT": "BOND"}
LAST_MAPPED_DAY = date(2050, 12, 31)  # of a ticker that is still in use (LEAN's map files)
REAL_SERIES = {"NDX": ("NASDAQ", "NDX", "IXIC", "QQQ"), "OIL": ("WTI", "USO", "CL")}
COMPOSITE_TO_100 = 0.90  # the NASDAQ-100 over the composite: 0.86 in January 2014, 0.95 in December 2018


# Spreads of SPX, SPXW and SPY are set to recorded chains; NDXP and the other funds are multiples of them that are
# stated, not measured (only a liquid single share of 2014 was at hand, four times as wide as SPY at the same price).
INDEX_ROOTS = (
    ("SPXW", "SPX", INDEX_QUOTES),
    ("SPX", "SPX", MORNING_QUOTES),
    ("NDXP", "NDX", INDEX_QUOTES.times(2.5, 0.1)),
)
FUND_QUOTES = {
    "SPY": ETF_QUOTES,
    "QQQ": ETF_QUOTES.times(1.5, 0.5),
    "IWM": ETF_QUOTES.times(1.5, 0.5),
    "TLT": ETF_QUOTES.times(3.0, 0.3),
    "GLD": ETF_QUOTES.times(3.0, 0.2),
    "USO": ETF_QUOTES.times(4.0, 0.2),
    "FXE": ETF_QUOTES.times(12.0, 0.03),
}
Shapes = tuple[Mapping[int, DayShape], Mapping[int, DayShape]]


class MarketSpecError(ValueError):
    """A market that was named wrongly; the message says what is accepted."""


@dataclass(frozen=True)
class BuildRequest:
    """What to build: the market's name as given, the seed and the listing rules."""

    spec: str
    seed: int
    listings: Listings


def index_series(index: DailyBars, volatility: DailyBars) -> AssetSeries:
    """An index and its volatility index, same days, as one series."""
    shown = (volatility.open, volatility.high, volatility.low, volatility.close)
    return AssetSeries(index.days, index.open, index.high, index.low, index.close, shown)


def _index_carry(day: date, _: float) -> Carry:
    return index_carry(day)


def _driver_carry(day: date, _: float) -> Carry:
    return Carry(risk_free(day))


def _real_bars(law: FactorLaw, history: MarketHistory) -> DailyBars | None:
    """The driver's own history where the market has it, cut to the index's days and brought to the driver's level."""
    for name in REAL_SERIES.get(law.name, (law.name,)):
        found = history.others.get(name)
        if found is None or found.days[0] > history.index.days[0] or found.days[-1] < history.index.days[-1]:
            continue
        rows = np.searchsorted(found.days, history.index.days, side="right") - 1
        present = found.days[rows] == history.index.days
        scale = COMPOSITE_TO_100 if name in ("NASDAQ", "IXIC") else 1.0
        shown = [np.where(present, column[rows], np.nan) for column in (found.open, found.high, found.low)]
        first, high, low, close = (np.round(column * scale, 2) for column in (*shown, found.close[rows]))
        return DailyBars(found.name, found.role, history.index.days, first, high, low, close, found.profile)
    return None


def driver(law: FactorLaw, index: Asset, history: MarketHistory, seed: int) -> Asset:
    """An underlying other than the index: real where its history came with the market, else by its factor law."""
    volatility = index.filled_volatility
    real = _real_bars(law, history)
    unknown = np.full(len(index.series.days), np.nan)
    if real is None:
        made = simulate(law, index.series.days, index.series.close, volatility, seed)
        columns: tuple[FloatArray, FloatArray, FloatArray] = (unknown, unknown, unknown)
    else:
        made = follow(law, real.close, index.series.close, volatility)
        columns = (real.open, real.high, real.low)
    implied = (unknown, unknown, unknown, made.implied)
    series = AssetSeries(index.series.days, *columns, made.close, implied)
    profile = index.spec.profile if real is not None and not np.isnan(real.open[-1]) else TRADED_SHARE
    spec = AssetSpec(law.name, Kind.INDEX, profile, law.smile, law.volatility, law.tick)
    return DrivenAsset(spec, series, index, (made.beta, made.own), _driver_carry)


def book_of(
    name: str,
    history: MarketHistory,
    request: BuildRequest,
    default: tuple[date, date] | None = None,
    shapes: Shapes | None = None,
) -> Book:
    """The whole market over one history; underlyings are built when first used."""
    first, last = history.first_day, history.last_day
    book = Book(name, first, last, default or usual_range(first, last), request.listings, notes=history.notes)
    spec = AssetSpec("SPX", Kind.INDEX, history.index.profile)
    book.makers["SPX"] = lambda: Asset(
        spec, index_series(history.index, history.volatility), request.seed, _index_carry, shapes
    )
    for law in LAWS.values():
        book.makers[law.name] = _driver_maker(law, book, history, request.seed)
    book.volatilities.update(VOLATILITIES)
    of_a_share = any("ten times this share" in note for note in history.notes)
    for share in SHARES.values():
        book.share_makers[share.ticker] = _share_maker(share, book, accrues=not (share.ticker == "SPY" and of_a_share))
        book.add_root(share.ticker, share.ticker, Style.AMERICAN, FUND_QUOTES[share.ticker], share.driver)
    for root, ticker, quotes in INDEX_ROOTS:
        book.add_root(root, ticker, Style.EUROPEAN, quotes, ticker)
    for future in FUTURES.values():
        book.strips[future.ticker] = _strip(future, book, request.listings)
    return book


def book_of_scenario(plan: Scenario, request: BuildRequest) -> Book:
    """The market of a scenario: its days behind a prelude, or a stretch of another market, with its faults."""
    name = f"scenario:{plan.name}"
    if plan.source is not None:
        book = build(replace(request, spec=plan.source))
        book.name, book.default_range, book.last_day = name, run_range(plan), plan.end
        book.notes = (*book.notes, f"{name}: {plan.facts}")
    else:
        book = book_of(name, history_of(plan), request, run_range(plan), (plan.shapes, plan.vix_shapes))
    book.quote_faults = dict(plan.faults)
    book.silent.update(plan.silent)
    book.cash_flows.update(plan.flows)
    return book


def _driver_maker(law: FactorLaw, book: Book, history: MarketHistory, seed: int) -> Callable[[], Asset]:
    return lambda: driver(law, book.asset("SPX"), history, seed)


def _share_maker(law: ShareLaw, book: Book, *, accrues: bool) -> Callable[[], FundShare]:
    return lambda: FundShare(law, book.asset(law.driver), accrues=accrues)


def _strip(law: FutureLaw, book: Book, listings: Listings) -> FutureStrip:
    return FutureStrip(
        law, lambda: book.asset(law.driver), lambda day: book.volatility_points(law.driver, day), listings
    )


def usual_range(first: date, last: date) -> tuple[date, date]:
    """The year that is run when no days are asked for: 2018 where it is there, else the second, or the first.

    The year before it is what volatilities are ranked in.
    """
    if first <= DEFAULT_START and last >= DEFAULT_END:
        return DEFAULT_START, DEFAULT_END
    start = first + timedelta(days=365) if (last - first).days > 500 else first
    return start, min(last, start + timedelta(days=364))


def build(request: BuildRequest) -> Book:
    """The market that ``request.spec`` names; raises MarketSpecError or a HistoryError."""
    kind, _, rest = request.spec.partition(":")
    if request.spec == "history":
        return book_of("history", from_arch(), request)
    if kind == "csv" and rest:
        return book_of(request.spec, from_csv(files_of(rest)), request)
    if kind == "garch":
        if not rest.isdecimal():
            raise MarketSpecError(f"market: {request.spec!r}; expected garch:SEED with a whole number, such as garch:7")
        return book_of(request.spec, simulated_history(int(rest)), request)
    if kind == "scenario" and rest:
        return book_of_scenario(scenario(rest), request)
    raise MarketSpecError(
        f"market: {request.spec!r}; expected history, csv:FILE[,FILE...], csv:spx=FILE,vix=FILE, "
        "garch:SEED or scenario:NAME"
    )
