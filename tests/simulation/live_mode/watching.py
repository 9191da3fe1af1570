"""A session of the embedded live mode by hand-written minutes, with an algorithm that notes what it is told."""

from __future__ import annotations

from datetime import datetime
from pathlib import Path
from typing import Any

from simulation.lean.enums import OptionRight, OptionStyle
from simulation.lean.symbols import Symbol
from simulation.live_mode.account import LiveAccount
from simulation.live_mode.session import LiveRequest, LiveSession
from simulation.live_mode.threads import Pace
from tests.simulation.playing import FRIDAY, MONDAY, Market, at

ALGORITHM = """
from AlgorithmImports import *


class Watcher(QCAlgorithm):
    def initialize(self):
        self.told, self.quotes, self.tickets = [], [], []
        self.settings.seed_initial_prices = False
        self.spy = self.add_equity("SPY", Resolution.MINUTE, data_normalization_mode=DataNormalizationMode.RAW).symbol
        expiry = datetime(2024, 7, 12)
        self.option = Symbol.create_option("SPY", "usa", OptionStyle.AMERICAN, OptionRight.PUT, 400.0, expiry)
        self.contract = self.add_option_contract(self.option, Resolution.MINUTE)
        self.schedule.on(self.date_rules.every_day(self.spy), self.time_rules.at(9, 35), self.by_schedule)

    def by_schedule(self):
        self.told.append(("schedule", self.time))
        if self.get_parameter("order"):
            self.tickets.append(self.limit_order(self.option, -1, float(self.get_parameter("order")), tag="mine"))
            self.told.append((str(self.tickets[0].status), self.time))

    def on_data(self, data):
        self.told.append(("data", self.time))
        bar = self.contract.cache.get_data(QuoteBar)
        if bar is not None:
            side = None if bar.bid is None else bar.bid.close
            self.quotes.append((self.time, side, bar.last_bid_size, bar.end_time))

    def on_order_event(self, event):
        self.told.append((f"{event.order_id} {event.status} {event.message}", self.time))

    def on_command(self, data):
        self.told.append((f"command {data.command} {data.subject}", self.time))
        return data.command == "yes"

    def on_brokerage_reconnect(self):
        self.told.append(("reconnect", self.time))

    def on_end_of_algorithm(self):
        self.told.append(("end", self.time))
"""
OPTION = Symbol.create_option("SPY", "usa", OptionStyle.AMERICAN, OptionRight.PUT, 400.0, FRIDAY)


def market() -> Market:
    """Shares at 400 from 9:31; the put is bid 2.00 until 9:40, and never after."""
    made = Market()
    share = Symbol.create("SPY", OPTION.underlying.security_type, "usa")
    for minute in range(31, 60):
        made.trade(share, at(f"9:{minute}"), 400.0)
        made.quote(OPTION, at(f"9:{minute}"), 2.0 if minute <= 40 else 0.0, 2.1)
    return made


def session(tmp_path: Path, account: LiveAccount | None = None, rate: float = 0.0, **parameters: str) -> LiveSession:
    """A session that has not started."""
    file = tmp_path / "main.py"
    file.write_text(ALGORITHM, encoding="utf-8")
    held = LiveAccount() if account is None else account
    return LiveSession(LiveRequest(file, market(), parameters, tmp_path / "store", held, seed=5, pace=Pace(rate)))


def moment(clock: str) -> datetime:
    """A New York time of the Monday: "9:30:15"."""
    hour, minute, second = (int(part) for part in clock.split(":"))
    return datetime(MONDAY.year, MONDAY.month, MONDAY.day, hour, minute, second)


def algorithm(live: LiveSession) -> Any:
    """The algorithm of the running process."""
    return live.alive.algorithm


def told(live: LiveSession) -> list[str]:
    """What it was told, without the data."""
    return [text for text, _ in algorithm(live).told if text != "data"]
