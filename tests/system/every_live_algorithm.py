"""The made-up strategy for a live week that is lived in pieces: without what ends on a day whose close nobody sees."""

from __future__ import annotations

from tests.every_structure import OPENED
from tests.system.every_algorithm import EveryStructureOnTheEngine


class EveryStructureLive(EveryStructureOnTheEngine):
    """All structures but the butterfly."""

    slots = tuple(slot for slot in OPENED if slot != "butterfly")
