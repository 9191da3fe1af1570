"""What an account that was filled to the limits of risk came to in a scenario, against stated bounds (docs/risk.md).

A verdict says what was held at the close before the shock, what acted, what a broker that raises its margin sold, the
worst loss of a session and of the whole, and when (New York time) entries were sent: never outside of their window.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from typing import Any, Final

from simulation.market.calendar import calendar
from simulation.market.scenarios import Scenario

FILL_DAYS: Final = 2
SESSIONS: Final = 8
"""From the shock on, where the scenario does not say when it is over."""

SESSION_BOUND, LARGE_SESSION_BOUND = 0.15, 0.30
LARGE_MOVE, LARGEST_MOVE = 0.10, 0.20
EPISODE_BOUND = 0.20
ENTRIES: Final = ("10:00", "10:20")
"""The window of what fills an account, New York time."""


@dataclass(frozen=True, slots=True)
class Session:
    """One session in dollars: what it began with, its lowest, its close; the index's largest ``move``.

    It begins with the close before and what was ``paid`` in since, less what was taken out.
    """

    day: date
    opening: float
    lowest: float
    close: float
    move: float
    positions: tuple[str, ...]
    paid: float = 0.0
    phase: int | None = None

    @property
    def loss(self) -> float:
        """Of what it began with, gaps of the night too."""
        return max(1.0 - self.lowest / self.opening, 0.0)

    @property
    def bound(self) -> float:
        """What a session of such a move may cost (``inf`` beyond 20 %: nothing is promised there)."""
        if self.move > LARGEST_MOVE * 1.001:
            return float("inf")
        return SESSION_BOUND if self.move <= LARGE_MOVE else LARGE_SESSION_BOUND


@dataclass(frozen=True, slots=True)
class Verdict:
    """What came of an account in an episode."""

    name: str
    cash: float
    held: tuple[str, ...]
    margin: float
    lines: Mapping[str, tuple[float, float]]
    acted: tuple[str, ...]
    liquidated: tuple[str, ...]
    sessions: tuple[Session, ...]
    errors: tuple[str, ...]
    shock: date
    entered: tuple[str, ...] = ()
    """Days and minutes at which an entry was sent."""

    @property
    def worst(self) -> Session:
        """The session that cost most of what it began with."""
        return max(self.sessions, key=lambda row: row.loss)

    @property
    def before(self) -> float:
        """Equity at the close before the shock."""
        return next(row.opening - row.paid for row in self.sessions if row.day >= self.shock)

    @property
    def loss(self) -> float:
        """Of the equity before the shock, the lowest there was, but for what was paid in or taken out since."""
        paid, lowest = 0.0, self.before
        for row in self.sessions:
            if row.day >= self.shock:
                paid += row.paid
                lowest = min(lowest, row.lowest - paid)
        return 1.0 - lowest / self.before

    @property
    def bound(self) -> float:
        """An episode's: 20 %, where everything closes, and one session's."""
        return EPISODE_BOUND + max(min(row.bound, LARGE_SESSION_BOUND) for row in self.sessions)

    @property
    def faults(self) -> tuple[str, ...]:
        """Why it did not pass."""
        found = [
            f"{row.day} cost {row.loss:.1%} of {row.opening:,.0f}, over {row.bound:.0%} (index {row.move:.1%})"
            for row in self.sessions
            if row.loss > row.bound
        ]
        if self.loss > self.bound:
            found.append(f"all of it cost {self.loss:.1%}, over {self.bound:.0%}")
        first, last = ENTRIES
        found += [f"an entry was sent at {when}" for when in self.entered if not first <= when.split()[1] <= last]
        return (*found, *self.errors)

    @property
    def phases(self) -> tuple[int, ...]:
        """The phases that it went through, in their order."""
        known = [row.phase for row in self.sessions if row.phase is not None]
        return tuple(phase for at, phase in enumerate(known) if at == 0 or known[at - 1] != phase)

    @property
    def words(self) -> str:
        """Passed, failed, or that nothing was tested."""
        if not self.held:
            return "nothing was held: this scenario tested nothing"
        return f"failed: {'; '.join(self.faults)}" if self.faults else "passed"


def range_of(plan: Scenario) -> tuple[date, date, date]:
    """Where the filling begins, the shock, and the end."""
    shock = plan.shock or plan.start
    first = calendar().index(calendar().on_or_after(shock))
    ordinals = calendar().ordinals
    end = min(plan.end, date.fromordinal(int(ordinals[first + SESSIONS])))
    return date.fromordinal(int(ordinals[first - FILL_DAYS])), shock, plan.calm or end


def verdict_of(
    name: str, cash: float, shock: date, told: Mapping[str, Any], rows: Sequence[Mapping[str, Any]]
) -> Verdict:
    """The verdict of what a run left."""
    sessions = tuple(
        Session(
            date.fromisoformat(row["day"]), row["opening"], row["lowest"], row["close"], row["move"],
            tuple(row["positions"]), row.get("paid", 0.0), row.get("phase"),
        )
        for row in told["sessions"]
    )  # fmt: skip
    before = [row for row in told["sessions"] if date.fromisoformat(row["day"]) < shock]
    last: Mapping[str, Any] = before[-1] if before else {"positions": (), "margin": 0.0, "lines": {}}
    acted = dict.fromkeys(
        f"{_when(row)} {row['rule']} {row['severity']}"
        for row in rows
        if row["kind"] == "risk" and row["severity"] in ("breach", "emergency", "reached")
        and row["time"][:10] >= shock.isoformat()
    )  # fmt: skip
    closed: dict[str, str] = {}
    for row in rows:
        if row["kind"] == "fill" and row["reason"] != "entry" and row["time"][:10] >= shock.isoformat():
            closed.setdefault(f"closed by {row['reason']} from", _when(row))
    entered = dict.fromkeys(_when(row) for row in rows if row["kind"] == "order" and _is_entry(row))
    errors = tuple(f"error: {row['component']}: {row['reason']}" for row in rows if row["kind"] == "error")
    return Verdict(
        name, cash, tuple(last["positions"]), last["margin"], last["lines"],
        (*acted, *(f"{what} {when}" for what, when in closed.items())),
        tuple(told["liquidated"]), sessions, errors, shock, tuple(entered),
    )  # fmt: skip


def _when(row: Mapping[str, Any]) -> str:
    """Month, day and minute of a row of the journal."""
    return str(row["time"][5:16]).replace("T", " ")


def _is_entry(row: Mapping[str, Any]) -> bool:
    return row.get("purpose") == "entry" and row.get("action") == "sent"


def tell(verdict: Verdict) -> list[str]:
    """The verdict in lines."""
    worst = verdict.worst
    held = ", ".join(verdict.held) or "nothing"
    lines = ", ".join(f"{name} {down:,.0f} and {crash:,.0f}" for name, (down, crash) in verdict.lines.items())
    return [
        f"{verdict.name}, {verdict.cash:,.0f} dollars, shock {verdict.shock}",
        f"  held before it: {held}; margin {verdict.margin / verdict.before:.0%}",
        f"  stress of its groups at 10 and 20 %: {lines or 'none'}",
        f"  phase {', then '.join(map(str, verdict.phases)) or 'unknown'}; entries sent: {_sent(verdict)}",
        f"  acted: {'; '.join(verdict.acted) or 'nothing'}",
        f"  sold by the broker: {', '.join(verdict.liquidated) or 'nothing'}",
        f"  worst session {worst.day}: {worst.loss:.1%} of {worst.opening:,.0f} (index {worst.move:.1%}, "
        f"bound {worst.bound:.0%}); all of it {verdict.loss:.1%} (bound {verdict.bound:.0%})",
        f"  {verdict.words}",
    ]


def _sent(verdict: Verdict) -> str:
    """How many, and the earliest and latest minute of a day."""
    if not verdict.entered:
        return "none"
    minutes = sorted(when.split()[1] for when in verdict.entered)
    return f"{len(minutes)}, between {minutes[0]} and {minutes[-1]}"


def table(verdicts: Sequence[Verdict]) -> list[str]:
    """The table of docs/risk.md."""
    head = [
        "| episode | account | held before it | margin | worst session | all of it | sold by the broker | verdict |"
    ]
    head.append("|" + "---|" * 8)
    for row in verdicts:
        worst = row.worst
        words = row.words if not row.faults else "failed"
        sold = f"{len(row.liquidated)} positions" if row.liquidated else "nothing"
        head.append(
            f"| {row.name} | {row.cash:,.0f} | {', '.join(row.held) or 'nothing'} | {row.margin / row.before:.0%} "
            f"| {worst.day}: {worst.loss:.1%} of {worst.bound:.0%} | {row.loss:.1%} of {row.bound:.0%} | {sold} "
            f"| {words} |"
        )
    return head
