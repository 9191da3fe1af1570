"""Journal lines, records and the page read back."""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import date, timedelta
from html.parser import HTMLParser

from reporting.report import Provenance, RunRecord, render, summarise
from reporting.rows import EquityPoint, parse_journal

POSITION = "friday_0dte-20080111-1"
ORIGIN = "friday_0dte-20080111"
LEGS = [{"name": "P1400", "ratio": -1}, {"name": "P1380", "ratio": 1}]


def decision(day: str, outcome: str = "skip", rule: str = "vix_window", reason: str = "VIX is too low") -> str:
    """A ``decision`` line as the journal writes it."""
    row = {
        "time": f"{day}T10:30:00", "kind": "decision", "component": "coordinator", "reason": reason, "correlation": "",
        "strategy": "friday_0dte", "day": day, "outcome": outcome, "rule": rule, "limit": 22.0, "observed": 17.25,
        "vix": 17.25, "spot": 1400.0, "contracts": None,
    }  # fmt: skip
    return json.dumps(row)


def equity(day: str, value: float) -> str:
    """An ``equity`` line."""
    row = {
        "time": f"{day}T16:00:00", "kind": "equity", "component": "tracker", "reason": "close", "correlation": "",
        "day": day, "equity": value, "cash": value, "drawdown": 0.0, "phase": 4, "positions": 0, "margin_used": 0.0,
    }  # fmt: skip
    return json.dumps(row)


def row(kind: str, time: str, **values: object) -> str:
    """One line of a journal."""
    common = {"time": f"2008-01-11T{time}:00", "kind": kind, "component": "test", "reason": "", "correlation": ORIGIN}
    return json.dumps({**common, **values})


def order(
    time: str, action: str, limit: float, purpose: str = "entry", group: str = "group-1", **values: object
) -> str:
    """One step of an order group of the position."""
    return row(
        "order", time, group="group-1", position=POSITION, strategy="friday_0dte", action=action,
        purpose="entry", contracts=2, limit_cash=limit, legs=LEGS,
    )  # fmt: skip


def fill(time: str, contract: str, quantity: float, price: float) -> str:
    """One leg's fill of the entry."""
    return row(
        "fill", time, group="group-1", position=POSITION, strategy="friday_0dte", contract=contract, quantity=quantity,
        price=price, fee=2.0, bid=None, ask=price + 0.1,
    )  # fmt: skip


def exposure(day: str, power: float, low: float | None = None, name: str = "friday_0dte") -> str:
    """What a day used: dollars of buying power of 45,000 allowed, a tenth as many S&P 500 shares, one position."""
    used = {"positions": 1.0, "margin": power, "delta": power / 10, "gamma": -1.0, "vega": -20.0, "theta": None}
    limits = [
        {
            "rule": "buying_power",
            "limit": 45_000.0,
            "observed": power,
            "share": power / 45_000.0,
            "at": f"{day}T11:00:00",
        },
        {"rule": "short_volatility", "limit": 5.0, "observed": 1.0, "share": 0.2, "at": f"{day}T11:00:00"},
    ]
    lows = [] if low is None else [{"position": POSITION, "profit": low, "at": f"{day}T11:07:00"}]
    row = {
        "time": f"{day}T16:00:00", "kind": "exposure", "component": "diary", "reason": "session closed",
        "correlation": "", "day": day, "equity": 100_000.0, "margin_peak": power, "margin_peak_at": f"{day}T11:00:00",
        "margin_cap": 45_000.0, "looked": f"{day}T11:00:00", "delta": power / 10, "gamma": -1.0, "vega": -20.0,
        "theta": None, "strategies": {name: used}, "groups": {"A": used}, "limits": limits, "lows": lows,
    }  # fmt: skip
    return json.dumps(row)


def a_journal(profit: float = 300.0, contracts: int = 2) -> list[str]:
    """A run of three days with one trade: 2.55, 2.40 asked, 2.60 filled."""
    verdicts = [
        {"rule": "vix_regime", "answer": "allow"},
        {"rule": "sizing", "answer": "shrink", "contracts": 2, "reason": "budget 3750 allows 2"},
    ]
    taken = {**json.loads(decision("2008-01-11", "trade", "filled", "it moved")), "correlation": ORIGIN}
    return [
        equity("2008-01-10", 100_000.0),
        row("verdict", "10:30", strategy="friday_0dte", slot="", onto="", wanted=4, contracts=2, rule="sizing",
            verdicts=verdicts),
        order("10:30", "sent", 2.55),
        order("10:31", "repriced", 2.40),
        fill("10:32", "P1400", -2.0, 4.0),
        fill("10:32", "P1380", 2.0, 1.4),
        json.dumps({**taken, "contracts": contracts}),
        row("greeks", "10:32", strategy="friday_0dte", position=POSITION, delta=None, gamma=None, vega=None, theta=None,
            legs=[{"name": "P1400", "quantity": -2, "delta": -0.2134, "volatility": 0.1987},
                  {"name": "P1380", "quantity": 2, "delta": None, "volatility": None}]),
        row("trade_closed", "15:01", strategy="friday_0dte", position=POSITION, part="whole", ended=True,
            underlying="SPX", structure="put_spread", opened="2008-01-11T10:32:00", closed="2008-01-11T15:01:00",
            contracts=2, multiplier=100.0,
            legs=[{"name": "P1400", "ratio": -1, "strike": 1400.0, "right": "put", "expiry": "2008-01-11", "entry": 4.0,
                   "exit": 1.0},
                  {"name": "P1380", "ratio": 1, "strike": 1380.0, "right": "put", "expiry": "2008-01-11", "entry": 1.4,
                   "exit": None}],
            credit=520.0, cash_in=520.0, cash_out=profit + 4 - 520, fees=4.0, profit=profit, max_loss=3480.0,
            exit_rule="time_exit", underlying_entry=1420.0, underlying_exit=1425.5, vix_entry=23.0, vix_exit=22.5)
        .replace('"reason": ""', '"reason": "it is 15:00"'),
        equity("2008-01-11", 100_000.0 + profit),
        decision("2008-01-18"),
        equity("2008-01-18", 100_000.0 + profit),
    ]  # fmt: skip


def a_record(lines: list[str], **changes: object) -> RunRecord:
    """A run of January 2008 with the given journal."""
    journal = parse_journal(lines)
    values: dict[str, object] = {
        "title": "Test run", "start": date(2008, 1, 1), "end": date(2008, 1, 31), "journal": journal,
        "equity": journal.equity, "provenance": Provenance("hand-made", ("nothing",), ("all",), ("anything",)),
        "settings": "run.seed = 1",
    }  # fmt: skip
    return RunRecord(**{**values, **changes})  # type: ignore[arg-type]


def path_of(returns: list[float], start: float = 100.0) -> list[EquityPoint]:
    """Session closes that give these daily returns."""
    values = [start]
    for change in returns:
        values.append(values[-1] * (1 + change))
    return [EquityPoint(date(2008, 1, 2) + timedelta(days=count), value) for count, value in enumerate(values)]


class PageReader(HTMLParser):
    """Collects what a page links to and checks that its elements nest."""

    VOID = frozenset({"meta", "br", "img", "input", "path", "polyline", "link"})

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.ids: set[str] = set()
        self.links: list[str] = []
        self.fetched: list[str] = []
        self.text: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        values: Mapping[str, str | None] = dict(attrs)
        if tag not in self.VOID:
            self.open.append(tag)
        if (identity := values.get("id")) is not None:
            assert identity not in self.ids, f"id {identity} twice"
            self.ids.add(identity)
        if tag == "a":
            self.links.append(values.get("href") or "")
        if tag in ("img", "link", "script", "iframe") and (values.get("src") or values.get("href")):
            self.fetched.append(tag)

    def handle_endtag(self, tag: str) -> None:
        if tag not in self.VOID:
            assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.text.append(data)


def read_page(record: RunRecord) -> PageReader:
    """Render a record and read it back."""
    reader = PageReader()
    reader.feed(render(record, summarise(record)))
    assert reader.open == []
    return reader
