"""A long time in one process: what it holds of the machine, and when that is too much."""

from __future__ import annotations

import pytest

from cli.app import run
from cli.scenario import Meter, Sample


def metered(*figures: tuple[float | None, int | None]) -> Meter:
    """A meter with samples of megabytes and handles."""
    meter = Meter()
    meter.samples = [
        Sample(f"2016-{month:02}", megabytes, handles, 1_000, 1.0)
        for month, (megabytes, handles) in enumerate(figures, start=1)
    ]
    return meter


def test_what_grows_after_the_caches_filled_is_told() -> None:
    # From the third sample, 300 MB, to the last, 450: half as much again, which is allowed, and a megabyte more is not.
    assert metered((100.0, 9), (250.0, 9), (300.0, 9), (450.0, 9)).complaints(0.5) == []
    (words,) = metered((100.0, 9), (250.0, 9), (300.0, 9), (451.0, 9)).complaints(0.5)
    assert words == "memory grew by 50% from 2016-03 to 2016-04; at most 50%"
    (words,) = metered((100.0, 9), (250.0, 9), (300.0, 9), (300.0, 18)).complaints(0.5)
    assert words == "9 more open handles in 2016-04 than in 2016-03"


def test_what_is_not_told_or_too_short_is_no_growth() -> None:
    assert metered((None, None), (None, None), (None, None), (None, None)).complaints(0.5) == []
    assert metered((1.0, 1), (100.0, 90)).complaints(0.5) == []


def test_a_meter_looks_once_a_month() -> None:
    meter = Meter()
    for when in ("2016-01", "2016-01", "2016-02"):
        meter.look(when)
    assert [one.when for one in meter.samples] == ["2016-01", "2016-02"]
    assert all(one.objects > 0 for one in meter.samples)


@pytest.mark.slow
@pytest.mark.parametrize(
    "period",
    [
        ["--start", "2018-01-29", "--end", "2018-02-02", "--strategies", "friday_0dte"],
        pytest.param(["--night", "2018-02-13", "--strategies", "futures_strangle"], marks=pytest.mark.long),
    ],
)
def test_soak_prints_its_samples(period: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    code = run(["soak", *period])
    said = capsys.readouterr()
    assert code == 0, said.err
    assert "nothing grew beyond its bounds" in said.out
    assert ("02-13 23:00" in said.out) is ("--night" in period)
