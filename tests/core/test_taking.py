"""The inbox and a person's words: one at a time, in order, whichever thread; and nothing odd gets in or out."""

from __future__ import annotations

import random
import threading
from contextlib import nullcontext
from functools import partial
from types import SimpleNamespace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.events import Command
from core.running.inbox import CommandRefusedError, Inbox, Order, command_of


def test_acts_are_taken_in_order_of_arrival() -> None:
    inbox, taken = Inbox(), []  # type: tuple[Inbox, list[int]]
    inbox.leave(lambda: taken.append(1))
    inbox.leave(lambda: taken.append(2))
    assert taken == []
    inbox.take(lambda: taken.append(3))
    assert taken == [1, 2, 3]


def test_what_is_left_or_taken_within_an_act_comes_after_it() -> None:
    inbox = Inbox()
    taken: list[str] = []

    def outer() -> None:
        taken.append("outer begins")
        inbox.take(lambda: taken.append("inner"))
        inbox.leave(lambda: taken.append("left"))
        taken.append("outer ends")

    inbox.take(outer)
    assert taken == ["outer begins", "outer ends", "inner", "left"]


def test_an_act_is_taken_by_whoever_takes_out_and_the_other_thread_goes_on() -> None:
    inbox = Inbox()
    taken: list[tuple[str, str]] = []
    entered, may_leave = threading.Event(), threading.Event()

    def slow() -> None:
        entered.set()
        assert may_leave.wait(10)
        taken.append(("slow", threading.current_thread().name))

    holder = threading.Thread(target=lambda: inbox.take(slow), name="schedule")
    holder.start()
    assert entered.wait(10)
    inbox.take(lambda: taken.append(("quick", threading.current_thread().name)))  # returns at once
    assert taken == []
    may_leave.set()
    holder.join(10)
    assert taken == [("slow", "schedule"), ("quick", "schedule")]


def test_never_two_at_once_and_none_lost_from_many_threads() -> None:
    inbox = Inbox()
    inside, most, seen = [0], [0], []  # type: tuple[list[int], list[int], list[tuple[int, int]]]

    def act(worker: int, number: int) -> None:
        inside[0] += 1
        most[0] = max(most[0], inside[0])
        seen.append((worker, number))
        inside[0] -= 1

    def work(worker: int) -> None:
        luck = random.Random(worker)
        for number in range(300):
            item = partial(act, worker, number)
            if luck.random() < 0.5:
                inbox.leave(item)
            else:
                inbox.take(item)

    threads = [threading.Thread(target=work, args=(worker,)) for worker in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    inbox.drain()
    assert most == [1]
    assert len(seen) == 1200
    for worker in range(4):  # each thread's acts keep their order
        assert [number for who, number in seen if who == worker] == list(range(300))


def test_an_act_that_raises_is_told_and_the_next_follows() -> None:
    told: list[str] = []
    taken: list[int] = []
    inbox = Inbox(lambda error: told.append(str(error)))

    def fails() -> None:
        raise ValueError("no quote")

    inbox.leave(fails)
    inbox.take(lambda: taken.append(1))
    assert (told, taken) == (["no quote"], [1])
    with pytest.raises(ValueError, match="no quote"):
        Inbox().take(fails)  # a backtest ends by it


def test_the_end_waits_for_what_is_being_taken_out() -> None:
    inbox = Inbox()
    taken: list[str] = []
    entered, may_leave = threading.Event(), threading.Event()

    def slow() -> None:
        entered.set()
        assert may_leave.wait(10)
        taken.append("slow")

    holder = threading.Thread(target=lambda: inbox.take(slow))
    holder.start()
    assert entered.wait(10)
    threading.Timer(0.05, may_leave.set).start()
    inbox.finish(lambda: taken.append("end"))
    assert taken == ["slow", "end"]
    holder.join(10)


def words(**fields: object) -> SimpleNamespace:
    return SimpleNamespace(**{"command": None, "subject": None, **fields})


@pytest.mark.parametrize(
    ("given_word", "subject", "expected"),
    [
        ("halt", None, Order(Command.HALT, "")),
        (" halt ", None, Order(Command.HALT, "")),
        ("STATUS", 5, Order(Command.STATUS, "5")),
        ("close_all", " friday_0dte ", Order(Command.CLOSE_ALL, "friday_0dte")),
    ],
)
def test_words_are_read(given_word: str, subject: object, expected: Order) -> None:
    assert command_of(words(command=given_word, subject=subject)) == expected


class Trap:
    """An object whose every attribute, and name for itself, raises."""

    def __getattr__(self, name: str) -> object:
        raise RuntimeError("boom")

    def __repr__(self) -> str:
        raise RuntimeError("boom")


@pytest.mark.parametrize(
    "data",
    [
        words(),
        words(command="dance"),
        words(command=7),
        words(command=["halt"]),
        words(command={"a": 1}),
        words(command="halt" * 100_000),
        words(command="halt", subject=["x"]),
        words(command="halt", subject=True),
        words(command="halt", subject="x" * 201),
        words(command="halt", subject=10**5000),
        words(command="halt", subject="\ud800"),
        words(command="halt", subject="a\nb"),
        words(command="halt", subject="\x00"),
        words(command="halt", subject="\x1b[31m"),
        None,
    ],
)
def test_what_is_no_command_is_refused_in_few_words(data: object) -> None:
    refused_in_few_words(data)


def test_an_object_that_raises_is_refused_in_few_words() -> None:
    refused_in_few_words(Trap())
    refused_in_few_words(words(command=Trap()))


class Evil(str):
    """Text whose every method raises."""

    def lower(self) -> str:
        raise RuntimeError("boom")

    def strip(self, chars: str | None = None, /) -> str:
        raise RuntimeError("boom")

    def __str__(self) -> str:
        raise RuntimeError("boom")


class EvilNumber(int):
    """A number that cannot be written."""

    def __str__(self) -> str:
        raise RuntimeError("boom")


def test_what_only_looks_like_text_or_a_number_is_refused_in_few_words() -> None:
    refused_in_few_words(words(command=Evil("halt")))
    refused_in_few_words(words(command="halt", subject=Evil("x")))
    refused_in_few_words(words(command="halt", subject=EvilNumber(5)))


def refused_in_few_words(data: object) -> None:
    with pytest.raises(CommandRefusedError, match="expected") as refused:
        command_of(data)
    assert len(str(refused.value)) < 250


@given(st.one_of(st.text(), st.integers(), st.floats(), st.none(), st.lists(st.text()), st.binary()))
def test_any_word_is_a_command_or_refused(word: object) -> None:
    known = isinstance(word, str) and word.strip().lower() in {command.value for command in Command}
    with nullcontext() if known else pytest.raises(CommandRefusedError, match="expected one of"):
        assert command_of(words(command=word)).command in Command
