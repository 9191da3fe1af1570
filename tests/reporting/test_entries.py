"""Why each part of a position was entered, against which limits, at which price: by its own decision and verdict."""

from __future__ import annotations

import json
from datetime import datetime
from typing import Any

import pytest

from reporting.fields import LimitNote
from reporting.lives import entry_facts, limit_words, lives_of, open_trades, own_limits, trade_anchor
from reporting.report import render, summarise
from reporting.rows import Trade, parse_journal
from reporting.trades import trade_list
from tests.reporting.pages import LEGS, ORIGIN, POSITION, a_journal, a_record

LEAP, WEEKLY = "leap", "weekly"


def changed(line: str, **values: object) -> str:
    """A line with other values."""
    return json.dumps({**json.loads(line), **values})


def two_parts() -> list[str]:
    """A position opened on the 11th with a part, and one more a week later; another strategy's event judged the first.

    The first part: VIX 23, 1,420 points; the second: VIX 17.25, 1,400 points, by the decision of its own minute.
    """
    lines = a_journal()
    rows: dict[str, list[str]] = {}
    for line in lines:
        rows.setdefault(json.loads(line)["kind"], []).append(line)
    verdict, taken, closed = rows["verdict"][0], rows["decision"][0], rows["trade_closed"][0]
    first = {"correlation": "lt112-20080111"}
    later: dict[str, Any] = {"time": "2008-01-18T09:46:00", "correlation": ORIGIN, "reason": "a second call"}
    steps = [changed(line, legs=LEGS) for line in rows["order"]]
    added = changed(steps[0], time="2008-01-18T09:45:00", group="group-9", purpose="adjust", limit_cash=0.91,
                    legs=[{"name": "C1450", "ratio": -1}])  # fmt: skip
    part = {
        "part": WEEKLY, "opened": "2008-01-18T09:46:00", "closed": "2008-01-22T15:34:00", "correlation": ORIGIN,
        "legs": [{"name": "C1450", "ratio": -1, "strike": 1450.0, "right": "call", "expiry": "2008-01-25",
                  "entry": 0.91, "exit": 0.2}],
    }  # fmt: skip
    told = [{"rule": "margin", "answer": "deny", "reason": "no room"}, {"rule": "phase", "answer": "allow"}]
    return [
        changed(verdict, **first), *steps, changed(taken, time="2008-01-11T10:32:00"), changed(closed, part=LEAP),
        changed(verdict, time="2008-01-18T09:45:00", onto=POSITION, slot="x", wanted=1, contracts=1, verdicts=told),
        added, changed(taken, **later), changed(closed, **part),
    ]  # fmt: skip


def facts(lines: list[str]) -> dict[str, dict[str, str]]:
    """By part what its card says of its entry."""
    journal = parse_journal(lines)
    life = lives_of(journal)[POSITION]
    return {trade.part: dict(entry_facts(trade, life, (), {"max_vix": "30"})) for trade in journal.trades}


def trades_of(lines: list[str]) -> dict[str, Trade]:
    """The closed trades by part."""
    return {trade.part: trade for trade in parse_journal(lines).trades}


def test_each_part_has_the_reason_and_the_rules_of_its_own_entry() -> None:
    found = facts(two_parts())
    assert found[LEAP]["Why it was entered"].startswith("it moved")
    assert found[LEAP]["Contracts"] == "4 wanted, 2 allowed"  # judged in another strategy's event of that minute
    assert found[LEAP]["Rules asked"] == "2, 1 bound"
    assert found[LEAP]["Bound by"] == "sizing shrink: budget 3750 allows 2"
    assert found[WEEKLY]["Why it was entered"].startswith("a second call")
    assert found[WEEKLY]["Contracts"] == "1 wanted, 1 allowed"
    assert found[WEEKLY]["Bound by"] == "margin deny: no room"
    assert found[WEEKLY]["Its own limits"] == "max vix 30"


def test_each_part_has_the_prices_of_its_own_entry() -> None:
    found = trades_of(two_parts())
    assert (found[LEAP].underlying_entry, found[LEAP].vix_entry) == (1420.0, 23.0)
    assert (found[WEEKLY].underlying_entry, found[WEEKLY].vix_entry) == (1400.0, 17.25)
    # Without a decision of its own they are unknown: those of the position's opening are of another day.
    without = [line for line in two_parts() if "a second call" not in line]
    assert (trades_of(without)[WEEKLY].underlying_entry, trades_of(without)[WEEKLY].vix_entry) == (None, None)
    assert trades_of(without)[LEAP].vix_entry == 23.0


def test_each_part_shows_its_own_orders() -> None:
    journal = parse_journal(two_parts())
    life = lives_of(journal)[POSITION]
    walks = {trade.part: [walk.group for walk in life.walks_of(trade)] for trade in journal.trades}
    assert walks == {LEAP: ["group-1"], WEEKLY: ["group-9"]}
    page = "".join(map(str, trade_list(journal, "friday_0dte.max_vix = 30 [number]")))
    assert "iron" not in page
    assert "(leap)" in page
    assert page.count("Adjust order") == 1
    assert "max vix 30" in page


def test_a_strategys_own_limits_and_a_limits_use_in_words() -> None:
    text = (
        "ratio.min_vix = 13 [number, at least 0]\nratio.full_exit_delta = 40 [number]\nratio.win_rate = 0.7 [number]\n"
        "diagonal.max_vix = 18 [number]\nratio.entry_time = 10:00:00 [time]\n"
    )
    assert own_limits("ratio", text) == {"min_vix": "13", "entry_time": "10:00:00"}
    assert own_limits("ratio", "") == {}
    note = LimitNote("positions", 10.0, 2.0, 0.2, datetime(2008, 1, 11))
    assert limit_words(note) == "2 of 10 (20 %)"


def test_why_a_part_was_entered_names_what_its_row_asks_and_what_was_found() -> None:
    weighed = [line for line in a_journal() if '"greeks"' in line]
    journal = parse_journal([*two_parts(), *weighed])
    life = lives_of(journal)[POSITION]
    first, later = journal.trades
    own = {"min_vix": "0 (default 22)", "max_vix": "200"}
    # Friday 2008-01-11 at 10:32, expiry on that day; the decision saw VIX 17.25, the put a delta of -0.2134.
    found = dict(entry_facts(first, life, (), own))["Why it was entered"]
    assert found.startswith("it moved")
    assert "Friday 10:32; VIX 17.25 (its row: 0 to 200); 0 days to expiry" in found
    assert "delta -0.21" in found.replace("\N{MINUS SIGN}", "-")
    # The second part's call was never weighed, and a VIX outside of the row's own window is told without it.
    own["min_vix"] = "18"
    second = dict(entry_facts(later, life, (), own))["Why it was entered"]
    assert "VIX 17.25; 7 days to expiry" in second
    assert "delta" not in second


def still_held() -> list[str]:
    """A condor's half sold on the 11th and not closed: 2 of SPXW 080215P1400 at 4.00, 2 of P1380 bought at 1.40."""
    names = {"P1400": "SPXW 080215P1400", "P1380": "SPXW 080215P1380"}
    lines = [line for line in a_journal() if '"trade_closed"' not in line]
    for old, new in names.items():
        lines = [line.replace(f'"{old}"', f'"{new}"') for line in lines]
    return lines


def test_what_is_open_at_the_end_has_its_card_and_its_day_leads_to_it() -> None:
    journal = parse_journal(still_held())
    (held,) = open_trades(journal, lives_of(journal))
    # (4.00 - 1.40) points x 2 contracts x 100 dollars; two fills at 2 dollars each.
    assert held.cash_in == pytest.approx(520.0)
    assert (held.fees, held.contracts) == (4.0, 2)
    assert [(leg.name, leg.ratio, leg.entry) for leg in held.legs] == [
        ("SPXW 080215P1400", -1, 4.0),
        ("SPXW 080215P1380", 1, 1.4),
    ]
    page = render(record := a_record(still_held()), summarise(record))
    assert "Still open at the end" in page
    assert f'id="open-{POSITION}"' in page
    assert f'href="#open-{POSITION}"' in page
    assert 'data-marks="Friday 0DTE|still open|2008-01|open|2008-01-11T10:32|0.00|' in page
    assert "Why it was closed" not in page
    assert "No trade was closed" in page


def test_what_expired_or_was_sold_again_is_not_open() -> None:
    # Closed by a trade without a closing fill, as at expiry; and bought back without a trade.
    ended = parse_journal(a_journal())
    assert open_trades(ended, lives_of(ended)) == ()
    back = [json.loads(line) for line in still_held() if '"fill"' in line]
    closing = [json.dumps({**one, "quantity": -one["quantity"], "group": "group-2"}) for one in back]
    bought = parse_journal([*still_held(), *closing])
    assert open_trades(bought, lives_of(bought)) == ()


def test_parts_of_a_position_have_places_of_their_own() -> None:
    anchors = {trade_anchor(trade) for trade in parse_journal(two_parts()).trades}
    assert anchors == {f"trade-{POSITION}-leap-200801111032", f"trade-{POSITION}-weekly-200801180946"}
