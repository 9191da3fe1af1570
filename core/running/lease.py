"""Who trades on a store: an owner's lease beside it, renewed each minute and dead after three.

A forgotten deployment on the same store would trade the same account twice. A start that finds a living lease sends
nothing, and asks again each minute; it becomes the owner when the lease is given up or dead, and may ask for it. A kill
does not lock out its own restart: on the same machine the store's lock tells at once whether its owner lives.
"""

from __future__ import annotations

import json
import os
import platform
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any, Final

from core.storage import Storage

KEY: Final = "lease.json"
RENEWED: Final = timedelta(minutes=1)
DEAD: Final = timedelta(minutes=3)
_BOOT: Final = Path("/proc/sys/kernel/random/boot_id")
"""The same in every container of a machine, another after it was started again."""


@dataclass(frozen=True, slots=True)
class Owner:
    """A process that trades, or would: its machine, and a name by which a person finds it."""

    machine: str
    name: str


def this_process(now: datetime) -> Owner:
    """This process; ``now`` (UTC) tells it from one of the same number before it."""
    try:
        machine = _BOOT.read_text(encoding="ascii").strip()
    except OSError:  # not Linux
        machine = platform.node()
    return Owner(machine, f"process {os.getpid()} on {platform.node()}, started {now:%Y-%m-%d %H:%M:%S} UTC")


@dataclass(frozen=True, slots=True)
class _Row:
    """What is written: the owner (``None``: given up), when it renewed (UTC), and who asks for it since when."""

    owner: Owner | None
    renewed: datetime
    asked_by: Owner | None = None
    asked: datetime | None = None


class Lease:
    """One process's view of the lease; ``locked`` says who holds the store's lock on this machine, ``None`` when free.

    Raises ``OSError`` where it can be neither read nor written: nobody knows then who may trade.
    """

    def __init__(self, storage: Storage, me: Owner, locked: Callable[[], str | None]) -> None:
        self._storage = storage
        self.me = me
        self._locked = locked
        self._renewed: datetime | None = None
        self._asked: datetime | None = None
        self._other = ""
        self.lost = False
        """Whether another became the owner while this one was."""

    def ask(self, now: datetime) -> str | None:
        """``None`` when this process is the owner at ``now`` (UTC), else who is, or is about to be; each minute anew.

        An owner who is told of another gives up what it does, then calls ``release``.
        """
        if self._renewed is not None:
            if now - self._renewed < RENEWED:
                return None
            return self._renew(now)
        if self._asked is not None and now - self._asked < RENEWED:
            return self._other
        self._asked = now
        self._other = self._seek(now) or ""
        if self._other:
            return self._other
        self._renewed, self.lost = now, False
        return None

    def claim(self, now: datetime) -> None:
        """Ask the owner to give it up: it does so within a minute, or is dead after three."""
        row = self._read()
        if row is not None and row.owner is not None:
            self._write(replace(row, asked_by=self.me, asked=now))
        self._asked = now

    def release(self, now: datetime) -> None:
        """Give it up, so that the next one may begin at once; nothing happens when it is another's by now."""
        self._renewed, self._asked = None, now
        row = self._read()
        if row is not None and row.owner == self.me:
            self._write(replace(row, owner=None, renewed=now))
            self._other = "" if row.asked_by is None else row.asked_by.name

    def _renew(self, now: datetime) -> str | None:
        row = self._read()
        if row is not None and row.owner != self.me:
            self._renewed, self._asked, self.lost = None, now, True
            self._other = "nobody" if row.owner is None else row.owner.name
            return self._other
        if row is not None and row.asked_by is not None:
            self._other = row.asked_by.name
            return self._other
        self._renewed = now
        self._write(_Row(self.me, now))
        return None

    def _seek(self, now: datetime) -> str | None:
        """Become the owner where nobody lives; one that died elsewhere is succeeded at the second look."""
        row, locked = self._read(), self._locked()
        owner = None if row is None or row.owner == self.me else row.owner
        here = owner is not None and owner.machine == self.me.machine
        if row is not None and owner is not None and now - row.renewed <= DEAD and (locked is not None or not here):
            return f"{owner.name}, renewed {row.renewed:%H:%M:%S} UTC"
        if locked is not None:
            return locked
        waits = row is not None and row.owner is None and row.asked_by not in (None, self.me)
        if row is not None and row.asked_by is not None and waits and now - row.renewed <= DEAD:
            return f"{row.asked_by.name}, which asked for it"
        self._write(_Row(self.me, now))
        return None if owner is None or here else f"{owner.name}, which seems dead"

    def _read(self) -> _Row | None:
        """What is written; what cannot be understood counts as nothing, the store's lock still being asked."""
        if not self._storage.exists(KEY):
            return None
        try:
            row: dict[str, Any] = json.loads(self._storage.read(KEY))
            asked = row["asked"]
            return _Row(
                _owner(row["owner"]),
                datetime.fromisoformat(row["renewed"]),
                _owner(row["asked_by"]),
                None if asked is None else datetime.fromisoformat(asked),
            )
        except (ValueError, KeyError, TypeError):
            return None

    def _write(self, row: _Row) -> None:
        words = {
            "owner": _named(row.owner),
            "renewed": row.renewed.isoformat(),
            "asked_by": _named(row.asked_by),
            "asked": None if row.asked is None else row.asked.isoformat(),
        }
        self._storage.replace(KEY, json.dumps(words))


def owner_of(text: str) -> tuple[str, datetime] | None:
    """Who a lease's text says trades, and when it renewed (UTC); ``None``: nobody, or nothing to be understood."""
    try:
        row: dict[str, Any] = json.loads(text)
        owner, renewed = _owner(row["owner"]), datetime.fromisoformat(row["renewed"])
    except (ValueError, KeyError, TypeError):
        return None
    return None if owner is None or renewed.tzinfo is not None else (owner.name, renewed)


def _owner(row: Any) -> Owner | None:
    return None if row is None else Owner(str(row["machine"]), str(row["name"]))


def _named(owner: Owner | None) -> dict[str, str] | None:
    return None if owner is None else {"machine": owner.machine, "name": owner.name}
