"""One Friday through the whole system on a fake engine."""

from __future__ import annotations

import math
from collections.abc import Callable
from datetime import datetime, time
from pathlib import Path
from typing import Any

from tests.fake_gateway import FRIDAY, FakeGateway


def wiggle(level: float, moved: float = 0.0) -> Callable[[datetime], float]:
    """A price near ``level``, ``moved`` (a fraction) away from it since the open from 10:00 on, never frozen."""

    def spot(at: datetime) -> float:
        noise = 0.5 * math.sin(at.minute) if at.minute % 3 == 0 else 0.0
        return level * (1 + moved if at.time() >= time(10, 0) else 1.0) + noise

    return spot


def start(
    folder: Path, spot: Callable[[datetime], float] | None = None, vix: float = 24.0, **options: Any
) -> FakeGateway:
    midnight = datetime.combine(FRIDAY, time())
    return FakeGateway(midnight, spot or wiggle(5000.0), lambda _: vix, folder, **options)
