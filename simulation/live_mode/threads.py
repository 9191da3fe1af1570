"""The threads of a live engine, one running at a time: what would be chance in LEAN follows from a seed.

Every thread is a real one, so that locks and thread names are what they are in LEAN. A baton goes between them and the
driver: who has it runs, and gives it back when the act is over or waits. A wait is an entry of the agenda, which is
worked off in order of time; so any interleaving can be played again.
"""

from __future__ import annotations

import heapq
import random
import threading
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass

from simulation.lean.clock import FOREVER

Act = Callable[[], object]
STUCK_SECONDS = 120.0
"""A thread that keeps the baton this long waits for a lock of a thread that cannot run: the algorithm's deadlock."""


class ProcessKilledError(BaseException):
    """The process ends here: raised where a thread stood, and caught by no `except Exception`."""


class DeadlockError(RuntimeError):
    """A thread waits for a lock whose owner waits for the baton."""


@dataclass(frozen=True, slots=True)
class Pace:
    """How often a thread is held up at a call into the engine (0 to 1), and for how long at most (milliseconds)."""

    rate: float = 0.02
    longest_ms: int = 3_000


class _Worker:
    """One thread with the acts that wait for it."""

    def __init__(self, threads: Threads, name: str) -> None:
        self.name = name
        self.busy = False
        self.act: Act | None = None
        self.waiting: deque[Act] = deque()
        self.wake = threading.Semaphore(0)
        self._threads = threads
        self.thread = threading.Thread(target=self._work, name=name, daemon=True)
        self.thread.start()

    def _work(self) -> None:
        while True:
            self.wake.acquire()
            act, self.act = self.act, None
            if act is None:
                return
            try:
                act()
            except ProcessKilledError:
                self.waiting.clear()
            except BaseException as error:  # what leaves a callback ends a live algorithm (lean-facts 13.13)
                self._threads.failures.append(error)
            self.busy = False
            self._threads.back.release()


class Threads:
    """The agenda, its clock in UTC milliseconds, and the threads that work it off."""

    def __init__(self, seed: int, pace: Pace, now_ms: int) -> None:
        self.now_ms = now_ms
        self.failures: list[BaseException] = []
        self.back = threading.Semaphore(0)
        self.chance = random.Random(seed)
        self._pace = pace
        self._agenda: list[tuple[int, int, Act]] = []
        self._sequence = 0
        self._workers: dict[str, _Worker] = {}
        self._running: _Worker | None = None
        self._killed = False

    # -- the agenda --------------------------------------------------------------------------------------------------

    @property
    def next_ms(self) -> int:
        """When the next entry is due; FOREVER without one."""
        return self._agenda[0][0] if self._agenda else FOREVER

    def at(self, utc_ms: int, act: Act) -> None:
        """Enters an act of the driver's own."""
        self._sequence += 1
        heapq.heappush(self._agenda, (max(utc_ms, self.now_ms), self._sequence, act))

    def put(self, name: str, act: Act, delay_ms: int = 0) -> None:
        """Enters an act for a thread; it is taken when the thread is free."""
        self.at(self.now_ms + delay_ms, lambda: self.hand(name, act))

    def run_next(self) -> None:
        """Works off the next entry, the clock being moved to it."""
        moment, _, act = heapq.heappop(self._agenda)
        self.now_ms = max(self.now_ms, moment)
        act()

    # -- the baton ---------------------------------------------------------------------------------------------------

    def is_busy(self, name: str) -> bool:
        """Whether a thread is within an act."""
        worker = self._workers.get(name)
        return worker is not None and worker.busy

    @property
    def anyone_busy(self) -> bool:
        """Whether any thread is within an act."""
        return any(worker.busy for worker in self._workers.values())

    @property
    def current(self) -> str:
        """Name of the thread that has the baton; the driver's is empty."""
        return "" if self._running is None else self._running.name

    def hand(self, name: str, act: Act) -> None:
        """Gives an act to a thread now, or after what it is within."""
        worker = self._workers.get(name)
        if worker is None:
            worker = self._workers[name] = _Worker(self, name)
        if worker.busy:
            worker.waiting.append(act)
            return
        worker.busy, worker.act = True, act
        self._give(worker)

    def _give(self, worker: _Worker) -> None:
        self._running = worker
        worker.wake.release()
        if not self.back.acquire(timeout=STUCK_SECONDS):
            raise DeadlockError(f"thread {worker.name} waits for a lock of a thread that waits for the baton")
        self._running = None
        if not worker.busy and worker.waiting:
            following = worker.waiting.popleft()
            self.at(self.now_ms, lambda: self.hand(worker.name, following))

    def wait(self, milliseconds: int) -> None:
        """Holds the calling thread up while the others go on; nothing in the driver."""
        worker = self._running
        if worker is None:
            return
        if self._killed:
            raise ProcessKilledError
        self.at(self.now_ms + milliseconds, lambda: self._give(worker))
        self.back.release()
        worker.wake.acquire()
        if self._killed:
            raise ProcessKilledError

    def switch(self) -> None:
        """A call into the engine: the seed decides whether the calling thread is held up here."""
        if self._running is not None and self.chance.random() < self._pace.rate:
            self.wait(self.chance.randint(1, self._pace.longest_ms))

    # -- the end -----------------------------------------------------------------------------------------------------

    def kill(self) -> None:
        """Ends every thread where it stands; nothing of the agenda happens any more."""
        self._killed = True
        self._agenda.clear()
        for worker in self._workers.values():
            if worker.busy:
                self._running = worker
                worker.wake.release()
                self.back.acquire()
        self._running = None
        for worker in self._workers.values():
            worker.act = None
            worker.wake.release()
            worker.thread.join()
        self._workers.clear()
