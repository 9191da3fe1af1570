"""Runs as data for research: ``import research; run = research.load("latest")`` in a notebook or a script.

Money is dollars, money in positive; prices are points; times are New York, without a zone.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from cli.options import JOURNAL
from cli.runs import find_run
from reporting.fields import parse_line
from reporting.rows import Journal

PART_COLUMNS = (
    "strategy", "position", "part", "underlying", "structure", "opened", "closed", "contracts", "credit", "cash_in",
    "cash_out", "fees", "profit", "max_loss", "exit_rule", "exit_reason", "underlying_entry", "underlying_exit",
    "vix_entry", "vix_exit",
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class RunData:
    """One run. Every frame has its columns also where it has no row.

    ``equity`` by day; ``trades`` one row a closed position, its parts summed; ``parts`` one row a closed part;
    ``decisions`` one row an answer to an entry; ``fills`` one row a leg; ``risk`` what risk rules said.
    """

    name: str
    folder: Path
    journal: Journal
    equity: pd.DataFrame
    trades: pd.DataFrame
    parts: pd.DataFrame
    decisions: pd.DataFrame
    fills: pd.DataFrame
    risk: pd.DataFrame

    def rows(self, kind: str) -> pd.DataFrame:
        """All rows of the journal of one kind, as they are written, for example ``rows("verdict")``."""
        with (self.folder / JOURNAL).open(encoding="utf-8") as lines:
            read = [
                parse_line(line, f"line {count}").values for count, line in enumerate(lines, start=1) if line.strip()
            ]
        return pd.DataFrame([row for row in read if row.get("kind") == kind])


def load(run: str | Path = "latest") -> RunData:
    """A run by its name in backtests/, by ``latest`` or by its folder.

    Raises:
        cli.errors.UserError: there is no such run, or its journal cannot be read.
    """
    found = find_run(str(run))
    journal = found.journal()
    equity = frame(journal.equity, ("day", "equity", "phase", "positions", "interest"), times=("day",)).set_index("day")
    equity["drawdown"] = 1 - equity["equity"] / equity["equity"].cummax()
    parts = frame(
        journal.trades,
        PART_COLUMNS,
        times=("opened", "closed"),
    )
    parts["won"] = parts["profit"] > 0
    return RunData(
        name=found.name,
        folder=found.folder,
        journal=journal,
        equity=equity,
        trades=whole_trades(parts),
        parts=parts,
        decisions=frame(
            journal.decisions,
            ("time", "strategy", "day", "outcome", "rule", "reason", "limit", "observed", "vix", "spot", "contracts"),
            times=("time", "day"),
        ),
        fills=frame(
            journal.fills,
            ("time", "group", "position", "contract", "quantity", "price", "bid", "ask", "fee"),
            times=("time",),
        ),
        risk=frame(
            journal.risk,
            ("time", "rule", "severity", "strategy", "reason", "limit", "observed"),
            times=("time",),
        ),
    )


def frame(rows: Iterable[object], columns: tuple[str, ...], times: tuple[str, ...] = ()) -> pd.DataFrame:
    """Typed rows as a frame with these columns; what is unknown is missing, never zero."""
    table = pd.DataFrame([{name: getattr(row, name) for name in columns} for row in rows], columns=list(columns))
    for name in times:
        table[name] = pd.to_datetime(table[name])
    return table


def whole_trades(parts: pd.DataFrame) -> pd.DataFrame:
    """One row a position: the money of its parts summed, the first opening, the last closing and its exit."""
    ways: Mapping[str, str] = {
        "strategy": "first", "underlying": "first", "structure": "first", "opened": "min", "closed": "max",
        "credit": "sum", "cash_in": "sum", "cash_out": "sum", "fees": "sum", "profit": "sum", "exit_rule": "last",
        "vix_entry": "first", "vix_exit": "last",
    }  # fmt: skip
    whole = parts.sort_values("closed").groupby("position", sort=False).agg(dict(ways)).reset_index()
    whole["parts"] = whole["position"].map(parts["position"].value_counts())
    whole["won"] = whole["profit"] > 0
    return whole
