"""The rank of a volatility in its year: 30 days at the money, kept in the state, unknown under 120 closes."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import replace
from datetime import date, datetime, timedelta
from pathlib import Path
from typing import cast

import pytest
from hypothesis import given, settings
from hypothesis import strategies as some

from core.bus import EventBus
from core.clock import MarketClock
from core.contracts import Right
from core.gateway import ImpliedClose, OptionClose, Session, read_whole
from core.instruments import INSTRUMENTS
from core.journal import Journal, MemorySink, RecordKind
from core.settings.strategies import FuturesStrangleSettings
from core.storage import FolderStorage
from greeks.american import american_price
from greeks.black_scholes import expires_at, years_between
from greeks.service import CentralGreeksService
from state.manager import HierarchicalStateManager
from state.store import StateStore
from strategies.tools import VolatilityRanks, month_volatility, solved
from tests.fake_gateway import FakeGateway

TODAY = date(2024, 3, 12)


class Files(FakeGateway):
    """Chain files of so many sessions before its time, each with the volatility that ``of`` gives its day."""

    asked: list[int]

    def prepare(self, values: dict[date, float]) -> Files:
        self.values, self.asked = values, []
        return self

    def implied_closes(self, root: str, sessions: int) -> Sequence[ImpliedClose]:
        self.asked.append(sessions)
        days = [day for day in sorted(self.values) if day < self.time.date()][-sessions:]
        return [ImpliedClose(day, day + timedelta(days=30), self.values[day]) for day in days]

    def session(self, day: date, root: str = "") -> Session | None:
        opens = datetime.combine(day, datetime.min.time())
        return None if day.weekday() > 4 else Session(day, opens, opens, False)


class Carry:
    """A rate of 2 % and no dividends."""

    @classmethod
    def service(cls) -> CentralGreeksService:
        return cast(CentralGreeksService, cls())

    def carry_of(self, _ticker: str) -> tuple[float, float]:
        return 0.02, 0.0


def weekdays(count: int, end: date = TODAY) -> list[date]:
    """So many weekdays before a day, oldest first."""
    found: list[date] = []
    while len(found) < count:
        end -= timedelta(days=1)
        if end.weekday() < 5:
            found.append(end)
    return found[::-1]


def ranks_of(folder: Path, files: Files) -> tuple[VolatilityRanks, HierarchicalStateManager, MemorySink]:
    clock, sink = MarketClock(files.time), MemorySink()
    journal = Journal(sink, clock)
    state = HierarchicalStateManager(StateStore(FolderStorage(folder)), EventBus(journal), clock, journal)
    return VolatilityRanks(files, state, journal, Carry.service(), FuturesStrangleSettings()), state, sink


def files_of(folder: Path, values: Sequence[float], day: date = TODAY) -> Files:
    start = datetime.combine(day, datetime.min.time())
    fake = Files(start, lambda _: 5000.0, lambda _: 20.0, folder)
    return fake.prepare(dict(zip(weekdays(len(values), day), values, strict=True)))


def test_rank_is_the_share_of_closes_below_the_newest(tmp_path: Path) -> None:
    # 200 closes: 60 at 10 %, 40 at 20 %, 99 at 30 %, the newest at 20 %: 60 of 200 lie below it.
    files = files_of(tmp_path, [0.10] * 60 + [0.20] * 40 + [0.30] * 99 + [0.20])
    ranks, _, _ = ranks_of(tmp_path, files)
    ranks.refresh(("USO",), TODAY)
    found = ranks.rank("USO", TODAY)
    assert (found.known, found.rank) == (200, 0.30)
    assert files.asked == [252]


def test_only_252_sessions_count_and_119_are_too_few(tmp_path: Path) -> None:
    # 48 calm closes are older than the 252: of these 251 lie at 20 %, none below the newest at 15 %.
    files = files_of(tmp_path / "a", [0.10] * 48 + [0.20] * 251 + [0.15])
    ranks, _, _ = ranks_of(tmp_path / "a", files)
    ranks.refresh(("USO",), TODAY)
    assert (ranks.rank("USO", TODAY).known, ranks.rank("USO", TODAY).rank) == (252, 0.0)
    files = files_of(tmp_path / "b", [0.10] * 118 + [0.15])
    ranks, _, _ = ranks_of(tmp_path / "b", files)
    ranks.refresh(("USO",), TODAY)
    assert (ranks.rank("USO", TODAY).known, ranks.rank("USO", TODAY).rank) == (119, None)
    assert (ranks.rank("GLD", TODAY).known, files.asked) == (119, [252, 252])  # asked for when it is wanted


def test_it_outlives_a_restart_and_asks_only_for_what_is_missing(tmp_path: Path) -> None:
    files = files_of(tmp_path, [0.10] * 100 + [0.20] * 152)
    ranks, state, _ = ranks_of(tmp_path, files)
    ranks.refresh(("USO", "GLD"), TODAY)
    state.close()
    later = TODAY + timedelta(days=3)  # Friday: Tuesday, Wednesday and Thursday are missing
    again = files_of(tmp_path, [0.10] * 100 + [0.20] * 152 + [0.3] * 3, later)
    ranks, state, _ = ranks_of(tmp_path, again)
    ranks.refresh(("USO", "GLD"), later)
    assert again.asked == [3, 3]
    # 252 of 255: three of the 100 at 10 % are too old; 97 + 152 of 252 lie below 30 %.
    assert ranks.rank("USO", later).rank == 249 / 252
    ranks.refresh(("USO",), later)
    assert again.asked == [3, 3]  # nothing is missing
    state.close()
    again.values = {}  # without files the state alone is enough
    ranks, state, _ = ranks_of(tmp_path, again)
    ranks.refresh(("USO",), later)
    assert ranks.rank("USO", later).rank == 249 / 252
    state.close()


def test_an_old_close_says_nothing_and_the_future_is_not_seen(tmp_path: Path) -> None:
    files = files_of(tmp_path, [0.10] * 199 + [0.20])
    ranks, state, _ = ranks_of(tmp_path, files)
    ranks.refresh(("USO",), TODAY)
    newest = TODAY - timedelta(days=1)
    assert ranks.rank("USO", newest + timedelta(days=7)).rank is not None
    assert ranks.rank("USO", newest + timedelta(days=8)).rank is None
    state.close()
    earlier = TODAY - timedelta(days=30)
    files.values = {}
    ranks, state, _ = ranks_of(tmp_path, files)
    ranks.refresh(("USO",), earlier)
    assert ranks.rank("USO", earlier).known == sum(1 for day in weekdays(200) if day < earlier)
    state.close()


def test_a_record_that_cannot_be_read_is_told_and_asked_for_again(tmp_path: Path) -> None:
    files = files_of(tmp_path, [0.10] * 252)
    ranks, state, _ = ranks_of(tmp_path, files)
    state.remember("volatility USO 0-03", {"2024-03-99": 0.2})
    state.remember("volatility USO 0-02", {"2024-02-01": "NaN", "2024-02-02": -1})
    state.close()
    ranks, state, sink = ranks_of(tmp_path, files)
    ranks.refresh(("USO",), TODAY)
    assert any("volatility USO 0-03" in row["reason"] for row in sink.rows(RecordKind.SYSTEM))
    assert ranks.rank("USO", TODAY).known == 252
    state.close()


def test_a_history_that_the_engine_cannot_tell_leaves_the_rank_unknown_and_is_told(tmp_path: Path) -> None:
    class Mute(Files):
        def implied_closes(self, root: str, sessions: int) -> Sequence[ImpliedClose]:
            def rows() -> Iterator[ImpliedClose]:
                yield ImpliedClose(TODAY - timedelta(days=1), TODAY + timedelta(days=29), 0.2)
                raise RuntimeError("no such universe\n   at a line of C#")

            return read_whole(rows())

    mute = Mute(datetime.combine(TODAY, datetime.min.time()), lambda _: 5000.0, lambda _: 20.0, tmp_path)
    ranks, state, sink = ranks_of(tmp_path, mute)
    ranks.refresh(("USO",), TODAY)
    told = "the volatilities of USO cannot be read, its rank stays unknown: RuntimeError: no such universe"
    assert [row["reason"] for row in sink.rows(RecordKind.SYSTEM)] == [told]
    assert ranks.rank("USO", TODAY).rank is None
    state.close()


def test_the_state_keeps_no_more_than_two_years_of_months(tmp_path: Path) -> None:
    files = files_of(tmp_path, [0.10] * 1500)
    ranks, state, _ = ranks_of(tmp_path, files)
    for day in weekdays(900)[::5]:
        files.time = datetime.combine(day, datetime.min.time())
        ranks.refresh(("USO",), day)
    names = [f"volatility USO {half}-{month:02d}" for half in (0, 1) for month in range(1, 13)]
    kept = [state.recall(name) or {} for name in names]
    assert 240 <= sum(len(rows) for rows in kept) <= 24 * 23
    state.close()


def test_thirty_days_lie_between_two_expiries_by_variance() -> None:
    # 20 days at 20 %: 0.04 x 20 = 0.8; 50 days at 30 %: 0.09 x 50 = 4.5; a third of the way: 0.8 + 3.7 / 3 = 2.03333;
    # over 30 days 0.0677778, so 26.034 %.
    near = ImpliedClose(TODAY, TODAY + timedelta(days=20), 0.20)
    far = ImpliedClose(TODAY, TODAY + timedelta(days=50), 0.30)
    assert month_volatility((near, far)) == pytest.approx(0.26034, abs=1e-5)
    assert month_volatility((far,)) == 0.30
    assert month_volatility(()) is None


_VALUES = some.one_of(some.floats(min_value=1e-4, max_value=9.0), some.sampled_from([0.0, -0.2, math.nan, math.inf]))


@settings(max_examples=25, deadline=None)
@given(some.lists(_VALUES, min_size=110, max_size=150))
def test_a_rank_is_a_share_or_unknown_and_never_nan(
    tmp_path_factory: pytest.TempPathFactory, values: list[float]
) -> None:
    folder = tmp_path_factory.mktemp("ranks")
    ranks, state, _ = ranks_of(folder, files_of(folder, values))
    ranks.refresh(("USO",), TODAY)
    found = ranks.rank("USO", TODAY)
    true = sum(1 for value in values if 0 < value < 10)
    assert found.known == true
    assert (found.rank is None) if true < 120 else found.rank is None or 0.0 <= found.rank < 1.0
    state.close()


def test_volatilities_of_options_on_futures_are_solved_from_their_closes() -> None:
    """Crude at 51.30, 30 % for the option that ends in 21 days and 27 % for that in 52; put and call in the mean."""
    root, spot = INSTRUMENTS["LO"], 51.30
    closes = []
    for expiry, volatility in ((date(2024, 4, 2), 0.30), (date(2024, 5, 3), 0.27)):
        for right, more in ((Right.CALL, 0.01), (Right.PUT, -0.01)):
            contract = root.contract(expiry, 51.5, right)
            years = years_between(datetime(2024, 3, 12, 16), expires_at(contract))
            call = right is Right.CALL
            price = float(american_price(spot, 51.5, years, volatility + more, 0.02, 0.02, call)[0])
            closes.append(OptionClose(TODAY, contract, price, spot))
    near, far = solved(closes, 0.02, 0.0)
    assert [(row.day, row.expiry) for row in (near, far)] == [(TODAY, date(2024, 4, 2)), (TODAY, date(2024, 5, 3))]
    assert [near.volatility, far.volatility] == pytest.approx([0.30, 0.27], abs=1e-4)
    worthless = [replace(closes[0], close=0.0), replace(closes[1], close=60.0)]  # over the price of the future
    assert solved(worthless, 0.02, 0.0) == []


def test_a_rank_of_options_on_futures_is_of_their_own_closes(tmp_path: Path) -> None:
    # 100 closes at 10 %, 151 at 20 %, the newest at 15 %: 100 of 252 lie below it.
    files = files_of(tmp_path, [0.10] * 100 + [0.20] * 151 + [0.15])
    ranks, state, _ = ranks_of(tmp_path, files)
    assert ranks.rank("LO", TODAY).rank == 100 / 252
    state.close()
