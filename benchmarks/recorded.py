"""The modelled market beside recorded option chains: ``python -m benchmarks.recorded [FOLDER] [--write PAGE]``.

FOLDER holds the recordings (their layouts: `simulation/market/recordings`; their README names them),
``../shared/recorded`` unless given; daily closes of the VIX lie in ``../data/vix-daily.csv`` beside it, or where
``--vix`` says. Nothing of them is kept in this repository. For each recorded date and for each cell of term and delta
the tables say how far the model's implied volatility lies from the recorded one, in points, and what its price is
over the recorded price. Every second date, counted from 2005, was looked at when the form of the smile and its
numbers were chosen; the others only report. With ``--write`` the tables replace those between the two marks of a page
(docs/market.md has them).

``--minutes SPEC`` prints how afternoons, mornings and the open of the VIX of a market lie beside real ones, and
``--writing SPEC`` rebuilds Cboe's option-selling indices on a market (``history``, or ``csv:`` with files) instead,
over ``--seeds`` seeds.

``--fills FIRST LAST`` prints which entries of Friday 0DTE each fill rule selects, over ``--seeds`` seeds of
``history``: how many filled, and what those and the others come to when each is entered at natural (the table of
decision 026).
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import date
from pathlib import Path

import numpy as np

from cli.backtest import run_and_report
from cli.options import BacktestOptions
from core.fills import FillAssumption
from reporting.lives import Life, lives_of
from simulation.market.calendar import FloatArray
from simulation.market.recordings.beside import UNDERLYINGS, Compared, Fears, Shown, compared, forwards, shown
from simulation.market.recordings.files import Recorded, RecordedError, chains
from simulation.market.recordings.minutes import minute_table
from simulation.market.recordings.writing import writing_tables
from simulation.market.recordings.zero_day import zero_day_tables

FOLDER = Path(__file__).resolve().parents[2] / "shared" / "recorded"
CHOSEN = frozenset(
    date.fromisoformat(day)
    for day in (
        "2008-09-02", "2008-09-12", "2008-09-17", "2008-09-29", "2011-09-15", "2016-11-25", "2020-03-20", "2022-02-04",
        "2023-02-07", "2023-05-19", "2023-09-14",
    )
)  # fmt: skip
STRESS = 26.0  # volatility index from which a date counts as stress
TERMS = (("0", 0, 0), ("1-7", 1, 7), ("8-45", 8, 45), ("46-180", 46, 180), ("over 180", 181, 2000))
DELTAS = ((0.05, 0.10), (0.10, 0.20), (0.20, 0.35), (0.35, 0.50))
BEGIN, END = "<!-- recorded: begin -->", "<!-- recorded: end -->"
DRAWS = 1000


@dataclass(frozen=True)
class Group:
    """Dates that are looked at together."""

    name: str
    rows: Compared


def interval(values: Sequence[FloatArray], statistic: Callable[[FloatArray], float]) -> tuple[float, float]:
    """Lowest and highest of 90 % of a statistic when dates (not contracts) are drawn again; NaN with fewer than two."""
    if len(values) < 2:
        return float("nan"), float("nan")
    generator = np.random.default_rng(18)
    drawn = [
        statistic(np.concatenate([values[row] for row in generator.integers(len(values), size=len(values))]))
        for _ in range(DRAWS)
    ]
    low, high = np.percentile(drawn, (5.0, 95.0))
    return float(low), float(high)


def by_date(rows: Compared, column: FloatArray) -> list[FloatArray]:
    """A column's values of each date."""
    return [column[rows.day == day] for day in np.unique(rows.day)]


def body(rows: Compared) -> Compared:
    """What the goals speak of: 1 to 180 days, 5 to 50 delta."""
    return rows.rows((rows.term >= 1) & (rows.term <= 180) & (rows.delta >= 0.05))


def median(values: FloatArray) -> float:
    """The median, as a number."""
    return float(np.median(values))


def high_percentile(values: FloatArray) -> float:
    """The 95th percentile, as a number."""
    return float(np.percentile(values, 95.0))


def summary(groups: Sequence[Group]) -> list[str]:
    """One line for each group of dates: absolute errors of volatility."""
    lines = [
        "| dates | contracts | median absolute error (90 % interval) | 95th percentile | mean error |",
        "|---|---|---|---|---|",
    ]
    for group in groups:
        rows = body(group.rows)
        if not len(rows.term):
            continue
        sizes = by_date(rows, np.abs(rows.error))
        low, high = interval(sizes, median)
        far = interval(sizes, high_percentile)
        whole = np.abs(rows.error)
        lines.append(
            f"| {group.name} ({len(sizes)}) | {len(whole)} | {median(whole):.2f} ({low:.2f} to {high:.2f}) | "
            f"{high_percentile(whole):.2f} ({far[0]:.2f} to {far[1]:.2f}) | {rows.error.mean():+.2f} |"
        )
    return lines


def cells(group: Group) -> list[str]:
    """Puts and calls by term and delta: median error in volatility points and median price ratio."""
    names = [f"{100 * low:.0f}-{100 * high:.0f}" for low, high in DELTAS]
    lines = [
        f"**{group.name}**, error in points; price ratio",
        "",
        "| days | " + " | ".join([f"put {name}" for name in names] + [f"call {name}" for name in names[::-1]]) + " |",
        "|---" * (1 + 2 * len(names)) + "|",
    ]
    for name, first, last in TERMS:
        shown_cells = []
        for sign, bands in ((-1.0, DELTAS), (1.0, DELTAS[::-1])):
            for low, high in bands:
                rows = group.rows
                cell = rows.rows(
                    (rows.term >= first) & (rows.term <= last) & (rows.sign == sign)
                    & (rows.delta >= low) & (rows.delta < high)
                )  # fmt: skip
                shown_cells.append(f"{median(cell.error):+.1f}; {median(cell.ratio):.2f}" if len(cell.term) > 2 else "")
        if any(shown_cells):
            lines.append(f"| {name} | " + " | ".join(shown_cells) + " |")
    return lines


def dates(found: Sequence[tuple[Shown, Compared]]) -> list[str]:
    """One line for each recorded moment: where the money and the wings lie."""
    lines = [
        "| recorded, VIX | looked at | absolute error, median; 95th | at the money, 1-7, 8-45, 46-180 days | "
        "puts of 5-15 delta, the same | calls of 5-20 delta, the same | spread over recorded |",
        "|---|---|---|---|---|---|---|",
    ]
    for one, every in found:
        rows = body(every)
        if not len(rows.term):
            continue
        moment = one.chain.moment
        parts = [
            f"| {one.chain.underlying} {moment:%Y-%m-%d %H:%M}, {one.level:.1f}",
            "yes" if one.day in CHOSEN else "",
        ]
        size = np.abs(rows.error)
        parts.append(f"{median(size):.2f}; {high_percentile(size):.2f}")
        for sign, low, high in ((0.0, 0.40, 0.51), (-1.0, 0.05, 0.15), (1.0, 0.05, 0.20)):
            band = (rows.delta >= low) & (rows.delta < high) & ((rows.sign == sign) if sign else True)
            picked = [rows.error[band & (rows.term >= first) & (rows.term <= last)] for _, first, last in TERMS[1:4]]
            parts.append(", ".join(f"{median(values):+.1f}" if len(values) else "-" for values in picked))
        parts.append(f"{median(every.spread_ratio):.1f}")
        lines.append(" | ".join(parts) + " |")
    return lines


def forward_lines(found: Sequence[tuple[Shown, Compared]]) -> list[str]:
    """Forwards beside the recorded ones, points of the index, at about half a year, one year and the longest."""
    lines = ["| recorded | model less recorded forward at days |", "|---|---|"]
    for one, _ in found:
        known = [item for item in forwards(one) if item[0] >= 60]
        if one.chain.underlying != "SPX" or len(known) < 3:
            continue
        terms = np.array([item[0] for item in known])
        picked = {int(np.argmin(np.abs(terms - days))) for days in (180, 365, 800)}
        text = ", ".join(f"{known[row][2] - known[row][1]:+.1f} at {known[row][0]}" for row in sorted(picked))
        lines.append(f"| {one.chain.moment:%Y-%m-%d} | {text} |")
    return lines


def gathered(folder: Path, fears: Fears) -> list[tuple[Shown, Compared]]:
    """Every chain on the index or its funds, with the model beside it."""
    usable: list[Recorded] = [chain for chain in chains(folder) if chain.underlying in UNDERLYINGS]
    pairs = [shown(chain, fears) for chain in usable]
    return [(one, compared(one)) for one in pairs]


def report(folder: Path, fears: Fears) -> list[str]:
    """All tables."""
    found = gathered(folder, fears)
    daytime = [(one, rows) for one, rows in found if not one.chain.evening]

    def group(name: str, wanted: Callable[[Shown], bool]) -> Group | None:
        parts = [rows for one, rows in daytime if wanted(one)]
        return Group(name, Compared.joined(parts)) if parts else None

    made = [
        group("calm, only reported", lambda one: one.level < STRESS and one.day not in CHOSEN),
        group("calm, looked at", lambda one: one.level < STRESS and one.day in CHOSEN),
        group("stress, only reported", lambda one: one.level >= STRESS and one.day not in CHOSEN),
        group("stress, looked at", lambda one: one.level >= STRESS and one.day in CHOSEN),
    ]
    groups = [one for one in made if one is not None]
    lines = [*summary(groups), "", *dates(found), ""]
    for one in groups:
        lines += [*cells(one), ""]
    lines += [*forward_lines(found), ""]
    return [*lines, *zero_day_tables(folder / "zero_day", fears)]


SETTINGS = ("friday_0dte.min_vix=0",)  # else the VIX lets few entries through
Entries = dict[tuple[int, date], Life]


def entries_of(rule: FillAssumption, seeds: Sequence[int], days: tuple[str, str]) -> Entries:
    """The entry that Friday 0DTE sent on each day of each seed under a rule, filled or not."""
    found: Entries = {}
    for seed in seeds:
        with tempfile.TemporaryDirectory() as folder:
            options = BacktestOptions(
                start=days[0], end=days[1], strategies="friday_0dte", seed=str(seed), out=Path(folder) / "run",
                set_=[*SETTINGS, f"fills.model={rule.value}"],
            )  # fmt: skip
            journal = run_and_report(options).record.journal
        for life in lives_of(journal).values():
            sent = [walk.begun for walk in life.walks if walk.purpose == "entry" and walk.begun is not None]
            found |= {(seed, moment.date()): life for moment in sent[:1]}
    return found


def points_of(life: Life) -> float:
    """What a position brought, points a package after fees."""
    return sum(trade.profit / (trade.contracts * trade.multiplier) for trade in life.trades)


def selected(name: str, own: Entries, natural: Entries) -> str:
    """A row: what a rule filled and what it did not, each by what the entry of that day came to at natural.

    In brackets how many of them natural entered too: after other fills the account's rules let other days through.
    """
    filled = {place for place, life in own.items() if life.trades}
    cells = [name, str(len(own))]
    for group in (filled, own.keys() - filled):
        known = [points_of(life) for place in sorted(group) if (life := natural.get(place)) and life.trades]
        cells += [f"{len(group)} ({len(known)})", *outcome_cells(known)]
        if group is filled:
            cells += outcome_cells([points_of(own[place]) for place in sorted(group)])
    return f"| {' | '.join(cells)} |"


def outcome_cells(points: Sequence[float]) -> list[str]:
    """How many won, and the mean; nothing of none."""
    if not points:
        return ["", ""]
    return [f"{sum(value > 0 for value in points) / len(points):.1%}", f"{sum(points) / len(points):+.2f}"]


def fill_table(seeds: Sequence[int], days: tuple[str, str]) -> list[str]:
    """Every rule in a row."""
    by_rule = {rule: entries_of(rule, seeds, days) for rule in FillAssumption}
    natural = by_rule[FillAssumption.NATURAL]
    head = (
        "rule", "sent", "filled (at natural too)", "won at natural", "points", "won as filled", "points",
        "not filled (at natural)", "would have won at natural", "points",
    )  # fmt: skip
    rows = [selected(rule.value, own, natural) for rule, own in by_rule.items()]
    return [f"| {' | '.join(head)} |", "|---" * len(head) + "|", *rows]


def replaced(page: str, lines: Sequence[str]) -> str:
    """A page with the tables between its two marks; raises ValueError when it has no marks."""
    before, begin, rest = page.partition(BEGIN)
    _, end, after = rest.partition(END)
    if not begin or not end:
        raise ValueError(f"page: no {BEGIN} and {END}; expected both marks around the tables")
    return "\n".join([before + begin, *lines, end + after])


def said(lines: Sequence[str]) -> int:
    """Writes lines to the terminal; always 0."""
    sys.stdout.write("\n".join([*lines, ""]))
    return 0


def main(arguments: Sequence[str]) -> int:
    """Prints the tables, or writes them into a page; 1 with a message where recordings are missing."""
    parser = argparse.ArgumentParser(prog="benchmarks.recorded", description="The model beside recorded chains.")
    parser.add_argument("folder", nargs="?", type=Path, default=FOLDER)
    parser.add_argument("--vix", type=Path, help="CSV of daily values of the VIX")
    parser.add_argument("--write", type=Path, help="page whose tables are replaced")
    parser.add_argument("--writing", metavar="SPEC", help="rebuild Cboe's option-selling indices on this market")
    parser.add_argument("--minutes", metavar="SPEC", help="afternoons and mornings of this market beside real ones")
    parser.add_argument("--fills", nargs=2, metavar="DAY", help="which entries each fill rule selects, from and to")
    parser.add_argument("--seeds", type=int, default=4, help="how many seeds of that market")
    chosen = parser.parse_args(arguments)
    if chosen.writing is not None:
        monthly = chosen.folder / "index_histories" / "cboe_put_bxm_monthly.csv"
        return said(writing_tables(chosen.writing, chosen.seeds, monthly))
    if chosen.minutes is not None:
        return said(minute_table(chosen.minutes, range(1, chosen.seeds + 1)))
    if chosen.fills is not None:
        return said(fill_table(range(1, chosen.seeds + 1), (chosen.fills[0], chosen.fills[1])))
    fears = Fears.read(chosen.vix or chosen.folder.resolve().parent / "data" / "vix-daily.csv")
    try:
        lines = report(chosen.folder, fears)
    except RecordedError as error:
        sys.stderr.write(f"{error}\n")
        return 1
    if chosen.write is None:
        return said(lines)
    chosen.write.write_text(replaced(chosen.write.read_text(encoding="utf-8"), lines), encoding="utf-8")
    return 0


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
