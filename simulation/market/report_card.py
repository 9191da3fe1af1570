"""How kind or unkind the market was measured to be to what a run did: three lines for its report.

A seller of options is treated kindly where they are dearer here than they were, where the index moves less after the
sale, and where the way in and out is narrower. The figures are those that ``benchmarks/recorded.py`` prints for dates
that were not looked at when the model was made (docs/market.md); a test repeats them where the recordings are.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import date, datetime

from simulation.lean.enums import OptionRight, SecurityType
from simulation.lean.symbols import Symbol

COMPARED_ROOTS = frozenset({"SPX", "SPXW", "SPY", "XSP"})
OPTION_KINDS = (SecurityType.OPTION, SecurityType.INDEX_OPTION, SecurityType.FUTURE_OPTION)
TERMS = ((0, "on their last day"), (7, "of 1 to 7 days"), (45, "of 8 to 45 days"), (180, "of 46 to 180 days"))
BEYOND = "of more than 180 days"
FAIR = 0.05  # about one, within which a ratio is called neither


@dataclass(frozen=True, slots=True)
class Ratio:
    """What the model gave over what was recorded, and 90 % of it when dates are drawn again."""

    value: float
    low: float
    high: float

    def __str__(self) -> str:
        return f"{self.value:.2f} ({self.low:.2f} to {self.high:.2f})"


# Median price over recorded price of 5 to 35 delta, VIX under 26; those of the last day are credits of 16-delta condors
# sold from 9:35 to noon, 2023 to 2025.
PRICES: dict[tuple[str, str], Ratio] = {
    ("on their last day", "puts"): Ratio(1.05, 1.00, 1.10),
    ("on their last day", "calls"): Ratio(1.05, 1.00, 1.10),
    ("of 1 to 7 days", "puts"): Ratio(1.04, 0.99, 1.20),
    ("of 1 to 7 days", "calls"): Ratio(0.81, 0.72, 1.33),
    ("of 8 to 45 days", "puts"): Ratio(1.02, 0.97, 1.10),
    ("of 8 to 45 days", "calls"): Ratio(1.08, 0.90, 1.36),
    ("of 46 to 180 days", "puts"): Ratio(1.20, 0.92, 1.24),
    ("of 46 to 180 days", "calls"): Ratio(1.12, 0.88, 1.14),
    (BEYOND, "puts"): Ratio(1.27, 0.88, 1.41),
    (BEYOND, "calls"): Ratio(0.78, 0.47, 1.09),
}
# Squared moves to the close over real SPY's, 2014 to 2018, 95 % over days.
LEFT_AT_10, LEFT_AT_11 = Ratio(1.02, 0.98, 1.05), Ratio(0.99, 0.94, 1.03)
# First year and median spread over recorded spreads of index options from then on.
SPREADS: tuple[tuple[int, float], ...] = ((2000, 1.5), (2008, 0.8), (2015, 0.7), (2019, 1.0))


@dataclass(frozen=True, slots=True)
class Fill:
    """A fill: the day in New York, what, contracts (negative: sold) and price in points."""

    day: date
    symbol: Symbol
    quantity: float
    price: float


def term_of(days: int) -> str:
    """The class of terms that a number of calendar days falls into."""
    return next((name for most, name in TERMS if days <= most), BEYOND)


def _class_of(fill: Fill) -> tuple[str, str]:
    moment = fill.symbol.id.date
    expiry = moment.date() if isinstance(moment, datetime) else moment
    right = "calls" if fill.symbol.id.option_right == OptionRight.CALL else "puts"
    return term_of((expiry - fill.day).days), right


def judged(ratio: float) -> str:
    """What a ratio of prices means to who sells."""
    if abs(ratio - 1.0) <= FAIR:
        return "neither kind nor unkind to a seller"
    return "kind to a seller, unkind to a buyer" if ratio > 1.0 else "unkind to a seller, kind to a buyer"


def report_card(fills: Iterable[Fill]) -> tuple[str, str, str]:
    """Three lines: the prices of what was sold, what moved afterwards, and what the way in and out cost."""
    options = [one for one in fills if one.symbol.security_type in OPTION_KINDS]
    compared = [one for one in options if one.symbol.id.symbol in COMPARED_ROOTS]
    return _sold(compared), _moved(compared), _paid(options, compared)


def _sold(compared: list[Fill]) -> str:
    credit: dict[tuple[str, str], float] = {}
    for one in compared:
        if one.quantity < 0.0:
            credit[_class_of(one)] = credit.get(_class_of(one), 0.0) - one.quantity * one.price
    whole = sum(credit.values())
    if whole <= 0.0:
        return "Prices: this run sold no options on the S&P 500; those are the only ones held against recorded chains."
    parts = []
    for (term, right), points in sorted(credit.items(), key=lambda item: (-item[1], item[0]))[:2]:
        ratio = PRICES[term, right]
        parts.append(
            f"{points / whole:.0%} of what it took in was {right} {term}, which cost {ratio} times what was recorded "
            f"({judged(ratio.value)})"
        )
    return f"Prices: {'; '.join(parts)}."


def _moved(compared: list[Fill]) -> str:
    short = any(_class_of(one)[0] == TERMS[0][1] for one in compared)
    lead = "it traded options on their last day, and " if short else ""
    return (
        f"Moves: {lead}from 10:00 to the close the index moves {LEFT_AT_10} times as much, squared, as real SPY, from "
        f"11:00 {LEFT_AT_11} times (neither kind nor unkind)."
    )


def _paid(options: list[Fill], compared: list[Fill]) -> str:
    if not options:
        return "Costs: this run traded no options."
    others = 1.0 - len(compared) / len(options)
    unknown = f"; {others:.0%} of its fills were on underlyings that were compared with nothing" if others else ""
    if not compared:
        return "Costs: all its options were on underlyings whose spreads are stated, not measured."
    years = Counter(one.day.year for one in compared)
    mean = sum(count * _spread_of(year) for year, count in years.items()) / len(compared)
    verdict = "as recorded" if abs(mean - 1.0) <= 0.1 else "too wide: unkind" if mean > 1.0 else "too narrow: kind"
    return f"Costs: spreads of index options of its years are {mean:.1f} times recorded ones ({verdict}){unknown}."


def _spread_of(year: int) -> float:
    return next((ratio for first, ratio in reversed(SPREADS) if year >= first), SPREADS[0][1])
