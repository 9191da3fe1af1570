"""At-the-money volatilities of chain files, whatever the order of their rows: LEAN's own files are in several."""

# Private: _around_a_month: a day's file is given to it row by row, in orders that the modelled market never writes.

from __future__ import annotations

from collections.abc import Iterator
from datetime import date, datetime
from types import SimpleNamespace
from typing import Any

import pytest

from core.gateway import ImpliedClose
from tests.core.embedded_names import on_embedded_names

DAY, CLOSE = date(2018, 11, 20), 100.0
NEAR, FAR, LONG = date(2018, 12, 19), date(2018, 12, 21), date(2019, 3, 15)  # 29, 31 and 115 days away
LEVELS = {date(2018, 11, 23): 0.10, NEAR: 0.20, FAR: 0.22, LONG: 0.30}


@pytest.fixture
def names(monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """The gateway's module of names on the embedded engine's own."""
    with on_embedded_names(monkeypatch, "core.lean_gateway_orders") as module:
        yield module


def rows() -> list[Any]:
    """41 strikes from 80 to 120, a call and a put each: at 100 the expiry's level and two points more, 9 elsewhere."""
    made = []
    for expiry, level in LEVELS.items():
        for strike in range(80, 121):
            for right, more in (("C", 0.0), ("P", 0.02)):
                identifier = SimpleNamespace(
                    date=datetime(expiry.year, expiry.month, expiry.day), strike_price=strike, option_right=right
                )
                volatility = level + more if strike == 100 else 9.0
                made.append(SimpleNamespace(id=identifier, implied_volatility=volatility))
    return made


def by_right(row: Any) -> tuple[str, datetime, float]:
    return row.id.option_right, row.id.date, row.id.strike_price


def scattered(row: Any) -> tuple[float, str, datetime]:
    """As a hash table might have them: by the last digit of 7 times the strike."""
    return row.id.strike_price * 7 % 10, row.id.option_right, row.id.date


def falling(row: Any) -> float:
    return -float(row.id.strike_price)


@pytest.mark.parametrize(
    "ordered",
    [
        rows(),
        sorted(rows(), key=by_right),
        [rows()[-1], *rows()[:-1]],
        sorted(rows(), key=scattered),
        sorted(sorted(rows(), key=falling), key=lambda row: row.id.date),
        sorted(rows(), key=lambda row: (row.id.strike_price, row.id.date)),
        sorted(rows(), key=lambda row: (row.id.date, row.id.option_right)),
        [*rows()[40:], *rows()[:40]],
    ],
    ids=[
        "ours",
        "calls before puts",
        "last first",
        "scattered",
        "strikes fall",
        "by strike",
        "calls first",
        "begun later",
    ],
)
def test_the_order_of_a_file_changes_nothing(names: Any, ordered: list[Any]) -> None:
    found = list(names._around_a_month(SimpleNamespace(data=ordered), DAY, CLOSE))
    # 29 days: (0.20 + 0.22) / 2 = 0.21; 31 days: (0.22 + 0.24) / 2 = 0.23
    assert [(row.day, row.expiry) for row in found] == [(DAY, NEAR), (DAY, FAR)]
    assert [row.volatility for row in found] == pytest.approx([0.21, 0.23])
    assert all(isinstance(row, ImpliedClose) for row in found)


def test_volatilities_are_asked_for_from_the_nearest_strike_outwards(names: Any) -> None:
    """At 100 there are none; those beside it are 9 each, and nobody asks for another."""
    asked = set()

    class Asked:
        def __init__(self, row: Any) -> None:
            self.id = row.id

        @property
        def implied_volatility(self) -> float:
            asked.add(self.id.strike_price)
            return 0.0 if self.id.strike_price == 100 else 9.0

    found = list(names._around_a_month(SimpleNamespace(data=[Asked(row) for row in rows()]), DAY, CLOSE))
    assert [(row.expiry, row.volatility) for row in found] == [(NEAR, 9.0), (FAR, 9.0)]
    assert asked == {99, 100, 101}


def test_of_a_file_in_order_few_rows_are_read(names: Any) -> None:
    class Counted(list[Any]):
        read = 0

        def __getitem__(self, place: Any) -> Any:
            self.read += 1
            return super().__getitem__(place)

    counted = Counted(rows())
    assert len(list(names._around_a_month(SimpleNamespace(data=counted), DAY, CLOSE))) == 2
    assert counted.read < len(counted) * 0.8  # 328 rows; of a real chain's thousands the same two hundred are read
