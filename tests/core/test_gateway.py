"""The LEAN gateway on the embedded engine: signs, names, times, subscriptions and refusals, as LEAN sees them."""

# Private: _options, _names: a contract is put there that no engine subscribed; _in_new_york: two clocks.

from __future__ import annotations

import json
import sys
from collections.abc import Iterable, Iterator
from dataclasses import replace
from datetime import date, datetime, timedelta
from types import SimpleNamespace
from typing import Any

import pytest

from core.contracts import Contract, Quote, Right
from core.gateway import DailyBar, OrderRefusedError, Session
from core.instruments import INSTRUMENTS, contract_named
from simulation.market.source import ModelledMarket
from simulation.runner import RunRequest, run_backtest
from tests.core.embedded_names import on_embedded_names

PROBE = """
import json, os
from datetime import date, datetime
from pathlib import Path
from AlgorithmImports import *
from core.contracts import Leg as OurLeg, Package, Right
from core.gateway import OrderRefusedError
from core.lean_gateway import LeanGateway, prepare


class Probe(QCAlgorithm):
    def initialize(self):
        self.set_start_date(2018, 11, 21)
        self.set_end_date(2018, 11, 26)
        self.set_cash(100000)
        prepare(self, own_margin=True)
        self.desk = LeanGateway(self)
        self.desk.watch(("VIX", "SPY", "SPX"))
        self.seen, self.events = {}, []
        self.at(21, 10, 0, self.look)
        self.at(21, 10, 5, self.trade)
        self.at(21, 10, 7, self.after)
        self.at(23, 10, 0, self.half_day)

    def at(self, day, hour, minute, act):
        self.schedule.on(self.date_rules.on(2018, 11, day), self.time_rules.at(hour, minute), act)

    def look(self):
        days = [date(2018, 11, day) for day in (21, 22, 23, 24)]
        sessions = [self.desk.session(day) for day in days]
        tick = self.desk.tick("SPX")
        self.seen["sessions"] = [
            None if row is None else [str(row.opens_at), str(row.closes_at), row.is_half_day] for row in sessions
        ]
        self.seen["tick"] = [str(tick.fresh_at), tick.low <= tick.price <= tick.high]
        self.seen["last_bar"] = [str(self.desk.daily_bars(name, 3)[-1].day) for name in ("SPX", "SPY", "VIX")]
        self.rows = self.desk.chain("SPXW", (date(2018, 11, 21), date(2018, 11, 21)))
        self.seen["chain"] = [len(self.rows) > 50, {row.expiry.isoformat() for row in self.rows} == {"2018-11-21"}]
        puts = [row for row in self.rows if row.right is Right.PUT]
        near = min(range(len(puts)), key=lambda at: abs(puts[at].strike - tick.price))
        self.short, self.wing = puts[near - 2], puts[near - 8]
        self.desk.subscribe((self.short, self.wing))
        quote = self.desk.quote(self.short)
        self.seen["seeded"] = quote is not None and quote.bid < quote.ask
        self.seen["implied"] = [self.implied(root) for root in ("SPX", "SPY")]
        self.seen["implied_of_futures"] = list(self.desk.implied_closes("ES", 3))

    def implied(self, root):
        rows = self.desk.implied_closes(root, 3)
        close, checked = self.desk.daily_bars(root, 3)[-1].close, []
        for row in (row for row in rows if row.day == rows[-1].day):
            listed = self.desk.chain(root, (row.expiry, row.expiry))
            strike = min((one.strike for one in listed), key=lambda one: abs(one - close))
            both = [self.desk.listing(one, close=False).volatility for one in listed if one.strike == strike]
            checked.append([row.volatility, sum(both) / 2, len(both)])
        return [[[str(row.day), (row.expiry - row.day).days] for row in rows], checked]

    def trade(self):
        package = Package((OurLeg(self.short, -1), OurLeg(self.wing, 1)))
        natural = self.desk.quote(self.short).bid - self.desk.quote(self.wing).ask
        self.ids = self.desk.send(package, 2, round(natural - 0.5, 2), "group-1")
        order = self.transactions.get_order_by_id(self.ids[0])
        self.seen["sent"] = [order.group_order_manager.limit_price < 0, order.quantity, order.tag]
        self.seen["open"] = [[row.name, row.quantity, row.tag] for row in self.desk.open_orders()]
        self.desk.release((self.short,))
        self.seen["kept_while_ordered"] = self.desk.quote(self.short) is not None
        self.seen["repriced"] = self.desk.reprice(self.ids, round(natural - 1.0, 2), "group-1")
        self.seen["limit"] = round(natural - 1.0, 2)

    def after(self):
        self.seen["held"] = [[row.name, row.quantity] for row in self.desk.holdings()]
        reserved = self.portfolio.total_portfolio_value - self.portfolio.margin_remaining
        self.seen["margin"] = [round(self.portfolio.total_margin_used, 2), round(reserved, 2)]
        self.desk.release((self.short, self.wing))
        self.seen["fees"] = round(self.portfolio.total_fees, 2)
        self.seen["kept_while_held"] = self.desk.quote(self.wing) is not None
        self.seen["reprice_done"] = self.desk.reprice(self.ids, 0.05, "late")
        single = Package((OurLeg(self.wing, -1),))
        ids = self.desk.send(single, 1, -3.0, "group-2")
        order = self.transactions.get_order_by_id(ids[0])
        self.seen["single"] = [order.quantity, order.limit_price]
        self.desk.cancel(ids, "group-2")
        try:
            self.desk.send(Package((OurLeg(self.short, 2), OurLeg(self.wing, -2))), 1, 1.0, "unreduced")
        except OrderRefusedError as error:
            self.seen["refused"] = bool(str(error))

    def half_day(self):
        self.seen["stale_chain"] = len(self.desk.chain("SPXW", (date(2018, 11, 21), date(2018, 11, 21))))
        path = self.desk.store_path("tomking/probe.jsonl")
        path.write_text("x")
        self.seen["stored"] = self.object_store.contains_key("tomking/probe.jsonl")

    def on_order_event(self, event):
        self.events.append([self.desk.name_of(event.symbol), str(event.status)])

    def on_end_of_algorithm(self):
        self.seen["names"] = [self.short.name, self.wing.name]
        self.seen["settled"] = [list(map(str, row)) for row in self.events[-3:]]
        Path(self.get_parameter("out")).write_text(json.dumps(self.seen))
"""


@pytest.fixture(scope="module")
def seen(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    folder = tmp_path_factory.mktemp("gateway")
    (folder / "probe.py").write_text(PROBE, encoding="utf-8")
    market = ModelledMarket.from_history("history", seed=1)
    out = folder / "seen.json"
    result = run_backtest(RunRequest(folder / "probe.py", market, {"out": str(out)}, None, folder / "store"))
    assert result.error is None
    found: dict[str, Any] = json.loads(out.read_text(encoding="utf-8"))
    return found


def test_sessions_with_holiday_half_day_and_weekend(seen: dict[str, Any]) -> None:
    assert seen["sessions"] == [
        ["2018-11-21 09:30:00", "2018-11-21 16:00:00", False],
        None,
        ["2018-11-23 09:30:00", "2018-11-23 13:00:00", True],
        None,
    ]


def test_ticks_are_in_new_york_and_history_ends_yesterday(seen: dict[str, Any]) -> None:
    assert seen["tick"] == ["2018-11-21 10:00:00", True]
    assert seen["last_bar"] == ["2018-11-20"] * 3


def test_chain_and_nothing_seeded(seen: dict[str, Any]) -> None:
    assert seen["chain"] == [True, True]
    assert seen["seeded"] is False  # the first quote comes with the next minute
    assert seen["stale_chain"] == 0


def test_implied_closes_are_the_chain_files_at_the_money(seen: dict[str, Any]) -> None:
    for rows, checked in seen["implied"]:
        assert list(dict.fromkeys(day for day, _ in rows)) == ["2018-11-16", "2018-11-19", "2018-11-20"]
        for day in {day for day, _ in rows}:
            ends = [left for one, left in rows if one == day]
            assert all(7 <= left <= 65 for left in ends)
            assert ends == sorted(ends)
            assert ends[-1] >= 30 > (ends[0] if len(ends) == 2 else 0)
        for value, mean, count in checked:  # of the newest file, what the day's own chain says
            assert count == 2
            assert value == pytest.approx(mean)
            assert 0.05 < value < 0.5
    assert seen["implied_of_futures"] == []


def test_a_credit_is_a_negative_limit_with_a_positive_quantity(seen: dict[str, Any]) -> None:
    negative, quantity, tag = seen["sent"]
    assert negative
    assert (quantity, tag) == (-2, "group-1")
    short, wing = seen["names"]
    assert sorted(seen["open"]) == sorted([[short, -2.0, "group-1"], [wing, 2.0, "group-1"]])


def test_ordered_and_held_contracts_are_never_removed(seen: dict[str, Any]) -> None:
    assert seen["kept_while_ordered"]
    assert seen["kept_while_held"]
    short, wing = seen["names"]
    assert sorted(seen["held"]) == sorted([[short, -2.0], [wing, 2.0]])


def test_nothing_is_reserved_by_leans_own_margin(seen: dict[str, Any]) -> None:
    # Two verticals are held: LEAN's groups would reserve their widths beside the options' own (recording p17).
    assert seen["margin"] == [0.0, 0.0]


def test_fees_are_the_brokers(seen: dict[str, Any]) -> None:
    # tastytrade opens an option for 1.00 a contract: 2 packages x 2 legs x 1.00 (lean-facts, section 5). An initializer
    # that replaced the brokerage's own would leave LEAN's default fees instead.
    assert seen["fees"] == pytest.approx(4.00)


def test_repricing_works_while_it_works(seen: dict[str, Any]) -> None:
    assert seen["repriced"] is True
    assert seen["reprice_done"] is False


def test_a_single_leg_is_a_plain_limit_at_a_tick(seen: dict[str, Any]) -> None:
    assert seen["single"] == [-1, 0.05]  # selling at any price is a limit of one step, never negative


def test_an_unreduced_ratio_is_refused(seen: dict[str, Any]) -> None:
    assert seen["refused"] is True


def test_store_and_settlement(seen: dict[str, Any]) -> None:
    assert seen["stored"] is True
    assert {row[1] for row in seen["settled"]} >= {"FILLED"}


def test_the_probe_day_was_an_expiry(seen: dict[str, Any]) -> None:
    assert date(2018, 11, 21).strftime("%y%m%d") in seen["names"][0]


NOON = datetime(2024, 3, 8, 12)


@pytest.fixture
def lean_gateway(monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """The module of the gateway on the embedded engine's names, for what no run shows."""
    with on_embedded_names(monkeypatch, "core.lean_gateway") as module:
        yield module


def quoted(module: Any, bar: Any) -> Any:
    """What the gateway makes of a last quote bar."""
    cache = SimpleNamespace(get_data=lambda _kind: bar)
    desk = module.LeanGateway(SimpleNamespace(time=NOON))
    desk._options["X"] = SimpleNamespace(cache=cache, local_time=NOON, bid_price=2.0, ask_price=2.2)
    return desk.quote(SimpleNamespace(name="X"))


def side(close: float) -> Any:
    return SimpleNamespace(close=close)


@pytest.mark.parametrize(
    ("bid", "ask", "sizes", "expected"),
    [
        (side(2.0), side(2.2), (5.0, 7.0), (2.0, 2.2, 5.0, 7.0)),
        (None, side(2.2), (0.0, 7.0), (None, 2.2, None, 7.0)),
        (side(2.0), None, (5.0, 0.0), (2.0, None, 5.0, None)),
        (side(0.0), side(2.2), (5.0, 7.0), (None, 2.2, 5.0, 7.0)),
        # The engine completed the side from the bar before: its price is there, its size is not.
        (side(2.0), side(2.2), (0.0, 7.0), (None, 2.2, None, 7.0)),
        (side(2.0), side(2.2), (5.0, 0.0), (2.0, None, 5.0, None)),
        # A feed without any sizes says nothing about its sides.
        (side(2.0), side(2.2), (0.0, 0.0), (2.0, 2.2, None, None)),
        (None, None, (0.0, 0.0), None),
    ],
)
def test_a_side_that_the_last_bar_does_not_show_is_missing(
    lean_gateway: Any, bid: Any, ask: Any, sizes: tuple[float, float], expected: tuple[Any, ...] | None
) -> None:
    bar = SimpleNamespace(bid=bid, ask=ask, last_bid_size=sizes[0], last_ask_size=sizes[1], end_time=NOON)
    found = quoted(lean_gateway, bar)
    assert found == (None if expected is None else Quote(expected[0], expected[1], NOON, *expected[2:]))


def test_a_clock_that_moves_between_two_looks_shifts_no_bar(lean_gateway: Any) -> None:
    """Live another thread moves it: New York is read 0.3 s before Chicago, the shift is an hour all the same."""
    desk = lean_gateway.LeanGateway(SimpleNamespace(time=datetime(2024, 3, 8, 10, 30, 0, 100)))
    security = SimpleNamespace(local_time=datetime(2024, 3, 8, 9, 30, 0, 300_100))
    assert desk._in_new_york(datetime(2024, 3, 8, 8, 30), security) == datetime(2024, 3, 8, 9, 30)


def test_before_the_first_bar_and_for_what_nobody_subscribed_there_is_no_quote(lean_gateway: Any) -> None:
    assert quoted(lean_gateway, None) is None
    assert lean_gateway.LeanGateway(SimpleNamespace(time=NOON)).quote(SimpleNamespace(name="X")) is None


@pytest.mark.parametrize("live", [True, False])
def test_a_live_account_hears_of_orders_from_outside_and_is_judged_once_it_was_loaded(
    lean_gateway: Any, monkeypatch: pytest.MonkeyPatch, live: bool
) -> None:
    class Default:
        def __init__(self, owner: Any) -> None:
            self.owner = owner

    handlers: list[Any] = []
    taken: list[Any] = []
    locked = [False]
    algorithm = SimpleNamespace(
        time=NOON, live_mode=live, settings=SimpleNamespace(), get_locked=lambda: locked[0],
        set_brokerage_model=lambda *_: None, add_security_initializer=lambda _: None,
        set_brokerage_message_handler=handlers.append, portfolio=SimpleNamespace(set_positions=taken.append),
    )  # fmt: skip
    monkeypatch.setattr(sys.modules["AlgorithmImports"], "DefaultBrokerageMessageHandler", Default, raising=False)
    lean_gateway.prepare(algorithm, False)
    assert taken == []  # LEAN's own margin stays where it is asked for
    handlers.clear()
    lean_gateway.prepare(algorithm, True)
    assert taken == [sys.modules["AlgorithmImports"].SecurityPositionGroupModel.NULL]
    assert [(row.owner, row.handle_order(None)) for row in handlers] == ([(algorithm, True)] if live else [])
    desk = lean_gateway.LeanGateway(algorithm)
    assert desk.answers_at_once() is not live
    assert desk.broker_seen() is not live  # live holdings are loaded after initialize ...
    locked[0] = True
    assert desk.broker_seen()  # ... and before the algorithm is locked


def test_an_order_for_shares_is_sent_and_moved_at_a_cent_or_refused_by_name(lean_gateway: Any) -> None:
    status, sent, updates = sys.modules["AlgorithmImports"].OrderStatus, [], []

    def update(fields: Any) -> Any:
        updates.append((fields.limit_price, fields.tag))
        return SimpleNamespace(is_success=True)

    no = SimpleNamespace(response=SimpleNamespace(error_message="no"))
    names: Any = sys.modules["AlgorithmImports"]
    spy = names.Symbol.create("SPY", names.SecurityType.EQUITY, names.Market.USA)
    ticket = SimpleNamespace(status=status.SUBMITTED, order_id=7, submit_request=no, update=update, symbol=spy)

    def limit_order(symbol: str, quantity: int, price: float, tag: str) -> Any:
        if quantity == 0:
            raise RuntimeError("quantity is zero\n   at a line of C#")
        sent.append((symbol, quantity, price, tag))
        return ticket

    known = {7: ticket}
    desk = lean_gateway.LeanGateway(
        SimpleNamespace(limit_order=limit_order, transactions=SimpleNamespace(get_order_ticket=known.get))
    )
    desk._names.remember("SPY", "spy")
    assert desk.send_shares("SPY", -100, 499.987, "assigned shares") == 7
    assert sent == [("spy", -100, 499.99, "assigned shares")]
    assert desk.reprice_shares(7, 499.494, "assigned shares") is True
    assert updates == [(499.49, "assigned shares")]
    assert desk.reprice_shares(8, 499.0, "assigned shares") is False
    ticket.status = status.FILLED
    assert desk.reprice_shares(7, 499.0, "assigned shares") is False
    with pytest.raises(OrderRefusedError, match=r"^quantity is zero$"):
        desk.send_shares("SPY", 0, 1.0, "assigned shares")
    ticket.status = status.INVALID
    with pytest.raises(OrderRefusedError, match=r"^no$"):
        desk.send_shares("SPY", 1, 1.0, "assigned shares")


def test_an_order_that_the_engine_does_not_take_is_refused_and_a_single_leg_moves_at_a_tick(lean_gateway: Any) -> None:
    names: Any = sys.modules["AlgorithmImports"]
    status, updates = names.OrderStatus, []
    right, style, day = names.OptionRight.PUT, names.OptionStyle.EUROPEAN, datetime(2024, 3, 8)
    index = names.Symbol.create("SPX", names.SecurityType.INDEX, names.Market.USA)
    symbol = names.Symbol.create_option(index, "SPXW", names.Market.USA, style, right, 4950, day)

    def ticket(number: int, state: Any, quantity: int) -> Any:
        def update(fields: Any) -> Any:
            updates.append(fields.limit_price)
            return SimpleNamespace(is_success=number != 3)

        return SimpleNamespace(
            status=state, order_id=number, quantity=quantity, symbol=symbol, update=update, cancel=updates.append
        )

    found = {1: ticket(1, status.SUBMITTED, -2), 2: ticket(2, status.FILLED, 1), 3: ticket(3, status.SUBMITTED, 2)}
    desk = lean_gateway.LeanGateway(SimpleNamespace(transactions=SimpleNamespace(get_order_ticket=found.get)))
    assert desk.reprice((1,), 3.14, "g") is True  # sold: the tick at or below
    assert desk.reprice((3,), -3.14, "g") is False  # bought: the tick at or above; the engine refused it
    assert desk.reprice((1, 2), 1.0, "g") is False  # one leg is done
    assert updates == [3.1, 3.2, -1.0]
    desk.cancel((1, 2, 9), "why")
    assert updates[3:] == ["why"]


@pytest.mark.parametrize(
    ("name", "style"),
    [("SPXW 240308P4950", "EUROPEAN"), ("SPX 240315C5000", "EUROPEAN"), ("SPY 240308P495", "AMERICAN")],
)
def test_a_contract_remembered_over_a_restart_gets_its_symbol_back(lean_gateway: Any, name: str, style: str) -> None:
    names = sys.modules["AlgorithmImports"]
    desk = lean_gateway.LeanGateway(SimpleNamespace(time=NOON))
    for ticker, kind in (("SPX", names.SecurityType.INDEX), ("SPY", names.SecurityType.EQUITY)):
        desk._names.remember(ticker, names.Symbol.create(ticker, kind, names.Market.USA))
    contract = contract_named(name)
    assert contract is not None
    handle = desk._names.handle(contract)
    assert handle.id.option_style == getattr(names.OptionStyle, style)
    assert desk.name_of(handle) == name
    assert desk._names.contract(handle) == contract
    assert desk._names.handle(replace(contract, handle=handle)) is handle
    assert desk.name_of(desk._names.symbol("SPY")) == "SPY"


def test_only_european_options_lose_the_engine_s_assignment(lean_gateway: Any) -> None:
    # LEAN assigns European options before their end too (recording p06); an American one may be, and is.
    lean, initializers = sys.modules["AlgorithmImports"], list[Any]()
    algorithm = SimpleNamespace(
        live_mode=False, portfolio=SimpleNamespace(set_positions=lambda _: None),
        set_brokerage_model=lambda *_: None, add_security_initializer=initializers.append,
    )  # fmt: skip
    lean_gateway.prepare(algorithm, True)
    kinds = ((lean.SecurityType.INDEX_OPTION, "EUROPEAN", 1), (lean.SecurityType.OPTION, "AMERICAN", 0),
             (lean.SecurityType.FUTURE_OPTION, "AMERICAN", 0), (lean.SecurityType.EQUITY, "AMERICAN", 0))  # fmt: skip
    for kind, style, taken in kinds:
        models = list[Any]()
        symbol = SimpleNamespace(id=SimpleNamespace(option_style=getattr(lean.OptionStyle, style)))
        security = SimpleNamespace(
            type=kind, symbol=symbol, set_buying_power_model=lambda _: None,
            set_option_assignment_model=models.append, set_fill_model=lambda _: None,
        )  # fmt: skip
        initializers[0](security)
        assert len(models) == taken, kind


class Feed:
    """Options of an index whose own price does not come: mids by strike of calls and puts, quotes of now."""

    def __init__(self, mids: dict[float, tuple[float, float]]) -> None:
        self.mids, self.time, self.age = mids, datetime(2024, 3, 8, 10, 0), timedelta()
        self.asked = 0

    def now(self) -> datetime:
        return self.time

    def session(self, day: date) -> Session:
        return Session(day, datetime(2024, 3, 8, 9, 30), datetime(2024, 3, 8, 16, 0), False)

    def daily_bars(self, ticker: str, count: int) -> list[DailyBar]:
        del ticker
        return [DailyBar(date(2024, 3, 7), 5000.0, 5000.0, 5000.0, 5000.0)][:count]

    def chain(self, root: str, days: tuple[date, date]) -> list[Contract]:
        expiries = (days[0], days[1]) if root == "SPXW" else ()
        rights = (Right.CALL, Right.PUT)
        rows = [(expiry, strike, right) for expiry in expiries for strike in self.mids for right in rights]
        return [INSTRUMENTS[root].contract(expiry, strike, right, "handle") for expiry, strike, right in rows]

    def subscribe(self, contracts: Iterable[Contract]) -> None:
        self.asked += len(list(contracts))

    def quote(self, contract: Contract) -> Quote | None:
        if contract.expiry != date(2024, 3, 8):
            return None
        mid = self.mids[contract.strike][0 if contract.right is Right.CALL else 1]
        return None if mid <= 0 else Quote(mid - 0.1, mid + 0.1, self.time - self.age)


def test_an_index_s_level_is_the_median_of_its_pairs(lean_gateway: Any) -> None:
    """Strike + call - put: 4990 + 25.1 - 5.0 = 5010.1; 5000 + 17.0 - 7.2 = 5009.8; 5010 + 10.3 - 10.3 = 5010.0."""
    mids = {4990.0: (25.1, 5.0), 5000.0: (17.0, 7.2), 5010.0: (10.3, 10.3), 5020.0: (6.0, 0.0)}
    feed = Feed(mids)
    implied = lean_gateway.ImpliedIndex(feed)
    tick = implied.tick("SPX")
    assert (round(tick.price, 6), tick.implied, tick.fresh_at) == (5010.0, True, feed.time)
    assert implied.tick("SPX") is tick
    assert feed.asked == 8  # once a minute
    feed.time += timedelta(minutes=1)
    feed.age = timedelta(minutes=3)  # old quotes tell nothing: the level before stands, and grows old
    assert implied.tick("SPX").fresh_at == datetime(2024, 3, 8, 10, 0)
    assert implied.tick("SPY") is None  # no index
    feed.time = datetime(2024, 3, 9, 10, 0)
    assert implied.tick("SPX") is None  # another day


def test_two_pairs_tell_no_level(lean_gateway: Any) -> None:
    feed = Feed({4990.0: (25.1, 5.0), 5000.0: (17.0, 7.2), 5010.0: (10.3, 0.0)})
    assert lean_gateway.ImpliedIndex(feed).tick("SPX") is None
