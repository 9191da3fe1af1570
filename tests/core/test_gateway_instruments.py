"""Every instrument of the rows through the gateway on the embedded engine: chains, quotes, orders, hours, futures."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import pytest

from core.instruments import INSTRUMENTS, contract_named, instrument_of
from simulation.market.source import ModelledMarket
from simulation.runner import RunRequest, run_backtest

PROBE = """
import json
from datetime import date, timedelta
from pathlib import Path
from AlgorithmImports import *
from core.contracts import Leg as OurLeg, Package, Right
from core.instruments import INSTRUMENTS, contract_named
from core.lean_gateway import LeanGateway, prepare

WANTED = {"SPXW": 0, "XSP": 0, "ES": 88, "LO": 95, "OG": 75, "OZB": 100, "EUU": 86}


class Probe(QCAlgorithm):
    def initialize(self):
        self.set_start_date(2016, 2, 9)
        self.set_end_date(2016, 2, 10)
        self.set_cash(1000000)
        prepare(self, own_margin=True)
        self.desk = LeanGateway(self)
        self.desk.watch(("SPY", "SPX", "VIX"))
        self.seen, self.picked, self.events = {}, {}, []
        for hour, minute, act in ((10, 0, self.look), (10, 1, self.quotes), (10, 2, self.trade), (10, 5, self.told)):
            self.schedule.on(self.date_rules.on(2016, 2, 9), self.time_rules.at(hour, minute), act)

    def look(self):
        today = date(2016, 2, 9)
        for root in INSTRUMENTS:
            ahead = WANTED.get(root, 45)
            first, last = today + timedelta(days=int(ahead * 0.75)), today + timedelta(days=ahead * 5 // 4 + 2)
            made = len(self.desk._names._contracts)
            days = self.desk.expiries(root, (first, last))
            made = len(self.desk._names._contracts) - made
            before = len(self.desk._names._contracts)
            rows = self.desk.chain(root, (first, last))
            row = self.seen[root] = {"listed": len(rows), "days": [str(day) for day in days], "made": made}
            if rows:  # by its name alone, before a contract of the chain was looked at
                named = contract_named(f"{root} {days[-1]:%y%m%d}P{rows.strikes[-1]:.10g}")
                row["by_name"] = [self.desk.listing(named) is not None, named == rows[-1]]
            row["made_by_chain"] = len(self.desk._names._contracts) - before
            row["strikes"] = rows.strikes == [contract.strike for contract in rows]
            row["of_rows"] = sorted({str(contract.expiry) for contract in rows})
            session = self.desk.session(today, root)
            row["session"] = [str(session.opens_at), str(session.closes_at), session.is_half_day]
            if not rows:
                continue
            by_expiry = {}
            for contract in rows:
                by_expiry.setdefault((contract.expiry, contract.right), []).append(contract)
            day = max({expiry for expiry, _ in by_expiry},
                      key=lambda expiry: (len(by_expiry.get((expiry, Right.PUT), ())), expiry))
            puts, calls = by_expiry.get((day, Right.PUT), []), by_expiry.get((day, Right.CALL), [])
            if len(puts) < 2 or len(calls) < 2:
                continue
            chosen = [puts[len(puts) // 2], puts[len(puts) // 2 + 1], calls[len(calls) // 2]]
            self.picked[root] = chosen
            listing = self.desk.listing(chosen[0])
            row["close"], row["volatility"] = listing.close, listing.volatility
            self.desk.subscribe(chosen)
            row["at_once"] = self.desk.quote(chosen[0]) is not None

    def quotes(self):
        for root, chosen in self.picked.items():
            row, quote = self.seen[root], self.desk.quote(chosen[0])
            tick = self.desk.tick(chosen[0].underlying.price_key)
            row["names"] = [contract.name for contract in chosen]
            row["key"] = chosen[0].underlying.price_key
            row["tick"] = None if tick is None else [tick.price, str(tick.fresh_at)]
            row["quote"] = None if quote is None else [quote.bid, quote.ask, str(quote.time)]

    def trade(self):
        for root, chosen in self.picked.items():
            row = self.seen[root]
            prices = [self.desk.quote(contract) for contract in chosen]
            if any(quote is None or quote.bid is None or quote.ask is None for quote in prices):
                row["no_quote"] = True
                continue
            credit = prices[0].bid + prices[2].bid
            package = Package((OurLeg(chosen[0], -1), OurLeg(chosen[2], -1)))
            row["asked"] = credit * 0.913
            group = self.desk.send(package, 1, row["asked"], root)
            single = self.desk.send(Package((OurLeg(chosen[1], 1),)), 1, -prices[1].ask * 1.037, root)
            orders = [self.transactions.get_order_by_id(number) for number in (*group, *single)]
            row["limits"] = [float(orders[0].group_order_manager.limit_price), float(orders[2].limit_price)]

    def told(self):
        self.seen["held"] = sorted([row.name, row.quantity] for row in self.desk.holdings())
        self.seen["front"] = {ticker: self.desk._names.key_of(ticker) for ticker in ("ES", "CL", "GC", "ZB", "6E")}
        self.seen["days"] = {ticker: [str(bar.day) for bar in self.desk.daily_bars(ticker, 60)][-2:]
                             for ticker in ("ES", "CL", "GC", "ZB", "6E", "TLT")}

    def on_order_event(self, event):
        self.events.append([self.desk.name_of(event.symbol), str(event.status), str(event.message)])

    def on_end_of_algorithm(self):
        self.seen["warned"] = [row for row in self.events if row[2]]
        self.seen["invalid"] = [row for row in self.events if row[1] == "INVALID"]
        Path(self.get_parameter("out")).write_text(json.dumps(self.seen))
"""


@pytest.fixture(scope="module")
def seen(tmp_path_factory: pytest.TempPathFactory) -> Mapping[str, Any]:
    folder = tmp_path_factory.mktemp("instruments")
    (folder / "probe.py").write_text(PROBE, encoding="utf-8")
    out = folder / "seen.json"
    market = ModelledMarket.from_history("history", seed=1)
    result = run_backtest(RunRequest(folder / "probe.py", market, {"out": str(out)}, None, folder / "store"))
    assert result.error is None
    found: dict[str, Any] = json.loads(out.read_text(encoding="utf-8"))
    return found


MODELLED = ("SPXW", "SPX", "SPY", "QQQ", "IWM", "TLT", "GLD", "USO", "FXE", "ES", "LO", "OG", "OZB", "EUU")


@pytest.mark.parametrize("root", MODELLED)
def test_chain_quote_and_price_of_every_root(seen: Mapping[str, Any], root: str) -> None:
    row = seen[root]
    contract = contract_named(row["names"][0])
    assert contract is not None
    assert instrument_of(contract) is INSTRUMENTS[root]
    assert row["key"] == contract.underlying.price_key
    bid, ask, quoted = row["quote"]
    assert 0 < bid < ask
    assert quoted == row["tick"][1] == "2016-02-09 10:01:00"
    assert row["close"] == pytest.approx((bid + ask) / 2, rel=0.5)
    assert (row["volatility"] is None) == (contract.underlying.month is not None)


@pytest.mark.parametrize("root", MODELLED)
def test_days_of_expiry_are_the_chain_s_and_cost_one_contract_each(seen: Mapping[str, Any], root: str) -> None:
    row = seen[root]
    assert row["days"] == row["of_rows"] != []
    assert row["made"] <= len(row["days"])
    assert row["listed"] > 20 * row["made"]
    assert row["by_name"] == [True, True]
    assert row["made_by_chain"] <= 1  # the one that was looked at; each day's first was known from its expiry
    assert row["strikes"]


@pytest.mark.parametrize("root", MODELLED)
def test_limits_leave_as_multiples_of_both_steps_and_lean_leaves_them_alone(seen: Mapping[str, Any], root: str) -> None:
    row = seen[root]
    if "limits" not in row:
        assert row["no_quote"]  # one of its legs had no bid
        return
    package, single = row["limits"]
    rule = INSTRUMENTS[root].ticks
    assert package == pytest.approx(-rule.limit(row["asked"]), abs=1e-9)
    step = rule.step(single)
    assert single / step == pytest.approx(round(single / step), abs=1e-6)


def test_no_order_was_rounded_or_refused(seen: Mapping[str, Any]) -> None:
    assert seen["warned"] == []
    assert seen["invalid"] == []


# Recording p13: the regular hours of CME, NYMEX and COMEX end at 17:00 New York, those of ZB and 6E are Chicago's
# 8:30 to 16:00.
@pytest.mark.parametrize("root", ["ES", "LO", "OG", "OZB", "EUU"])
def test_hours_of_an_exchange_in_new_york_time(seen: Mapping[str, Any], root: str) -> None:
    assert seen[root]["session"] == ["2016-02-09 09:30:00", "2016-02-09 17:00:00", False]


def test_front_contracts_and_their_daily_bars(seen: Mapping[str, Any]) -> None:
    # Recording p13: the first of each future chain on this day.
    assert seen["front"] == {"ES": "ESH16", "CL": "CLH16", "GC": "GCG16", "ZB": "ZBH16", "6E": "6EH16"}
    assert all(days == ["2016-02-05", "2016-02-08"] for days in seen["days"].values())


def test_a_root_that_the_data_does_not_have_is_an_empty_chain(seen: Mapping[str, Any]) -> None:
    assert {root for root in INSTRUMENTS if not seen[root]["listed"]} == {"XSP", "DIA", "SLV", "XLE", "XOP", "UNG"}
