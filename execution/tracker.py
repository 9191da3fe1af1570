"""Writes the book: positions opened, closed, expired, assigned; every closed trade leaves one row in the journal."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import date, datetime
from typing import Any

from core.book import Book, ClosedTrade, Position, ShareHolding, position_of
from core.bus import EventBus
from core.contracts import MARKET_CLOSE, Contract, Leg, Package, Right, Settlement
from core.events import ChangeKind, FillStatus, OrderUpdated, PositionChanged
from core.gateway import Gateway
from core.instruments import underlying_named
from core.journal import Journal, RecordKind
from core.parts import LegExit, Part, Terms
from execution.groups import (
    BROKEN,
    LATE,
    Change,
    Gone,
    LegFill,
    OrderGroup,
    intrinsic,
    largest_loss,
    opened_parts,
    planned_parts,
    some_closed,
    take_off,
)
from execution.walking import OrderWork
from market.vix import VIX
from state.facts import within

DAYS_BACK = 40
"""Sessions of daily bars in which the close of an expiry is looked for."""
CLOSED_OUTSIDE = "closed_outside"
"""The exit rule of what a person closed at the broker."""


SHARES = "assigned shares"
UNTOLD_SHARES = "assigned shares that are gone: nobody told their price, they count at what they came at"


class PositionTracker:
    """Works out what fills, expirations and other hands do to positions; the book follows once it is written down."""

    def __init__(self, bus: EventBus, journal: Journal, gateway: Gateway, book: Book) -> None:
        self._bus = bus
        self._journal = journal
        self._gateway = gateway
        self._book = book
        self.share_orders: set[int] = set()
        self.outside: dict[str, LegExit] = {}
        """By contract: what others traded in contracts of ours, as far as the engine told, and no position took yet."""
        self.unsure: set[tuple[str, str]] = set()
        """Positions, each with a contract that was settled, or traded before by an order of which nobody told."""
        self._coming: dict[str, tuple[str, float, float]] = {}  # shares of an assigned position, at which price
        self._counted: dict[tuple[str, date], float] = {}  # shares that came with their option on a day
        self._unknown: list[tuple[ClosedTrade, Part]] = []
        self._work = OrderWork()

    # Entries on their way

    def plan(self, group: OrderGroup) -> None:
        """Count an entry on its way as if it were open."""
        if group.plans:
            self._book.pending[group.position] = self.position(group, planned_parts(group, self._gateway.now()))

    def abandon(self, group: OrderGroup) -> None:
        """Forget an entry that came to nothing."""
        self._book.pending.pop(group.position, None)

    def position(self, group: OrderGroup, parts: tuple[Part, ...]) -> Position:
        """A position of the parts that a group opened."""
        first = position_of(
            group.position,
            parts[0],
            group.correlation,
            spot_entry=self._price(group.package.underlying.price_key),
            vix_entry=self._price(VIX),
        )
        return replace(first, parts=parts, slot=group.slot)

    def loose_part(self, group: OrderGroup, loose: Mapping[str, LegFill], moment: datetime) -> Part:
        """Contracts that an exit traded though nothing of them was held any more, as one broken part."""
        known = self._book.positions.get(group.position)
        taken = len(() if known is None else known.parts)
        legs = [leg.contract for leg in group.package.legs if leg.contract.name in loose]
        fills = [self._paid(contract, loose[contract.name]) for contract in legs]
        prices = [-fill.cash / (fill.quantity * row.multiplier) for row, fill in zip(legs, fills, strict=True)]
        return Part(
            name=f"{group.id}{LATE}-{taken + 1}{BROKEN}",
            package=Package(tuple(Leg(row, round(fill.quantity)) for row, fill in zip(legs, fills, strict=True))),
            contracts=1,
            opened=moment,
            entry_prices=tuple(prices),
            entry_cash=sum(fill.cash for fill in fills),
            entry_fees=sum(fill.fees for fill in fills),
            terms=Terms(group.strategy, "late", 0.0, 0.0, frozenset()),
        )

    def _paid(self, contract: Contract, fill: LegFill) -> LegFill:
        """What opened unseen, at the account's average price of it, else at the middle of its quote: not at nothing."""
        held = next((row for row in self._gateway.holdings() if row.name == contract.name), None)
        quote = self._gateway.quote(contract)
        known = held.average_price if held is not None and held.quantity * fill.quantity > 0 else None
        price = known or (None if quote is None else quote.mid)
        if fill.priced or price is None:
            return fill
        return replace(fill, cash=fill.cash - fill.unpriced * price * contract.multiplier, unpriced=0.0)

    # What happens to positions

    def of_group(self, group: OrderGroup) -> Change | None:
        """What the fills of a group that is over do to its position; ``None`` where nothing filled."""
        known, now = self._book.positions.get(group.position), self._gateway.now()
        if group.is_untouched:
            return None
        if group.opens:
            parts = opened_parts(group, now)
            if known is None:
                return Change(None, self.position(group, parts), ChangeKind.OPENED, now)
            taken = {part.name for part in parts}
            before = tuple(_left_over(part, known) if part.name in taken else part for part in known.parts)
            return Change(known, replace(known, parts=(*before, *parts)), ChangeKind.ADJUSTED, now)
        if known is None:
            return None
        gone = [
            Gone(name, LegExit(fill.quantity, fill.cash if fill.priced else None, fill.fees))
            for name, fill in group.fresh.items()
            if round(fill.quantity)
        ]
        why = (group.rule, group.reason)  # a fill told late may have moved a contract to another part meanwhile
        return take_off(known, group.parts, gone, why, ChangeKind.CLOSED, now, others_too=True)

    def of_settlement(self, event: OrderUpdated) -> Sequence[Change]:
        """What an order event of no group of ours does: legs that expired or were assigned; shares are taken at once.

        Those that an assigned option delivers are taken with it, in one record: the process may end before the engine
        tells of them too, and nobody would sell them. What somebody else traded in contracts of ours is kept for the
        reconciliation that finds them gone.
        """
        if underlying_named(event.contract) is not None:
            self._move_shares(event)
            return ()
        if event.status not in (FillStatus.FILLED, FillStatus.PARTLY_FILLED) or not event.fill_quantity:
            return ()
        if any(event.contract in about for about in self._book.doubted.values()):
            return ()  # the fill of an order that is not known to be ours yet: the next look tells
        changes, left = [], event.fill_quantity
        for position in list(self._book.positions.values()):
            leg = next((leg for leg in position.legs if leg.contract.name == event.contract), None)
            if leg is None:
                continue
            if self._is_settlement(leg.contract, event):
                ended = self.of_assignment if event.is_assignment else self._of_settled
                changes.append(ended(position, leg))
                if event.is_assignment:
                    left -= self._deliver(position, leg, within(left, -leg.ratio))
            else:
                self._note_outside(leg.contract, event)
                break
        return changes

    def _deliver(self, position: Position, leg: Leg, gone: float) -> float:
        """Shares that so many assigned contracts (signed as they went) bring: its position's next record has them."""
        contract = leg.contract
        if gone and contract.settlement is Settlement.PHYSICAL_SHARES:
            units = gone * contract.multiplier * (-1 if contract.right is Right.CALL else 1)
            self._coming[position.id] = (contract.underlying.ticker, units, self._spot(contract))
        return gone

    def _note_outside(self, contract: Contract, event: OrderUpdated) -> None:
        cash = None if event.fill_price is None else -event.fill_quantity * event.fill_price * contract.multiplier
        told = LegExit(event.fill_quantity, cash, event.fee)
        before = self.outside.get(contract.name)
        self.outside[contract.name] = told if before is None else before + told

    def of_end(self, position: Position, leg: Leg, spot: float | None, part: str = "") -> Change:
        """A leg (signed contracts) expired with its underlying at ``spot``: worth its intrinsic value, else unknown.

        Where an order of which nobody told may have closed it before, nobody knows what it brought.
        """
        spot = None if (position.id, leg.contract.name) in self.unsure else spot
        return self._ended(position, leg, spot, ChangeKind.EXPIRED, "held to expiry", part)

    def _of_settled(self, position: Position, leg: Leg) -> Change:
        """A leg whose settlement is told: at the price of now, which stands since the close until a new day trades."""
        tick = self._gateway.tick(leg.contract.underlying.price_key)
        late = tick is not None and tick.fresh_at is not None and tick.fresh_at.date() > leg.contract.expiry
        return self.of_end(position, leg, self.close_of(leg.contract) if late else self._spot(leg.contract))

    def close_of(self, contract: Contract) -> float | None:
        """The close of a contract's underlying on its expiry, in points; ``None`` where history has none."""
        bars = self._gateway.daily_bars(contract.underlying.price_key, DAYS_BACK)
        return next((bar.close for bar in bars if bar.day == contract.expiry), None)

    def of_assignment(self, position: Position, leg: Leg) -> Change:
        """A leg (signed contracts) was assigned or exercised: worth its intrinsic value at the price of now."""
        return self._ended(position, leg, self._spot(leg.contract), ChangeKind.ASSIGNED, "assigned", "")

    def _spot(self, contract: Contract) -> float:
        key = contract.underlying.price_key
        price = self._price(key)
        if price is None:
            raise ValueError(f"{contract.name}: ended without a price of {key}")
        return price

    def _ended(
        self, position: Position, leg: Leg, spot: float | None, kind: ChangeKind, reason: str, part: str
    ) -> Change:
        cash = None if spot is None else leg.ratio * intrinsic(leg.contract, spot) * leg.contract.multiplier
        gone = [Gone(leg.contract.name, LegExit(-leg.ratio, cash))]
        names = (part,) if part else ()
        return take_off(position, names, gone, (kind.value, reason), kind, self._gateway.now())

    def of_difference(self, position: Position, part: Part, held: Mapping[str, int], reason: str) -> Change | None:
        """A part of which the account holds only so much by contract; ``None`` where all is there.

        What others closed brought what the engine was told of it, else nobody knows.
        """
        missing = {leg.contract.name: held.get(leg.contract.name, 0) - leg.ratio for leg in part.legs}
        gone = {name: self._outside(name, quantity) for name, quantity in missing.items() if quantity}
        if not gone:
            return None
        why, now = (CLOSED_OUTSIDE, reason), self._gateway.now()
        count = min(held.get(leg.contract.name, 0) // leg.ratio for leg in part.package.legs)
        all_of_it = all(held.get(leg.contract.name, 0) == leg.ratio * count for leg in part.package.legs)
        if part.is_whole and all_of_it and 0 < count < part.contracts:
            return some_closed(position, part, count, gone, why, now)
        rows = [Gone(name, one) for name, one in gone.items()]
        return take_off(position, (part.name,), rows, why, ChangeKind.CORRECTED, now)

    def _outside(self, name: str, quantity: float) -> LegExit:
        """What so many contracts brought that others traded, used up with it; unknown where it was not told."""
        told = self.outside.get(name)
        if told is None or told.quantity * quantity <= 0 or abs(told.quantity) < abs(quantity) - 0.5:
            return LegExit(quantity, None)
        share = quantity / told.quantity
        taken = LegExit(quantity, None if told.cash is None else round(told.cash * share, 10), told.fees * share)
        rest = told + LegExit(-taken.quantity, None if taken.cash is None else -taken.cash, -taken.fees)
        self.outside[name] = rest
        if abs(rest.quantity) < 0.5:
            del self.outside[name]
        return taken

    def note_work(self, group: OrderGroup) -> None:
        """How long an order that filled took, and what it brought over natural."""
        known = self._book.positions.get(group.position)
        held = () if known is None else known.chosen(group.parts)
        self._work.note(group, [part.name for part in held], self._gateway.now())

    # Once it is written down

    def rows_of(self, change: Change) -> list[dict[str, object]]:
        """The journal's rows of the parts that are over with a change, and of the shares that came with it."""
        rows: list[dict[str, object]] = []
        if change.after.id in self._coming:
            ticker, quantity, price = self._coming.pop(change.after.id)
            key = (ticker, change.moment.date())
            self._counted[key] = self._counted.get(key, 0.0) + quantity
            row = self._moved(ticker, quantity, price, 0.0)
            rows.append({"kind": RecordKind.FILL, "correlation": change.after.correlation, **row})
        for part, trade in zip(change.over, change.trades, strict=True):
            cash = part.cash
            rows.append(
                {
                    "reason": part.exit_reason,
                    "correlation": change.after.correlation,
                    "exit_rule": part.exit_rule,
                    **self._row(change.after, part, change.moment),
                    "cash_in": part.entry_cash,
                    "cash_out": None if cash is None else cash - part.entry_cash,
                    "fees": part.fees,
                    "profit": trade.profit,
                    "ended": trade.ended,
                    **self._work.of(change.after.id, part.name),
                }
            )
        return rows

    def commit(self, change: Change, rows: Sequence[Mapping[str, object]]) -> None:
        """Let the book follow, journal the trades, and tell."""
        after = change.after
        if change.ended:
            self._book.positions.pop(after.id, None)
            self._book.blocked.pop(after.id, None)
        else:
            self._book.positions[after.id] = after
        self._book.trades.extend(change.trades)
        for part, trade in zip(change.over, change.trades, strict=True):
            if trade.profit is None:
                self._unknown.append((trade, part))
        self.tell(rows)
        self.announce(after.id, after.strategy, after.correlation, change.kind, change.cash, change.fees)
        for row in rows:
            if row.get("kind") is RecordKind.FILL:
                self._announce_shares(row)

    def is_unknown(self, position: str, parts: Sequence[str], name: str, exit_: LegExit) -> bool:
        """Whether a trade of a position is counted with an unknown result of just this exit."""
        return self._unknown_of(position, parts, name, exit_) is not None

    def _unknown_of(
        self, position: str, parts: Sequence[str], name: str, exit_: LegExit
    ) -> tuple[ClosedTrade, Part, LegExit] | None:
        for trade, part in self._unknown:
            gone = part.exits.get(name)
            if trade.position != position or (parts and trade.part not in parts) or gone is None:
                continue
            if gone.cash is None and abs(gone.quantity - exit_.quantity) < 0.5:
                return trade, part, gone
        return None

    def priced(self, position: str, parts: Sequence[str], name: str, exit_: LegExit) -> ClosedTrade | None:
        """The trade whose result was unknown until this exit's report came: the book has it now."""
        found = self._unknown_of(position, parts, name, exit_)
        if found is None:
            return None
        trade, part, gone = found
        known = replace(part, exits={**part.exits, name: LegExit(gone.quantity, exit_.cash, gone.fees + exit_.fees)})
        cash = known.cash
        profit = None if cash is None else cash - known.fees
        now = replace(trade, profit=profit, fees=known.fees)
        self._book.trades[self._book.trades.index(trade)] = now
        self._unknown.remove((trade, part))
        if profit is None:
            self._unknown.append((now, known))
        return now

    def tell(self, rows: Sequence[Mapping[str, object]]) -> None:
        """Journal closed trades, and shares that came with them."""
        for row in rows:
            values = {name: value for name, value in row.items() if name not in ("kind", "reason", "correlation")}
            self._journal.record(
                RecordKind(str(row.get("kind", RecordKind.TRADE_CLOSED))),
                component="tracker",
                reason=str(row["reason"]),
                correlation=str(row["correlation"]),
                **values,
            )

    # Shares

    def _move_shares(self, event: OrderUpdated) -> None:
        """Shares that an assignment or exercise brought, or that an order of ours took away again.

        What a person trades in them within a session is theirs; the next reconciliation lists it.
        """
        ours, ticker = event.order_id in self.share_orders, event.contract
        quantity = self._new_shares(event, ours)
        if not quantity:
            return
        if not ours and not event.is_assignment and self._in_session(event.time):
            return
        told = event.fill_price if ours else None  # without one it is the price of now
        spot = self._price(ticker) if told is None else told
        if spot is None:
            raise ValueError(f"{ticker}: shares came without a price of it")
        self.take_shares(ticker, quantity, spot, event.fee)

    def _new_shares(self, event: OrderUpdated, ours: bool) -> float:
        """Shares (signed) of a report that are not counted yet: an order of ours closes no more than is there."""
        ticker, quantity = event.contract, event.fill_quantity
        if ours:
            known = self._book.shares.get(ticker)
            return 0.0 if known is None else within(quantity, -known.quantity)
        key = (ticker, event.time.date())
        counted = within(quantity, self._counted.get(key, 0.0))
        if counted:
            self._counted[key] -= counted
        return quantity - counted

    def _in_session(self, moment: datetime) -> bool:
        session = self._gateway.session(moment.date())
        return session is not None and session.opens_at < moment < session.closes_at

    def take_shares(self, ticker: str, quantity: float, price: float, fee: float = 0.0, reason: str = SHARES) -> None:
        """Add signed shares at a price in points; what is left of the cash when none are held is what they brought."""
        row = {**self._moved(ticker, quantity, price, fee), "reason": reason}
        self.tell([{"kind": RecordKind.FILL, "correlation": "", **row}])
        self._announce_shares(row)

    def _moved(self, ticker: str, quantity: float, price: float, fee: float) -> dict[str, object]:
        """Let the book follow; the journal's row of it."""
        known = self._book.shares.get(ticker, ShareHolding(ticker, 0.0, price, 0.0))
        now = ShareHolding(
            ticker,
            known.quantity + quantity,
            known.price if known.quantity else price,
            known.cash - quantity * price - fee,
        )
        closed = abs(now.quantity) < 0.5
        if closed:
            self._book.shares.pop(ticker, None)
            self._book.shares_brought += now.cash
        else:
            self._book.shares[ticker] = now
        return {
            "reason": SHARES,
            "group": SHARES,
            "position": f"shares {ticker}",
            "strategy": "assigned_shares",
            "contract": ticker,
            "quantity": quantity,
            "price": price,
            "fee": fee,
            "profit": now.cash if closed else None,
        }

    def _announce_shares(self, row: Mapping[str, Any]) -> None:
        """Tell that shares came or went, by their row."""
        kind = ChangeKind.CLOSED if row["profit"] is not None else ChangeKind.ADJUSTED
        self.announce(str(row["position"]), str(row["strategy"]), "", kind, -row["quantity"] * row["price"], row["fee"])

    def correct_shares(self, ticker: str, quantity: float) -> None:
        """Some were sold and nobody told: the account holds only so many (signed); the rest goes at what it came at."""
        known = self._book.shares[ticker]
        self.take_shares(ticker, quantity - known.quantity, known.price, reason=UNTOLD_SHARES)

    def _is_settlement(self, contract: Contract, event: OrderUpdated) -> bool:
        """An assignment, or what comes after the last session's close; before it, somebody else traded the contract."""
        if event.is_assignment:
            return True
        session = self._gateway.session(contract.expiry)
        ends = datetime.combine(contract.expiry, MARKET_CLOSE) if session is None else session.closes_at
        return event.time >= ends

    def _row(self, position: Position, part: Part, now: datetime) -> dict[str, object]:
        ticker = part.underlying.ticker
        exits = [part.exit_price(leg.contract) for leg in part.package.legs]
        return {
            "strategy": position.strategy,
            "position": position.id,
            "part": part.name,
            "underlying": ticker,
            "structure": part.terms.structure,
            "opened": part.opened,
            "closed": now,
            "contracts": part.contracts,
            "multiplier": part.multiplier,
            "legs": [
                {
                    "name": leg.contract.name,
                    "ratio": leg.ratio,
                    "strike": leg.contract.strike,
                    "right": leg.contract.right,
                    "expiry": leg.contract.expiry,
                    "entry": round(entry, 4),
                    "exit": None if price is None else round(price, 4),
                }
                for leg, entry, price in zip(part.package.legs, part.entry_prices, exits, strict=True)
            ],
            "credit": part.credit * part.multiplier * part.contracts,
            "max_loss": part.max_loss,
            "largest_loss": largest_loss(part),
            "underlying_entry": position.spot_entry,
            "underlying_exit": self._price(part.underlying.price_key),
            "vix_entry": position.vix_entry,
            "vix_exit": self._price(VIX),
        }

    def _price(self, ticker: str) -> float | None:
        tick = self._gateway.tick(ticker)
        return None if tick is None else tick.price

    def announce(
        self, position: str, strategy: str, correlation: str, kind: ChangeKind, cash: float, fees: float
    ) -> None:
        """Tell that what is held changed; ``cash`` in dollars before ``fees``."""
        self._bus.publish(
            PositionChanged(
                time=self._gateway.now(),
                correlation=correlation,
                position=position,
                strategy=strategy,
                kind=kind,
                cash=cash,
                fees=fees,
            )
        )

    def verify(self) -> tuple[str, ...]:
        """No part is both open and on its way."""
        twice = [
            f"{name} {part.name}"
            for name, pending in sorted(self._book.pending.items())
            for part in (() if name not in self._book.positions else self._book.positions[name].parts)
            if pending.part(part.name) is not None
        ]
        return tuple(f"part {name} is open and pending" for name in twice)


def _left_over(part: Part, position: Position) -> Part:
    """A part of which only long options are left to expire, under a name that its successor does not want."""
    names = {row.name for row in position.parts}
    number = next(count for count in range(1, len(names) + 2) if f"{part.name}-left-{count}" not in names)
    return replace(part, name=f"{part.name}-left-{number}")
