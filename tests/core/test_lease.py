"""Who trades on a store: living, dead, given up, asked for; on this machine the store's lock tells at once."""

from __future__ import annotations

import json
from datetime import datetime, timedelta
from pathlib import Path

from core.running.lease import KEY, Lease, Owner
from core.storage import FolderStorage

NOW = datetime(2016, 2, 12, 15, 30)


class Place:
    """A store's folder that several processes look at; ``lock`` is who holds its lock on their machine."""

    def __init__(self, folder: Path) -> None:
        self.storage = FolderStorage(folder, durable=False)
        self.lock: str | None = None

    def lease(self, name: str, machine: str = "here") -> Lease:
        """A process's view."""
        return Lease(self.storage, Owner(machine, name), lambda: self.lock)


def later(minutes: float) -> datetime:
    """So many minutes after the beginning."""
    return NOW + timedelta(minutes=minutes)


def test_the_first_is_the_owner_and_renews_each_minute(tmp_path: Path) -> None:
    place = Place(tmp_path)
    one = place.lease("one")
    assert one.ask(NOW) is None
    assert one.ask(later(0.9)) is None
    assert json.loads(place.storage.read(KEY))["renewed"] == NOW.isoformat()  # within the minute nothing is written
    assert one.ask(later(1)) is None
    assert json.loads(place.storage.read(KEY))["renewed"] == later(1).isoformat()


def test_a_living_one_elsewhere_keeps_others_out_and_is_named(tmp_path: Path) -> None:
    place = Place(tmp_path)
    one, two = place.lease("one", "there"), place.lease("two")
    assert one.ask(NOW) is None
    assert two.ask(later(1)) == "one, renewed 15:30:00 UTC"
    assert one.ask(later(1.5)) is None
    assert two.ask(later(3.2)) == "one, renewed 15:31:30 UTC"
    assert one.ask(later(3.5)) is None


def test_one_that_died_elsewhere_is_succeeded_after_three_minutes_at_the_second_look(tmp_path: Path) -> None:
    place = Place(tmp_path)
    assert place.lease("one", "there").ask(NOW) is None
    two, three = place.lease("two"), place.lease("three", "third")
    assert two.ask(later(3)) == "one, renewed 15:30:00 UTC"
    assert two.ask(later(4)) == "one, which seems dead"  # written over it, and looked at again
    assert three.ask(later(4.1)) == "two, renewed 15:34:00 UTC"
    assert two.ask(later(5)) is None


def test_of_two_that_succeed_at_once_one_becomes_the_owner(tmp_path: Path) -> None:
    place = Place(tmp_path)
    assert place.lease("one", "there").ask(NOW) is None
    two, three = place.lease("two"), place.lease("three", "third")
    place.storage.replace(KEY, place.storage.read(KEY))
    assert two.ask(later(4)) == "one, which seems dead"
    dead = json.dumps(
        {"owner": {"machine": "there", "name": "one"}, "renewed": NOW.isoformat(), "asked_by": None, "asked": None}
    )
    place.storage.replace(KEY, dead)  # what the third read before the second wrote
    assert three.ask(later(4)) == "one, which seems dead"
    assert two.ask(later(5)) == "three, renewed 15:34:00 UTC"
    assert three.ask(later(5)) is None


def test_a_kill_does_not_lock_out_its_own_restart(tmp_path: Path) -> None:
    place = Place(tmp_path)
    assert place.lease("one").ask(NOW) is None
    assert place.lease("again").ask(later(0.1)) is None  # the same machine, and nobody holds the lock


def test_on_this_machine_the_lock_says_that_the_owner_lives(tmp_path: Path) -> None:
    place = Place(tmp_path)
    place.lock = "process 7 works on this store"
    assert place.lease("one").ask(NOW) == "process 7 works on this store"  # of a version without a lease
    place.lock = None
    assert place.lease("one").ask(NOW) is None
    place.lock = "process 7 works on this store"
    two = place.lease("two")
    assert two.ask(later(1)) == "one, renewed 15:30:00 UTC"
    assert two.ask(later(9)) == "process 7 works on this store"  # it hangs: its lease is dead, and it is not


def test_what_is_asked_for_is_given_up_and_goes_to_who_asked(tmp_path: Path) -> None:
    place = Place(tmp_path)
    one, two, three = place.lease("one", "there"), place.lease("two"), place.lease("three", "third")
    assert one.ask(NOW) is None
    assert two.ask(later(0.2)) is not None
    two.claim(later(0.3))
    assert one.ask(later(1)) == "two"
    assert not one.lost
    one.release(later(1))
    assert three.ask(later(1.1)) == "two, which asked for it"
    assert two.ask(later(1.4)) is None
    assert one.ask(later(2.1)) == "two, renewed 15:31:24 UTC"


def test_one_who_asked_and_never_came_loses_its_turn(tmp_path: Path) -> None:
    place = Place(tmp_path)
    one, two = place.lease("one", "there"), place.lease("two")
    assert one.ask(NOW) is None
    two.claim(later(0.3))
    assert one.ask(later(1)) == "two"
    one.release(later(1))
    assert one.ask(later(2)) == "two, which asked for it"
    assert one.ask(later(5)) is None  # four minutes after it was given up


def test_an_owner_that_stood_still_for_minutes_hears_that_it_lost(tmp_path: Path) -> None:
    place = Place(tmp_path)
    one, two = place.lease("one", "there"), place.lease("two")
    assert one.ask(NOW) is None
    assert two.ask(later(4)) is not None
    assert two.ask(later(5)) is None
    assert one.ask(later(5.5)) == "two"
    assert one.lost
    one.release(later(5.5))
    assert two.ask(later(6)) is None  # what was not its own is not given up


def test_a_file_that_says_nothing_is_nobodys(tmp_path: Path) -> None:
    place = Place(tmp_path)
    for text in ("", "{", "[]", '{"owner": 5}'):
        place.storage.replace(KEY, text)
        assert place.lease("one").ask(NOW) is None
