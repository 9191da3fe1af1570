"""The seeded scheduler of threads: one runs at a time, any interleaving can be played again, a kill ends them all."""

from __future__ import annotations

import threading
from collections.abc import Callable

import pytest

from simulation.live_mode import threads as threads_module
from simulation.live_mode.threads import DeadlockError, Pace, ProcessKilledError, Threads


def run_all(threads: Threads) -> None:
    """Works the whole agenda off."""
    while threads.next_ms < 1 << 62:
        threads.run_next()


def steps(threads: Threads, name: str, told: list[str]) -> Callable[[], None]:
    """An act of five calls into the engine."""

    def act() -> None:
        for step in range(5):
            told.append(f"{name}{step} {threading.current_thread().name}")
            threads.switch()

    return act


def played(seed: int) -> list[str]:
    """What two threads said, in order."""
    told: list[str] = []
    threads = Threads(seed, Pace(0.5, 100), 0)
    threads.put("a", steps(threads, "a", told))
    threads.put("b", steps(threads, "b", told))
    run_all(threads)
    threads.kill()
    return told


def test_the_same_seed_gives_the_same_order_and_another_seed_another() -> None:
    assert played(1) == played(1)
    assert len({tuple(played(seed)) for seed in range(8)}) > 1


def test_acts_come_on_the_thread_that_they_are_for() -> None:
    told = played(3)
    assert sorted(told) == sorted([f"{name}{step} {name}" for name in "ab" for step in range(5)])


def test_a_wait_lets_the_others_go_on_and_the_clock_follows() -> None:
    told: list[tuple[str, int]] = []
    threads = Threads(1, Pace(0.0), 1_000)

    def slow() -> None:
        told.append(("slow begins", threads.now_ms))
        threads.wait(500)
        told.append(("slow ends", threads.now_ms))

    threads.put("a", slow)
    threads.put("b", lambda: told.append(("b", threads.now_ms)), 100)
    run_all(threads)
    threads.kill()
    assert told == [("slow begins", 1_000), ("b", 1_100), ("slow ends", 1_500)]


def test_an_act_for_a_busy_thread_comes_after_what_it_is_within() -> None:
    told: list[str] = []
    threads = Threads(1, Pace(0.0), 0)

    def first() -> None:
        threads.wait(50)
        told.append("first")

    threads.put("a", first)
    threads.put("a", lambda: told.append("second"), 10)
    run_all(threads)
    threads.kill()
    assert told == ["first", "second"]


def test_a_kill_ends_a_thread_where_it_stands() -> None:
    told: list[str] = []
    threads = Threads(1, Pace(0.0), 0)

    def act() -> None:
        try:
            threads.wait(1_000)
        except Exception:  # an algorithm's own handler does not keep a killed process alive
            told.append("caught")
        finally:
            told.append("unwound")
        told.append("went on")

    threads.put("a", act)
    threads.run_next()
    assert threads.is_busy("a")
    threads.kill()
    assert told == ["unwound"]
    assert not threads.failures
    assert not issubclass(ProcessKilledError, Exception)


def test_what_leaves_a_callback_is_kept() -> None:
    threads = Threads(1, Pace(0.0), 0)

    def fails() -> None:
        raise ValueError("no strike")

    threads.put("a", fails)
    run_all(threads)
    threads.kill()
    assert [str(error) for error in threads.failures] == ["no strike"]


def test_a_lock_across_two_threads_is_a_deadlock_and_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(threads_module, "STUCK_SECONDS", 0.2)
    threads = Threads(1, Pace(0.0), 0)
    lock = threading.Lock()

    def holds() -> None:
        with lock:
            threads.wait(1_000)

    def wants() -> None:
        with lock:
            threads.wait(1)

    threads.put("a", holds)
    threads.put("b", wants, 10)
    threads.run_next()
    with pytest.raises(DeadlockError, match="thread b"):
        threads.run_next()
