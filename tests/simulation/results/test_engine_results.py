"""Statistics, trades and result files of the embedded engine, worked out by hand or against scipy."""

# Private: _engine, _fill, _worse_than_benchmark, _unused_margin, _outside_hours, _percent, _compounded, _free_rate,
# _insignificant, _double, _two_digits, _points, _factors, _log_text: single figures and findings against LEAN's text.

from __future__ import annotations

import json
import math
import re
from collections.abc import Sequence
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from scipy import stats

from simulation.account.trade_statistics import trade_statistics
from simulation.account.tradebuilder import Trade, TradeBuilder
from simulation.data.columns import FactorRow, InterestRates, TradeBlock
from simulation.data.lean_folder import LeanFolder
from simulation.lean.enums import (
    FillGroupingMethod,
    FillMatchingMethod,
    OrderStatus,
    Resolution,
    SecurityType,
    TradeDirection,
)
from simulation.market.definitions import market_hours
from simulation.results import analysis, results, results_text, sampling, statistics
from simulation.results.statistics import StatisticsInput
from simulation.runner import RunRequest, run_backtest
from tests.simulation.playing import Market, Recorder, at, index_market, play, spxw

DAY = 86_400_000
PUT = spxw(5300)


def points(values: list[float], first: date = date(2024, 1, 1)) -> list[tuple[int, float]]:
    """One value a day."""
    start = int(datetime(first.year, first.month, first.day, tzinfo=UTC).timestamp() * 1000)
    return [(start + index * DAY, value) for index, value in enumerate(values)]


# ------------------------------------------------------------------ figures of the portfolio


def test_moments_agree_with_scipy() -> None:
    values = list(np.random.default_rng(1).normal(0.001, 0.01, 50))
    assert statistics.skewness(values) == pytest.approx(stats.skew(values, bias=False))
    assert statistics.excess_kurtosis(values) == pytest.approx(stats.kurtosis(values, bias=False))
    assert statistics.variance(values) == pytest.approx(np.var(values, ddof=1))


def test_the_largest_fall_and_how_long_it_took_to_recover() -> None:
    # 110 -> 88 is a fall of 20%; the peak of day 1 is seen again on day 4
    assert statistics.drawdown_metrics(points([100, 110, 99, 88, 112, 111])) == (0.2, 3)
    assert statistics.drawdown_metrics(points([100, 101, 102])) == (0.0, 0)


def test_value_at_risk_is_a_normal_quantile_of_three_places() -> None:
    values = [0.01, -0.02, 0.03, 0.0, -0.01]
    mean, deviation = float(np.mean(values)), float(np.std(values, ddof=1))
    expected = round(mean + deviation * float(stats.norm.ppf(0.01)), 3)
    assert statistics.value_at_risk(values, 252, 0.99) == expected


def test_the_probabilistic_ratio_is_a_probability_that_grows_with_the_ratio() -> None:
    noise = np.random.default_rng(2).normal(0, 0.01, 250)
    found = [
        statistics.probabilistic_sharpe_ratio(list(noise + drift), 1 / math.sqrt(252), 0.0)
        for drift in (-0.002, 0.0, 0.002)
    ]
    assert 0 <= found[0] < found[1] < found[2] <= 1


def test_figures_of_a_small_run_by_hand() -> None:
    equity = points([100_000, 101_000, 100_000, 102_000, 104_000])
    returns = [0.0, 1.0, -0.990099, 2.0, 1.960784]
    data = StatisticsInput(
        equity=equity,
        performance=points(returns),
        benchmark=points([100, 101, 102, 101, 103]),
        turnover=points([0.1, 0.2, 0.0, 0.0, 0.2]),
        profit_loss={equity[1][0]: 1_000.0, equity[2][0]: -1_000.0, equity[3][0]: 4_000.0},
        wins={equity[1][0]: True, equity[2][0]: False, equity[3][0]: True},
        starting_capital=100_000.0,
        total_fees=12.5,
        total_orders=6,
        rate_on=lambda _: 0.05,
    )
    made = statistics.total_performance(data)
    assert made.total_net_profit == pytest.approx(0.04)
    assert made.compounding_annual_return == pytest.approx(1.04 ** (365 / 4) - 1)
    assert made.drawdown == 0.01
    assert made.win_rate == pytest.approx(2 / 3)
    # LEAN compares with the running capital: 1% and 4%, against a loss of 1%
    assert made.average_loss_rate == pytest.approx(-1_000 / 101_000)
    assert made.portfolio_turnover == pytest.approx(0.1)
    # the first two days are left out of the returns and the first change out of the benchmark's
    used = np.array(returns[2:]) / 100
    assert made.annual_variance == pytest.approx(np.var(used, ddof=1) * 252)
    annual = (1 + used.mean()) ** 252 - 1
    assert made.sharpe_ratio == pytest.approx((annual - 0.05) / math.sqrt(np.var(used, ddof=1) * 252))
    bench = np.array([102 / 101 - 1, 101 / 102 - 1, 103 / 101 - 1])
    beta = np.cov(used, bench)[0, 1] / np.var(bench, ddof=1)
    assert made.beta == pytest.approx(beta)
    assert made.treynor_ratio == pytest.approx((annual - 0.05) / beta)
    others = (1 + bench.mean()) ** 252 - 1
    assert made.alpha == pytest.approx(annual - (0.05 + beta * (others - 0.05)))
    tracking = math.sqrt(np.var(used - bench, ddof=1) * 252)
    assert made.information_ratio == pytest.approx((annual - others) / tracking)


def test_the_table_speaks_as_lean_does() -> None:
    data = StatisticsInput([], [], [], [], {}, {}, 50_000.0, 0.0, 0)
    table = statistics.summary(data, statistics.total_performance(data))
    assert table["Total Orders"] == "0"
    assert table["Start Equity"] == "50000"
    assert table["Drawdown"] in ("0%", "0.000%")
    assert table["Sharpe Ratio"] == "0"
    assert table["Total Fees"] == "$0.00"


def test_shares_keep_the_decimals_that_a_product_by_100_leaves() -> None:
    assert statistics._percent(0.0034, 3) == "0.340%"
    assert statistics._percent(-0.068, 2) == "-6.80%"
    assert statistics._percent(0.5, 0) == "50%"
    assert statistics._percent(-0.00005, 2) == "0.00%"  # halves to even, and no sign on zero
    assert statistics._percent(1e-15, 3) == "0.000%"  # something, if little
    assert statistics._percent(0.0, 3) == "0%"
    # a C# decimal takes 15 digits of a double and has 96 bits
    assert statistics._percent(2.61169038178551234e26, 3) == "26116903817855100000000000000%"
    assert statistics._percent(1e40, 3) == "79228162514264337593543950335%"


def test_growth_a_year_that_no_double_can_hold() -> None:
    assert statistics._compounded(1.1, 0.5) == pytest.approx(0.21)
    assert statistics._compounded(0.0, 0.5) == -1.0
    assert [statistics._compounded(*wild) for wild in ((3.0, 0.001), (-0.5, 0.3), (2.0, 0.0))] == [0.0] * 3
    assert [statistics._double(value) for value in (-0.0001, 0.0001, -1.2345)] == ["-0", "0", "-1.234"]
    assert [statistics._two_digits(value) for value in (28_349_000.0, 105_000.0)] == [28_000_000.0, 100_000.0]


def test_a_drawdown_is_bare_where_nothing_fell() -> None:
    def drawdown(values: list[float]) -> str:
        data = StatisticsInput(
            points(values), points([0.0] * len(values)), points([0.0] * len(values)), [], {}, {}, 100.0, 0.0, 0
        )
        return statistics.summary(data, statistics.total_performance(data))["Drawdown"]

    assert drawdown([100, 99]) == "0%"  # too short for figures
    assert drawdown([100, 101, 102, 103, 104]) == "0%"
    assert drawdown([100, 101, 100.999, 103, 104]) == "0.000%"
    assert drawdown([100, 90, 100, 103, 104]) == "10.000%"


def test_windows_of_months_end_at_month_ends() -> None:
    ranges = statistics.period_ranges(1, date(2024, 1, 10), date(2024, 3, 5))
    assert ranges == [
        (date(2024, 1, 10), date(2024, 1, 31)),
        (date(2024, 2, 1), date(2024, 2, 29)),
        (date(2024, 3, 1), date(2024, 3, 5)),
    ]


# ------------------------------------------------------------------ trades


def trades_of(plan: list[tuple[str, int, float]], builder: TradeBuilder | None = None) -> list[Trade]:
    """Closed trades of market orders at stated prices: (time, quantity, price)."""
    market = index_market(*[clock for clock, _, _ in plan])

    def script(algorithm: Recorder) -> None:
        algorithm.add_index("SPX", Resolution.MINUTE)
        algorithm.add_index_option_contract(PUT, Resolution.MINUTE)
        if builder is not None:
            algorithm.set_trade_builder(builder)
        for clock, quantity, _ in plan:
            algorithm.do_at(clock, lambda q=quantity: algorithm.market_order(PUT, q))  # type: ignore[misc]

    for clock, _, price in plan:
        market.quote(PUT, at(clock), price, price)
    return list(play(market, script, cash=1_000_000.0).trade_builder.closed_trades)


PLAN = [("09:40", 2, 3.0), ("09:50", 1, 4.0), ("10:00", -2, 5.0), ("10:10", -1, 2.0)]


def figures(trades: list[Trade]) -> list[tuple[float, float, float, float]]:
    return [(trade.quantity, trade.entry_price, trade.exit_price, trade.profit_loss) for trade in trades]


def test_trades_are_matched_first_in_first_out() -> None:
    trades = trades_of(PLAN)
    assert figures(trades) == [(2.0, 3.0, 5.0, 400.0), (1.0, 4.0, 2.0, -200.0)]
    assert {trade.direction for trade in trades} == {TradeDirection.LONG}
    # entered at 4, went to 5 (+100), left at 2 (-200)
    assert (trades[1].mfe, trades[1].mae) == (100.0, -200.0)


def test_trades_may_be_matched_last_in_first_out() -> None:
    builder = TradeBuilder(FillGroupingMethod.FILL_TO_FILL, FillMatchingMethod.LIFO)
    assert figures(trades_of(PLAN, builder)) == [
        (1.0, 4.0, 5.0, 100.0),
        (1.0, 3.0, 5.0, 200.0),
        (1.0, 3.0, 2.0, -100.0),
    ]


def test_flat_to_flat_is_one_trade() -> None:
    builder = TradeBuilder(FillGroupingMethod.FLAT_TO_FLAT, FillMatchingMethod.FIFO)
    trades = trades_of(PLAN, builder)
    assert [(trade.quantity, trade.profit_loss) for trade in trades] == [(3.0, 200.0)]
    assert trades[0].entry_price == pytest.approx(10 / 3)


def test_a_fill_through_zero_closes_and_opens() -> None:
    trades = trades_of([("09:40", -1, 3.0), ("09:50", 3, 2.0), ("10:00", -2, 2.5)])
    assert figures(trades) == [(1.0, 3.0, 2.0, 100.0), (2.0, 2.0, 2.5, 100.0)]
    assert [trade.direction for trade in trades] == [TradeDirection.SHORT, TradeDirection.LONG]


def test_statistics_of_trades() -> None:
    made = trade_statistics(trades_of(PLAN))
    assert (made.total_number_of_trades, made.number_of_winning_trades, made.number_of_losing_trades) == (2, 1, 1)
    assert (made.total_profit, made.total_loss, made.total_profit_loss) == (400.0, -200.0, 200.0)
    assert made.profit_factor == 2.0
    assert made.maximum_closed_trade_drawdown == -200.0
    assert made.average_duration == 20 * 60_000


def test_no_trades_no_statistics() -> None:
    made = trade_statistics([])
    assert made.total_number_of_trades == 0
    assert made.start_ms is None


# ------------------------------------------------------------------ files


def written(folder: Path) -> dict[str, Any]:
    """The result files of a small run, by name."""
    market = Market()
    market.trade_rows.update(index_market("10:00", "10:30").trade_rows)
    for clock, price in (("09:31", 3.0), ("10:00", 2.0), ("10:30", 1.0)):
        market.quote(PUT, at(clock), price, price)

    def script(algorithm: Recorder) -> None:
        algorithm.add_index("SPX", Resolution.MINUTE)
        algorithm.add_index_option_contract(PUT, Resolution.MINUTE)
        algorithm.do_at("10:00", lambda: algorithm.market_order(PUT, -1))
        algorithm.do_at("10:30", lambda: algorithm.liquidate(PUT))
        algorithm.log("ready")

    played = play(market, script)
    played.algorithm_id = "Probe"
    engine = played._engine
    results.write(engine, results.summarize(engine), folder)
    names = ("Probe.json", "Probe-summary.json", "Probe-order-events.json")
    found = {name: json.loads((folder / name).read_text()) for name in names}
    found["log"] = (folder / "Probe-log.txt").read_text()
    return found


def test_the_four_files_hold_the_run(tmp_path: Path) -> None:
    found = written(tmp_path / "new")
    whole = found["Probe.json"]
    assert set(whole) == {
        "rollingWindow", "totalPerformance", "charts", "orders", "profitLoss", "statistics", "runtimeStatistics",
        "state", "serverStatistics", "algorithmConfiguration", "analysis",
    }  # fmt: skip
    assert list(whole["orders"]) == ["1", "2"]
    first = whole["orders"]["1"]
    assert (first["quantity"], first["price"], first["status"]) == (-1.0, 2.0, 3)
    statuses = [event["status"] for event in found["Probe-order-events.json"]]
    assert statuses == ["submitted", "filled", "submitted", "filled"]
    assert list(whole["profitLoss"].values()) == [100.0]
    assert whole["statistics"]["Total Orders"] == "2"
    assert whole["statistics"]["End Equity"] == "100100"
    assert len(whole["totalPerformance"]["closedTrades"]) == 1
    assert "ready" in found["log"]


def keys(value: Any, path: str = "") -> set[str]:
    """Every path of keys in a result file, one list item standing for all."""
    if isinstance(value, dict):
        return {path} | {found for key, item in value.items() for found in keys(item, f"{path}/{key}")}
    if isinstance(value, list) and value:
        return keys(value[0], path + "[]")
    return {path}


@pytest.mark.conformance
def test_the_files_have_the_keys_of_the_real_engine(tmp_path: Path, conformance: Path) -> None:
    found = written(tmp_path)
    dated = ("/orders/", "/rollingWindow/", "/profitLoss/", "/parameters", "/analysis", "/series/", "/Portfolio Margin")
    for name in ("Probe.json", "Probe-summary.json", "Probe-order-events.json"):
        real = json.loads((conformance / "results" / "p06_expiry" / name).read_text())
        wanted = {path for path in keys(real) if not any(part in path for part in dated)}
        assert {path for path in wanted - keys(found[name]) if "underlying" not in path} == set()
    real_order = json.loads((conformance / "results" / "p06_expiry" / "Probe.json").read_text())["orders"]["1"]
    assert set(real_order) <= set(found["Probe.json"]["orders"]["1"])


OF_THE_RUN = re.compile(
    r'\s*"(?:(?:StartTime|EndTime|Name|Hostname|Used RAM \(MB\)|Total RAM \(MB\)|LEAN Version|Up Time)": '
    r'|name": "(?:local|Probe)"|id": "[0-9a-f]{8}-|pValue": )'
)
"""Lines that tell of a run and not of its trades (wall time, machine, version, job, random identifiers of trades), and
a p-value, whose 13th digit is that of another library."""


def lines_of(file: Path) -> list[str]:
    """A file's lines but those."""
    return [line for line in file.read_bytes().decode().split("\n") if not OF_THE_RUN.match(line)]


@pytest.mark.conformance
@pytest.mark.slow
def test_a_recorded_run_writes_the_real_files(tmp_path: Path, conformance: Path, monkeypatch: Any) -> None:
    monkeypatch.setenv("PROBE_OUT", str(tmp_path / "out.jsonl"))
    probe = conformance / "probes" / "p06_expiry.py"
    request = RunRequest(probe, LeanFolder(conformance / "data"), {}, tmp_path / "results", tmp_path / "store")
    run_backtest(request)
    folder = conformance / "results" / "p06_expiry"
    events = "Probe-order-events.json"
    assert (tmp_path / "results" / events).read_bytes() == (folder / events).read_bytes()
    for name in ("Probe.json", "Probe-summary.json"):
        assert lines_of(tmp_path / "results" / name) == lines_of(folder / name)
    chances = [
        json.loads((place / "Probe.json").read_text())["analysis"][2] for place in (tmp_path / "results", folder)
    ]
    assert chances[0]["sample"]["pValue"] == pytest.approx(chances[1]["sample"]["pValue"], abs=1e-12)


def test_decimals_keep_the_digits_of_their_prices() -> None:
    assert results_text.digits(5.9, 4) == Decimal("5.9000")
    assert str(results_text.digits(5.9, 0)) == "5.9"
    assert str(results_text.digits(-16365.0, 2)) == "-16365.00"
    assert results_text.text_of({"a": results_text.exact(Decimal("5.9000"))}) == '{\n  "a": 5.9000\n}'
    assert results_text.text_of([results_text.exact(Decimal(0))], None) == "[0.0]"
    assert results_text.text_of([results_text.RAW + '{"a":"\\u00e9"}', "\u00e9"], None) == '[{"a":"\\u00e9"},"\u00e9"]'


def test_money_of_trades_is_written_as_its_arithmetic_leaves_it() -> None:
    trades = trades_of([("09:40", 1, 3.0), ("09:50", -1, 5.25), ("10:00", 1, 3.1), ("10:10", -1, 3.1)])
    made = results_text.trade_statistics_json(trade_statistics(trades), trades)
    # 2.25 points and none, at 100 dollars a point, two decimals by the price of 5.25
    assert (made["totalProfitLoss"], made["totalProfit"], made["largestProfit"]) == ("225.00", "225.00", "225.00")
    # a running average of 225.00 and 0.0: 225.00, then 225.00 - 225.00 / 2
    assert made["averageProfitLoss"] == "112.50"
    assert made["totalLoss"] == "0.0"
    assert made["maximumClosedTradeDrawdown"] == "0"


def test_small_chart_values_have_no_exponent() -> None:
    assert results_text.text_of(results._points([(1000, 0.00001), (2000, None), (3000, 2.0)]), None) == (
        "[[1,0.00001],[2,null],[3,2.0]]"
    )


def test_the_log_is_gathered_by_kind_at_each_point_of_the_curve() -> None:
    market = index_market("09:40", "10:00")

    def script(algorithm: Recorder) -> None:
        algorithm.add_index("SPX", Resolution.MINUTE)
        for word in ("log", "error", "debug"):
            algorithm.do_at("09:40", lambda word=word: getattr(algorithm, word)(f"first {word}"))  # type: ignore[misc]
        algorithm.do_at("10:00", lambda: algorithm.debug("second"))

    played = play(market, script)
    said = [line[20:] for line in results._log_text(played._engine).splitlines()]
    assert said == ["first debug", "first error", "first log", "second"]


def test_the_p_value_of_daily_returns() -> None:
    values = [0.01, -0.02, 0.03, 0.005]
    assert analysis.one_sided(values) == pytest.approx(stats.ttest_1samp(values, 0).pvalue / 2)
    assert analysis.one_sided([0.01]) == 0.5


def test_the_benchmark_is_adjusted_by_the_factor_of_its_day() -> None:
    start = np.array([10 * DAY, 11 * DAY])
    rows = [FactorRow(date(1970, 1, 1) + timedelta(days=10), 0.5, 0.5, 0.0)]
    assert list(sampling._factors(rows, start)) == [0.25, 1.0]  # a row holds up to its own day
    assert list(sampling._factors((), start)) == [1.0, 1.0]


FRIDAY, SUNDAY = datetime(2024, 7, 5), datetime(2024, 7, 7)


def utc(day: datetime, hour: int) -> int:
    """Milliseconds of an hour of a day, UTC; New York is four hours behind."""
    return int((day - datetime(1970, 1, 1)).total_seconds() * 1000) + hour * 3_600_000


def benchmark(given: Any = None, closes: Sequence[float] = (500.0, 510.0), end: datetime = SUNDAY) -> Any:
    """SPY's daily closes up to Friday, seen by a run that ends on a day."""
    ends = [utc(FRIDAY, 28) - back * DAY for back in range(len(closes))][::-1]
    stamps, prices = np.array(ends, dtype=np.int64), np.array(closes)
    block = TradeBlock(stamps, stamps - DAY, prices, prices, prices, prices, prices) if len(closes) else None
    source = SimpleNamespace(trades=lambda *_: block, factor_file=lambda _: None)
    hours = market_hours().get_exchange_hours("usa", "SPY", SecurityType.EQUITY)
    algorithm = SimpleNamespace(benchmark=given, start_date=FRIDAY)
    engine = SimpleNamespace(
        source=source,
        algorithm=algorithm,
        hours_of=lambda _: hours,
        end_ms=utc(end, 28),
        benchmark_value=lambda: 7.0,
    )
    return sampling.Benchmark(engine)


def test_the_benchmark_is_spy_by_its_last_close() -> None:
    spy = benchmark()
    assert spy.value(utc(FRIDAY, 19)) == 500.0  # Thursday's close
    assert spy.value(utc(FRIDAY, 20)) == 510.0  # at 16:00 New York
    assert spy.value(utc(FRIDAY, 0) - 3 * DAY) == 0.0
    assert benchmark(closes=()).value(utc(FRIDAY, 20)) == 0.0
    assert benchmark(lambda _: 7.0).value(0) == 7.0


def test_a_run_goes_on_until_the_last_close_of_its_benchmark() -> None:
    assert benchmark().last_step_ms() == utc(FRIDAY, 20)
    monday = FRIDAY + timedelta(days=3)
    assert benchmark(end=monday).last_step_ms() == utc(monday, 20)
    assert benchmark(closes=()).last_step_ms() == sampling.NO_STEP
    assert benchmark(lambda _: 7.0).last_step_ms() == sampling.NO_STEP


def test_hours_of_the_benchmark_are_points_of_the_curve() -> None:
    hours = [utc(FRIDAY, hour) for hour in range(14, 21)]  # 10:00 to 16:00 New York
    spy = benchmark()
    assert spy.hours_between(utc(FRIDAY, 13), utc(SUNDAY, 0)) == hours
    assert benchmark(closes=()).hours_between(utc(FRIDAY, 13), utc(SUNDAY, 0)) == []
    samples = sampling.Samples(SimpleNamespace(sample_step_ms=3_700_000), every_step=True)
    samples.benchmark, samples.equity = spy, [(utc(FRIDAY, 4), 1.0, 1.0, 1.0, 1.0)]
    samples._fill(utc(SUNDAY, 0))
    assert [point[0] for point in samples.equity[1:]] == hours[::2]  # a step of more than an hour skips every second


def test_a_worse_sharpe_ratio_than_the_benchmark_is_found() -> None:
    rates = InterestRates(np.array([date(2024, 1, 1).toordinal()]), np.array([0.001]))
    engine = SimpleNamespace(source=SimpleNamespace(interest_rates=lambda: rates))
    flat = {0: 100.0, 86_400: 101.0, 172_800: 100.0, 259_200: 101.5}
    rising = {0: 100.0, 86_400: 101.0, 172_800: 103.0, 259_200: 104.0}
    found = analysis._worse_than_benchmark(engine, flat, rising)
    assert found is not None
    gains = np.array([0.01, 100 / 101 - 1, 0.015])
    sample = found["sample"]
    assert sample["backtestSharpe"] == pytest.approx((gains.mean() - 0.001) / gains.std(ddof=1))
    assert sample["benchmarkSharpe"] > sample["backtestSharpe"]
    assert analysis._worse_than_benchmark(engine, rising, flat) is None
    assert analysis._worse_than_benchmark(engine, {}, {}) is None
    nothing = SimpleNamespace(source=SimpleNamespace(interest_rates=lambda: None))
    assert analysis._free_rate(nothing, 0, 86_400) == 0.0
    assert analysis._insignificant(rising, {moment: 100.0 for moment in rising}) is not None
    steady = {day * 86_400: 100.0 * 1.01**day + day % 2 * 0.1 for day in range(9)}
    assert analysis._insignificant(steady, {moment: 100.0 for moment in steady}) is None


def test_unused_margin_is_counted_in_averages_of_three_days() -> None:
    series = {"A": [(1, 90.0), (2, 30.0), (3, None)], "B": [(3, 12.0)]}
    found = analysis._unused_margin(SimpleNamespace(margin=series))  # type: ignore[arg-type]
    # 90, 60, 44: one of them is under half
    assert found is not None
    assert found["sample"].endswith("drops below 50%: 1")
    assert analysis._unused_margin(SimpleNamespace(margin={"A": [(1, 90.0)]})) is None  # type: ignore[arg-type]


def test_fills_outside_regular_hours_are_counted() -> None:
    hours = market_hours().get_exchange_hours("usa", "SPY", SecurityType.EQUITY)
    security = SimpleNamespace(exchange=SimpleNamespace(hours=hours))
    moments = [utc(FRIDAY, 20), utc(FRIDAY, 21), utc(FRIDAY, 22), utc(FRIDAY, 23)]
    events = [
        SimpleNamespace(status=OrderStatus.FILLED, message=text, symbol=name, utc_ms=moment)
        for moment, text, name in zip(moments, (None, "", "Liquidate from delisting", ""), "AAAB", strict=True)
    ]
    events.append(SimpleNamespace(status=OrderStatus.SUBMITTED, message="", symbol="A", utc_ms=moments[1]))
    engine = SimpleNamespace(order_events=events, securities=SimpleNamespace(everything={"A": security}))
    written_events = [{"id": number} for number in range(5)]
    # 16:00 is the session's end and belongs to it; 17:00 does not; the third is a delisting, the fourth unknown
    found = analysis._outside_hours(engine, written_events)
    assert found is not None
    assert found["sample"] == {"id": 1}
    assert "count" not in found
    events[1].status = OrderStatus.CANCELED
    assert analysis._outside_hours(engine, written_events) is None
    events[1].status = events[4].status = OrderStatus.FILLED
    again = analysis._outside_hours(engine, written_events)
    assert again is not None
    assert again["count"] == 2
