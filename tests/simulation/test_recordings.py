"""Every recording of the real engine, run again on the embedded one and compared line by line.

Implied volatility may differ by 0.0005 and Greeks by 0.5 %; everything else must be the same text.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from simulation.data.lean_folder import LeanFolder
from simulation.runner import RunRequest, run_backtest
from tests.conftest import CONFORMANCE

PARAMETERS = {
    "tastytrade": {"brokerage": "tastytrade"},
    "seed": {"seed": "yes"},
    "security-null": {"margin": "security-null"},
    "honest": {"initializer": "honest"},
}
RECORDINGS = sorted(path.name.removesuffix(".jsonl") for path in CONFORMANCE.glob("expected/*.jsonl"))


def near(got: Any, expected: Any, path: str = "") -> bool:
    """Equality, with the tolerances of model figures inside `greeks` and the rows of option_chain."""
    if isinstance(expected, list) and isinstance(got, list):
        return len(got) == len(expected) and all(near(g, e, path) for g, e in zip(got, expected, strict=True))
    if path == "greeks" and isinstance(expected, float) and isinstance(got, float):
        return abs(got - expected) <= max(0.0005, 0.005 * abs(expected))
    return bool(got == expected)


def same(got: str, expected: str) -> bool:
    """Whether two lines say the same."""
    if got == expected:
        return True
    ours, theirs = json.loads(got), json.loads(expected)
    return list(ours) == list(theirs) and all(near(ours[key], theirs[key], key) for key in theirs)


@pytest.mark.skipif(not RECORDINGS, reason="the recordings of the real engine are not beside this clone")
@pytest.mark.parametrize("name", RECORDINGS or ["none"])
def test_the_recording_comes_out_line_for_line(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    probe, _, variant = name.partition(".")
    out = tmp_path / "out.jsonl"
    monkeypatch.setenv("PROBE_OUT", str(out))
    source = LeanFolder(CONFORMANCE / "data")
    algorithm = CONFORMANCE / "probes" / f"{probe}.py"
    result = run_backtest(RunRequest(algorithm, source, PARAMETERS.get(variant, {}), None, tmp_path / "storage"))
    assert result.error is None
    got = out.read_text(encoding="utf-8").splitlines()
    expected = (CONFORMANCE / "expected" / f"{name}.jsonl").read_text(encoding="utf-8").splitlines()
    assert [g for g, e in zip(got, expected, strict=False) if not same(g, e)] == []
    assert len(got) == len(expected)
