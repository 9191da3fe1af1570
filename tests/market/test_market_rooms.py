"""Market knowledge: VIX regimes, freshness, trend, correlations, chains and the calendar, each at worked numbers."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date, datetime, time, timedelta
from pathlib import Path

import pytest

from core.bus import EventBus
from core.cache import UnifiedIntelligentCache
from core.clock import MarketClock
from core.contracts import Contract, Package, Quote
from core.events import DataBecameStale, MarketData, SessionClosed, SessionOpened
from core.gateway import DailyBar
from core.instruments import contract_named
from core.journal import Journal, MemorySink
from core.settings.base import SettingsError
from core.settings.fields import CorrelationSettings, MarketSettings, OrderSettings, Settings, VixSettings
from core.settings.strategies import AVAILABLE
from market.calendar import EventCalendar, MarketEvent
from market.chains import OptionChainManager
from market.freshness import DataFault, DataFreshnessValidator
from market.history import Correlations, DailyHistory, correlation
from market.trend import TrendDirection, TrendWatcher, average_true_range, exponential_average, trend_of
from market.vix import UnifiedVIXManager, VixRegime
from tests.fake_gateway import FRIDAY, FakeGateway

OPEN = datetime.combine(FRIDAY, time(9, 31))


class Desk:
    """A bus, a clock and a fake engine."""

    def __init__(self, folder: Path) -> None:
        self.gateway = FakeGateway(OPEN, lambda _: 5000.0, lambda _: 20.0, folder)
        clock = MarketClock(OPEN)
        self.bus = EventBus(Journal(MemorySink(), clock))
        self.cache = UnifiedIntelligentCache(self.bus, clock)
        self.history = DailyHistory(self.gateway, MarketSettings(), self.cache)

    def session(self) -> None:
        self.bus.publish(SessionOpened(time=OPEN, day=FRIDAY, closes_at=datetime.combine(FRIDAY, time(16, 0))))

    def price(self, ticker: str, price: float, minutes: int = 0, fresh: int | None = None, start: float = 0.0) -> None:
        at = OPEN + timedelta(minutes=minutes)
        seen = OPEN + timedelta(minutes=minutes if fresh is None else fresh)
        first = start or price
        self.bus.publish(
            MarketData(time=at, ticker=ticker, open=first, high=price, low=price, price=price, fresh_at=seen)
        )


@pytest.fixture
def desk(tmp_path: Path) -> Desk:
    return Desk(tmp_path)


@pytest.mark.parametrize(
    ("value", "regime", "cap"),
    [
        (12.9, VixRegime.LOW, 0.45),
        (13.0, VixRegime.NORMAL, 0.65),
        (17.9, VixRegime.NORMAL, 0.65),
        (18.0, VixRegime.ELEVATED, 0.75),
        (25.0, VixRegime.HIGH, 0.50),
        (30.0, VixRegime.HIGH, 0.50),
        (30.1, VixRegime.EXTREME, 0.80),
        (40.0, VixRegime.EXTREME, 0.80),
        (40.1, VixRegime.PANIC, 0.80),
    ],
)
def test_regimes_and_caps(desk: Desk, value: float, regime: VixRegime, cap: float) -> None:
    manager = UnifiedVIXManager(desk.bus, desk.history, VixSettings(), desk.cache)
    assert manager.regime_of(value) is regime
    assert manager.cap_of(regime) == cap


def test_there_is_no_assumed_vix(desk: Desk) -> None:
    manager = UnifiedVIXManager(desk.bus, desk.history, VixSettings(), desk.cache)
    assert (manager.reading(OPEN), manager.value(OPEN)) == (None, None)
    desk.price("VIX", 20.0)
    assert manager.value(OPEN + timedelta(minutes=5)) == 20.0
    assert manager.value(OPEN + timedelta(minutes=5, seconds=1)) is None
    assert manager.reading(OPEN + timedelta(minutes=5)) is not None
    assert manager.reading(OPEN + timedelta(minutes=5, seconds=1)) is None


def test_percentile_and_jump_of_the_day(desk: Desk) -> None:
    desk.history.refresh(("VIX",))
    manager = UnifiedVIXManager(desk.bus, desk.history, VixSettings(), desk.cache)
    desk.session()
    desk.price("VIX", 20.0, start=16.0)
    desk.price("VIX", 24.0, 1)
    desk.price("VIX", 18.0, 2)
    reading = manager.reading(OPEN + timedelta(minutes=2))
    assert reading is not None
    assert reading.percentile == 0.0  # a year of closes at 20, none at or below 18
    assert reading.jump == pytest.approx(0.5)  # 24 over the open of 16, though it is 18 by now


def test_prices_go_stale_and_frozen_and_say_so_once(desk: Desk) -> None:
    validator = DataFreshnessValidator(desk.bus, MarketSettings())
    told: list[DataBecameStale] = []
    desk.bus.subscribe(DataBecameStale, told.append, component="test")
    desk.session()
    assert validator.fault("SPX", OPEN) is DataFault.MISSING
    desk.price("SPX", 5000.0)
    assert validator.fault("SPX", OPEN + timedelta(minutes=5)) is None
    for minute in (6, 7):
        desk.price("SPX", 5000.0, minute, fresh=0)
    assert validator.fault("SPX", OPEN + timedelta(minutes=7)) is DataFault.STALE
    assert [event.ticker for event in told] == ["SPX"]
    desk.price("SPX", 5000.0, 31)
    assert validator.fault("SPX", OPEN + timedelta(minutes=31)) is DataFault.FROZEN
    desk.price("SPX", 5000.5, 32)
    assert validator.all_fresh(OPEN + timedelta(minutes=32))


def bar(day: int, low: float, high: float, close: float) -> DailyBar:
    return DailyBar(date(2024, 1, 1) + timedelta(days=day), low, high, low, close)


def test_average_true_range_spans_gaps() -> None:
    # Ranges: 105 - 95 = 10; gap up: 120 - the close of 100 = 20; gap down: the close of 119 - 100 = 19. Mean 16.33.
    bars = [bar(0, 90, 100, 98), bar(1, 95, 105, 100), bar(2, 112, 120, 119), bar(3, 100, 110, 105)]
    assert average_true_range(bars, 3) == pytest.approx((10 + 20 + 19) / 3)
    assert average_true_range(bars, 1) == pytest.approx(19)


def test_exponential_average() -> None:
    # Window 3, weight 0.5: start (1 + 2 + 3) / 3 = 2; then 2 + 0.5 x (4 - 2) = 3; then 3 + 0.5 x (9 - 3) = 6.
    assert exponential_average([1, 2, 3, 4, 9], 3) == pytest.approx(6.0)


@pytest.mark.parametrize(
    ("slope", "direction"), [(1.0, TrendDirection.UP), (-1.0, TrendDirection.DOWN), (0.0, TrendDirection.FLAT)]
)
def test_direction_of_three_averages(slope: float, direction: TrendDirection) -> None:
    bars = [bar(n, 999 + slope * n, 1001 + slope * n, 1000 + slope * n) for n in range(60)]
    found = trend_of(bars, MarketSettings())
    assert found is not None
    assert found.direction is direction
    assert found.high == max(row.high for row in bars[-20:])
    assert trend_of(bars[:50], MarketSettings()) is None


def test_move_since_the_open_needs_the_open(desk: Desk) -> None:
    watcher = TrendWatcher(desk.bus, desk.history, MarketSettings(), desk.cache)
    desk.session()
    desk.price("SPX", 5010.0, start=5000.0)
    desk.price("SPX", 5050.0, 30)
    day = watcher.day("SPX")
    assert day is not None
    assert day.move == pytest.approx(0.01)
    desk.session()
    desk.price("SPX", 5050.0, 30)  # the first price half an hour late: the open is unknown
    assert watcher.day("SPX") is None


def test_live_the_open_is_the_day_s_first_minute_however_late_the_process_started(desk: Desk) -> None:
    """A start at 9:30:20 took its own first price for the open: -0.84 % for -1.42 % (live fault 7)."""
    desk.gateway.is_live = lambda: True  # type: ignore[method-assign]
    known = DailyBar(FRIDAY, 4950.0, 5060.0, 4940.0, 5049.0)

    def so_far(ticker: str, opened: datetime) -> DailyBar | None:
        return known if (ticker, opened) == ("SPX", OPEN - timedelta(minutes=1)) else None

    desk.gateway.so_far = so_far  # type: ignore[method-assign]
    watcher = TrendWatcher(desk.bus, desk.history, MarketSettings(), desk.cache)
    desk.session()
    desk.price("SPX", 5049.0, 120, start=5048.0)  # two hours late
    day = watcher.day("SPX")
    assert day is not None
    assert (day.open, day.high, day.low) == (4950.0, 5060.0, 4940.0)
    assert day.move == pytest.approx(0.02)


def test_correlation_of_mirrored_series(desk: Desk) -> None:
    assert correlation([1, 2, 3], [2, 4, 6]) == pytest.approx(1.0)
    assert correlation([1, 2, 3], [3, 2, 1]) == pytest.approx(-1.0)
    assert correlation([1, 1, 1], [3, 2, 1]) is None
    measured = Correlations(desk.history, CorrelationSettings(), desk.cache)
    assert measured.between("SPX", "VIX") is None  # no history yet
    assert measured.between("SPX", "SPX") == 1.0


def test_history_asks_for_the_days_since_the_newest_bar(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    """On a Friday the newest bar is Thursday's: on Monday four days have passed, and one more is asked for. Three weeks
    later the newest is that Friday's; none of the sessions since is missing."""
    asked: list[int] = []
    told = desk.gateway.daily_bars

    def counted(ticker: str, count: int) -> Sequence[DailyBar]:
        asked.append(count)
        return told(ticker, count)

    monkeypatch.setattr(desk.gateway, "daily_bars", counted)
    for days in (0, 3, 24):
        desk.gateway.time = OPEN + timedelta(days=days)
        desk.history.refresh(("SPX",))
    assert asked == [MarketSettings().history_days, 5, 25]
    known = {bar.day for bar in desk.history.bars("SPX")}
    passed = [FRIDAY + timedelta(days=ahead) for ahead in range(24)]
    assert {day for day in passed if desk.gateway.session(day) is not None} <= known


def test_history_is_topped_up_and_never_holds_today(desk: Desk) -> None:
    desk.history.refresh(("SPX",))
    first = desk.history.bars("SPX")
    assert len(first) == 300
    assert first[-1].day < FRIDAY
    desk.gateway.time += timedelta(days=4)
    desk.history.refresh(("SPX",))
    again = desk.history.bars("SPX")
    assert [row.day for row in again[-2:]] == [FRIDAY, FRIDAY + timedelta(days=3)]
    assert len({row.day for row in again}) == len(again) == 300


def chains(desk: Desk) -> OptionChainManager:
    return OptionChainManager(desk.gateway, desk.bus, OrderSettings(), desk.cache)


def test_contracts_are_released_when_their_last_user_lets_go(desk: Desk) -> None:
    manager = chains(desk)
    rows = manager.expiring("SPXW", FRIDAY)[:3]
    manager.watch("strategy", rows)
    manager.watch("position", rows[:1])
    manager.unwatch("strategy")
    assert set(desk.gateway.subscribed) == {rows[0].name}
    manager.unwatch("position")
    assert desk.gateway.subscribed == {}


def test_expiry_nearest(desk: Desk) -> None:
    manager = chains(desk)
    # 30 days from Friday 2024-03-08 is Sunday 2024-04-07; the fake lists weekdays: Friday and Monday are 2 and 1 away.
    assert manager.nearest_expiry("SPXW", FRIDAY, 30, 3) == date(2024, 4, 8)
    assert manager.nearest_expiry("SPXW", FRIDAY + timedelta(days=22), 1, 0) is None


def test_an_expiry_is_asked_for_near_the_day_first_and_once_a_session(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each contract of an asked range costs; 90 days from Friday 2024-03-08 is Thursday 2024-06-06."""
    asked: list[tuple[date, date]] = []
    only = [date(2024, 6, 21), date(2024, 5, 17)]  # 15 days after it and 20 before it
    chain = desk.gateway.chain

    def chain_of(root: str, expiries: tuple[date, date]) -> list[Contract]:
        asked.append(expiries)
        return [row for row in chain(root, expiries) if row.expiry in only]

    monkeypatch.setattr(desk.gateway, "chain", chain_of)
    manager = chains(desk)
    assert manager.nearest_expiry("SPY", FRIDAY, 90, 30) == only[0]
    assert manager.nearest_expiry("SPY", FRIDAY, 90, 30) == only[0]
    thursday = date(2024, 6, 6)
    assert asked == [(thursday - timedelta(days=days), thursday + timedelta(days=days)) for days in (3, 10, 30)]
    assert manager.nearest_expiry("SPY", FRIDAY, 90, 14) is None  # what is farther than the tolerance is none
    only.append(date(2024, 6, 7))
    assert manager.nearest_expiry("SPY", FRIDAY, 91, 30) == date(2024, 6, 7)
    assert asked[-1] == (date(2024, 6, 4), date(2024, 6, 10))  # and nothing wider


@pytest.mark.parametrize(
    ("bid", "ask", "selling", "fault"),
    [
        (1.0, 1.1, True, None),
        (1.0, 1.6, True, "wide_spread"),  # 0.60 is over 0.50 and over 10 % of 1.30
        (10.0, 10.9, True, None),  # over 0.50 but under 10 %
        (0.05, 0.15, True, None),  # over 10 % but under 0.50
        (None, 0.05, True, "one_sided"),
        (None, 0.05, False, None),
        (1.2, 1.1, False, "crossed"),
        (1.0, None, False, "one_sided"),
    ],
)
def test_liquidity_of_a_leg(desk: Desk, bid: float | None, ask: float | None, selling: bool, fault: str | None) -> None:
    option = contract_named("SPXW 240308P5000")
    assert option is not None
    assert chains(desk).illiquid(option, Quote(bid, ask, OPEN), selling) == fault


def test_value_of_a_package_without_quotes_is_unknown(desk: Desk) -> None:
    from tests.execution.desk import spread

    package: Package = spread()
    manager = chains(desk)
    assert manager.value(package) is None
    manager.watch("x", [leg.contract for leg in package.legs])
    assert manager.value(package) is not None


def test_calendar(desk: Desk) -> None:
    holiday = date(2024, 3, 29)
    desk.gateway.closed_days = frozenset({holiday})
    desk.gateway.half_days = frozenset({FRIDAY})
    settings = MarketSettings(fomc_dates=(date(2024, 3, 20),))
    calendar = EventCalendar(desk.gateway, settings)
    assert calendar.monthly_expiry(FRIDAY) == date(2024, 3, 15)
    before = desk.gateway.closed_days
    desk.gateway.closed_days = before | {date(2024, 3, 15), date(2024, 3, 14)}  # a closing that no rule foresees
    assert calendar.monthly_expiry(FRIDAY) == date(2024, 3, 13)
    desk.gateway.closed_days = before
    assert calendar.events(date(2024, 3, 15)) == {MarketEvent.MONTHLY_EXPIRY}
    assert calendar.events(FRIDAY) == {MarketEvent.HALF_DAY}
    assert calendar.events(date(2024, 3, 20)) == {MarketEvent.FOMC}
    assert calendar.session(holiday) is None
    assert calendar.next_session(date(2024, 3, 28)).day == date(2024, 4, 1)


@pytest.mark.parametrize(
    ("key", "value", "says"),
    [
        ("friday_0dte.min_vx", "20", "friday_0dte.min_vix"),
        ("friday_0dte.min_vix", "-1", "at least 0"),
        ("friday_0dte.entry_time", "10:29", "10:30 or later"),
        ("friday_0dte.max_vix", "10", "below min_vix"),
        ("run.end", "2010-01-01", "before run.start"),
        ("phases.scaling.equity_from", "20000", "does not ascend"),
        ("vix.high", "50", "do not ascend"),
        ("friday_0dte.contracts_by_phase", "1,2,-3,4", "negative"),
        ("margin.authority", "nobody", "margin.authority"),
        ("run.strategies", "friday_0dte,saturday", "saturday"),
    ],
)
def test_wrong_settings_name_key_value_and_what_is_right(key: str, value: str, says: str) -> None:
    with pytest.raises(SettingsError) as caught:
        Settings.from_parameters({key: value})
    assert says in str(caught.value)


def test_all_ten_strategies_by_one_word() -> None:
    settings = Settings.from_parameters({"run.strategies": "all"})
    assert settings.run.strategies == AVAILABLE
    assert len(AVAILABLE) == 10
    assert Settings.from_parameters(settings.parameters()) == settings  # a run's settings name them one by one
    with pytest.raises(SettingsError, match="expected all, or some of"):
        Settings.from_parameters({"run.strategies": "all,lt112"})


def test_every_setting_survives_being_written_as_parameters() -> None:
    settings = Settings()
    assert Settings.from_parameters(settings.parameters()) == settings


def test_part_of_a_phase_may_be_changed_alone() -> None:
    settings = Settings.from_parameters({"phases.professional.max_positions": "12"})
    assert settings.phases.professional.max_positions == 12
    assert settings.phases.professional.equity_from == 100_000.0


def test_what_is_computed_from_daily_bars_is_computed_once_until_new_bars_come(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[str] = []
    bars = DailyHistory.bars

    def counted(self: DailyHistory, ticker: str) -> tuple[DailyBar, ...]:
        asked.append(ticker)
        return bars(self, ticker)

    monkeypatch.setattr(DailyHistory, "bars", counted)
    desk.history.refresh(("SPX", "SPY", "VIX"))
    watcher = TrendWatcher(desk.bus, desk.history, MarketSettings(), desk.cache)
    measured = Correlations(desk.history, CorrelationSettings(), desk.cache)
    vix = UnifiedVIXManager(desk.bus, desk.history, VixSettings(), desk.cache)
    desk.session()
    desk.price("VIX", 20.0)

    def look() -> list[str]:
        asked.clear()
        for _ in range(3):
            watcher.trend("SPX")
            measured.between("SPX", "SPY")
            measured.between("SPY", "SPX")
            vix.reading(OPEN)
        return sorted(asked)

    once = ["SPX", "SPX", "SPY", "VIX"]
    assert [look(), look()] == [once, []]
    desk.history.refresh(("SPX", "SPY", "VIX"))  # nothing new
    assert look() == []
    desk.gateway.time += timedelta(days=3)
    desk.history.refresh(("SPX", "SPY", "VIX"))
    assert look() == once


def test_a_days_listing_is_asked_for_once_and_an_empty_one_again(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[date] = []
    listed = desk.gateway.chain

    def counted(root: str, expiries: tuple[date, date]) -> Sequence[Contract]:
        asked.append(desk.gateway.time.date())
        return listed(root, expiries) if desk.gateway.time.hour > 9 else ()

    monkeypatch.setattr(desk.gateway, "chain", counted)
    manager = chains(desk)
    assert [len(manager.expiring("SPXW", FRIDAY)) for _ in range(2)] == [0, 0]
    desk.gateway.time += timedelta(hours=1)
    assert manager.expiring("SPXW", FRIDAY) is manager.expiring("SPXW", FRIDAY)
    assert len(manager.expiring("SPXW", FRIDAY)) > 0
    assert len(asked) == 3
    desk.bus.publish(SessionClosed(time=OPEN, day=FRIDAY, equity=1.0))
    manager.expiring("SPXW", FRIDAY)
    assert len(asked) == 4
