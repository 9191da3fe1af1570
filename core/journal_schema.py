"""The rows of the decision journal that reports read: kinds and their stable fields.

Every row is one JSON line with ``time`` (ISO, naive New York), ``kind``, ``component``, ``reason``, ``correlation`` and
the fields below. Money is dollars with money in positive; prices are points; absent knowledge is ``null``, never 0.
Fields may be added, never renamed. Dates and times are ISO text.
"""

from __future__ import annotations

from typing import Literal, TypedDict


class DecisionRow(TypedDict):
    """kind ``decision``: one an entry (strategy, ``window``, ``slot``) and day, a trade or a skip.

    ``reason`` (of the row) says why in words.

    ``rule`` is the rule that bound (``vix_window``, ``market_closed``, ``sizing`` ...); ``limit`` and ``observed`` are
    the binding number and what was seen, in the rule's own unit. ``outcome`` ``trade`` means the package was filled.
    """

    strategy: str
    window: str
    slot: str
    day: str
    outcome: Literal["trade", "skip"]
    rule: str
    limit: float | None
    observed: float | None
    vix: float | None
    spot: float | None
    contracts: int | None


class RollRow(TypedDict):
    """kind ``roll``: a position was closed to be replaced. ``into`` is the new one, ``None`` where it stayed closed.

    ``rule``, ``limit`` and ``observed`` say what kept it closed (``filled`` where nothing did), as in ``DecisionRow``.
    """

    strategy: str
    day: str
    position: str
    parts: list[str]
    into: str | None
    outcome: Literal["rolled", "closed_only"]
    rule: str
    limit: float | None
    observed: float | None
    contracts: int | None


class OrderRow(TypedDict):
    """kind ``order``: one step in the life of an order group (``sent``, ``repriced``, ``cancelled``, ``rejected``).

    ``limit_cash`` is the limit in points a package, a credit positive. ``purpose``: ``entry``, ``exit`` or ``unwind``.
    ``rule``, ``limit`` and ``observed`` say what ended the walk of an entry, ``None`` where no rule did.
    """

    group: str
    position: str
    strategy: str
    action: str
    purpose: str
    contracts: int
    limit_cash: float | None
    legs: list[dict[str, object]]
    rule: str | None
    limit: float | None
    observed: float | None


class FillRow(TypedDict):
    """kind ``fill``: a leg filled. ``quantity`` signed (bought positive); ``price`` in points; ``fee`` zero or more.

    ``bid`` and ``ask`` are its quote in that minute, ``None`` for a side that was not there.
    """

    group: str
    position: str
    strategy: str
    contract: str
    quantity: float
    price: float
    fee: float
    bid: float | None
    ask: float | None


class TradeLeg(TypedDict):
    """One leg of a closed trade. ``ratio`` is signed per package; ``exit`` is the settlement value where it expired."""

    name: str
    ratio: int
    strike: float
    right: Literal["call", "put"]
    expiry: str
    entry: float
    exit: float | None


class TradeClosedRow(TypedDict):
    """kind ``trade_closed``: a part of a position is gone. ``reason`` of the row is the exit's.

    ``part`` names it, ``ended`` says whether its position ended with it. ``cash_out`` and ``profit`` are ``null`` where
    nobody knows what it brought (closed by hand, without executions told): such a trade is counted nowhere as a win.

    ``max_loss`` is what the proposal planned to lose at most, at its natural price; ``largest_loss`` what the fills
    could lose (``null``: no bound, or legs of several expiries); both positive dollars.

    ``credit`` is dollars taken in at entry (negative: a debit); ``cash_in`` the entry's cash, ``cash_out`` the exit's
    (both signed, money in positive), ``fees`` zero or positive, ``profit`` = cash_in + cash_out - fees.
    ``open_seconds`` is how long its entry's order took, ``open_improvement`` what it brought over natural as it was
    sent, in dollars; ``close_...`` the same of its exits. ``null`` where another process or no order of ours did it.
    ``opened``/``closed`` are times; ``structure`` is ``put_spread``, ``call_spread``, ``condor`` ...
    """

    strategy: str
    position: str
    part: str
    ended: bool
    underlying: str
    structure: str
    opened: str
    closed: str
    contracts: int
    multiplier: float
    legs: list[TradeLeg]
    credit: float
    cash_in: float
    cash_out: float | None
    fees: float
    profit: float | None
    max_loss: float
    largest_loss: float | None
    exit_rule: str
    underlying_entry: float | None
    underlying_exit: float | None
    vix_entry: float | None
    vix_exit: float | None
    open_seconds: float | None
    open_improvement: float | None
    close_seconds: float | None
    close_improvement: float | None


class AccountRow(TypedDict):
    """kind ``account``: starting cash + trades + cash of open parts + shares + interest against the account's cash.

    Dollars, fees taken off; ``working`` is the cash of fills whose group is not over, ``unknown`` how many trades are
    in none of the terms; ``starting`` holds what a person paid in since. Written when the ``difference`` changes, and
    at the end of a run.
    """

    starting: float
    trades: float
    open_parts: float
    working: float
    shares: float
    interest: float
    cash: float
    unknown: int
    expected: float
    difference: float


class EquityRow(TypedDict):
    """kind ``equity``: once a session at its close. Dollars; ``drawdown`` a fraction of the peak, zero or positive."""

    day: str
    equity: float
    cash: float
    drawdown: float
    phase: int
    positions: int
    margin_used: float


class ExposureRow(TypedDict):
    """kind ``exposure``: once a session in which something was held, about the day and not about its close.

    Dollars and the units of ``greeks/exposure.py``; ``null`` where unknown. ``margin_peak`` is the most buying power in
    use at any minute. Of the look (each half hour) with the most in use, ``looked``: ``margin_cap``, what was allowed;
    ``delta``, ``gamma``, ``vega``, ``theta`` of the whole, and the same with ``positions`` and ``margin`` by
    ``strategies`` and by ``groups`` (name to figures). ``limits``: each limit's fullest look of the day (``rule``,
    ``limit``, ``observed``, ``share``, ``at``). ``lows``: each position's lowest profit of the day after fees
    (``position``, ``profit``, ``at``), by the model where a quote is not believed.
    """

    day: str
    equity: float
    margin_peak: float
    margin_peak_at: str
    margin_cap: float | None
    looked: str | None
    delta: float | None
    gamma: float | None
    vega: float | None
    theta: float | None
    strategies: dict[str, dict[str, float | None]]
    groups: dict[str, dict[str, float | None]]
    limits: list[dict[str, object]]
    lows: list[dict[str, object]]


class GreeksRow(TypedDict):
    """kind ``greeks``: a position was opened or got parts; each of its contracts in that minute.

    ``legs``: ``name``, ``quantity`` (signed contracts), ``delta`` (a contract's, -1 to 1), ``volatility`` (a year's
    fraction), ``null`` where unknown. ``delta``, ``gamma``, ``vega``, ``theta`` of the position as in ``ExposureRow``.
    """

    strategy: str
    position: str
    legs: list[dict[str, object]]
    delta: float | None
    gamma: float | None
    vega: float | None
    theta: float | None


class InterestRow(TypedDict):
    """kind ``interest``: booked at an open, in backtests only. Dollars; ``bill`` and ``spread`` fractions a year.

    ``amount`` is what was paid into the cash book, to the cent, for ``days`` calendar days on ``free_cash``: the last
    close's cash beyond the margin of what was held.
    """

    day: str
    days: int
    free_cash: float
    bill: float
    spread: float
    amount: float


class VerdictRow(TypedDict):
    """kind ``verdict``: every rule's answer to a proposal, ``contracts`` and ``rule`` what stood.

    Each of ``verdicts`` has ``rule`` and ``answer`` (``allow``, ``shrink``, ``deny``), a shrink its ``contracts``, and
    ``reason``, ``limit`` and ``observed`` where it did not allow.
    """

    strategy: str
    slot: str
    onto: str
    wanted: int
    contracts: int
    rule: str
    verdicts: list[dict[str, object]]


class RiskRow(TypedDict):
    """kind ``risk``: a verdict that shrank or denied, or a threshold passed."""

    rule: str
    severity: str
    limit: float | None
    observed: float | None
    strategy: str


class ErrorRow(TypedDict):
    """kind ``error``: something failed; ``reason`` says what, ``detail`` the exception's text."""

    detail: str


ROWS: dict[str, type] = {
    "decision": DecisionRow,
    "roll": RollRow,
    "order": OrderRow,
    "fill": FillRow,
    "trade_closed": TradeClosedRow,
    "account": AccountRow,
    "equity": EquityRow,
    "exposure": ExposureRow,
    "greeks": GreeksRow,
    "interest": InterestRow,
    "risk": RiskRow,
    "verdict": VerdictRow,
    "error": ErrorRow,
}
