"""What every test may count on: quiet property tests that fit a small machine, and the recordings where they exist."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

ROOT = Path(__file__).resolve().parent.parent
CONFORMANCE = ROOT.parent / "shared" / "conformance"

settings.register_profile(
    "project", deadline=None, max_examples=60, derandomize=True, suppress_health_check=[HealthCheck.too_slow]
)
settings.register_profile("thorough", deadline=None, max_examples=2000)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "project"))


@pytest.fixture(scope="session")
def conformance() -> Path:
    """The folder with the recordings of the real engine; tests that need it are skipped where it is not."""
    if not CONFORMANCE.is_dir():
        pytest.skip("the recordings of the real engine are not beside this clone")
    return CONFORMANCE
