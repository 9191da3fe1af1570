"""One line of the decision journal as typed values, or an error that names its place in the file.

Here are also the rows about a whole day and about a position's opening; those about decisions and money are in rows.py.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import date, datetime

from core.identifiers import correlation_of

LIMIT_TITLES = {
    "buying_power": "Buying power", "greeks_delta": "Delta, S&P 500 shares", "greeks_gamma": "Gamma",
    "greeks_vega": "Vega, dollars a point", "short_volatility": "Short volatility, positions",
    "sp500": "S&P 500 equivalents, positions", "positions": "Positions", "group_A": "Loss of the equity groups at 10 %",
}  # fmt: skip


def limit_title(rule: str) -> str:
    """A limit's name for people."""
    return LIMIT_TITLES.get(rule, rule.replace("_", " ").replace("group", "Loss of group"))


class JournalError(ValueError):
    """A line of a journal cannot be read; the message names file, line and field."""


@dataclass(frozen=True, slots=True)
class Fields:
    """One row's raw values, handed out as the type asked for or refused with the row's place in the file."""

    values: Mapping[str, object]
    place: str

    def text(self, key: str) -> str:
        """A required text."""
        value = self._present(key)
        if not isinstance(value, str):
            raise self._wrong(key, value, "text")
        return value

    def number(self, key: str) -> float:
        """A required number; JSON has no infinities, so the journal writes those as text."""
        value = self._present(key)
        if value in ("inf", "-inf"):
            return float(str(value))
        if isinstance(value, bool) or not isinstance(value, int | float):
            raise self._wrong(key, value, "a number")
        return float(value)

    def maybe_number(self, key: str) -> float | None:
        """A number, or None where the journal says null or nothing."""
        return None if self.values.get(key) is None else self.number(key)

    def integer(self, key: str) -> int:
        """A required whole number."""
        value = self.number(key)
        if not value.is_integer():
            raise self._wrong(key, value, "a whole number")
        return int(value)

    def maybe_integer(self, key: str) -> int | None:
        """A whole number, or None where the journal says null or nothing."""
        return None if self.values.get(key) is None else self.integer(key)

    def moment(self, key: str) -> datetime:
        """A required ISO time."""
        try:
            return datetime.fromisoformat(self.text(key))
        except ValueError as error:
            raise self._wrong(key, self.values.get(key), "an ISO time") from error

    def maybe_moment(self, key: str) -> datetime | None:
        """An ISO time, or None where the journal says null or nothing."""
        return None if self.values.get(key) is None else self.moment(key)

    def day(self, key: str) -> date:
        """A required ISO date."""
        return self.moment(key).date()

    def rows(self, key: str) -> list[Fields]:
        """A required list of objects."""
        value = self._present(key)
        if not isinstance(value, list) or not all(isinstance(item, dict) for item in value):
            raise self._wrong(key, value, "a list of objects")
        return [Fields(item, f"{self.place}, {key}[{index}]") for index, item in enumerate(value)]

    def named(self, key: str) -> dict[str, Used]:
        """A required object of figures by name."""
        value = self._present(key)
        if not isinstance(value, dict) or not all(isinstance(item, dict) for item in value.values()):
            raise self._wrong(key, value, "an object of objects")
        found = {name: Fields(item, f"{self.place}, {key}.{name}") for name, item in value.items()}
        return {
            name: read_used(one, one.integer("positions"), one.maybe_number("margin")) for name, one in found.items()
        }

    def texts(self, key: str) -> tuple[str, ...]:
        """A required list of texts."""
        value = self._present(key)
        if not isinstance(value, list) or not all(isinstance(item, str) for item in value):
            raise self._wrong(key, value, "a list of texts")
        return tuple(value)

    def _present(self, key: str) -> object:
        if self.values.get(key) is None:
            raise JournalError(f"{self.place}: {key} is missing")
        return self.values[key]

    def _wrong(self, key: str, value: object, expected: str) -> JournalError:
        return JournalError(f"{self.place}: {key} is {value!r}; expected {expected}")


def parse_line(line: str, place: str) -> Fields:
    """One JSON object, or the place where there is none."""
    try:
        value = json.loads(line)
    except ValueError as error:
        raise JournalError(f"{place}: not JSON ({error})") from error
    if not isinstance(value, dict):
        raise JournalError(f"{place}: {type(value).__name__}; expected an object")
    return Fields(value, place)


@dataclass(frozen=True, slots=True)
class LimitNote:
    """The fullest use of one limit on a day: ``share`` of it, ``None`` where it was unknown."""

    rule: str
    limit: float
    observed: float
    share: float | None
    at: datetime


@dataclass(frozen=True, slots=True)
class Used:
    """What positions under one name came to: count, dollars of buying power, Greeks of ``greeks/exposure.py``."""

    positions: int
    margin: float | None
    delta: float | None
    gamma: float | None
    vega: float | None
    theta: float | None


@dataclass(frozen=True, slots=True)
class ExposureDay:
    """How much of everything a session used at its fullest (``core/journal_schema.py``, ``ExposureRow``).

    ``lows`` are each position's lowest profit of the day, dollars after fees, and when.
    """

    day: date
    equity: float
    margin_peak: float
    margin_peak_at: datetime
    margin_cap: float | None
    whole: Used
    strategies: Mapping[str, Used]
    groups: Mapping[str, Used]
    limits: tuple[LimitNote, ...]
    lows: Mapping[str, tuple[float, datetime]]


@dataclass(frozen=True, slots=True)
class LegOpening:
    """A contract when its position was opened: a contract's delta, -1 to 1, and its volatility a year."""

    delta: float | None
    volatility: float | None


@dataclass(frozen=True, slots=True)
class Opening:
    """A position in the minute in which it was opened or got parts."""

    position: str
    time: datetime
    legs: Mapping[str, LegOpening]


@dataclass(frozen=True, slots=True)
class RollNote:
    """Parts that were closed to be replaced; ``into`` names what they became, ``None`` where nothing."""

    time: datetime
    position: str
    parts: tuple[str, ...]
    into: str | None
    rule: str
    reason: str


@dataclass(frozen=True, slots=True)
class Interest:
    """Dollars booked on free cash at the open of a day."""

    day: date
    amount: float


def read_exposure(row: Fields) -> ExposureDay:
    """An ``exposure`` row."""
    limits = [
        LimitNote(
            one.text("rule"), one.number("limit"), one.number("observed"), one.maybe_number("share"), one.moment("at")
        )
        for one in row.rows("limits")
    ]
    strategies, groups = row.named("strategies"), row.named("groups")
    held = sum(used.positions for used in strategies.values())
    return ExposureDay(
        day=row.day("day"),
        equity=row.number("equity"),
        margin_peak=row.number("margin_peak"),
        margin_peak_at=row.moment("margin_peak_at"),
        margin_cap=row.maybe_number("margin_cap"),
        whole=read_used(row, held, row.number("margin_peak")),
        strategies=strategies,
        groups=groups,
        limits=tuple(limits),
        lows={one.text("position"): (one.number("profit"), one.moment("at")) for one in row.rows("lows")},
    )


def read_used(row: Fields, positions: int, margin: float | None) -> Used:
    """The Greeks of a row with its count and its buying power."""
    delta, gamma, vega, theta = (row.maybe_number(name) for name in ("delta", "gamma", "vega", "theta"))
    return Used(positions, margin, delta, gamma, vega, theta)


def read_opening(row: Fields) -> Opening:
    """A ``greeks`` row."""
    legs = {
        leg.text("name"): LegOpening(leg.maybe_number("delta"), leg.maybe_number("volatility"))
        for leg in row.rows("legs")
    }
    return Opening(row.text("position"), row.moment("time"), legs)


@dataclass(frozen=True, slots=True)
class VerdictNote:
    """What the rules made of one proposal; ``bound`` says each rule's words that shrank or denied it.

    ``origin`` is by what its position is found: its entry's correlation, or the position that it adds to. ``asked`` are
    all rules that answered, by name.
    """

    time: datetime
    origin: str
    wanted: int
    contracts: int
    rule: str
    bound: tuple[str, ...]
    asked: tuple[str, ...] = ()


def read_verdict(row: Fields) -> VerdictNote:
    """A ``verdict`` row; the words of a rule that left all that was wanted are left out."""
    wanted, rules = row.integer("wanted"), row.rows("verdicts")
    bound = [
        f"{rule.text('rule')} {rule.text('answer')}: {rule.values.get('reason') or 'no words'}"
        for rule in rules
        if rule.text("answer") == "deny" or (rule.maybe_integer("contracts") or wanted) < wanted
    ]
    when, slot, onto = row.moment("time"), str(row.values.get("slot") or ""), str(row.values.get("onto") or "")
    # Not the row's own correlation: strategies that look in the same minute are judged in the event of the first.
    own = correlation_of(str(row.values.get("strategy") or ""), when.date(), slot)
    return VerdictNote(
        time=when,
        origin=onto or own,
        wanted=wanted,
        contracts=row.integer("contracts"),
        rule=row.text("rule"),
        bound=tuple(bound),
        asked=tuple(rule.text("rule") for rule in rules),
    )


def read_roll(row: Fields) -> RollNote:
    """A ``roll`` row."""
    parts, into = row.values.get("parts"), row.values.get("into")
    return RollNote(
        time=row.moment("time"),
        position=row.text("position"),
        parts=tuple(str(part) for part in parts) if isinstance(parts, list) else (),
        into=None if into is None else str(into),
        rule=row.text("rule"),
        reason=str(row.values.get("reason") or ""),
    )


def read_interest(row: Fields) -> Interest:
    """An ``interest`` row."""
    return Interest(row.day("day"), row.number("amount"))


@dataclass(frozen=True, slots=True)
class Standing:
    """How the account stood at a close, in words: the cap in force and what makes it so, each position's health."""

    day: date
    lines: tuple[str, ...]


def read_standing(row: Fields) -> Standing:
    """A ``standing`` row."""
    return Standing(row.day("day"), row.texts("lines"))


@dataclass(frozen=True, slots=True)
class SystemNote:
    """What a component said of the run itself, such as what the account is too small for."""

    component: str
    reason: str


def read_system(row: Fields) -> SystemNote:
    """A ``system`` row."""
    return SystemNote(row.text("component"), row.text("reason"))


def capacity_of(notes: Iterable[object]) -> tuple[str, ...]:
    """What was said of strategies that cannot trade and of places that are shared."""
    return tuple(note.reason for note in notes if isinstance(note, SystemNote) and note.component == "capacity")


@dataclass(frozen=True, slots=True)
class UnknownTrade:
    """A part of a position that somebody closed at the broker: nobody told what it brought, so it counts nowhere."""

    strategy: str
    position: str
    part: str
    closed: datetime
    reason: str
