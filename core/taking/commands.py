"""A person's word, as it arrives from outside: read, bounded, and refused with what would be accepted."""

from __future__ import annotations

from dataclasses import dataclass

from core.events import Command

MOST_WORD = 40
MOST_SUBJECT = 200


@dataclass(frozen=True, slots=True)
class Order:
    """A command and what it is about (empty: everything)."""

    command: Command
    subject: str


class CommandRefusedError(ValueError):
    """What arrived is no command; the message says what was given and what is accepted."""


def command_of(data: object) -> Order:
    """The command in what LEAN hands over: an object whose fields are None where they are missing (Command.cs:79).

    Case and spaces around do not matter. Raises CommandRefusedError.
    """
    word, subject = _field(data, "command"), _field(data, "subject")
    known = {command.value: command for command in Command}
    text = word.strip().lower() if isinstance(word, str) and len(word) <= MOST_WORD else ""
    if text not in known:
        raise CommandRefusedError(f"command: {_shown(word)}; expected one of {', '.join(sorted(known))}")
    if subject is None:
        return Order(known[text], "")
    if isinstance(subject, bool) or not isinstance(subject, str | int | float) or len(str(subject)) > MOST_SUBJECT:
        raise CommandRefusedError(f"subject: {_shown(subject)}; expected text of at most {MOST_SUBJECT} characters")
    return Order(known[text], str(subject).strip())


def _field(data: object, name: str) -> object:
    try:
        return getattr(data, name, None)
    except Exception as error:  # the object is the engine's, and what it holds came from outside
        raise CommandRefusedError(f"{name}: cannot be read ({type(error).__name__}); expected text") from error


def _shown(value: object) -> str:
    try:
        text = repr(value)
    except Exception as error:  # the same: even its own name for itself may fail
        return f"something that cannot be shown ({type(error).__name__})"
    return text if len(text) <= MOST_WORD else f"{text[:MOST_WORD]}... ({len(text)} characters)"
