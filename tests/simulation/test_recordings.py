"""Every recording of the real engine, run again on the embedded one and compared line by line.

Implied volatility may differ by 0.0005 and Greeks by 0.5 %; everything else must be the same text.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from simulation.data.lean_folder import LeanFolder
from simulation.runner import RunRequest, run_backtest
from tests.conftest import CONFORMANCE

VARIANTS = {
    "tastytrade": {"brokerage": "tastytrade"},
    "seed": {"seed": "yes"},
    "honest": {"initializer": "honest"},
    **{margin: {"margin": margin} for margin in ("security-null", "groups-null", "all-null")},
}
PARTS = {"": "data", "march": "march/data", "february": "february/data", "july": "data", "xsp": "xsp/data"}
"""Folders of recordings, and the data that their probes ran on."""


@dataclass(frozen=True, slots=True)
class Recording:
    """What ran on the real engine: the algorithm, its data and parameters, and the lines that it wrote."""

    name: str
    algorithm: Path
    data: Path
    parameters: dict[str, str]
    lines: Path


def recordings() -> Iterator[Recording]:
    """Every recording beside this clone; none where the folder is not there."""
    for part, data in PARTS.items():
        folder = CONFORMANCE / part
        for lines in sorted(folder.glob("expected/*.jsonl")):
            probe, _, variant = lines.name.removesuffix(".jsonl").partition(".")
            algorithm = folder / "probes" / f"{probe}.py"
            parameters = VARIANTS[variant] if variant else {}
            yield Recording(lines.name.removesuffix(".jsonl"), algorithm, CONFORMANCE / data, parameters, lines)
    cases = CONFORMANCE / "fuzz" / "cases.json"
    for case in json.loads(cases.read_text(encoding="utf-8")) if cases.is_file() else ():
        name, market = case["name"], CONFORMANCE / PARTS[case["data"]]
        lines = CONFORMANCE / "fuzz" / "expected" / f"{name}.jsonl"
        yield Recording(f"fuzz-{name}", CONFORMANCE / "fuzz" / "fuzz.py", market, case["parameters"], lines)


RECORDINGS = {recording.name: recording for recording in recordings()}
FUZZ = [name for name in RECORDINGS if name.startswith("fuzz-")]
IN_CI = [
    pytest.param(name, marks=pytest.mark.long if name in FUZZ and name not in FUZZ[::3] else ()) for name in RECORDINGS
]
"""Every probe; of the drawn cases every third, and all of them with --all."""


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
@pytest.mark.parametrize("name", IN_CI or ["none"])
def test_the_recording_comes_out_line_for_line(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    recording = RECORDINGS[name]
    out = tmp_path / "out.jsonl"
    monkeypatch.setenv("PROBE_OUT", str(out))
    source = LeanFolder(recording.data)
    request = RunRequest(recording.algorithm, source, dict(recording.parameters), None, tmp_path / "storage")
    assert run_backtest(request).error is None
    got = out.read_text(encoding="utf-8").splitlines()
    expected = recording.lines.read_text(encoding="utf-8").splitlines()
    assert [(g, e) for g, e in zip(got, expected, strict=False) if not same(g, e)] == []
    assert len(got) == len(expected)


@pytest.mark.skipif(not RECORDINGS, reason="the recordings of the real engine are not beside this clone")
def test_no_recording_is_left_out() -> None:
    # live/ holds another mode's recordings, results/ a run's files: both have tests of their own.
    folders = {path.parent.parent.name for path in CONFORMANCE.rglob("expected/*.jsonl")}
    assert folders - {CONFORMANCE.name} == {part for part in PARTS if part} | {"fuzz"}
    assert len(RECORDINGS) == len(list(CONFORMANCE.rglob("expected/*.jsonl")))
