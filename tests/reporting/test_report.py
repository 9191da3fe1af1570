"""From journal lines to statistics and the page: figures worked by hand, everything escaped, nothing fetched."""

from __future__ import annotations

import json
import math
from datetime import date, datetime
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from reporting import markup
from reporting.charts import break_evens, nice_ticks, payoff_chart, profit_at_expiry, thin
from reporting.fields import JournalError
from reporting.intervals import bootstrap, resampled_days, wilson
from reporting.markup import element, escape, money, percent, table, target_texts
from reporting.performance import (
    PerformanceTracker,
    Priors,
    Verdict,
    annual_returns,
    equity_statistics,
    judge,
    longest_losing_streak,
    skip_reasons,
    trade_statistics,
)
from reporting.report import render, summarise, write_report
from reporting.rows import EquityPoint, Journal, Trade, TradeLeg, parse_journal
from reporting.trades import DayKind, day_cells, fridays_between
from tests.conftest import ROOT
from tests.reporting.pages import a_record, decision, equity, path_of, read_page

NASTY = "<script>alert('x')</script> & \"quoted\""


def closed(day: str, profit: float, **changes: object) -> str:
    """A ``trade_closed`` line: one put spread 1390/1360 sold for 3.00, closed for what gives ``profit``."""
    common = {"right": "put", "expiry": day}
    legs = [
        {"name": "SPXW 080104P1390", "ratio": -1, "strike": 1390.0, "entry": 4.0, "exit": 1.0, **common},
        {"name": "SPXW 080104P1360", "ratio": 1, "strike": 1360.0, "entry": 1.0, "exit": None, **common},
    ]
    row: dict[str, object] = {
        "time": f"{day}T13:00:00", "kind": "trade_closed", "component": "tracker", "reason": "profit target",
        "correlation": "", "strategy": "friday_0dte", "position": f"p-{day}", "underlying": "SPX",
        "structure": "put_spread", "opened": f"{day}T10:31:00", "closed": f"{day}T13:00:00", "contracts": 1,
        "multiplier": 100.0, "legs": legs, "credit": 300.0, "cash_in": 300.0, "cash_out": profit - 300.0 + 2.0,
        "fees": 2.0, "profit": profit, "max_loss": 2700.0, "exit_rule": "profit_target", "underlying_entry": 1400.0,
        "underlying_exit": 1401.0, "vix_entry": 25.0, "vix_exit": 24.0,
    }  # fmt: skip
    return json.dumps({**row, **changes})


def a_trade(profit: float = 148.0) -> Trade:
    """The trade of ``closed``."""
    return parse_journal([closed("2008-01-04", profit)]).trades[0]


# --- reading ----------------------------------------------------------------------------------------------------------


def test_journal_rows_come_back_typed() -> None:
    journal = parse_journal(
        [decision("2008-01-04"), closed("2008-01-11", 148.0), equity("2008-01-11", 100_148.0), "\n"]
    )

    assert journal.decisions[0].day == date(2008, 1, 4)
    assert journal.decisions[0].observed == pytest.approx(17.25)
    assert journal.trades[0].legs[1] == TradeLeg("SPXW 080104P1360", 1, 1360.0, False, date(2008, 1, 11), 1.0, None)
    assert journal.equity == (EquityPoint(date(2008, 1, 11), 100_148.0, 4, 0),)
    assert journal.counts == {"decision": 1, "trade_closed": 1, "equity": 1}


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("{", "journal line 1: not JSON"),
        ("[1]", "journal line 1: list; expected an object"),
        (decision("2008-01-04", outcome="maybe"), "outcome is 'maybe'; expected 'trade' or 'skip'"),
        (closed("2008-01-04", 1.0, contracts="two"), "contracts is 'two'; expected a number"),
        (closed("2008-01-04", 1.0, contracts=1.5), "contracts is 1.5; expected a whole number"),
        (closed("2008-01-04", 1.0, legs=[1]), "legs is [1]; expected a list of objects"),
        (closed("2008-01-04", 1.0, opened="noon"), "opened is 'noon'; expected an ISO time"),
        (closed("2008-01-04", 1.0, credit=None), "credit is missing"),
    ],
)
def test_unreadable_rows_name_their_place(line: str, words: str) -> None:
    with pytest.raises(JournalError) as caught:
        parse_journal([line])
    assert words in str(caught.value)


def test_infinite_limits_are_read() -> None:
    line = json.dumps({**json.loads(decision("2008-01-04")), "limit": "inf"})
    assert parse_journal([line]).decisions[0].limit == math.inf


def test_kinds_without_a_report_are_counted() -> None:
    assert parse_journal(['{"kind": "regime"}', '{"kind": "regime"}']).counts == {"regime": 2}


# --- intervals and statistics -----------------------------------------------------------------------------------------


def test_wilson_interval_by_hand() -> None:
    # 8 of 10, z = 1.959964: centre (0.8 + 0.192073) / 1.384146 = 0.716740,
    # half 1.959964 / 1.384146 * sqrt(0.016 + 0.0096036) = 0.226577
    found = wilson(8, 10)
    assert found is not None
    assert found.low == pytest.approx(0.490162, abs=2e-6)
    assert found.high == pytest.approx(0.943318, abs=2e-6)
    assert wilson(0, 0) is None


@given(trials=st.integers(1, 500), data=st.data())
def test_wilson_interval_holds_the_share(trials: int, data: st.DataObject) -> None:
    successes = data.draw(st.integers(0, trials))
    found = wilson(successes, trials)
    assert found is not None
    assert 0 <= found.low <= successes / trials + 1e-12
    assert successes / trials - 1e-12 <= found.high <= 1


def test_bootstrap_is_repeatable_and_needs_days() -> None:
    returns = np.random.default_rng(1).normal(0.001, 0.01, 250)
    first, second = bootstrap(returns, annual_returns), bootstrap(returns, annual_returns)
    assert first == second
    assert first is not None
    assert first.low < float(annual_returns(returns[None, :])[0]) < first.high
    assert bootstrap(returns[:29], annual_returns) is None
    still = np.zeros(250)
    still[:29] = returns[:29]
    assert bootstrap(still, annual_returns) is None


def test_bootstrap_days_run_on_in_blocks() -> None:
    days = resampled_days(100)
    follows = ((days[:, 1:] - days[:, :-1]) % 100 == 1).mean()
    # A block ends with probability 1/21 and then rarely goes on by chance: 1 - 1/21 + 1/21/100 = 0.9529
    assert follows == pytest.approx(0.9529, abs=0.01)
    assert days.min() == 0
    assert days.max() == 99


def test_equity_statistics_by_hand() -> None:
    # 100, 110, 99, 108.9: returns +10 %, -10 %, +10 %; fall from 110 to 99 is 10 %.
    points = path_of([0.10, -0.10, 0.10])
    found = equity_statistics(points)
    assert found is not None
    assert found.total_return == pytest.approx(0.089)
    assert found.drawdown == pytest.approx(0.10)
    assert (found.drawdown_peak, found.drawdown_trough) == (points[1].day, points[2].day)
    assert found.annual_return == pytest.approx(1.089 ** (252 / 3) - 1)
    assert (found.sharpe, found.sortino, found.sharpe_interval, found.moved) == (None, None, None, 3)


def test_flat_equity_has_no_sharpe() -> None:
    found = equity_statistics([EquityPoint(date(2008, 1, day), 100.0) for day in (2, 3, 4)])
    assert found is not None
    assert found.sharpe is None
    assert found.drawdown == pytest.approx(0.0)


def test_lost_account_has_no_statistics() -> None:
    assert equity_statistics([EquityPoint(date(2008, 1, 2), 1.0), EquityPoint(date(2008, 1, 3), -5.0),
                              EquityPoint(date(2008, 1, 4), 2.0)]) is None  # fmt: skip
    assert equity_statistics([EquityPoint(date(2008, 1, 2), 1.0)]) is None


def test_trade_statistics_by_hand() -> None:
    trades = parse_journal(
        [closed("2008-01-04", 148.0), closed("2008-01-11", -602.0), closed("2008-01-18", 0.0)]
    ).trades
    found = trade_statistics("friday_0dte", trades, Priors({"friday_0dte": 0.88}, 50.0))
    assert (found.count, found.wins) == (3, 1)
    assert found.profit == pytest.approx(-454.0)
    assert found.fees == pytest.approx(6.0)
    assert found.average_loss == pytest.approx(-301.0)
    assert found.profit_factor == pytest.approx(148.0 / 602.0)
    # kept before fees: 150 + (-600) + 2 of 900 taken in
    assert found.credit_kept == pytest.approx(-448.0 / 900.0)
    assert found.longest_losing_streak == 2
    # Beta(45, 8) has mean 0.849: the interval must hold it
    assert found.win_posterior is not None
    assert found.win_posterior.low < 45 / 53 < found.win_posterior.high


def test_no_trades_have_no_rates() -> None:
    found = trade_statistics("all", [])
    assert (found.win_rate, found.win_interval, found.credit_kept, found.profit_factor) == (None, None, None, None)
    assert longest_losing_streak([]) == 0


def test_targets_say_not_met() -> None:
    lines = [closed("2008-01-04", 148.0), closed("2008-01-11", -602.0)]
    lines += [equity(f"2008-01-{day:02}", 100_000.0 - day) for day in range(2, 30)]
    summary = summarise(a_record(lines))
    verdicts = {row.name: row.verdict for row in summary.targets}
    assert verdicts == {
        "win rate, Friday 0DTE": Verdict.TOO_FEW,  # 2 trades, 20 are needed
        "trades a year": Verdict.NOT_MET,
        "annual return": Verdict.NOT_MET,
        "largest drawdown": Verdict.MET,
        "Sharpe ratio": Verdict.UNKNOWN,  # 27 days moved, 30 are needed
    }
    (sharpe,) = (row for row in summary.targets if row.name == "Sharpe ratio")
    assert target_texts(sharpe) == ("2.00", "too few days", "too few days")
    assert {row.verdict for row in judge(None, trade_statistics("all", []), ())} == {Verdict.UNKNOWN}


def test_skip_reasons_are_counted_by_rule() -> None:
    lines = [
        decision("2008-01-04"),
        decision("2008-01-11"),
        decision("2008-01-18", rule="sizing", reason="no headroom"),
    ]
    lines.append(decision("2008-01-25", outcome="trade"))
    assert [(reason.count, reason.rule) for reason in skip_reasons(parse_journal(lines).decisions)] == [
        (2, "vix_window"),
        (1, "sizing"),
    ]


def test_tracker_lists_strategies_by_first_trade() -> None:
    tracker = PerformanceTracker()
    tracker.add_trades(parse_journal([closed("2008-01-04", 1.0, strategy="box"), closed("2008-01-11", 1.0)]).trades)
    assert [row.name for row in tracker.by_strategy()] == ["box", "friday_0dte"]


# --- pictures ---------------------------------------------------------------------------------------------------------


def test_payoff_of_a_put_spread_by_hand() -> None:
    trade = a_trade()
    # 3.00 taken in, 2 dollars of fees: 298 above 1390, 298 - 3000 below 1360, zero at 1390 - 2.98
    assert profit_at_expiry(trade, 1400.0) == pytest.approx(298.0)
    assert profit_at_expiry(trade, 1300.0) == pytest.approx(-2702.0)
    assert break_evens(trade, [1300.0, 1360.0, 1390.0, 1400.0]) == [pytest.approx(1387.02)]
    assert "break-even 1,387.02" in payoff_chart(trade)


def test_payoff_at_the_first_of_two_expiries_values_what_lives_on() -> None:
    legs = [
        {"name": "A", "ratio": -1, "strike": 100.0, "right": "put", "expiry": "2008-01-04", "entry": 1.0, "exit": 1.0},
        {"name": "B", "ratio": 1, "strike": 100.0, "right": "put", "expiry": "2008-04-04", "entry": 1.0, "exit": 1.0},
    ]
    trade = parse_journal([closed("2008-01-04", 1.0, legs=legs)]).trades[0]
    assert "no picture" in payoff_chart(trade)
    assert "no picture" in payoff_chart(trade, {"A": 0.2})  # the later one's volatility is what is needed
    # 300 dollars in, 2 of fees. At 100 the near put ends worthless; the other has 91 days: with v = 0.2 sqrt(91 / 365)
    # = 0.09986 it is worth 100 (2 N(v / 2) - 1) = 100 (2 x 0.519911 - 1) = 3.982 points of 100 dollars.
    later = {"B": 0.2}
    assert profit_at_expiry(trade, 100.0, later) == pytest.approx(298.0 + 398.2, abs=0.1)
    # At 60 both are worth their 40 points but for pennies, and the one is sold.
    assert profit_at_expiry(trade, 60.0, later) == pytest.approx(298.0, abs=1.0)
    page = payoff_chart(trade, later)
    assert "Profit at the first expiry, 2008-01-04, dollars" in page
    assert "+$696 at 100" in page


@given(low=st.floats(-1e6, 1e6), width=st.floats(1e-3, 1e6))
def test_ticks_cover_the_range(low: float, width: float) -> None:
    ticks = nice_ticks(low, low + width)
    step = ticks[1] - ticks[0]
    assert ticks[0] <= low + step * 1e-6
    assert ticks[-1] >= low + width - step * 1e-6
    assert 2 <= len(ticks) <= 9


def test_thinning_keeps_extremes() -> None:
    points = [EquityPoint(date.fromordinal(730_000 + index), 100 + math.sin(index / 50)) for index in range(6000)]
    points[3456] = EquityPoint(points[3456].day, 40.0)
    kept = thin(points)
    assert len(kept) <= 1300
    assert points[3456] in kept
    assert (kept[0], kept[-1]) == (points[0], points[-1])


def test_every_friday_has_a_cell() -> None:
    journal = parse_journal(
        [decision("2008-01-04"), closed("2008-01-11", -5.0), decision("2008-01-18", rule="market_closed")]
    )
    cells = day_cells(journal.decisions, journal.trades, date(2008, 1, 1), date(2008, 1, 31), fridays=True)
    assert [(cell.day.day, cell.kind) for cell in cells] == [
        (4, DayKind.SKIP),
        (11, DayKind.LOSS),
        (18, DayKind.CLOSED),
        (25, DayKind.MISSING),
    ]
    assert cells[0].words == "VIX is too low (17.25 against 22)"


def test_fridays_of_a_year() -> None:
    fridays = list(fridays_between(date(2010, 1, 1), date(2010, 12, 31)))
    assert len(fridays) == 53
    assert {day.weekday() for day in fridays} == {4}


# --- the page ---------------------------------------------------------------------------------------------------------


def test_page_is_whole_offline_and_linked() -> None:
    lines = [decision("2008-01-04"), closed("2008-01-11", 148.0), closed("2008-01-18", -5.0)]
    page = read_page(a_record([*lines, *(equity(f"2008-01-{day:02}", 100_000.0 + day) for day in range(2, 30))]))
    text = " ".join(page.text)

    assert page.fetched == []
    assert {link.removeprefix("#") for link in page.links} <= {*page.ids, "journal.jsonl"}  # which lies beside it
    assert "trade-p-2008-01-11" in page.ids
    assert all(words in text for words in ("not met", "What is real", "VIX is too low", "run.seed = 1", "break-even"))
    assert "http" not in " ".join(page.links)


def test_page_escapes_everything_a_journal_says() -> None:
    lines = [
        decision("2008-01-04", reason=NASTY),
        closed("2008-01-11", 1.0, reason=NASTY, structure=NASTY, position=NASTY),
    ]
    record = a_record(lines, title=NASTY, settings=NASTY, error=NASTY, facts={NASTY: NASTY})
    page = render(record, summarise(record))
    assert page.count("<script>") == 1  # the page's own
    assert NASTY not in page
    assert read_page(record).ids


def test_page_of_an_empty_run_says_so() -> None:
    page = read_page(a_record([]))
    text = " ".join(page.text)
    assert "No equity was recorded." in text
    assert "No trade was closed." in text
    assert "Nothing was skipped." in text


def test_report_is_written_in_one_step(tmp_path: Path) -> None:
    write_report(tmp_path / "report.html", a_record([]))
    assert [path.name for path in tmp_path.iterdir()] == ["report.html"]


def test_colours_have_contrast() -> None:
    # WCAG 2.2, 1.4.3: at least 4.5 between text and what it stands on, in the light and in the dark theme.
    style = (ROOT / "reporting" / "page.css").read_text(encoding="utf-8")
    light, dark = style.split("@media (prefers-color-scheme: dark)")[:2]
    for theme in (light, dark.split("* {")[0]):
        colours = dict(
            part.strip().removeprefix("--").split(": ") for part in theme.split(";") if "--" in part and "{" not in part
        )
        colours |= {"paper": theme.split("--paper: ")[1][:7]}
        texts = "ink paper, soft paper, soft tile, link paper, gain paper, loss paper"
        pairs = f"{texts}, ink gain-fill, ink loss-fill, ink skip-fill"
        for ink, paper in (pair.split() for pair in pairs.split(", ")):
            assert contrast(colours[ink], colours[paper]) >= 4.5, (ink, paper)


def contrast(first: str, second: str) -> float:
    """Contrast ratio of two ``#rrggbb`` colours (WCAG 2.2)."""

    def luminance(colour: str) -> float:
        parts = [int(colour.strip()[index : index + 2], 16) / 255 for index in (1, 3, 5)]
        red, green, blue = (part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts)
        return 0.2126 * red + 0.7152 * green + 0.0722 * blue

    light, dark = sorted((luminance(first), luminance(second)), reverse=True)
    return (light + 0.05) / (dark + 0.05)


def test_figures_for_people() -> None:
    assert money(-1234.4) == "\N{MINUS SIGN}$1,234"
    assert money(0.004, signed=True) == "$0"
    assert money(12.5, signed=True, cents=True) == "+$12.50"
    assert percent(-0.0123) == "\N{MINUS SIGN}1.2 %"
    assert percent(-0.0001) == "0.0 %"
    assert escape(element("b", "<", title='"')) == '<b title="&quot;">&lt;</b>'


def test_times_survive() -> None:
    assert a_trade().opened == datetime(2008, 1, 4, 10, 31)
    assert Journal().trades == ()


def test_wide_tables_stack_their_cells_on_narrow_screens() -> None:
    page = table(("Promise", "Target"), [("a <b>", "1")], "Targets", (1,), stacked=True)
    assert '<td data-name="Promise">a &lt;b&gt;</td><td class="number" data-name="Target">1</td>' in page
    assert '<table class="stacked">' in page
    plain = table(("Promise", "Target"), [("a", "1")], "Targets")
    assert "data-name" not in plain
    assert "stacked" not in plain
    css = (Path(markup.__file__).parent / "page.css").read_text(encoding="utf-8")
    assert css.index("max-width: 640px") < css.index(".stacked td::before { content: attr(data-name)")
