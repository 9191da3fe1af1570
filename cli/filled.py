"""`main.py` with an account filled to the limits of risk before a shock: what ``python run.py scenario`` runs.

A made-up strategy stands in place of the rows. On the days before the shock (where the scenario says so: until a later
one) it offers more than any account may hold, each structure under its own slot, and risk's own word decides how much
of it opens. What is held is managed by the rules that the rows share: half of the credit, a loss of twice the credit,
21 days; what is to be pinned is held into its close. From the shock on the broker asks half as much margin again, and
sells at natural what the account cannot carry. ``sessions.json`` tells each session.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import date, time, timedelta
from typing import Final

from core.book import EntryIntent, Position
from core.contracts import Contract, Leg, Package, Right
from core.events import MarketData, MinutePassed, SessionClosed
from core.parts import Part, PartPlan, Terms, Trait, Urgency
from core.settings.fields import CircuitBreakerSettings, MarginSettings
from execution.executor import AtomicExecutor
from greeks.stress import StressEngine
from main import TomKing
from market.chains import OptionChainManager, current_quotes, package_price
from market.freshness import worth_at_most
from market.trend import TrendWatcher
from market.vix import UnifiedVIXManager
from risk.equity import SteadyEquity
from risk.group_risk import GroupRisk
from risk.manager import UnifiedRiskManager
from risk.margin import MarginFigures
from risk.proposal import Proposal
from strategies.base import (
    Action,
    Answer,
    Close,
    Deadline,
    EntryContext,
    Hold,
    HoldContext,
    Skip,
    Strategy,
    Wait,
    Window,
)
from strategies.exits import days_to_expiry, loss_of_credit, most_severe, profit_of_credit
from trading_system import TradingSystem

NAME: Final = "filler"
PUT, CALL = Right.PUT, Right.CALL
SOLD, ENDS_TODAY = frozenset({Trait.SHORT_VOLATILITY}), frozenset({Trait.SHORT_VOLATILITY, Trait.ENDS_TODAY})
STRANGLE = SOLD | {Trait.STRANGLE, Trait.SCALED_LIKE_STRANGLES}
HOUSE: Final = 1.5
MOST: Final = 50
"""Contracts that are asked for: more than risk gives."""


@dataclass(frozen=True, slots=True)
class Plan:
    """What a scenario is about: its shock, to which day more is offered, and the index level of what is pinned."""

    shock: date
    until: date
    pin: float | None

    @property
    def offers(self) -> Mapping[str, Offer]:
        """What is offered, by slot; what is pinned comes first."""
        return OFFERS if self.pin is None else {**PINNED, **OFFERS}

    @staticmethod
    def of(given: dict[str, str]) -> Plan:
        """Of parameters, which are taken out of those given."""
        shock, pin = date.fromisoformat(given.pop("shock")), given.pop("pin", "")
        until = given.pop("open_until", "") or (shock - timedelta(days=1)).isoformat()
        return Plan(shock, date.fromisoformat(until), float(pin) if pin else None)


@dataclass(frozen=True, slots=True)
class Wanted:
    """A leg by what it should be: right, distance from the price as a share of it, signed ratio."""

    right: Right
    distance: float
    ratio: int


@dataclass(frozen=True, slots=True)
class Offer:
    """What is offered under a slot: an option root, days to expiry, parts, and what they are.

    ``pinned``: distances are from the scenario's pin, which is ``pinned`` times the root's price; it expires on the day
    of the shock and is held into its close.
    """

    root: str
    days: int
    parts: Mapping[str, tuple[Wanted, ...]]
    traits: frozenset[Trait] = SOLD
    pinned: float | None = None


def _lt112(root: str, days: int) -> Offer:
    spread, naked = (Wanted(PUT, -0.05, 1), Wanted(PUT, -0.06, -1)), (Wanted(PUT, -0.12, -2),)
    return Offer(root, days, {"spread": spread, "naked": naked})


def _strangle(root: str, days: int, down: float, up: float) -> Offer:
    return Offer(root, days, {"whole": (Wanted(PUT, -down, -1), Wanted(CALL, up, -1))}, STRANGLE)


_CONDOR = (Wanted(PUT, -0.010, -1), Wanted(PUT, -0.016, 1), Wanted(CALL, 0.010, -1), Wanted(CALL, 0.016, 1))

OFFERS: Final[Mapping[str, Offer]] = {
    "lt112-index": _lt112("SPXW", 90),
    "lt112": _lt112("SPY", 90),
    "strangle-spy": _strangle("SPY", 60, 0.09, 0.07),
    "puts-spy": Offer("SPY", 75, {"whole": (Wanted(PUT, -0.10, -1),)}),
    "puts-es": Offer("ES", 90, {"whole": (Wanted(PUT, -0.12, -1),)}),
    "strangle-es": _strangle("ES", 60, 0.12, 0.08),
    "ratio-iwm": Offer("IWM", 45, {"whole": (Wanted(PUT, -0.04, 1), Wanted(PUT, -0.08, -2))}),
    "strangle-cl": _strangle("LO", 60, 0.20, 0.20),
    "strangle-tlt": _strangle("TLT", 60, 0.07, 0.07),
    "strangle-6e": _strangle("EUU", 60, 0.04, 0.04),
    "condor": Offer("SPXW", 0, {"whole": _CONDOR}, ENDS_TODAY),
}

PINNED: Final[Mapping[str, Offer]] = {
    "fly-pinned": Offer(
        "SPXW",
        0,
        {"whole": (Wanted(PUT, 0.0, -1), Wanted(PUT, -0.014, 1), Wanted(CALL, 0.0, -1), Wanted(CALL, 0.014, 1))},
        SOLD | {Trait.SHORT_DATED},
        1.0,
    ),
    "puts-pinned": Offer(
        "SPY", 0, {"whole": (Wanted(PUT, 0.0, -1), Wanted(PUT, -0.018, 1))}, SOLD | {Trait.SHORT_DATED}, 10.0
    ),
}

_RULES = (profit_of_credit(0.5), loss_of_credit(2.0), days_to_expiry(21))


class Filler(Strategy):
    """Offers all of it on each day before the shock, and the condor on the day itself."""

    name = NAME

    def __init__(self, system: TradingSystem, plan: Plan) -> None:
        self._system = system
        self._chains = system.managers[OptionChainManager]
        self._plan = plan

    def entry_windows(self) -> tuple[Window, ...]:
        """Every weekday at ten."""
        return (Window("open", (0, 1, 2, 3, 4), time(10, 0), time(10, 20)),)

    def deadlines(self) -> tuple[Deadline, ...]:
        """None of its own."""
        return ()

    def slots(self, window: str) -> tuple[str, ...]:
        """One an offer."""
        return tuple(self._plan.offers)

    def propose(self, context: EntryContext, rank: int) -> Answer:
        """An offer of the slot, as large as risk lets it be."""
        offer, plan = self._plan.offers[context.slot], self._plan
        last = max(plan.until, plan.shock) if Trait.ENDS_TODAY in offer.traits else plan.until
        if context.today > last or (offer.pinned and context.today >= plan.shock):
            return Skip("shock", "filled before")
        if context.vix is None:
            return Skip("vix", "nobody knows the VIX")
        return self._proposal(context.slot, offer, context)

    def still_wanted(self, entry: EntryIntent, brings: float, context: EntryContext) -> Skip | None:
        """Until it is filled."""
        return None

    def manage(self, position: Position, context: HoldContext) -> Action | tuple[Action, ...]:
        """By part; an LT112's spread stays as a hedge until 21 days are left."""
        if self._plan.offers[position.slot].pinned:
            return Hold()
        found = [(part.name, self._answer(part, context)) for part in position.parts]
        return tuple(replace(answer, parts=(name,)) for name, answer in found if answer is not None) or Hold()

    def _answer(self, part: Part, context: HoldContext) -> Close | None:
        if part.expiry == context.now.date():
            session = self._system.gateway.session(part.expiry)
            out = context.now if session is None else session.closes_at - timedelta(hours=1)
            late = Close("time_exit", f"{out:%H:%M}", Urgency.URGENT) if context.now >= out else None
            return most_severe(_RULES[:2], part, context) or late
        return most_severe(_RULES[2:] if part.name == "spread" else _RULES, part, context)

    def _listed(self, offer: Offer, leg: Wanted, today: date) -> Contract | None:
        """What is listed nearest to what is wanted."""
        if offer.pinned is None or self._plan.pin is None:
            return self._chains.listed_near(offer.root, today, offer.days, leg.right, leg.distance)
        days = (self._plan.shock - today).days
        one = self._chains.listed_near(offer.root, today, days, leg.right, 0.0)
        spot = None if one is None else self._chains.spot_of(one)
        if one is None or one.expiry != self._plan.shock or spot is None:
            return None
        level = self._plan.pin / offer.pinned * (1.0 + leg.distance)
        return self._chains.listed_near(offer.root, today, days, leg.right, level / spot - 1.0)

    def _proposal(self, slot: str, offer: Offer, context: EntryContext) -> Answer:
        plans = []
        for name, legs in offer.parts.items():
            found = [(self._listed(offer, leg, context.today), leg.ratio) for leg in legs]
            contracts = [Leg(contract, ratio) for contract, ratio in found if contract is not None]
            if len(contracts) < len(found):
                return Wait("listing", f"{slot}: not listed, or no price yet")
            plans.append((name, Package(tuple(contracts))))
        package = Package(tuple(leg for _, part in plans for leg in part.legs))
        self._chains.watch(f"{NAME} open {slot}", [leg.contract for leg in package.legs])
        price = package_price(package.legs, current_quotes(self._chains, package))
        spot = self._chains.spot_of(package.legs[0].contract)
        if price is None or spot is None or context.vix is None:
            return Wait("quotes", f"{slot}: a leg has no quote to trade at")
        unit = package.legs[0].contract.multiplier
        most = 2.0 * abs(price.natural) if package.uncovered else worth_at_most(package.reversed().legs) - price.natural
        planned = max(most * unit, 1.0)
        terms = Terms(NAME, slot, planned, 0.0, offer.traits)
        return Proposal(
            strategy=NAME, day=context.today, package=package, terms=terms, wanted=MOST, mid_cash=price.mid,
            natural_cash=price.natural, model_cash=None, spot=spot, vix=context.vix.value, win_rate=0.9,
            reward_ratio=1.0, reason=f"{slot} as large as it may be", slot=slot,
            parts=tuple(PartPlan(name, part, replace(terms, structure=f"{slot}-{name}")) for name, part in plans),
        )  # fmt: skip

    def verify(self) -> tuple[str, ...]:
        """Nothing can be wrong with it."""
        return ()


class Filled(TomKing):
    """Fills the account before the shock, is the broker from then on, and tells each session."""

    plan: Plan

    def read_parameters(self) -> dict[str, str]:
        """Those of the settings, and those of the plan."""
        given = super().read_parameters()
        self.plan = Plan.of(given)
        return given

    def plan_day(self) -> None:
        """The filler in place of the rows."""
        system = self.system
        self.sessions: list[dict[str, object]] = []
        self.before = self.lowest = float(self.options.run.cash)
        self.move = self.paid = self.counted = 0.0
        self.liquidated: list[str] = []
        system.coordinator.stand_in(Filler(system, self.plan))
        settings: MarginSettings = system.settings.margin.model_copy(update={"house_multiple": HOUSE})
        breakers: CircuitBreakerSettings = system.settings.circuit_breakers
        engine, vix = system.managers[StressEngine], system.managers[UnifiedVIXManager]
        self.house = MarginFigures(engine, system.book, vix, settings, breakers)
        system.bus.subscribe(MinutePassed, self.pass_minute, component="broker")
        system.bus.subscribe(MarketData, self.see_index, component="broker")
        system.bus.subscribe(SessionClosed, self.tell_session, component="broker")
        super().plan_day()

    def see_index(self, event: MarketData) -> None:
        """How far the index went from yesterday's close."""
        close = self.system.managers[TrendWatcher].previous_close("SPX") if event.ticker == "SPX" else None
        if close:
            self.move = max(self.move, abs(event.low / close - 1), abs(event.high / close - 1))

    def pass_minute(self, event: MinutePassed) -> None:
        """What the account is worth, and the broker's look from the shock on."""
        value = self.system.managers[SteadyEquity].look(event.time).value
        if value is None:
            return
        self.see_payments()
        self.lowest = min(self.lowest, value)
        if event.time.date() < self.plan.shock or self.house.used().dollars <= value:
            return
        self.sell_at_natural(value)

    def see_payments(self) -> None:
        """Cash that a person paid in or took out is nothing that the session cost."""
        moved = self.system.book.paid_in - self.counted
        self.counted += moved
        self.paid, self.before, self.lowest = self.paid + moved, self.before + moved, self.lowest + moved

    def sell_at_natural(self, value: float) -> None:
        """The broker sells at natural, the dearest first, until what is left may be carried."""
        book, gone = self.system.book, set[str]()
        losses = {row.position: row for row in self.system.managers[StressEngine].held().rows}
        dearest = sorted(book.positions.values(), key=lambda row: -(self.house.of(losses[row.id]) or row.margin))
        for position in dearest:
            if self.house.used_without(frozenset(gone)).dollars <= value:
                return
            gone.add(position.id)
            self.liquidated.append(f"{self.gateway.now():%m-%d %H:%M} {position.structure}")
            words = "the broker asks half as much again and sells at natural"
            self.system.managers[AtomicExecutor].close(position, "broker", words, urgency=Urgency.FINAL)

    def tell_session(self, event: SessionClosed) -> None:
        """One session: what it began with, its lowest, its close, the index's largest move, what is held."""
        equity = event.equity
        self.see_payments()
        lowest = min(self.lowest, equity)
        lines = self.system.managers[GroupRisk].lines()
        self.sessions.append({
            "day": event.day.isoformat(), "opening": self.before, "lowest": lowest, "close": equity, "move": self.move,
            "paid": self.paid,
            "positions": [f"{row.parts[0].contracts} {row.slot}" for row in self.system.book.positions.values()],
            "margin": self.system.managers[MarginFigures].used().dollars,
            "lines": {name: (row.adverse, row.crash) for name, row in lines.items()},
            "phase": self.system.managers[UnifiedRiskManager].phase,
        })  # fmt: skip
        self.before, self.lowest, self.move, self.paid = equity, equity, 0.0, 0.0

    def on_end_of_algorithm(self) -> None:
        """Leave what was told."""
        told = {"sessions": self.sessions, "liquidated": self.liquidated}
        self.gateway.store_path("sessions.json").write_text(json.dumps(told), encoding="utf-8")
        super().on_end_of_algorithm()
