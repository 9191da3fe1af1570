"""What Cboe's option-selling indices would have given here: ``python -m benchmarks.recorded --writing SPEC``.

Each is rebuilt by its own published rules on the modelled market (``history`` unless SPEC names another), over several
seeds, because the minutes of the roll mornings are drawn: PUT and BXM (one-month SPX puts and calls at the money, sold
between 11:30 and 13:30 on third Fridays at the strike next to the index of 11:00, settled on the next opening
settlement, PUT fully collateralised in Treasury bills), WPUT (the same in weekly puts, sold as the old ones expire) and
CNDR (20-delta strangle sold, 5-delta strangle bought, bills of ten times the largest loss). Prices are mids, as theirs
are averages of trades.
"""

from __future__ import annotations

import csv
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date, timedelta
from itertools import pairwise
from pathlib import Path

import numpy as np

from core.clock import monthly_expiry
from simulation.market.asset_days import AssetDay
from simulation.market.calendar import FloatArray, calendar
from simulation.market.corporate import index_dividend_yield, opening_settlement, risk_free
from simulation.market.source import ModelledMarket
from simulation.market.surface import forward_delta, smile
from simulation.market.valuation import OptionRoot

STRIKE_MINUTE = 90  # 11:00
SALE = slice(120, 240)  # 11:30 to 13:30
# Cboe's returns of calendar years in percent, and gross premiums over strikes that it published for PUT ("S&P 500
# PutWrite Index", 2016; BXM from its daily closes).
PUBLISHED: dict[str, dict[int, float]] = {
    "PUT": {2007: 9.5, 2008: -26.8, 2009: 31.5, 2010: 9.0, 2011: 6.2}
    | {2012: 8.1, 2013: 12.3, 2014: 6.4, 2015: 6.4, 2016: 7.8, 2017: 10.8, 2018: -5.9},
    "BXM": {2003: 18.2, 2004: 8.3, 2005: 4.2, 2006: 13.3, 2007: 6.6, 2008: -28.7, 2009: 25.9, 2010: 5.9, 2011: 5.7}
    | {2012: 5.2, 2013: 13.3, 2014: 5.6, 2015: 5.2, 2016: 7.1, 2017: 13.0, 2018: -4.8},
    "PUT premium": {2007: 18.6, 2008: 41.9, 2009: 38.6, 2010: 27.0, 2011: 29.3, 2012: 21.6, 2013: 16.1, 2014: 15.5}
    | {2015: 20.1},
}


@dataclass
class Record:
    """Worth of one index at the ends of years, and the premiums that it took in by the year of sale."""

    worth: float = 1.0
    ends: dict[int, float] = field(default_factory=dict)
    premiums: dict[int, float] = field(default_factory=dict)

    def sold(self, day: date, share: float) -> None:
        """Adds a premium, as a share of the strike."""
        self.premiums[day.year] = self.premiums.get(day.year, 0.0) + share

    def returns(self) -> dict[int, float]:
        """Percent a year, of years whose both ends are known."""
        known = sorted(self.ends)
        return {now: 100.0 * (self.ends[now] / self.ends[before] - 1.0) for before, now in pairwise(known)}


@dataclass(frozen=True)
class Months:
    """A market's index days and its monthly roots."""

    market: ModelledMarket
    spx: OptionRoot
    weekly: OptionRoot

    def day(self, day: date) -> AssetDay:
        """The index on a trading day of the range."""
        state = self.market.book.asset_day("SPX", day)
        assert state is not None
        return state

    def rolls(self) -> list[tuple[date, date, bool]]:
        """Sale and settlement of each month, and whether the settlement is still in the range."""
        first, last = self.market.first_day, self.market.last_day
        months = [(year, month) for year in range(first.year, last.year + 2) for month in range(1, 13)]
        pairs = pairwise(monthly_expiry(*month) for month in months)
        return [(sold, settled, settled <= last) for sold, settled in pairs if first < sold <= last]


def mid(root: OptionRoot, state: AssetDay, expiry: date, strike: float, sign: float) -> FloatArray:
    """Mids of a listed contract over its day."""
    contract = root.contract_day(state.day, expiry, strike, sign)
    assert contract is not None
    return np.asarray(0.5 * (np.nan_to_num(contract.bid) + contract.ask))


def strikes_of(root: OptionRoot, day: date, expiry: date) -> FloatArray:
    """Listed strikes of an expiry that is listed."""
    strikes = root.listing.strikes(day, expiry)
    assert strikes is not None
    return strikes


def year_end(start: date, end: date) -> date | None:
    """The last trading day of the year of ``start`` when the year ends before ``end``."""
    return None if start.year == end.year else calendar().on_or_before(date(start.year, 12, 31))


def put(months: Months) -> Record:
    """Cboe's PUT: contracts that the bills pay in full when the index goes to nothing."""
    record = Record()
    for sold, settled, known in months.rolls():
        state = months.day(sold)
        strikes = strikes_of(months.spx, sold, settled)
        strike = float(strikes[strikes <= state.spot.points[STRIKE_MINUTE]].max())
        price = float(mid(months.spx, state, settled, strike, -1.0)[SALE].mean())
        record.sold(sold, price / strike)
        rate = risk_free(sold)
        contracts = record.worth / (strike / (1.0 + rate * (settled - sold).days / 365.0) - price)
        marked = year_end(sold, settled)
        if marked is not None:
            owed = float(months.spx.values(months.day(marked), settled, strike, -1.0)[-1])
            record.ends[marked.year] = contracts * (strike / (1.0 + rate * (settled - marked).days / 365.0) - owed)
        if known:
            record.worth = contracts * (strike - max(strike - opening_settlement(months.day(settled)), 0.0))
    return record


def buy_write(months: Months) -> Record:
    """Cboe's BXM: the index with its dividends, and the call at or above it sold."""
    record = Record()
    for sold, settled, known in months.rolls():
        state = months.day(sold)
        strikes = strikes_of(months.spx, sold, settled)
        strike = float(strikes[strikes >= state.spot.points[STRIKE_MINUTE]].min())
        price = float(mid(months.spx, state, settled, strike, 1.0)[SALE].mean())
        held = record.worth / (float(state.spot.points[SALE].mean()) - price)
        income = index_dividend_yield(sold) / 365.0
        marked = year_end(sold, settled)
        if marked is not None:
            shown = months.day(marked)
            owed = float(months.spx.values(shown, settled, strike, 1.0)[-1])
            index = float(shown.spot.points[-1]) * (1.0 + income * (marked - sold).days)
            record.ends[marked.year] = held * (index - owed)
        if not known:
            break
        end = months.day(settled)
        final = opening_settlement(end)
        kept = final * (1.0 + income * (settled - sold).days) - max(final - strike, 0.0)
        record.worth = held * kept * float(end.spot.points[SALE].mean()) / final
    return record


def weekly_put(months: Months) -> Record:
    """Cboe's WPUT: sold on each Friday's close, on third Fridays after the opening settlement, at the bid.

    Of the weekly put-writing indices of 2015 Cboe's rules for WPTR, its twin on the Russell 2000, say that the premium
    taken is a bid quote; a bid of the close is the reading for WPUT that knows the index at which the old put settles.
    """
    record = Record()
    friday = months.market.first_day
    friday += timedelta(days=(4 - friday.weekday()) % 7)
    while friday + timedelta(days=7) <= months.market.last_day:
        sold, following = calendar().on_or_before(friday), friday + timedelta(days=7)
        morning = 15 <= following.day <= 21
        root = months.spx if morning else months.weekly
        settled = monthly_expiry(following.year, following.month) if morning else calendar().on_or_before(following)
        state, end = months.day(sold), months.day(settled)
        at = 120 if 15 <= friday.day <= 21 else state.minutes
        strikes = strikes_of(root, sold, settled)
        strike = float(strikes[strikes <= state.spot.points[at]].max())
        contract = root.contract_day(state.day, settled, strike, -1.0)
        assert contract is not None
        price = float(np.nan_to_num(contract.bid)[at])
        record.sold(sold, price / strike)
        final = opening_settlement(end) if morning else float(end.spot.points[-1])
        contracts = record.worth / (strike / (1.0 + risk_free(sold) * 7.0 / 365.0) - price)
        record.worth = contracts * (strike - max(strike - final, 0.0))
        record.ends[settled.year] = record.worth
        friday = following
    return record


def condor(months: Months) -> Record:
    """Cboe's CNDR: the strikes nearest to 20 and 5 delta at 11:00, losses held to a tenth of the bills."""
    record = Record()
    for sold, settled, known in months.rolls():
        if not known:
            break
        state = months.day(sold)
        strikes = strikes_of(months.spx, sold, settled)
        forward, theta, phi = (
            np.full(len(strikes), float(part(settled, morning=True)[STRIKE_MINUTE]))
            for part in (state.forward, state.theta, state.steepness)
        )
        variance = smile(np.log(strikes / forward), theta, state.surface.law.rho, phi)
        value, width = 0.0, 0.0
        final = opening_settlement(months.day(settled))
        for sign in (-1.0, 1.0):
            deltas = np.abs(forward_delta(forward, strikes, variance, sign))
            near, far = (float(strikes[int(np.argmin(np.abs(deltas - wanted)))]) for wanted in (0.20, 0.05))
            for strike, side in ((near, 1.0), (far, -1.0)):
                price = float(mid(months.spx, state, settled, strike, sign)[STRIKE_MINUTE])
                value += side * (price - max(sign * (final - strike), 0.0))
            width = max(width, abs(near - far))
        interest = risk_free(sold) * (settled - sold).days / 365.0
        record.worth *= 1.0 + interest + value / (10.0 * width)
        record.ends[settled.year] = record.worth
    return record


INDICES: dict[str, Callable[[Months], Record]] = {"PUT": put, "BXM": buy_write, "WPUT": weekly_put, "CNDR": condor}


def published(path: Path | None) -> dict[str, dict[int, float]]:
    """Cboe's returns of years in percent: from monthly closes where ``path`` has them, else as printed by Cboe."""
    if path is None or not path.is_file():
        return PUBLISHED
    with path.open(newline="", encoding="utf-8") as stream:
        rows = [row for row in csv.DictReader(stream) if row["Date"][5:7] == "12"]
    found = {**PUBLISHED}
    for name in ("PUT", "BXM"):
        ends = {int(row["Date"][:4]): float(row[name]) for row in rows if row[name]}
        found[name] = {year: 100.0 * (ends[year] / ends[year - 1] - 1.0) for year in ends if year - 1 in ends}
    return found


def table(name: str, found: Sequence[dict[int, float]], known: Mapping[int, float]) -> list[str]:
    """A row for each year, the seeds' mean and spread beside what was published, and the mean of the shared years."""
    lines = ["", f"| {name}, % | mean of {len(found)} seeds (lowest to highest) | Cboe |", "|---|---|---|"]
    for year in sorted(found[0]):
        values = [one[year] for one in found]
        shown = f"{known[year]:.1f}" if year in known else ""
        lines.append(f"| {year} | {np.mean(values):.1f} ({min(values):.1f} to {max(values):.1f}) | {shown} |")
    shared = [year for year in sorted(found[0]) if year in known]
    if shared:
        means = [float(np.mean([one[year] for year in shared])) for one in found]
        error = 1.96 * float(np.std(means, ddof=1)) / len(means) ** 0.5 if len(means) > 1 else float("nan")
        theirs = float(np.mean([known[year] for year in shared]))
        lines.append(
            f"| {shared[0]} to {shared[-1]} | {np.mean(means):.2f} (seeds: {error:.2f} either way) | {theirs:.2f} |"
        )
    return lines


def writing_tables(spec: str, seeds: int, path: Path | None) -> list[str]:
    """Every index over some seeds, beside Cboe's; ``path`` is the file of its monthly closes."""
    found: dict[str, list[dict[int, float]]] = {}
    for seed in range(1, seeds + 1):
        market = ModelledMarket.from_history(spec, seed=seed, quote_faults=0.0)
        months = Months(market, market.book.roots["SPX"], market.book.roots["SPXW"])
        for name, rebuild in INDICES.items():
            record = rebuild(months)
            found.setdefault(name, []).append(record.returns())
            if record.premiums:
                collected = {year: 100.0 * share for year, share in record.premiums.items()}
                found.setdefault(f"{name} premium", []).append(collected)
    known = published(path)
    return [line for name, columns in found.items() for line in table(name, columns, known.get(name, {}))]
