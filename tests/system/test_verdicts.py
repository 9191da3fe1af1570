"""What a verdict makes of a session and of an episode, with the bounds worked by hand; and one whole run."""

from __future__ import annotations

from datetime import date
from typing import Any

import pytest

from cli import app
from cli.scenario import asked_of
from simulation.market.scenarios import names, scenario
from simulation.results.episodes import Session, Verdict, range_of, table, tell, verdict_of

MONDAY, TUESDAY, WEDNESDAY = date(2024, 8, 5), date(2024, 8, 6), date(2024, 8, 7)


def told(day: date, opening: float, lowest: float, close: float, move: float = 0.03, **more: Any) -> dict[str, Any]:
    row = {"day": day.isoformat(), "opening": opening, "lowest": lowest, "close": close, "move": move}
    return {**row, "positions": ["1 puts"], "margin": 30_000.0, "lines": {"A": (9_000.0, 20_000.0)}, **more}


def judged(*sessions: dict[str, Any], rows: tuple[dict[str, Any], ...] = ()) -> Verdict:
    return verdict_of("made-up", 100_000.0, TUESDAY, {"sessions": list(sessions), "liquidated": []}, rows)


def test_a_session_is_measured_from_the_close_before_it() -> None:
    # 100,000 at the close before, 84,000 at its lowest: 16 %, over 15 % for a move of 3 %, under 30 % for one of 12 %
    small, large = (Session(TUESDAY, 100_000.0, 84_000.0, 90_000.0, move, ()) for move in (0.10, 0.12))
    assert [small.loss, large.loss] == pytest.approx([0.16, 0.16])
    assert (small.bound, large.bound) == (0.15, 0.30)
    assert Session(TUESDAY, 1.0, 1.0, 1.0, 0.25, ()).bound == float("inf")


def test_a_verdict_names_what_went_over() -> None:
    fill = told(MONDAY, 100_000.0, 99_000.0, 100_000.0)
    fine = judged(fill, told(TUESDAY, 100_000.0, 86_000.0, 90_000.0), told(WEDNESDAY, 90_000.0, 80_000.0, 85_000.0))
    assert fine.words == "passed"
    assert [fine.loss, fine.bound] == pytest.approx([0.20, 0.35])
    assert fine.worst.day == TUESDAY
    bad = judged(fill, told(TUESDAY, 100_000.0, 84_000.0, 90_000.0), told(WEDNESDAY, 90_000.0, 60_000.0, 60_000.0))
    # 16 % of 15; a third of 15; 40 % of 35
    assert [fault.split(" cost ")[1].split(",")[0] for fault in bad.faults] == ["16.0% of 100", "33.3% of 90", "40.0%"]
    failed = {"kind": "error", "component": "risk", "reason": "broken"}
    assert judged(fill, told(TUESDAY, 100_000.0, 99_000.0, 99_000.0), rows=(failed,)).words.startswith("failed: error")
    assert "| failed |" in table([bad])[-1]


def test_nothing_held_is_said() -> None:
    empty = told(MONDAY, 100_000.0, 100_000.0, 100_000.0, positions=[])
    verdict = judged(empty, told(TUESDAY, 100_000.0, 100_000.0, 100_000.0, positions=[]))
    assert verdict.words == "nothing was held: this scenario tested nothing"
    assert tell(verdict)[-1].strip() == verdict.words


def test_every_scenario_has_days_to_fill_an_account_on() -> None:
    for name in names():
        first, shock, end = range_of(scenario(name))
        assert first < shock <= end, name
        assert (end - shock).days <= 40, name
        until = scenario(name).open_until
        assert until is None or first <= until <= end, name


def test_money_that_was_paid_in_or_taken_out_is_no_loss() -> None:
    # 100,000 at the close before; 25,000 are taken out: the session begins with 75,000 and falls to 72,000, 4 % of it;
    # the lowest is worth 97,000 with what was taken out, 3 % of 100,000.
    fill = told(MONDAY, 100_000.0, 99_000.0, 100_000.0)
    taken = judged(fill, told(TUESDAY, 75_000.0, 72_000.0, 74_000.0, paid=-25_000.0))
    assert taken.worst.loss == pytest.approx(0.04)
    assert (taken.before, taken.loss) == pytest.approx((100_000.0, 0.03))
    # 50,000 paid in the day after hide no loss: 90,000 and 50,000 fall to 130,000, 80,000 of its own: 20 %
    paid = judged(
        fill,
        told(TUESDAY, 100_000.0, 90_000.0, 90_000.0),
        told(WEDNESDAY, 140_000.0, 130_000.0, 135_000.0, paid=50_000.0),
    )
    assert paid.loss == pytest.approx(0.20)


def test_an_entry_outside_of_its_window_is_a_fault() -> None:
    # New York: 10:20 is the window's last minute; 9:01 and 11:01 are what an hour of a clock's change would make of it
    def sent(at: str, purpose: str = "entry", action: str = "sent") -> dict[str, Any]:
        return {"kind": "order", "time": f"2024-08-06T{at}:00", "purpose": purpose, "action": action}

    fill, day = told(MONDAY, 1.0, 1.0, 1.0), told(TUESDAY, 1.0, 1.0, 1.0)
    fine = judged(
        fill, day, rows=(sent("10:01"), sent("10:20"), sent("15:00", "exit"), sent("10:24", action="repriced"))
    )
    assert (fine.words, fine.entered) == ("passed", ("08-06 10:01", "08-06 10:20"))
    assert "entries sent: 2, between 10:01 and 10:20" in "\n".join(tell(fine))
    early = judged(fill, day, rows=(sent("09:01"), sent("11:01")))
    assert early.words == "failed: an entry was sent at 08-06 09:01; an entry was sent at 08-06 11:01"


def test_a_verdict_tells_the_phases_that_it_went_through_and_what_closed_when() -> None:
    fill, days = (
        told(MONDAY, 1.0, 1.0, 1.0, phase=1),
        [told(TUESDAY, 1.0, 1.0, 1.0, phase=phase) for phase in (2, 2, 1)],
    )
    closed = [
        {"kind": "fill", "time": f"2024-08-0{day}T12:00:00", "reason": reason}
        for day, reason in ((5, "stop_loss"), (6, "entry"), (6, "time_exit"), (7, "time_exit"))
    ]
    verdict = judged(fill, *days, rows=tuple(closed))
    assert verdict.phases == (1, 2, 1)
    assert verdict.acted == ("closed by time_exit from 08-06 12:00",)
    assert "phase 1, then 2, then 1; entries sent: none" in "\n".join(tell(verdict))


def test_what_a_scenario_says_of_filling_its_account_reaches_what_fills_it() -> None:
    asked = {name: asked_of(scenario(name)) for name in ("august-2024", "expiry-pin", "equity-50k")}
    assert asked == {
        "august-2024": {"shock": "2024-08-01"},
        "expiry-pin": {"shock": "2019-03-15", "pin": "2800"},
        "equity-50k": {"shock": "2019-04-01", "open_until": "2019-05-10"},
    }


@pytest.mark.long
def test_a_filled_account_goes_through_a_day_on_which_bids_disappear() -> None:
    assert app.run(["scenario", "one-sided"]) == 0
