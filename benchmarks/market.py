"""What the modelled market costs, and what it looks like: ``python -m benchmarks.market [--evidence docs]``.

Without arguments it prints CPU times: days, contract-days, chains, a year of everything. With ``--evidence FOLDER`` it
also works out the tables of docs/market.md and draws its pictures into FOLDER.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from datetime import date, timedelta
from pathlib import Path

import numpy as np

from reporting.charts import Line, Panel, panels_svg
from simulation.data.columns import UniverseBlock
from simulation.lean.enums import OptionRight, OptionStyle, Resolution, SecurityType
from simulation.lean.symbols import Symbol
from simulation.market.american import lattice, quick_prices
from simulation.market.calendar import FloatArray, IntArray
from simulation.market.garch import draw_days
from simulation.market.history import arch_series, from_arch
from simulation.market.listings import ListingBook, ListingRule, StrikeBand
from simulation.market.source import ModelledMarket
from simulation.market.surface import smile, steepness, strip_variance

DAY = date(2018, 2, 5)
FUNDS = ("SPY", "QQQ", "IWM", "TLT", "GLD", "USO", "FXE")


def timed(what: str, count: int, work: Callable[[], object]) -> None:
    """Print milliseconds each of ``count`` things that ``work`` does."""
    begun = time.process_time()
    work()
    spent = time.process_time() - begun
    print(f"{what:58} {spent / count * 1e3:9.3f} ms each  {spent:7.2f} s for {count}")


def costs() -> None:
    """Times of everything that the engine asks for."""
    begun = time.process_time()
    market = ModelledMarket.from_history("history", seed=1)
    print(f"{'market built':58} {(time.process_time() - begun) * 1e3:9.1f} ms")
    index = Symbol.create("SPX", SecurityType.INDEX, "usa")
    weekly = Symbol.create_canonical_option(index, "SPXW", "usa")
    year = [day for day in market.book.days() if day.year == 2017]
    minute = Resolution.MINUTE
    for ticker in ("SPX", "VIX"):
        symbol = Symbol.create(ticker, SecurityType.INDEX, "usa")
        timed(f"days of {ticker}", len(year), lambda s=symbol: [market.trades(s, minute, day) for day in year])  # type: ignore[misc]
    puts = [
        Symbol.create_option(
            index, "SPXW", "usa", OptionStyle.EUROPEAN, OptionRight.PUT, float(strike), date(2018, 2, 9)
        )
        for strike in range(2300, 2800, 5)
    ]
    market.quotes(puts[0], minute, DAY - timedelta(days=3))  # loads what is compiled
    timed(
        "contract-days of European options, quotes",
        len(puts),
        lambda: [market.quotes(put, minute, DAY) for put in puts],
    )
    share = Symbol.create("SPY", SecurityType.EQUITY, "usa")
    american = [
        Symbol.create_option(share, "usa", OptionStyle.AMERICAN, OptionRight.PUT, float(strike), date(2018, 3, 16))
        for strike in range(220, 290)
    ]
    timed(
        "contract-days of American options, quotes", 70, lambda: [market.quotes(put, minute, DAY) for put in american]
    )
    timed("listings of a chain (SPXW)", 20, lambda: [market.universe(weekly, day) for day in year[:20]])
    chain = market.universe(weekly, DAY)
    assert chain is not None
    timed(f"closes and Greeks of a chain ({len(chain):,} contracts)", 1, lambda: (chain.close, chain.delta))
    year_of_everything()


# --- a year of everything --------------------------------------------------------------------------------------------

MOST_HELD = 10
PLACES = {"ES": "cme", "CL": "nymex", "GC": "comex", "ZB": "cbot", "6E": "cme"}


@dataclass(frozen=True)
class Look:
    """What one strategy looks at: when it opens, a band of strikes at its window, and legs held until a term.

    ``legs`` are strikes over price, signed by right (negative: puts); ``band`` the strikes looked at around each.
    ``weekday`` is 0 for Monday, ``week`` the only one of the month in which the window opens (0: each).
    """

    name: str
    roots: tuple[str, ...]
    weekday: int
    week: int
    days: int
    legs: tuple[float, ...]
    band: int
    until: int
    most: int = 1


LOOKS = (
    Look("0DTE", ("SPXW",), 4, 0, 0, (-0.99, -0.98, 1.01, 1.02), 6, -1),
    Look("LT112", ("ES",), 2, 1, 120, (-0.93, -0.91, -0.86), 8, 21),
    Look("LT112 calls", ("ES",), 0, 0, 7, (1.02,), 6, 0),
    Look("strangle", ("CL",), 1, 2, 90, (-0.80, 1.20), 8, 21),
    Look("strangle", ("GC",), 1, 2, 90, (-0.92, 1.08), 8, 21),
    Look("strangle", ("ZB",), 1, 2, 90, (-0.95, 1.05), 8, 21),
    Look("strangle", ("6E",), 1, 2, 90, (-0.95, 1.05), 8, 21),
    Look("LEAP ladder", ("SPY",), 0, 0, 365, (-0.80,), 12, 150, 10),
    Look("IPMCC", ("QQQ", "SPY", "IWM"), 4, 0, 365, (0.85,), 8, 90),
    Look("IPMCC weekly", ("QQQ", "SPY", "IWM"), 4, 0, 7, (1.0,), 6, 0),
    Look("box", ("SPX",), 2, 1, 500, (-0.90, 0.90, -1.08, 1.08), 3, 0),
    Look("butterfly", ("SPXW",), 4, 0, 0, (-0.995, -0.99, -0.985), 4, -1),
    Look("ratio", ("SPY", "IWM", "TLT"), 1, 0, 45, (-0.97, -0.95), 6, 21),
    Look("diagonal", ("SPY", "QQQ", "IWM"), 1, 0, 60, (-0.98,), 6, 37),
    Look("diagonal short", ("SPY", "QQQ", "IWM"), 1, 0, 30, (-0.97,), 6, 7),
    Look("enhanced", ("GLD", "USO", "FXE", "NDXP"), 1, 2, 60, (-0.95, -0.92, 1.06), 6, 21),
)


@dataclass
class Desk:
    """Ten strategies that look, and never trade: they hold what they would have opened until its time.

    At most ten packages at once, as an account may; the ladder is one of them, with up to ten rungs.
    """

    market: ModelledMarket
    width: int = 1  # times the contracts looked at
    feed: bool = False
    held: dict[tuple[str, str], list[tuple[date, list[Symbol]]]] = field(default_factory=dict)
    listed: int = 0
    seen: set[tuple[Symbol, date]] = field(default_factory=set)

    def day(self, day: date) -> None:
        """One day: minutes of every underlying, each open window's chain and band, each held leg."""
        for symbol in UNDERLYINGS:
            self.market.trades(symbol, Resolution.MINUTE, day)
        for ticker, place in PLACES.items():
            strip = self.market.universe(Symbol.create(ticker, SecurityType.FUTURE, place), day)
            if strip is not None:
                self.market.trades(strip.symbol(0), Resolution.MINUTE, day)
        for look in LOOKS:
            for root in look.roots:
                self._manage(look, root, day)
                if day.weekday() == look.weekday and look.week in (0, (day.day - 1) // 7 + 1):
                    self._open(look, root, day)

    def _manage(self, look: Look, root: str, day: date) -> None:
        packages = self.held.get((look.name, root), [])
        packages = [(expiry, legs) for expiry, legs in packages if (expiry - day).days > look.until and expiry >= day]
        self.held[look.name, root] = packages
        for _, legs in packages:
            self._price(legs, day)

    def _open(self, look: Look, root: str, day: date) -> None:
        found = self._chain(root, day, look.days)
        if found is None:
            return
        chain, rows, price = found
        legs: list[Symbol] = []
        for leg in look.legs:
            right = rows[chain.right[rows] == (1 if leg < 0 else 0)]
            near = right[np.argsort(np.abs(chain.strike[right] - abs(leg) * price), kind="stable")]
            self._price(chain.symbols(near[: look.band * self.width]), day)
            legs += chain.symbols(near[: self.width])
        packages = self.held[look.name, root]
        others = sum(bool(held) for held in self.held.values())
        if legs and len(packages) < look.most and (packages or others < MOST_HELD):
            packages.append((date.fromordinal(int(chain.expiry[rows[0]])), legs))

    def _chain(self, root: str, day: date, term: int) -> tuple[UniverseBlock, IntArray, float] | None:
        """The listing whose expiration is nearest the term, its rows of that expiration, and the underlying's price."""
        best: tuple[UniverseBlock, int] | None = None
        for canonical in self._canonicals(root, day):
            chain = self.market.universe(canonical, day)
            if chain is None:
                continue
            self.listed += len(chain)
            expiry = int(chain.expiry[np.argmin(np.abs(chain.expiry - day.toordinal() - term))])
            if best is None or abs(expiry - day.toordinal() - term) < abs(best[1] - day.toordinal() - term):
                best = chain, expiry
        if best is None or best[0].underlying is None:
            return None
        return best[0], np.flatnonzero(best[0].expiry == best[1]), best[0].underlying.close

    def _canonicals(self, root: str, day: date) -> list[Symbol]:
        if root in PLACES:
            strip = self.market.universe(Symbol.create(root, SecurityType.FUTURE, PLACES[root]), day)
            futures = [] if strip is None else [strip.symbol(row) for row in range(min(4, len(strip)))]
            for future in futures:
                self.market.trades(future, Resolution.MINUTE, day)
            return [Symbol.create_canonical_option(future) for future in futures]
        return [CANONICALS[root]]

    def _price(self, contracts: Sequence[Symbol], day: date) -> None:
        """Prices of some contracts; with ``feed`` all that the engine asks for a contract that it is subscribed to."""
        for contract in contracts:
            self.market.quotes(contract, Resolution.MINUTE, day)
            if self.feed:
                self.market.trades(contract, Resolution.MINUTE, day)
                self.market.open_interest(contract, Resolution.MINUTE, day)
            self.seen.add((contract, day))


SHARES = {ticker: Symbol.create(ticker, SecurityType.EQUITY, "usa") for ticker in FUNDS}
INDICES = {ticker: Symbol.create(ticker, SecurityType.INDEX, "usa") for ticker in ("SPX", "VIX", "NDX")}
UNDERLYINGS = (*INDICES.values(), *SHARES.values())
CANONICALS = {ticker: Symbol.create_canonical_option(share) for ticker, share in SHARES.items()} | {
    root: Symbol.create_canonical_option(INDICES[index], root, "usa")
    for root, index in (("SPX", "SPX"), ("SPXW", "SPX"), ("NDXP", "NDX"))
}


def denser(market: ModelledMarket) -> ModelledMarket:
    """The same market with twice the strikes listed."""
    book = market.book

    def halves(bands: tuple[StrikeBand, ...]) -> tuple[StrikeBand, ...]:
        return tuple(replace(band, step=band.step / 2.0) for band in bands)

    def halved(rule: ListingRule) -> ListingRule:
        return replace(rule, bands=halves(rule.bands), weekly_bands=halves(rule.weekly_bands))

    for name, root in list(book.roots.items()):
        ticker = "NDX" if name == "NDXP" else "SPX" if name.startswith("SPX") else name
        listing = ListingBook(halved(root.listing.rule), root.listing.listings, book.price_range(ticker))
        book.roots[name] = replace(root, listing=listing)
    for strip in book.strips.values():
        strip.law = replace(strip.law, bands=halves(strip.law.bands))
    return market


def year_of_everything(year: int = 2018) -> None:
    """Print what a year of looking costs, and how it grows with what is looked at and with what is listed."""
    begun = time.process_time()
    warm = ModelledMarket.from_history("history", seed=2)
    chain = warm.universe(CANONICALS["TLT"], DAY)
    assert chain is not None
    near = np.flatnonzero(chain.expiry > DAY.toordinal() + 80)
    Desk(warm)._price(chain.symbols(near[len(near) // 2 :: 40]), DAY)
    quick_prices()  # funds with dividends ahead, as this one, do without QuantLib
    print(f"market, QuantLib and numba loaded, once a process: {time.process_time() - begun:.2f} s")
    for what, width, dense, feed in (
        ("as they look", 1, False, False),
        ("trades and interest too", 1, False, True),
        ("twice the contracts", 2, False, False),
        ("twice the strikes", 1, True, False),
    ):
        market = ModelledMarket.from_history("history", seed=1)
        desk = Desk(denser(market) if dense else market, width, feed)
        lattice.cache_clear()
        begun = time.process_time()
        for day in market.book.days():
            if day.year == year:
                desk.day(day)
        spent = time.process_time() - begun
        print(
            f"a year of all underlyings, ten strategies, {what:24} {spent:6.2f} s CPU"
            f"  {len(desk.seen):7,} contract-days  {desk.listed:11,} contracts listed"
        )


# --- evidence --------------------------------------------------------------------------------------------------------


def statistics(returns: FloatArray, levels: FloatArray) -> dict[str, float]:
    """The figures that a path of returns and VIX closes is judged by."""
    centred = returns - returns.mean()
    changes = np.diff(np.log(levels))
    path = np.cumsum(returns)
    return {
        "volatility, % a year": float(returns.std()) * 252**0.5 * 100,
        "kurtosis": float((centred**4).mean() / centred.var() ** 2),
        "skew": float((centred**3).mean() / centred.std() ** 3),
        "worst day, %": float(returns.min()) * 100,
        "largest drawdown, %": float(np.exp((path - np.maximum.accumulate(path)).min()) - 1) * 100,
        "return now, variance tomorrow (leverage)": float(np.corrcoef(centred[:-1], centred[1:] ** 2)[0, 1]),
        "size of moves a month apart, correlation": float(
            np.corrcoef(np.abs(centred[:-21]), np.abs(centred[21:]))[0, 1]
        ),
        "return and VIX change, correlation": float(np.corrcoef(returns[1:], changes)[0, 1]),
        "VIX mean": float(levels.mean()),
        "VIX median": float(np.percentile(levels, 50)),
        "VIX daily log change, deviation": float(changes.std()),
        "VIX daily log change, 99th percentile": float(np.percentile(changes, 99)),
        "VIX daily log change, largest": float(changes.max()),
    }


def side_by_side() -> None:
    """Print 25 simulated years beside the recorded ones."""
    history = from_arch()
    real = np.diff(np.log(history.index.close))
    long = np.diff(np.log(arch_series("sp500").close))
    drawn = [draw_days(seed, 252 * 25) for seed in range(1, 21)]
    columns = [statistics(one.returns, one.volatility) for one in drawn]
    recorded = statistics(real, history.volatility.close[1:])
    older = statistics(long, np.full(len(long), 20.0) * np.exp(1e-9 * np.arange(len(long))))
    print(
        "\n| | 25 simulated years: median of 20 seeds (5th to 95th) | S&P 500 1999-2018 | S&P 500 and VIX 2014-2018 |"
    )
    print("|---|---|---|---|")
    for key in recorded:
        values = np.array([column[key] for column in columns])
        low, middle, high = np.percentile(values, [5, 50, 95])
        past = "" if "VIX" in key else f"{older[key]:.2f}"
        print(f"| {key} | {middle:.2f} ({low:.2f} to {high:.2f}) | {past} | {recorded[key]:.2f} |")


def term_ratios() -> None:
    """Print strips of a day, nine days and three months over the VIX: what Cboe calls VIX1D, VIX9D and VIX3M."""
    market = ModelledMarket.from_history("history", seed=3)
    found: dict[str, list[float]] = {"1 day": [], "9 days": [], "93 days": []}
    for day in market.book.days()[::10]:
        state = market.book.asset_day("SPX", day)
        level = market.book.volatility_points("SPX", day)
        if state is None or level is None:
            continue
        later = [one for one in market.book.roots["SPXW"].listing.expirations(day) if one > day]
        for name, days in (("1 day", 1), ("9 days", 9), ("93 days", 93)):
            expiry = min(later, key=lambda one, days=days: abs((one - day).days - days))  # type: ignore[misc]
            strip = strip_variance(float(state.theta(expiry)[-1]), state.spec.smile.rho, float(state.surface.eta[-1]))
            years = float(state.variance_years(expiry)[-1])
            found[name].append(100.0 * (strip / years) ** 0.5 / float(level[-1]))
    print("Strips over the VIX:", {name: round(float(np.mean(values)), 3) for name, values in found.items()})


def pictures(folder: Path) -> None:
    """Draw the pictures of docs/market.md."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "market-day.svg").write_text(day_picture(), encoding="utf-8")
    (folder / "market-years.svg").write_text(years_picture(), encoding="utf-8")


def day_picture() -> str:
    """February 5, 2018: minutes of index and VIX, and the smiles of that close and of a calm day."""
    market = ModelledMarket.from_history("history", seed=1)
    index, vix = market.book.path("SPX", DAY), market.book.path("VIX", DAY)
    assert index is not None
    assert vix is not None
    now = np.arange(391, dtype=np.float64)
    ends = ("9:30", "16:00")
    panels = [
        Panel(
            "February 5, 2018, S&P 500: daily bar real, minutes modelled", (Line("S&P 500", now, index.points),), ends
        ),
        Panel("VIX: close real, minutes modelled", (Line("VIX", now, vix.points),), ends),
    ]
    for day in (date(2017, 11, 3), DAY):
        state = market.book.asset_day("SPX", day)
        assert state is not None
        k = np.linspace(-0.25, 0.1, 60)
        lines = []
        for days in (9, 30, 180):
            theta = np.full(60, float(state.surface.theta(np.full(391, days / 365.0))[-1]))
            phi = steepness(theta, np.full(60, float(state.surface.eta[-1])))
            total = smile(k, theta, state.spec.smile.rho, phi)
            lines.append(Line(f"{days} days", k, 100.0 * np.sqrt(total / (days / 365.0))))
        panels.append(Panel(f"Implied volatility, {day}", tuple(lines), ("strike 22 % below", "10 % above")))
    return panels_svg(panels)


def years_picture() -> str:
    """Real VIX beside simulated ones, and the distributions of daily changes."""
    history = from_arch()
    real = history.volatility.close
    drawn = [draw_days(seed, len(real)) for seed in (1, 2)]
    x = np.arange(len(real), dtype=np.float64)
    edges = np.linspace(-0.3, 0.4, 71)
    many = np.concatenate([np.diff(np.log(draw_days(seed, 252 * 25).volatility)) for seed in range(1, 6)])
    counts = [np.histogram(np.clip(part, -0.3, 0.4), edges, density=True)[0] for part in (np.diff(np.log(real)), many)]
    simulated = [
        Panel(f"five simulated years, seed {seed}", (Line("VIX", x, one.volatility),), ("five years", ""))
        for seed, one in zip((1, 2), drawn, strict=True)
    ]
    return panels_svg(
        [
            Panel("VIX 2014 to 2018, real", (Line("VIX", x, real),), ("2014", "2018")),
            *simulated,
            Panel(
                "daily log change of the VIX: density",
                (Line("2014 to 2018", edges[:-1], counts[0]), Line("simulated", edges[:-1], counts[1])),
                ("-30 %", "+40 %"),
                steps=True,
            ),
        ]
    )  # fmt: skip


if __name__ == "__main__":
    costs()
    if "--evidence" in sys.argv:
        side_by_side()
        term_ratios()
        pictures(Path(sys.argv[sys.argv.index("--evidence") + 1]))
