"""Quiet minutes are passed as a stretch, and nothing that an algorithm does or sees tells that they are."""

# Private: _engine, _step, _margin_scan, _rest_held, _worth_something: what a run samples and looks at, and which
# minutes are steps, is its own.

from __future__ import annotations

from collections.abc import Callable
from datetime import date, timedelta
from typing import Any

import pytest

from simulation.account.buying_power import BuyingPowerModel
from simulation.engine.kernel import Engine
from simulation.engine.quiet import QuietMinutes
from simulation.lean.enums import Resolution, SecurityType
from simulation.lean.symbols import Symbol
from tests.simulation.playing import SPX, Market, Recorder, at, listed, on, play

SPY = Symbol.create("SPY", SecurityType.EQUITY, "usa")
TUESDAY = date(2024, 7, 9)


def share_market() -> Market:
    """SPY at 500.00 plus a cent a minute on two days, SPX beside it at 5000; quotes a cent apart."""
    market = Market()
    for day in (TUESDAY - timedelta(days=1), TUESDAY):
        for minute in range(1, 391):
            clock, price = at("09:30", day) + timedelta(minutes=minute), 500.0 + minute / 100
            market.trade(SPY, clock, price)
            market.trade(SPX, clock, price * 10)
            market.quote(SPY, clock, price - 0.01, price + 0.01)
    return market


def everything(algorithm: Recorder) -> None:
    """Acts in `on_data` of Monday, each time out of a stretch of quiet minutes."""
    orders: list[Any] = []

    def later() -> None:
        listed(algorithm, "scheduled", algorithm.portfolio.total_portfolio_value)

    def bar(_: Any, made: Any) -> None:
        listed(algorithm, "bar", made.close)

    def cash() -> None:
        algorithm.portfolio.cash_book["USD"].add_amount(250)

    def take_cash() -> None:
        algorithm.portfolio.cash_book["USD"].add_amount(-250)

    acts: dict[str, Callable[[], Any]] = {
        "10:07": lambda: algorithm.do_at("10:09", later),
        "10:12": cash,
        "10:14": take_cash,
        "10:20": lambda: orders.append(algorithm.limit_order("SPY", 10, 400.0)),
        "10:25": lambda: orders[0].cancel(),
        "10:30": lambda: algorithm.market_order("SPY", 10),
        "10:40": lambda: algorithm.liquidate("SPY"),
        "11:00": lambda: algorithm.add_index("SPX", Resolution.MINUTE),
        "11:30": lambda: algorithm.consolidate("SPY", timedelta(minutes=30), lambda made: bar(None, made)),
    }

    def look(_: Any, data: Any) -> None:
        prices = sorted((str(pair.key.value), pair.value.close) for pair in data.bars)
        listed(algorithm, "data", str(data.time), prices, algorithm.portfolio.total_portfolio_value)
        if f"{algorithm.time:%d}" == "08" and (act := acts.get(f"{algorithm.time:%H:%M}")) is not None:
            act()

    algorithm.add_equity("SPY", Resolution.MINUTE)
    on(algorithm, "on_data", look)


def run(script: Any) -> tuple[Any, ...]:
    """What a run says and leaves: lines, order events, the curve, the daily values."""
    made: Any = play(share_market(), script, last_day=TUESDAY)
    samples = made._engine.samples
    events = [(event.utc_ms, str(event)) for event in made.seen]
    return made.lines, events, samples.equity, samples.daily, samples.series, samples.final_capacity()


def test_a_run_with_quiet_minutes_is_the_run_without(monkeypatch: pytest.MonkeyPatch) -> None:
    quick = run(everything)
    monkeypatch.setattr(QuietMinutes, "_quiet_until", lambda self, special: 0)
    slow = run(everything)
    for one, other in zip(quick, slow, strict=True):
        assert one == other
    lines = [line[1] for line in quick[0]]
    assert lines.count("data") >= 780  # every minute of two sessions
    assert lines.count("scheduled") == 1
    assert lines.count("bar") >= 8


def test_money_that_comes_and_goes_is_in_the_curve(monkeypatch: pytest.MonkeyPatch) -> None:
    """250 dollars from 10:12 to 10:14: the candle that holds them reaches 100,250."""
    equity = run(everything)[2]
    assert max(high for _, _, high, _, _ in equity[:12]) == 100_250.0


def steps_of(monkeypatch: pytest.MonkeyPatch, script: Any) -> list[str]:
    """Times of the kernel's whole steps."""
    told: list[str] = []
    plain = Engine._step

    def step(self: Engine, ms: int, *rest: Any) -> None:
        told.append(f"{self.zone.local(ms):%d %H:%M}")
        plain(self, ms, *rest)

    monkeypatch.setattr(Engine, "_step", step)
    play(share_market(), script, last_day=TUESDAY)
    return told


def test_an_idle_algorithm_is_stepped_through_only_where_something_is_due(monkeypatch: pytest.MonkeyPatch) -> None:
    """A day has 6 full hours and its first minute, and a point of the curve every 4 minutes or more (here: every 4)."""

    def nothing(algorithm: Recorder) -> None:
        algorithm.add_equity("SPY", Resolution.MINUTE)

    told = steps_of(monkeypatch, nothing)
    assert len(told) < 250
    assert {"08 10:00", "08 11:00", "09 15:00"} <= set(told)


def test_a_held_position_makes_every_minute_a_whole_step(monkeypatch: pytest.MonkeyPatch) -> None:
    def holds(algorithm: Recorder) -> None:
        algorithm.add_equity("SPY", Resolution.MINUTE)
        algorithm.do_at("09:31", lambda: algorithm.market_order("SPY", 10))

    told = steps_of(monkeypatch, holds)
    assert sum(time.startswith("09") for time in told) >= 390


class Patient:
    """Looks where SPY left a band of its last look, or so many minutes after it: buys at one look, sells at the next,
    and orders nothing at the third. ``says``: whether it tells the engine of it (decision 080)."""

    def __init__(self, says: bool, minutes: int, band: float, weights: tuple[float, ...] = (1.0,)) -> None:
        self.says, self.minutes, self.band, self.weights = says, minutes, band, weights
        self.calls, self.looks = 0, 0
        self.summed = tuple((SPY, weight) for weight in weights)
        self.until, self.low, self.high = at("00:00", TUESDAY - timedelta(days=9)), 0.0, 0.0

    def __call__(self, algorithm: Any) -> None:
        algorithm.add_equity("SPY", Resolution.MINUTE)
        on(algorithm, "on_data", lambda made, _: self.look(made))
        self.wait()
        if self.says:
            algorithm.rests_while = lambda: self.rest

    def wait(self) -> None:
        """The same answer, the same object, until it has looked."""
        self.rest = self.until, ((self.summed, self.low, self.high),)

    def look(self, algorithm: Any) -> None:
        self.calls += 1
        price = 0.0
        for symbol, weight in self.summed:
            price += weight * algorithm.securities[symbol].price
        if algorithm.time < self.until and self.low <= price <= self.high:
            return
        listed(algorithm, "look", str(algorithm.time), price, algorithm.portfolio.total_portfolio_value)
        self.looks += 1
        if self.looks % 3:
            algorithm.market_order("SPY", 10 if self.looks % 3 == 1 else -10)
        self.until = algorithm.time + timedelta(minutes=self.minutes)
        self.low, self.high = price - self.band, price + self.band
        self.wait()


@pytest.mark.parametrize(
    ("minutes", "band", "looks", "weights"),
    [
        (25, 0.1, 35, (1.0,)),
        (25, 0.3, 16, (1.0,)),
        (7, 1.0, 56, (1.0,)),
        (25, 0.1, 35, (-1.0,)),
        (25, 0.3, 35, (2.0, 1.0)),  # three times the price
        (25, 0.1, 16, (1.0, -0.7)),  # three tenths of it
    ],
)
def test_minutes_that_an_algorithm_says_it_does_nothing_in_change_nothing(
    minutes: int, band: float, looks: int, weights: tuple[float, ...]
) -> None:
    """390 prices a cent apart on two days: 11 minutes leave a band of 0.10, so that a look comes each 11 minutes."""
    told, asked = (Patient(says, minutes, band, weights) for says in (True, False))
    left_out, each = run(told), run(asked)
    for one, other in zip(left_out, each, strict=True):
        assert one == other
    assert asked.looks == told.looks >= looks
    assert asked.calls == 780
    assert told.calls < 400


def test_a_rest_that_lasts_over_night_is_over_where_the_next_day_leaves_its_band() -> None:
    """Bought at 9:31, band of 9 dollars: left on Tuesday at 11:21, the 501st of both days' 780 minutes."""
    market = dearer(520.0, 500, 780)
    found: list[Any] = [play(market, Patient(says, 3000, 9.0), last_day=TUESDAY) for says in (True, False)]
    looks = [[line for line in made.lines if "look" in line[1]] for made in found]
    assert looks[0] == looks[1]
    assert [line[0] for line in looks[0]] == ["08 09:31", "09 11:21"]


def test_excursions_of_a_trade_are_of_the_minutes_that_were_left_out_too() -> None:
    """Bought at 9:31 for 500.02 (the offer) and held for 25 minutes, 10 shares; at 9:40 it is worth 499.90 for a
    minute, 12 cents under what was paid."""
    market = share_market()
    market.trade_rows[SPY][9] = (at("09:40", TUESDAY - timedelta(days=1)), (499.90,) * 4)
    found = []
    for says in (True, False):
        made: Any = play(market, Patient(says, 25, 0.3), last_day=TUESDAY)
        found.append([(row.entry_ms, row.exit_ms, row.mae, row.mfe) for row in made.trade_builder.closed_trades])
    assert found[0] == found[1]
    assert found[0][0][2] == -1.2


def test_the_account_is_looked_at_for_margin_at_the_same_minutes(monkeypatch: pytest.MonkeyPatch) -> None:
    scans: list[str] = []
    plain = Engine._margin_scan

    def scan(self: Engine, now: int) -> None:
        if self.portfolio.invested:
            scans.append(f"{self.zone.local(now):%d %H:%M}")
        plain(self, now)

    def sample(self: Engine, now: int) -> None:
        """A point of the curve an hour, as in a run of years, so that none falls on each look for margin."""
        self._next_sample_ms = now + 3_600_000

    monkeypatch.setattr(Engine, "_margin_scan", scan)
    monkeypatch.setattr(Engine, "_sample_chart", sample)

    def twice(algorithm: Any) -> None:
        """Bought again hours after the market around the sale is watched no more: the five minutes go on meanwhile."""
        algorithm.add_equity("SPY", Resolution.MINUTE)
        for clock, count in (("09:31", 10), ("09:36", -10), ("13:03", 10)):
            algorithm.do_at(clock, lambda count=count: algorithm.market_order("SPY", count))
        on(algorithm, "on_data", lambda *_: None)
        algorithm.rests_while = (lambda: (at("16:00", TUESDAY), ())) if says else (lambda: None)

    for says in (True, False):
        play(share_market(), Patient(says, 13, 1.0), last_day=TUESDAY)
        play(share_market(), twice, last_day=TUESDAY)
    half = len(scans) // 2
    assert half > 40
    assert scans[:half] == scans[half:]


def test_what_holds_what_it_says_that_it_waits_for_is_whole_steps_at_looks_for_margin_only(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def holds(algorithm: Any) -> None:
        algorithm.add_equity("SPY", Resolution.MINUTE)
        algorithm.do_at("09:31", lambda: algorithm.market_order("SPY", 10))
        on(algorithm, "on_data", lambda *_: None)
        algorithm.rests_while = lambda: (at("16:00", TUESDAY), ())

    told = [time for time in steps_of(monkeypatch, holds) if time.startswith("09")]
    assert 78 <= len(told) < 250  # each five minutes for margin, and a point of the curve each four


def free_of_margin(patient: Patient) -> Callable[[Any], None]:
    """The same algorithm, of whose shares the engine asks no margin."""

    def begins(algorithm: Any) -> None:
        patient(algorithm)
        algorithm.securities["SPY"].set_buying_power_model(BuyingPowerModel.NULL)

    return begins


def test_no_minute_is_stepped_for_a_call_that_cannot_come(monkeypatch: pytest.MonkeyPatch) -> None:
    """A point of the curve an hour and a rest of 200 minutes: what is bought at 9:31 takes no margin, so that the steps
    of the day are its hours, points and looks, two dozen; not each fifth minute, 78."""
    monkeypatch.setattr(Engine, "_sample_chart", lambda self, now: setattr(self, "_next_sample_ms", now + 3_600_000))
    told = steps_of(monkeypatch, free_of_margin(Patient(True, 200, 9.0)))
    assert sum(time.startswith("08") for time in told) < 40


def test_minutes_passed_without_margin_change_nothing() -> None:
    left_out, each = (run(free_of_margin(Patient(says, 25, 0.3))) for says in (True, False))
    for one, other in zip(left_out, each, strict=True):
        assert one == other


def sells(says: bool) -> Callable[[Any], None]:
    """1,000 shares at 500, which bring 500,000 to the 100,000 that were there."""

    def begins(algorithm: Any) -> None:
        algorithm.add_equity("SPY", Resolution.MINUTE)
        algorithm.securities["SPY"].set_buying_power_model(BuyingPowerModel.NULL)
        algorithm.do_at("09:31", lambda: algorithm.market_order("SPY", -1_000))
        on(algorithm, "on_data", lambda *_: None)
        algorithm.rests_while = lambda: (at("16:00", TUESDAY), ()) if says else None

    return begins


def dearer(price: float, first: int, last: int) -> Any:
    """The market with another price of the share in some of its 780 minutes."""
    market = share_market()
    for place in range(first, last):
        clock, _ = market.trade_rows[SPY][place]
        market.trade_rows[SPY][place] = (clock, (price,) * 4)
        market.quote_rows[SPY][place] = (clock, (price - 0.01,) * 4, (price + 0.01,) * 4)
    return market


def test_an_account_is_ruined_in_the_same_minute_of_a_rest() -> None:
    """At 700 from 10:03 on the account owes 100,000 more than it has. It is looked at each five minutes, of its best
    value less than half is left: the next."""
    market = dearer(700.0, 32, 390)
    ends = []
    for says in (True, False):
        made: Any = play(market, sells(says), last_day=TUESDAY)
        ends.append((str(made.time), made._engine.stop_reason, made._engine.samples.equity))
    assert ends[0] == ends[1]
    assert ends[0][0].startswith("2024-07-08 10:0")
    assert "zero" in ends[0][1]


@pytest.mark.parametrize(("price", "looks"), [(520.0, 0), (560.0, 35), (450.0, 0)])
def test_looks_for_ruin_at_once_leave_what_one_after_another_leave(
    monkeypatch: pytest.MonkeyPatch, price: float, looks: int
) -> None:
    """Forty minutes from 10:43 on: at 520 the account has 80,000 of 100,000 left; at 560, with 40,000, each from the
    next look on is looked at, at most five minutes later; at 450 its best value is 150,000."""
    monkeypatch.setattr(Engine, "_sample_chart", lambda self, now: setattr(self, "_next_sample_ms", now + 3_600_000))
    market, plain, each = dearer(price, 72, 112), Engine._rest_held, Engine._worth_something
    found: list[list[tuple[float, int]]] = []
    minutes: list[str] = []

    def rest(self: Engine, times: list[int], position: int, special: int) -> int:
        stop = plain(self, times, position, special)
        found[-1].append((self._best_value, self._next_value_ms))
        return stop

    def worth(self: Engine, ms: int) -> bool:
        minutes.append(f"{self.zone.local(ms):%d %H:%M}")
        return each(self, ms)

    monkeypatch.setattr(Engine, "_rest_held", rest)
    monkeypatch.setattr(Engine, "_worth_something", worth)
    for at_once in (True, False):
        if not at_once:
            monkeypatch.setattr(Engine, "_follow_safely", lambda *_: False)
            assert len(minutes) < 60 + looks
            assert sum("08 10:44" <= minute <= "08 11:24" for minute in minutes) >= looks
        found.append([])
        play(market, sells(True), last_day=TUESDAY)
    assert found[0] == found[1]
    assert max(best for best, _ in found[0]) == pytest.approx(150_000.0 if price == 450.0 else 100_000.0, rel=0.01)


def test_margin_is_looked_for_at_the_same_minutes_once_it_is_asked_again(monkeypatch: pytest.MonkeyPatch) -> None:
    """Shares without margin from 9:31 to 13:03, then with: calls are looked for each five minutes of one clock."""
    scans: list[str] = []
    plain = Engine._margin_scan

    def scan(self: Engine, now: int) -> None:
        if not self.portfolio.is_never_called:
            scans.append(f"{self.zone.local(now):%d %H:%M}")
        plain(self, now)

    monkeypatch.setattr(Engine, "_margin_scan", scan)
    monkeypatch.setattr(Engine, "_sample_chart", lambda self, now: setattr(self, "_next_sample_ms", now + 3_600_000))
    for says in (True, False):

        def begins(algorithm: Any, says: bool = says) -> None:
            algorithm.add_equity("SPY", Resolution.MINUTE)
            share = algorithm.securities["SPY"]
            asked = share.buying_power_model
            share.set_buying_power_model(BuyingPowerModel.NULL)
            algorithm.do_at("09:31", lambda: algorithm.market_order("SPY", 10))
            algorithm.do_at("13:03", lambda: share.set_buying_power_model(asked))
            on(algorithm, "on_data", lambda *_: None)
            algorithm.rests_while = (lambda: (at("16:00", TUESDAY), ())) if says else (lambda: None)

        play(share_market(), begins, last_day=TUESDAY)
    half = len(scans) // 2
    assert half > 100
    assert scans[:half] == scans[half:]


def test_a_run_that_quits_in_a_quiet_minute_ends_there() -> None:
    def quits(algorithm: Recorder) -> None:
        algorithm.add_equity("SPY", Resolution.MINUTE)

        def look(_: Any, data: Any) -> None:
            listed(algorithm, "data")
            if f"{algorithm.time:%H:%M}" == "10:33":
                algorithm.quit("enough")

        on(algorithm, "on_data", look)

    made: Any = play(share_market(), quits, last_day=TUESDAY)
    assert made.lines[-1][0] == "08 10:33"


def test_what_is_kept_of_a_slice_stays_what_it_was() -> None:
    kept: list[Any] = []

    def keeps(algorithm: Recorder) -> None:
        algorithm.add_equity("SPY", Resolution.MINUTE)
        on(algorithm, "on_data", lambda _, data: kept.append(data))

    play(share_market(), keeps)
    by_time = {f"{moment.time:%H:%M}": moment for moment in kept}
    assert [by_time[clock].bars[SPY].close for clock in ("10:01", "10:02")] == [500.31, 500.32]
    assert by_time["10:01"].delistings.count == 0
