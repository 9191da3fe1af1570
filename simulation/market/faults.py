"""Quotes that go missing, show one side only, or freeze: at a stated rate, seeded by contract and day."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from simulation.market.valuation import ContractDay


@dataclass(frozen=True)
class QuoteFaults:
    """Shares of a contract's minutes in which its quote is missing, lacks its bid, or repeats an earlier minute.

    ``first`` and ``last`` bound the faults to minutes of the session (a scenario's empty hour); ``None`` is the
    whole day.
    """

    missing: float = 0.0
    one_sided: float = 0.0
    stale: float = 0.0
    first: int | None = None
    last: int | None = None

    def __post_init__(self) -> None:
        for name, rate in (("missing", self.missing), ("one_sided", self.one_sided), ("stale", self.stale)):
            if not 0.0 <= rate <= 1.0:
                raise ValueError(f"quote_faults.{name}: {rate}; expected a share from 0 to 1")

    @classmethod
    def at_rate(cls, rate: float) -> QuoteFaults | None:
        """All three kinds at ``rate`` together, split 2 : 2 : 6; ``None`` at 0."""
        return cls(0.2 * rate, 0.2 * rate, 0.6 * rate) if rate > 0.0 else None


def _episodes(generator: np.random.Generator, length: int, rate: float, mean_minutes: float) -> NDArray[np.bool_]:
    """Minutes covered by episodes of geometric length that together fill about ``rate`` of the time."""
    covered = np.zeros(length, dtype=bool)
    if rate >= 1.0:
        return ~covered
    for start in np.flatnonzero(generator.random(length) < rate / mean_minutes):
        covered[start : start + int(generator.geometric(1.0 / mean_minutes))] = True
    return covered


def faulted(day: ContractDay, faults: QuoteFaults, generator: np.random.Generator) -> ContractDay:
    """The same contract-day with faults put in; the model value stays."""
    length = len(day.bid)
    window = np.zeros(length, dtype=bool)
    window[(faults.first or 0) : (length if faults.last is None else faults.last + 1)] = True
    bid, ask = day.bid.copy(), day.ask.copy()
    stale = _episodes(generator, length, faults.stale, 6.0) & window
    one_sided = _episodes(generator, length, faults.one_sided, 3.0) & window
    missing = _episodes(generator, length, faults.missing, 3.0) & window
    source = np.maximum.accumulate(np.where(stale, 0, np.arange(length)))
    bid, ask = bid[source], ask[source]
    bid[one_sided | missing] = np.nan
    ask[missing] = np.nan
    return ContractDay(day.value, bid, ask)
