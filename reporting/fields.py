"""One line of the decision journal as typed values, or an error that names its place in the file."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date, datetime


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
class Standing:
    """How the account stood at a close, in words: the cap in force and what makes it so, each position's health."""

    day: date
    lines: tuple[str, ...]


def read_standing(row: Fields) -> Standing:
    """A ``standing`` row."""
    return Standing(row.day("day"), row.texts("lines"))
