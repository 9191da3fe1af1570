"""What decides whether a row looks at all: the VIX, the IV rank, the trend, free places."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from itertools import pairwise
from statistics import pstdev

from core.instruments import group_of, is_sp500
from core.settings.strategies import FuturesStrangleSettings, StrategySettings
from market.trend import Trend
from strategies.base import EntryContext, Skip, Wait
from strategies.look import Look

Gate = Callable[[Look], Skip | Wait | None]
VixGate = Callable[[EntryContext], Skip | Wait | None]


def vix_window(own: StrategySettings, *, above: bool = False) -> VixGate:
    """The row's VIX window; without a fresh VIX it waits. ``above``: the lower bound itself is outside.

    It is judged again at each step of an entry's walk, so it needs the context alone.
    """

    def gate(context: EntryContext) -> Skip | Wait | None:
        if context.vix is None:
            return Wait("vix_missing", "no VIX that is fresh enough")
        vix = context.vix.value
        if own.min_vix > 0 and (vix < own.min_vix or (above and vix <= own.min_vix)):
            words = "not above" if above else "under"
            return Skip("vix_window", f"VIX {vix:.2f} is {words} {own.min_vix:g}", own.min_vix, vix)
        if vix > own.max_vix:
            return Skip("vix_window", f"VIX {vix:.2f} is above {own.max_vix:g}", own.max_vix, vix)
        return None

    return gate


def free_place(most: int) -> Gate:
    """Fewer positions of the row than this are open or on their way."""

    def gate(look: Look) -> Skip | None:
        count = sum(1 for row in look.tools.book.exposed() if row.strategy == look.row.name)
        if count < most:
            return None
        return Skip("places", f"{count} of {most} positions of this row are open", float(most), float(count))

    return gate


def phase_places(own: StrategySettings) -> Gate:
    """Fewer positions of the row are open than its phase allows."""

    def gate(look: Look) -> Skip | Wait | None:
        return free_place(own.contracts_by_phase[look.phase - 1])(look)

    return gate


def not_held(look: Look) -> Skip | None:
    """The row holds nothing on the underlying that it looks at."""
    ticker = look.instrument.underlying
    for row in look.tools.book.exposed():
        if row.strategy == look.row.name and row.underlying.ticker == ticker:
            return Skip("held", f"{row.id} already holds {ticker}", 1.0, 1.0)
    return None


def not_beside(strategy: str) -> Gate:
    """No position of another row stands in the same correlation group."""

    def gate(look: Look) -> Skip | None:
        group = group_of(look.instrument.underlying)
        for row in look.tools.book.exposed():
            if row.strategy == strategy and group_of(row.underlying.ticker) is group:
                return Skip("beside", f"{row.id} stands in the same group", 1.0, 1.0)
        return None

    return gate


def iv_rank(own: FuturesStrangleSettings) -> Gate:
    """Volatility stands high in its year: where it is between the year's lowest and highest, 0 to 1.

    By the VIX for what it is about. No history of implied volatility is in the data for anything else: realised
    volatility of daily closes stands in for it there. Without a year of history nothing opens.
    """

    def gate(look: Look) -> Skip | None:
        ticker = look.instrument.underlying
        bars = look.tools.trend.bars("VIX" if is_sp500(ticker) else ticker)
        if is_sp500(ticker):
            values = [*(bar.close for bar in bars[-own.rank_days :]), look.vix]
        else:
            values = _realised([bar.close for bar in bars], own.realised_days)[-own.rank_days :]
        if len(values) < own.rank_days or max(values) <= min(values):
            return Skip("history", f"{len(values)} of {own.rank_days} days of {ticker}'s volatility are known")
        rank = (values[-1] - min(values)) / (max(values) - min(values))
        if rank > own.min_iv_rank:
            return None
        return Skip("iv_rank", f"{ticker}'s rank is {rank:.0%}, not over {own.min_iv_rank:.0%}", own.min_iv_rank, rank)

    return gate


def _realised(closes: Sequence[float], days: int) -> list[float]:
    """Standard deviation of the last so many daily log returns, for each day that has them."""
    moves = [math.log(new / old) for old, new in pairwise(closes) if old > 0 and new > 0]
    return [pstdev(moves[end - days : end]) for end in range(days, len(moves) + 1)]


def trend_allows(judge: Callable[[Trend, Look], Skip | None]) -> Gate:
    """A row's own word on the trend of what it looks at; without enough history the look ends."""

    def gate(look: Look) -> Skip | None:
        return judge(look.trend(look.instrument.underlying), look)

    return gate
