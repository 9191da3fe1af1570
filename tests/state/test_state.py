"""The four levels: legal steps, refusals, gates, intents, memory, and the drawing of the tables."""

from __future__ import annotations

from collections.abc import Callable
from datetime import date, datetime, timedelta
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from core.bus import EventBus
from core.clock import MarketClock
from core.events import FillStatus, Level, StateTransition
from core.journal import Journal, MemorySink, RecordKind
from core.storage import FolderStorage
from state.facts import RULES, BrokerFacts, DifferenceKind
from state.ledger import Subject
from state.manager import LEVEL_OF, HierarchicalStateManager
from state.recovery import Recovery
from state.store import StateStore, StoreOptions
from state.tables import (
    TABLES,
    DuplicateIntentError,
    DuplicateSubjectError,
    GatedTransitionError,
    IllegalTransitionError,
    OrderPurpose,
    OrderTrigger,
    PendingIntentError,
    PositionTrigger,
    StrategyTrigger,
    SystemState,
    SystemTrigger,
    Trigger,
    UnknownSubjectError,
    destination_of,
    draw_all,
    legal_triggers,
    machine,
)
from tests.conftest import ROOT
from tests.state.accounts import (
    C5600,
    C5630,
    P5400,
    P5430,
    RATIO,
    SPY530,
    SPY540,
    TODAY,
    Account,
    kinds,
    order,
    rows_of,
)

NOW = datetime(2024, 7, 5, 10, 30)
DOCUMENT = ROOT / "docs" / "state.md"


class System:
    """A state manager on a folder, with what it told on the bus; ``again`` is a new process on the same folder."""

    def __init__(self, folder: Path, now: datetime = NOW, segment_bytes: int = 256 * 1024) -> None:
        self.folder = folder
        self.clock = MarketClock(now)
        self.sink = MemorySink()
        self.journal = Journal(self.sink, self.clock)
        self.bus = EventBus(self.journal)
        self.told: list[StateTransition] = []
        self.bus.subscribe(StateTransition, self.told.append, component="test")
        options = StoreOptions(durable=False, segment_bytes=segment_bytes)
        self.store = StateStore(FolderStorage(folder, durable=False), options)
        self.state = HierarchicalStateManager(self.store, self.bus, self.clock, self.journal)

    def ready(self) -> HierarchicalStateManager:
        self.state.start()
        self.state.fire_system(SystemTrigger.READY)
        return self.state

    def again(self) -> System:
        self.store.close()
        return System(self.folder, self.clock.now())


@pytest.fixture
def system(tmp_path: Path) -> System:
    return System(tmp_path)


def opened(state: HierarchicalStateManager, position: str = "p1") -> None:
    state.create(Level.POSITION, position, "friday_0dte")
    state.fire(Level.POSITION, position, PositionTrigger.OPEN)
    state.fire(Level.POSITION, position, PositionTrigger.OPENED)


def test_a_position_is_opened_adjusted_closed_and_every_step_is_told(system: System) -> None:
    state = system.ready()
    opened(state)
    for trigger in (
        PositionTrigger.ADJUST,
        PositionTrigger.ADJUSTED,
        PositionTrigger.CLOSE,
        PositionTrigger.CLOSED,
    ):
        state.fire(Level.POSITION, "p1", trigger, reason="test")
    steps = [(event.before, event.trigger, event.after) for event in system.told if event.level is Level.POSITION]
    assert steps == [
        ("planned", "open", "opening"),
        ("opening", "opened", "open"),
        ("open", "adjust", "adjusting"),
        ("adjusting", "adjusted", "open"),
        ("open", "close", "closing"),
        ("closing", "closed", "closed"),
    ]
    assert state.position("p1").ended
    assert state.positions() == ()
    assert [subject.id for subject in state.positions(ended=True)] == ["p1"]
    assert len(system.sink.rows(RecordKind.TRANSITION)) == len(system.told)


def test_an_illegal_trigger_names_state_trigger_and_what_is_legal(system: System) -> None:
    state = system.ready()
    state.create(Level.POSITION, "p1", "friday_0dte")
    written = system.store.sequence
    with pytest.raises(IllegalTransitionError) as refused:
        state.fire(Level.POSITION, "p1", PositionTrigger.CLOSED)
    assert (refused.value.state, refused.value.trigger, refused.value.legal) == (
        "planned",
        "closed",
        ("open", "abandon"),
    )
    assert str(refused.value) == "position p1: 'closed' in state 'planned'; legal: open, abandon"
    with pytest.raises(IllegalTransitionError, match="legal: open, abandon"):
        state.fire(Level.POSITION, "p1", OrderTrigger.SEND)  # another level's trigger
    assert system.store.sequence == written
    assert state.may(Level.POSITION, "p1", PositionTrigger.CLOSED) == str(refused.value)
    assert state.may(Level.POSITION, "p1", PositionTrigger.OPEN) is None


SHUT = [
    (SystemTrigger.HALT,),
    (SystemTrigger.REDUCE,),
    (SystemTrigger.EMERGENCY,),
    (SystemTrigger.EMERGENCY, SystemTrigger.LOCK),
    (SystemTrigger.HALT, SystemTrigger.RESUME),
]


@pytest.mark.parametrize("triggers", SHUT, ids=lambda triggers: "-".join(triggers))
def test_nothing_enters_while_the_system_is_not_normal_and_everything_may_leave(
    system: System, triggers: tuple[SystemTrigger, ...]
) -> None:
    state = system.ready()
    opened(state, "held")
    state.create(Level.POSITION, "new", "friday_0dte")
    state.create(Level.ORDER_GROUP, "entry", "new", purpose=OrderPurpose.ENTRY)
    state.create(Level.ORDER_GROUP, "exit", "held", purpose=OrderPurpose.EXIT)
    for trigger in triggers:
        state.fire_system(trigger)
    where = f"system system is {state.system}"
    with pytest.raises(GatedTransitionError, match=f"{where}; allowed while system is normal"):
        state.fire(Level.POSITION, "new", PositionTrigger.OPEN)
    with pytest.raises(GatedTransitionError):
        state.fire(Level.STRATEGY, "friday_0dte", StrategyTrigger.ENTER)
    with pytest.raises(GatedTransitionError):
        state.intent(Level.ORDER_GROUP, "entry", OrderTrigger.SEND)
    state.fire(Level.POSITION, "held", PositionTrigger.CLOSE)
    state.fire(Level.ORDER_GROUP, "exit", OrderTrigger.SEND)
    state.fire(Level.ORDER_GROUP, "exit", OrderTrigger.FILL)
    state.fire(Level.POSITION, "held", PositionTrigger.CLOSED)


def test_a_suspended_strategy_opens_nothing(system: System) -> None:
    state = system.ready()
    state.create(Level.POSITION, "p1", "friday_0dte")
    state.fire(Level.STRATEGY, "friday_0dte", StrategyTrigger.SUSPEND)
    with pytest.raises(GatedTransitionError, match="strategy friday_0dte is suspended"):
        state.fire(Level.POSITION, "p1", PositionTrigger.OPEN)


def test_an_intent_is_written_first_and_completed_after(system: System) -> None:
    state = system.ready()
    opened(state)
    state.create(Level.ORDER_GROUP, "g1", "p1", purpose=OrderPurpose.EXIT)
    with state.intent(Level.ORDER_GROUP, "g1", OrderTrigger.SEND, limit=1.25) as intent:
        assert state.order_group("g1").state == "planned"
        pending = state.order_group("g1").pending
        assert pending is not None
        assert (pending.trigger, dict(pending.detail)) == ("send", {"limit": 1.25})
        with pytest.raises(PendingIntentError, match="'abandon' while 'send' is pending"):
            state.fire(Level.ORDER_GROUP, "g1", OrderTrigger.ABANDON)
        intent.note(orders=[7, 8])
    group = state.order_group("g1")
    assert (group.state, dict(group.detail)) == ("sent", {"purpose": "exit", "limit": 1.25, "orders": [7, 8]})
    assert state.pending() == ()
    with pytest.raises(PendingIntentError, match="no intent is pending"):
        state.complete(Level.ORDER_GROUP, "g1")


def test_an_intent_is_withdrawn_by_word_and_left_pending_by_an_exception(system: System) -> None:
    state = system.ready()
    opened(state)
    state.create(Level.ORDER_GROUP, "g1", "p1", purpose=OrderPurpose.EXIT)
    with state.intent(Level.ORDER_GROUP, "g1", OrderTrigger.SEND) as intent:
        intent.withdraw("the broker refused")
    assert (state.order_group("g1").state, state.pending()) == ("planned", ())
    with pytest.raises(ConnectionError), state.intent(Level.ORDER_GROUP, "g1", OrderTrigger.SEND):
        raise ConnectionError("no answer")
    assert [subject.id for subject in state.pending()] == ["g1"]
    after = system.again()
    assert [subject.id for subject in after.state.start_report.pending] == ["g1"]


def test_the_same_intent_is_never_planned_twice(system: System) -> None:
    state = system.ready()
    opened(state)
    state.create(Level.ORDER_GROUP, "g1", "p1", purpose=OrderPurpose.ENTRY, fingerprint="abc")
    state.fire(Level.ORDER_GROUP, "g1", OrderTrigger.ABANDON)  # never sent: it may be planned again
    state.create(Level.ORDER_GROUP, "g2", "p1", purpose=OrderPurpose.ENTRY, fingerprint="abc")
    state.fire(Level.ORDER_GROUP, "g2", OrderTrigger.SEND)
    state.fire(Level.ORDER_GROUP, "g2", OrderTrigger.CANCELLED)
    after = system.again().ready()
    with pytest.raises(DuplicateIntentError, match="g2 carries the same intent abc"):
        after.create(Level.ORDER_GROUP, "g4", "p1", purpose=OrderPurpose.ENTRY, fingerprint="abc")
    with pytest.raises(DuplicateSubjectError):
        after.create(Level.ORDER_GROUP, "g1", "p1")
    with pytest.raises(UnknownSubjectError, match="position p9: unknown; last known: p1"):
        after.create(Level.ORDER_GROUP, "g3", "p9")


def test_a_restart_gives_everything_back(system: System) -> None:
    state = system.ready()
    opened(state)
    state.create(Level.ORDER_GROUP, "g1", "p1", purpose=OrderPurpose.EXIT)
    state.fire(Level.ORDER_GROUP, "g1", OrderTrigger.SEND)
    state.fire(Level.ORDER_GROUP, "g1", OrderTrigger.FILL_PART, filled={"SPXW 240705P5500": -1.0})
    state.remember("peak", 53_120.5)
    before = (state.position("p1"), state.order_group("g1"), state.strategy("friday_0dte"))
    for _ in range(2):  # from the segment, then from a snapshot
        after = system.again()
        assert (after.state.position("p1"), after.state.order_group("g1")) == before[:2]
        assert after.state.strategy("friday_0dte") == before[2]
        assert after.state.recall("peak") == 53_120.5
        assert after.state.held("p1") == {"SPXW 240705P5500": -1.0}
        assert not after.state.start_report.fresh
        after.state.snapshot()
        system = after
    assert system.state.verify() == ()


@pytest.mark.parametrize(
    ("triggers", "expected"),
    [
        ((), SystemState.RECOVERING),
        ((SystemTrigger.HALT,), SystemState.HALTED),
        ((SystemTrigger.REDUCE,), SystemState.REDUCING),
        ((SystemTrigger.HALT, SystemTrigger.LOCK), SystemState.LOCKED),
        ((SystemTrigger.EMERGENCY,), SystemState.EMERGENCY),
    ],
)
def test_a_new_process_never_wakes_what_was_stopped(
    system: System, triggers: tuple[SystemTrigger, ...], expected: SystemState
) -> None:
    state = system.ready()
    for trigger in triggers:
        state.fire_system(trigger)
    after = system.again()
    after.state.start()
    assert after.state.system is expected


def test_a_halt_of_entries_outlives_the_process_until_a_person_resumes(system: System) -> None:
    state = system.ready()
    system.bus.halt_entries("ten errors in an hour")
    assert state.system.value == "halted"
    after = system.again()
    after.state.start()
    halted = "the last process left the system halted: ten errors in an hour"
    assert (after.state.system.value, after.bus.entries_halted) == ("halted", halted)
    after.bus.resume_entries()
    assert (after.state.system.value, after.bus.entries_halted) == ("normal", None)


def test_a_failed_critical_component_halts_the_system(system: System) -> None:
    state = system.ready()

    def breaks(event: StateTransition) -> None:
        raise ValueError("no margin table")

    system.bus.subscribe(StateTransition, breaks, component="report")
    state.fire(Level.STRATEGY, state.strategy("s").id, StrategyTrigger.WAIT)
    assert state.system.value == "normal"
    system.bus.subscribe(StateTransition, breaks, component="risk", critical=True)
    state.fire(Level.STRATEGY, "s", StrategyTrigger.SKIP)
    assert state.system.value == "halted"
    assert str(system.bus.entries_halted).startswith("risk failed on StateTransition: ValueError: no margin table")


def test_what_ended_long_ago_leaves_the_snapshot_but_not_what_an_open_position_counts_on(system: System) -> None:
    state = system.ready()
    opened(state, "leap")
    state.create(Level.ORDER_GROUP, "bought", "leap", purpose=OrderPurpose.ENTRY)
    state.fire(Level.ORDER_GROUP, "bought", OrderTrigger.SEND)
    state.fire(Level.ORDER_GROUP, "bought", OrderTrigger.FILL, filled={"QQQ 250620C400": 1.0})
    opened(state, "old")
    state.fire(Level.POSITION, "old", PositionTrigger.EXPIRE)
    system.clock.advance(NOW + timedelta(days=46))
    state.snapshot()
    assert [subject.id for subject in state.positions(ended=True)] == ["leap"], "memory stays flat over years"
    after = system.again().state
    assert [subject.id for subject in after.positions(ended=True)] == ["leap"]
    assert after.held("leap") == {"QQQ 250620C400": 1.0}


def test_every_state_is_reachable_and_only_terminal_states_have_no_way_on() -> None:
    for level, table in TABLES.items():
        reached = {table.initial.value}
        for _ in table.states:
            reached |= {destination for source, _, destination in table.pairs() if source in reached}
        assert reached == {state.value for state in table.states}, level
        left = {state.value: set(legal_triggers(level, state.value)) - {"reopen"} for state in table.states}
        stuck = {state for state, triggers in left.items() if not triggers}  # but for a fill that comes after the end
        assert stuck <= table.terminal, level


def test_the_machine_of_transitions_says_what_the_table_says() -> None:
    for level, table in TABLES.items():
        steps = {(source, trigger): destination for source, trigger, destination in table.pairs()}
        assert len(steps) == len(list(table.pairs())), "one destination for a state and a trigger"
        for state in table.states:
            for trigger in table.triggers:
                assert destination_of(level, state.value, trigger.value) == steps.get((state.value, trigger.value))
        assert set(machine(level).states) == {state.value for state in table.states}
    assert set(LEVEL_OF.values()) == set(Level)


def test_the_document_shows_the_tables_of_the_code() -> None:
    text = DOCUMENT.read_text(encoding="utf-8")
    drawn = text.split("<!-- drawn by python -m state.tables -->\n")[1]
    assert drawn.strip() == draw_all().strip()
    rows = [f"| {kind.value.replace('_', ' ')} | {rule} |" for kind, rule in RULES.items()]
    assert [row for row in rows if row not in text] == []


def fires(level: Level, subject: str, trigger: Trigger) -> Callable[[HierarchicalStateManager], object]:
    return lambda state: state.fire(level, subject, trigger, by=trigger)


def intends(trigger: OrderTrigger) -> Callable[[HierarchicalStateManager], object]:
    return lambda state: state.intent(Level.ORDER_GROUP, "g0", trigger)


TRIGGERS: list[Callable[[HierarchicalStateManager], object]] = [
    lambda state: state.create(Level.POSITION, f"p{len(state.positions(ended=True))}", "s"),
    lambda state: state.create(Level.ORDER_GROUP, f"g{len(state.order_groups(ended=True))}", "p0"),
    lambda state: state.remember("x", len(state.positions())),
    lambda state: state.snapshot(),
    *(fires(Level.SYSTEM, "system", trigger) for trigger in SystemTrigger),
    *(fires(Level.POSITION, "p0", trigger) for trigger in PositionTrigger),
    *(intends(trigger) for trigger in OrderTrigger),
    lambda state: state.complete(Level.ORDER_GROUP, "g0", filled={"x": 1.0}),
    lambda state: state.withdraw(Level.ORDER_GROUP, "g0", "test"),
]
REFUSALS = (IllegalTransitionError, GatedTransitionError, PendingIntentError, UnknownSubjectError)


@given(steps=st.lists(st.sampled_from(TRIGGERS), max_size=40))
@settings(max_examples=60, deadline=None)
def test_replayed_and_live_state_never_differ(
    tmp_path_factory: pytest.TempPathFactory, steps: list[Callable[[HierarchicalStateManager], object]]
) -> None:
    system = System(tmp_path_factory.mktemp("state"), segment_bytes=1_000)
    for step in steps:
        try:
            step(system.state)
        except REFUSALS:
            continue
    live = [(subject, dict(subject.detail)) for subject in _all(system.state)]
    after = system.again()
    assert [(subject, dict(subject.detail)) for subject in _all(after.state)] == live
    assert after.state.recall("x") == system.state.recall("x")
    after.store.close()


def _all(state: HierarchicalStateManager) -> list[Subject]:
    return [*state.positions(ended=True), *state.order_groups(ended=True)]


# The first look at a broker whose orders and holdings arrive in a stream


@pytest.fixture
def account(tmp_path: Path) -> Account:
    return Account(tmp_path)


@pytest.mark.parametrize("certain", [False, True])
def test_a_holding_or_an_exit_that_is_not_in_sight_yet_is_in_doubt(account: Account, certain: bool) -> None:
    account.opened("p1")
    account.closing("p2", RATIO)
    before = (account.at("p1"), account.at("p2"), account.state.held("p1"), account.state.held("p2"))
    account.state.remember("unowned", {"NVDA": 30.0})
    facts = BrokerFacts(TODAY, rows_of({P5400: 1.0, "NVDA": 30.0}), (), certain=certain)
    outcome = Recovery(account.state, account.journal).reconcile(facts)
    after = (account.at("p1"), account.at("p2"), account.state.held("p1"), account.state.held("p2"))
    if certain:  # legs of p1 are gone: unwound; p2's exit filled
        assert after == ("unwinding", "closed", {P5400: 1.0}, {})
    else:
        assert after == before
        assert outcome.in_doubt == {"p1": frozenset({P5430, C5600, C5630}), "p2": frozenset({SPY540, SPY530})}
        assert account.state.recall("unowned") == {"NVDA": 30.0}


def test_an_expiry_and_an_order_in_sight_need_no_second_look(account: Account) -> None:
    account.opened("p1")
    facts = BrokerFacts(date(2024, 7, 8), (), (), certain=False)
    assert kinds(Recovery(account.state, account.journal).reconcile(facts)) == [DifferenceKind.EXPIRED_WHILE_AWAY]
    account.sent("p2", RATIO)
    legs = [(leg.contract.name, leg.ratio) for leg in RATIO.legs]
    # The engine of a new process numbers from 1 again: 2 and 1 were legs of p1's entry, which has ended.
    orders = (order(2, *legs[0], None, FillStatus.SUBMITTED), order(5, *legs[1], None, FillStatus.SUBMITTED, "p2-in"))
    assert Recovery(account.state, account.journal).reconcile(BrokerFacts(TODAY, (), orders, certain=False)).agreed
    assert account.state.order_group("p2-in").detail["orders"] == [2, 5]


def test_what_an_order_may_close_yet_is_not_surely_held_until_the_order_s_end(account: Account) -> None:
    account.opened("p1", RATIO, 3)
    account.state.fire(Level.POSITION, "p1", PositionTrigger.CLOSE)
    account.group("p1-out", "p1", OrderPurpose.UNWIND, {SPY530: 5.0})
    assert account.state.surely_held("p1") == {SPY540: 3.0, SPY530: -6.0}  # planned: it never left
    account.state.fire(Level.ORDER_GROUP, "p1-out", OrderTrigger.SEND)
    assert account.state.surely_held("p1") == {SPY540: 3.0, SPY530: -1.0}  # -6 + 5
    account.state.fire(Level.ORDER_GROUP, "p1-out", OrderTrigger.FILL_PART, filled={SPY530: 2.0})
    assert account.state.surely_held("p1") == {SPY540: 3.0, SPY530: -1.0}  # -4 + 3
    account.group("more", "p1", OrderPurpose.ENTRY, {SPY530: -2.0})
    account.state.fire(Level.ORDER_GROUP, "more", OrderTrigger.SEND)
    assert account.state.surely_held("p1") == {SPY540: 3.0, SPY530: -1.0}  # what may come is not held
    account.state.fire(Level.ORDER_GROUP, "p1-out", OrderTrigger.CANCELLED, filled={SPY530: 2.0})
    assert account.state.surely_held("p1") == account.state.held("p1") == {SPY540: 3.0, SPY530: -4.0}
