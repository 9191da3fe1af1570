"""Writes the book: positions opened, closed, expired, assigned; every closed trade leaves one row in the journal."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace
from datetime import datetime

from core.book import Book, Position, ShareHolding, position_of
from core.bus import EventBus
from core.contracts import MARKET_CLOSE, Contract, Leg, Package
from core.events import ChangeKind, FillStatus, OrderUpdated, PositionChanged
from core.gateway import Gateway
from core.instruments import underlying_named
from core.journal import Journal, RecordKind
from core.parts import LegExit, Part, PartPlan
from execution.groups import OrderGroup
from execution.settling import Ending, Gone, intrinsic, take_off, trade_of
from market.vix import VIX


class PositionTracker:
    """Turns finished groups and expirations into positions, their parts and trades."""

    def __init__(self, bus: EventBus, journal: Journal, gateway: Gateway, book: Book) -> None:
        self._bus = bus
        self._journal = journal
        self._gateway = gateway
        self._book = book
        self.share_orders: set[int] = set()

    # Entries

    def plan(self, group: OrderGroup) -> None:
        """Count an entry on its way as if it were open."""
        if group.terms is not None:
            parts = tuple(self._part(plan, plan.package, group.contracts, group) for plan in group.plans)
            self._book.pending[group.position] = self._position(group, parts)

    def abandon(self, group: OrderGroup) -> None:
        """Forget an entry that came to nothing."""
        self._book.pending.pop(group.position, None)

    def opened(self, group: OrderGroup) -> Position:
        """Take a filled entry into the book."""
        return self._take_in(
            group, tuple(self._part(plan, plan.package, group.contracts, group) for plan in group.plans)
        )

    def broken(self, group: OrderGroup, left: Package) -> Position:
        """Take the filled legs of an entry into the book, so that their end is counted; ratios are contracts."""
        parts = []
        for plan in group.plans:
            names = {leg.contract.name for leg in plan.package.legs}
            legs = tuple(leg for leg in left.legs if leg.contract.name in names)
            if legs:
                parts.append(self._part(plan, Package(legs), 1, group))
        return self._take_in(group, tuple(parts))

    def _take_in(self, group: OrderGroup, parts: tuple[Part, ...]) -> Position:
        self._book.pending.pop(group.position, None)
        position = self._position(group, parts)
        self._book.positions[position.id] = position
        self._publish(position, ChangeKind.OPENED, group.cash, group.fees)
        return position

    def _part(self, plan: PartPlan, package: Package, contracts: int, group: OrderGroup) -> Part:
        """A part out of what its legs filled; nothing filled yet is priced at nothing."""
        fills = [group.fills[leg.contract.name] for leg in package.legs]
        filled = all(round(fill.quantity) for fill in fills)
        return Part(
            name=plan.name,
            package=package,
            contracts=contracts,
            opened=self._gateway.now(),
            entry_prices=tuple(group.price_of(leg) if filled else 0.0 for leg in package.legs),
            entry_cash=sum(fill.cash for fill in fills),
            entry_fees=sum(fill.fees for fill in fills),
            terms=plan.terms,
        )

    def _position(self, group: OrderGroup, parts: tuple[Part, ...]) -> Position:
        first = position_of(
            group.position,
            parts[0],
            group.correlation,
            spot_entry=self._price(group.package.underlying.price_key),
            vix_entry=self._price(VIX),
        )
        return replace(first, parts=parts, slot=group.slot)

    # Exits

    def exited(self, group: OrderGroup) -> Ending | None:
        """Take what an exit filled, all or some, off the parts that it closes; ``None`` where nothing filled."""
        position = self._book.positions.get(group.position)
        gone = [
            Gone(name, LegExit(fill.quantity, fill.cash, fill.fees))
            for name, fill in group.fills.items()
            if round(fill.quantity)
        ]
        if position is None or not gone:
            return None
        return self._left(position, group.parts, gone, (group.rule, group.reason), ChangeKind.CLOSED)

    def agree(self, position: Position, held: Mapping[str, float], reason: str) -> Ending | None:
        """Take off what the account does not hold any more; what it brought is unknown. ``None``: all is there."""
        gone = [
            Gone(leg.contract.name, LegExit(round(held.get(leg.contract.name, 0.0)) - leg.ratio, None))
            for leg in position.legs
            if round(held.get(leg.contract.name, 0.0)) != leg.ratio
        ]
        if not gone:
            return None
        return self._left(position, (), gone, ("closed_outside", reason), ChangeKind.CORRECTED)

    def _left(
        self,
        position: Position,
        parts: tuple[str, ...],
        gone: Iterable[Gone],
        why: tuple[str, str],
        kind: ChangeKind,
    ) -> Ending:
        """Something of a position left the account: the book follows, and every part that is over is a trade."""
        cash, fees = position.cash, position.fees
        ending = take_off(position, parts, gone, *why)
        if ending.ended:
            self._book.positions.pop(position.id, None)
            self._book.blocked.pop(position.id, None)
        else:
            self._book.positions[position.id] = ending.position
        for part in ending.over:
            self._record_trade(ending, part)
        now = ending.position.cash
        brought = 0.0 if now is None or cash is None else now - cash
        self._publish(position, kind if ending.ended else ChangeKind.ADJUSTED, brought, ending.position.fees - fees)
        return ending

    def settled(self, event: OrderUpdated) -> tuple[Ending, ...]:
        """Take note of a leg that expired or was assigned, and of shares (an order event of no group of ours)."""
        if underlying_named(event.contract) is not None:
            self._move_shares(event)
            return ()
        if event.status is not FillStatus.FILLED:
            return ()
        if any(event.contract in about for about in self._book.doubted.values()):
            return ()  # the fill of an order that is not known to be ours yet: the next look tells
        endings = []
        for position in list(self._book.positions.values()):
            leg = next((leg for leg in position.legs if leg.contract.name == event.contract), None)
            if leg is not None and self._is_settlement(leg.contract, event):
                endings.append(self.settle(position, leg, event.is_assignment))
        return tuple(endings)

    def settle(self, position: Position, leg: Leg, assigned: bool) -> Ending:
        """A leg (signed contracts) expired or was assigned: it is counted at its intrinsic value."""
        key = leg.contract.underlying.price_key
        spot = self._price(key)
        if spot is None:
            raise ValueError(f"{leg.contract.name}: ended without a price of {key}")
        cash = leg.ratio * intrinsic(leg.contract, spot) * leg.contract.multiplier
        kind = ChangeKind.ASSIGNED if assigned else ChangeKind.EXPIRED
        why = (kind.value, "assigned" if assigned else "held to expiry")
        return self._left(position, (), [Gone(leg.contract.name, LegExit(-leg.ratio, cash))], why, kind)

    def _move_shares(self, event: OrderUpdated) -> None:
        """Shares that an assignment or exercise brought, or that an order of ours took away again.

        What a person trades in them within a session is theirs; the next reconciliation lists it.
        """
        if not event.fill_quantity:
            return
        ours, ticker = event.order_id in self.share_orders, event.contract
        if not ours and not event.is_assignment and self._in_session(event.time):
            return
        spot = event.fill_price if ours else self._price(ticker)
        if spot is None:
            raise ValueError(f"{ticker}: shares came without a price of it")
        self.take_shares(ticker, event.fill_quantity, spot, event.fee)

    def _in_session(self, moment: datetime) -> bool:
        session = self._gateway.session(moment.date())
        return session is not None and session.opens_at < moment < session.closes_at

    def take_shares(self, ticker: str, quantity: float, price: float, fee: float = 0.0) -> None:
        """Add signed shares at a price in points; what is left of the cash when none are held is what they brought."""
        known = self._book.shares.get(ticker, ShareHolding(ticker, 0.0, price, 0.0))
        cash = -quantity * price - fee
        now = ShareHolding(
            ticker, known.quantity + quantity, known.price if known.quantity else price, known.cash + cash
        )
        kind = ChangeKind.ADJUSTED
        if abs(now.quantity) < 0.5:
            self._book.shares.pop(ticker, None)
            kind = ChangeKind.CLOSED
        else:
            self._book.shares[ticker] = now
        self._journal.record(
            RecordKind.FILL,
            component="tracker",
            reason="assigned shares",
            group="assigned shares",
            position=f"shares {ticker}",
            strategy="assigned_shares",
            contract=ticker,
            quantity=quantity,
            price=price,
            fee=fee,
            profit=now.cash if kind is ChangeKind.CLOSED else None,
        )
        self.announce(f"shares {ticker}", "assigned_shares", "", kind, cash + fee, fee)

    def correct_shares(self, ticker: str, quantity: float) -> None:
        """A person sold some: the account holds only so many (signed) of those that came."""
        known = self._book.shares[ticker]
        self.take_shares(ticker, quantity - known.quantity, known.price)

    def _is_settlement(self, contract: Contract, event: OrderUpdated) -> bool:
        """An assignment, or what comes after the last session's close; before it, somebody else traded the contract."""
        if event.is_assignment:
            return True
        session = self._gateway.session(contract.expiry)
        ends = datetime.combine(contract.expiry, MARKET_CLOSE) if session is None else session.closes_at
        return event.time >= ends

    def _record_trade(self, ending: Ending, part: Part) -> None:
        now, position = self._gateway.now(), ending.position
        trade = trade_of(position, part, now, ending.ended and part is ending.over[-1])
        self._book.trades.append(trade)
        cash = part.cash
        self._journal.record(
            RecordKind.TRADE_CLOSED,
            component="tracker",
            reason=part.exit_reason,
            correlation=position.correlation,
            exit_rule=part.exit_rule,
            **self._row(position, part, now),
            cash_in=part.entry_cash,
            cash_out=None if cash is None else cash - part.entry_cash,
            fees=part.fees,
            profit=trade.profit,
            ended=trade.ended,
        )

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
            "underlying_entry": position.spot_entry,
            "underlying_exit": self._price(part.underlying.price_key),
            "vix_entry": position.vix_entry,
            "vix_exit": self._price(VIX),
        }

    def _price(self, ticker: str) -> float | None:
        tick = self._gateway.tick(ticker)
        return None if tick is None else tick.price

    def _publish(self, position: Position, kind: ChangeKind, cash: float, fees: float) -> None:
        self.announce(position.id, position.strategy, position.correlation, kind, cash, fees)

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
        """No position is both open and on its way."""
        both = sorted(set(self._book.positions) & set(self._book.pending))
        return tuple(f"position {name} is open and pending" for name in both)
