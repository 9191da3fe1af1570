"""One inbox for everything that the engine calls, taken out in order of arrival; and a person's words, checked.

Live, LEAN calls from several threads at once (lean-facts 13.1). Its order and broker threads only leave what happened:
an order sent from one of them would wait for itself. The algorithm's and the schedule's threads leave and take out; a
schedule of five seconds takes the rest. In a backtest there is one thread, and what is left while something is taken
out (an order event within the call that sends an order) comes after it.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass

from core.events import Command

Act = Callable[[], object]


class Inbox:
    """Acts in order of arrival, never two at once, whichever thread takes them out.

    ``on_error`` is told of an act that raised, and the next one follows; without it the error goes to whoever takes out
    (a backtest ends by it).
    """

    def __init__(self, on_error: Callable[[Exception], None] | None = None) -> None:
        self._on_error = on_error
        self._acts: deque[Act] = deque()
        self._taking = threading.Lock()

    def leave(self, act: Act) -> None:
        """Leave an act for another thread to take out."""
        self._acts.append(act)

    def take(self, act: Act) -> None:
        """Leave an act and take out what is there, unless somebody does so already: then it is taken by them."""
        self._acts.append(act)
        self.drain()

    def drain(self) -> None:
        """Take out everything that is there; returns at once while another thread, or an outer call, does so."""
        while self._acts:  # asked again after letting go: what came in between must not lie until the next call
            if not self._taking.acquire(blocking=False):
                return
            try:
                self._take_all()
            finally:
                self._taking.release()

    def finish(self, act: Act) -> None:
        """Take out everything and then ``act``, waiting for whoever is taking out; for the end of a run."""
        self._acts.append(act)
        with self._taking:
            self._take_all()

    def _take_all(self) -> None:
        while self._acts:
            act = self._acts.popleft()
            if self._on_error is None:
                act()
                continue
            try:
                act()
            except Exception as error:  # an exception that leaves a callback ends a live algorithm (lean-facts 13.13)
                self._on_error(error)


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

    Case and spaces do not matter: ``Take over`` is ``take_over``. Raises CommandRefusedError.
    """
    word, subject = _field(data, "command"), _field(data, "subject")
    known = {command.value: command for command in Command}
    given = word if isinstance(word, str) else None
    text = "_".join((_text(given) or "").lower().split())
    if text not in known:
        raise CommandRefusedError(f"command: {_shown(word)}; expected one of {', '.join(sorted(known))}")
    if subject is None:
        return Order(known[text], "")
    about = None if isinstance(subject, bool) or not isinstance(subject, str | int | float) else _text(subject)
    if about is None or len(about) > MOST_SUBJECT or not about.isprintable():
        raise CommandRefusedError(f"subject: {_shown(subject)}; expected text of at most {MOST_SUBJECT} characters")
    return Order(known[text], about.strip())


def _text(value: object) -> str | None:
    """A value as text that is nothing but text, whatever it was before; ``None`` where it has none."""
    try:
        return "".join(str(value))
    except Exception:  # a number of more digits than Python writes, or what only looks like text
        return None


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
