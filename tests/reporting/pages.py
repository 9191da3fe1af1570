"""Journal lines, records and the page read back."""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import date, timedelta
from html.parser import HTMLParser

from reporting.report import Provenance, RunRecord, render, summarise
from reporting.rows import EquityPoint, parse_journal


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
