"""Runs as data for research: ``import research; run = research.load("latest")`` in a notebook or a script.

Beside runs: a chain and its smile at a minute of the modelled market, payoff and scenarios of legs, results by regime,
and a small grid. Money is dollars, money in positive; prices are points; times are New York, without a zone.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import date, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from cli.errors import UserError
from cli.options import JOURNAL
from cli.runs import find_run
from core.settings.fields import VixSettings
from greeks.black_scholes import FloatArray, european_greeks, european_price
from greeks.exposure import treasury_bill
from greeks.implied import implied_volatility
from reporting.fields import parse_line
from reporting.rows import Journal

YEAR = 365.0
LEAST_VOLATILITY = 0.01
MOVES = tuple(step / 200 for step in range(-20, 21))  # a tenth down to a tenth up
REGIMES = ("low", "normal", "elevated", "high", "extreme", "panic")

PART_COLUMNS = (
    "strategy", "position", "part", "underlying", "structure", "opened", "closed", "contracts", "credit", "cash_in",
    "cash_out", "fees", "profit", "max_loss", "exit_rule", "exit_reason", "underlying_entry", "underlying_exit",
    "vix_entry", "vix_exit",
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class RunData:
    """One run. Every frame has its columns also where it has no row.

    ``equity`` by day; ``trades`` one row a closed position, its parts summed; ``parts`` one row a closed part;
    ``decisions`` one row an answer to an entry; ``fills`` one row a leg; ``risk`` what risk rules said; ``exposure``
    one row a session that held something: buying power at its peak, Greeks when it was fullest; ``limits`` one row a
    session and limit; ``greeks`` one row a contract at its opening; ``legs`` one row a leg of a closed part.
    """

    name: str
    folder: Path
    journal: Journal
    equity: pd.DataFrame
    trades: pd.DataFrame
    parts: pd.DataFrame
    decisions: pd.DataFrame
    fills: pd.DataFrame
    risk: pd.DataFrame
    exposure: pd.DataFrame
    limits: pd.DataFrame
    greeks: pd.DataFrame
    legs: pd.DataFrame

    def rows(self, kind: str) -> pd.DataFrame:
        """All rows of the journal of one kind, as they are written, for example ``rows("verdict")``."""
        with (self.folder / JOURNAL).open(encoding="utf-8") as lines:
            read = [
                parse_line(line, f"line {count}").values for count, line in enumerate(lines, start=1) if line.strip()
            ]
        return pd.DataFrame([row for row in read if row.get("kind") == kind])


def load(run: str | Path = "latest") -> RunData:
    """A run by its name in backtests/, by ``latest`` or by its folder.

    Raises:
        cli.errors.UserError: there is no such run, or its journal cannot be read.
    """
    found = find_run(str(run))
    journal = found.journal()
    equity = frame(journal.equity, ("day", "equity", "phase", "positions", "interest"), times=("day",)).set_index("day")
    equity["drawdown"] = 1 - equity["equity"] / equity["equity"].cummax()
    parts = frame(
        journal.trades,
        PART_COLUMNS,
        times=("opened", "closed"),
    )
    parts["won"] = parts["profit"] > 0
    return RunData(
        name=found.name,
        folder=found.folder,
        journal=journal,
        equity=equity,
        trades=whole_trades(parts),
        parts=parts,
        decisions=frame(
            journal.decisions,
            ("time", "strategy", "day", "outcome", "rule", "reason", "limit", "observed", "vix", "spot", "contracts"),
            times=("time", "day"),
        ),
        fills=frame(
            journal.fills,
            ("time", "group", "position", "contract", "quantity", "price", "bid", "ask", "fee"),
            times=("time",),
        ),
        risk=frame(
            journal.risk,
            ("time", "rule", "severity", "strategy", "reason", "limit", "observed"),
            times=("time",),
        ),
        exposure=exposure_frame(journal),
        limits=pd.DataFrame(
            [(pd.Timestamp(day.day), one.rule, one.limit, one.observed, one.share, pd.Timestamp(one.at))
             for day in journal.exposures for one in day.limits],
            columns=["day", "rule", "limit", "observed", "share", "at"],
        ),
        greeks=pd.DataFrame(
            [(pd.Timestamp(opening.time), opening.position, name, leg.delta, leg.volatility)
             for opening in journal.openings for name, leg in opening.legs.items()],
            columns=["time", "position", "contract", "delta", "volatility"],
        ),
        legs=legs_frame(journal),
    )  # fmt: skip


def exposure_frame(journal: Journal) -> pd.DataFrame:
    """By day: dollars of buying power at the day's peak and what was allowed, the whole's Greeks, positions."""
    columns = ["day", "equity", "margin_peak", "margin_cap", "positions", "delta", "gamma", "vega", "theta"]
    rows = [
        (pd.Timestamp(day.day), day.equity, day.margin_peak, day.margin_cap, day.whole.positions, day.whole.delta,
         day.whole.gamma, day.whole.vega, day.whole.theta)
        for day in journal.exposures
    ]  # fmt: skip
    return pd.DataFrame(rows, columns=columns).set_index("day")


def legs_frame(journal: Journal) -> pd.DataFrame:
    """The legs of closed parts as ``payoff`` and ``surface`` take them; ``quantity`` in signed contracts."""
    known = {(opening.position, name): leg for opening in journal.openings for name, leg in opening.legs.items()}
    rows = []
    for trade in journal.trades:
        for leg in trade.legs:
            opened = known.get((trade.position, leg.name))
            volatility = None if opened is None else opened.volatility
            rows.append((
                trade.position, trade.part, leg.name, leg.strike, leg.is_call, pd.Timestamp(leg.expiry),
                leg.ratio * trade.contracts, trade.multiplier, leg.entry, leg.exit, volatility,
            ))  # fmt: skip
    columns = ["position", "part", "contract", "strike", "is_call", "expiry", "quantity", "multiplier", "entry", "exit",
               "volatility"]  # fmt: skip
    return pd.DataFrame(rows, columns=columns)


def frame(rows: Iterable[object], columns: tuple[str, ...], times: tuple[str, ...] = ()) -> pd.DataFrame:
    """Typed rows as a frame with these columns; what is unknown is missing, never zero."""
    table = pd.DataFrame([{name: getattr(row, name) for name in columns} for row in rows], columns=list(columns))
    for name in times:
        table[name] = pd.to_datetime(table[name])
    return table


def whole_trades(parts: pd.DataFrame) -> pd.DataFrame:
    """One row a position: the money of its parts summed, the first opening, the last closing and its exit."""
    ways: Mapping[str, str] = {
        "strategy": "first", "underlying": "first", "structure": "first", "opened": "min", "closed": "max",
        "credit": "sum", "cash_in": "sum", "cash_out": "sum", "fees": "sum", "profit": "sum", "exit_rule": "last",
        "vix_entry": "first", "vix_exit": "last",
    }  # fmt: skip
    whole = parts.sort_values("closed").groupby("position", sort=False).agg(dict(ways)).reset_index()
    whole["parts"] = whole["position"].map(parts["position"].value_counts())
    whole["won"] = whole["profit"] > 0
    return whole


# Results by regime


def regime_of(vix: float) -> str:
    """The band of a VIX by the settings' bounds (methodology, section 2); a bound belongs above it, 30 and 40 below."""
    bounds = VixSettings()
    if vix > bounds.high:
        return "panic" if vix > bounds.extreme else "extreme"
    return REGIMES[sum(vix >= bound for bound in (bounds.low, bounds.normal, bounds.elevated))]


def by_regime(trades: pd.DataFrame) -> pd.DataFrame:
    """What each strategy came to by the VIX at its entries: trades, share won, profit, mean and worst; dollars."""
    known = trades.dropna(subset=["vix_entry"]).copy()
    known["regime"] = pd.Categorical([regime_of(value) for value in known["vix_entry"]], REGIMES, ordered=True)
    grouped = known.groupby(["strategy", "regime"], observed=True)
    return grouped.agg(
        trades=("profit", "size"), won=("won", "mean"), profit=("profit", "sum"), mean=("profit", "mean"),
        worst=("profit", "min"),
    ).reset_index()  # fmt: skip


# The modelled market at a minute


def chain(moment: datetime, root: str = "SPXW", market: str = "history", seed: int = 1, days: int = 60) -> pd.DataFrame:
    """A chain of the modelled market as it is quoted at a minute, with volatilities and deltas of our own models.

    One row a contract that expires within ``days``; ``volatility`` is a year's fraction of the middle of the quote by
    the European model, missing where the quote has none.

    Raises:
        cli.errors.UserError: the market, the root or the minute is not there.
    """
    from cli.markets import open_market
    from cli.options import MarketChoice
    from simulation.market.source import ModelledMarket
    from simulation.market.valuation import ChainRows

    source = open_market(MarketChoice.parse(market), seed).source
    if not isinstance(source, ModelledMarket):
        raise UserError(f"{market!r} is no modelled market; in QuantConnect's research a chain comes from QuantBook")
    known = source.book.roots.get(root)
    state = None if known is None else known.asset_day(moment.date())
    minute = (moment.hour * 60 + moment.minute) - (9 * 60 + 30)
    if known is None or state is None or not 0 <= minute <= state.minutes:
        raise UserError(f"{root} at {moment:%Y-%m-%d %H:%M}: not in {market}; roots: {', '.join(source.book.roots)}")
    day, book = moment.date(), known.listing
    near = [expiry for expiry in book.expirations(day) if (expiry - day).days <= days]
    listed = [(expiry.toordinal(), found) for expiry in near if (found := book.strikes(day, expiry)) is not None]
    expiries = np.repeat([ordinal for ordinal, _ in listed], [2 * len(found) for _, found in listed])
    strikes = np.concatenate([np.repeat(found, 2) for _, found in listed])
    signs = np.tile([1.0, -1.0], len(strikes) // 2)
    bid, ask = known.chain_quotes(state, ChainRows(expiries, strikes, signs), minute)
    years = np.array([state.years(date.fromordinal(int(day)))[minute] for day in expiries])
    return quoted(
        pd.DataFrame({
            "expiry": [pd.Timestamp(date.fromordinal(int(day))) for day in expiries], "strike": strikes,
            "is_call": signs > 0, "bid": bid, "ask": ask, "years": years, "spot": float(state.spot.points[minute]),
            "rate": state.carry.rate, "dividend_yield": state.carry.dividend_yield,
        })
    )  # fmt: skip


def quoted(table: pd.DataFrame) -> pd.DataFrame:
    """A chain with ``mid``, ``volatility`` and ``delta``, worked out from its quotes."""
    table = table.copy()
    table["mid"] = (table["bid"] + table["ask"]) / 2
    columns = [table[name].to_numpy(dtype=np.float64) for name in ("spot", "strike", "years", "rate", "dividend_yield")]
    spot, strike, years, rate, dividends = columns
    found = implied_volatility(
        table["mid"].to_numpy(dtype=np.float64), spot, strike, years, rate, dividends, table["is_call"].to_numpy()
    )
    table["volatility"] = found.volatility
    filled = np.where(np.isfinite(found.volatility), found.volatility, 0.0)
    deltas = european_greeks(spot, strike, years, filled, rate, dividends, table["is_call"].to_numpy()).delta
    table["delta"] = np.where(np.isfinite(found.volatility), deltas, np.nan)
    return table


def smile(table: pd.DataFrame, expiry: date | datetime | pd.Timestamp) -> pd.DataFrame:
    """The options of one expiry that are out of the money, by strike, with their volatilities."""
    rows = table[(table["expiry"] == pd.Timestamp(expiry)) & table["volatility"].notna()]
    outside = rows["is_call"] == (rows["strike"] >= rows["spot"])
    return rows[outside].sort_values("strike").reset_index(drop=True)


# Payoff and scenarios of legs


def payoff(legs: pd.DataFrame, spots: Sequence[float] | FloatArray) -> pd.DataFrame:
    """Profit at the expiry of all legs over the underlying's price, dollars before fees.

    ``legs``: ``strike``, ``is_call``, ``quantity`` (signed contracts), ``multiplier``, ``entry`` (points), as
    ``RunData.legs`` and, with a quantity, a chain's rows have them.
    """
    prices = np.asarray(spots, dtype=np.float64)
    strikes, units, entries = (numbers(column)[:, None] for column in (legs["strike"], units_of(legs), legs["entry"]))
    signs = np.where(legs["is_call"].to_numpy(dtype=bool), 1.0, -1.0)[:, None]
    worth = (units * (np.maximum(signs * (prices - strikes), 0.0) - entries)).sum(axis=0)
    return pd.DataFrame({"spot": prices, "profit": worth})


def surface(
    legs: pd.DataFrame,
    moment: datetime,
    spot: float,
    moves: Sequence[float] = MOVES,
    points: Sequence[float] = (-5.0, 0.0, 5.0, 10.0, 20.0),
) -> pd.DataFrame:
    """Profit, dollars before fees, when the underlying moves by fractions and volatility by points, at one moment.

    European values of legs by their own volatilities; a leg without one takes the mean of the others. Rows are moves,
    columns points. Raises ``UserError`` where no leg's volatility is known.
    """
    known = numbers(legs["volatility"])
    if not np.isfinite(known).any():
        raise UserError("no leg has a volatility; expected those of a run whose journal has rows of kind greeks")
    volatilities = np.where(np.isfinite(known), known, np.nanmean(known))
    closes = numbers(
        (pd.to_datetime(legs["expiry"]) + pd.Timedelta(hours=16) - pd.Timestamp(moment)).dt.total_seconds()
    )
    years, rate = np.maximum(closes / (YEAR * 86_400), 0.0), treasury_bill(moment.year)
    strikes, units, entries = numbers(legs["strike"]), numbers(units_of(legs)), numbers(legs["entry"])
    calls = legs["is_call"].to_numpy(dtype=bool)

    def profit(move: float, point: float) -> float:
        raised = np.maximum(volatilities + point / 100, LEAST_VOLATILITY)
        worth = european_price(spot * (1 + move), strikes, years, raised, rate, 0.0, calls)
        return float((units * (worth - entries)).sum())

    table = {point: [profit(move, point) for move in moves] for point in points}
    return pd.DataFrame(table, index=pd.Index([spot * (1 + move) for move in moves], name="spot"))


def numbers(column: pd.Series[float]) -> FloatArray:
    """A column as floats; what is missing is NaN."""
    return np.asarray(column.to_numpy(dtype=np.float64, na_value=np.nan))


def units_of(legs: pd.DataFrame) -> pd.Series[float]:
    """Dollars per point of premium of each leg, signed."""
    return legs["quantity"] * legs["multiplier"]


# A small grid


def grid(
    vary: Mapping[str, Sequence[object]], seeds: Sequence[int] = (1,), options: Mapping[str, str] | None = None
) -> pd.DataFrame:
    """Runs for every combination of values and every seed, one after another in this process; a row each.

    ``options`` are those of ``backtest`` as text (``start``, ``end``, ``cash``, ``strategies``, ``market``). For more
    than a few dozen runs ``python run.py grid`` uses all cores and goes on where it was interrupted.

    Raises:
        cli.errors.UserError: a setting, a value or an option is wrong.
    """
    from cli.grid import GridOptions, cells_of, run_cell

    chosen: dict[str, Any] = dict(options or {})
    asked = replace(GridOptions(seeds=",".join(str(seed) for seed in seeds)), **chosen)
    axes = [(key, [str(value) for value in values]) for key, values in vary.items()]
    cells = cells_of(asked, axes, [asked.market])
    return pd.DataFrame([{**dict(cell.values), "seed": int(cell.seed), **run_cell(cell)[1]} for cell in cells])
