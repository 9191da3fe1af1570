"""Writes the book: positions opened, closed, expired, assigned; every closed trade leaves one row in the journal."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from datetime import datetime

from core.book import Book, ClosedTrade, Position, ShareHolding
from core.bus import EventBus
from core.contracts import MARKET_CLOSE, Contract, Leg, Package, Right
from core.events import ChangeKind, FillStatus, OrderUpdated, PositionChanged
from core.gateway import Gateway
from core.instruments import underlying_named
from core.journal import Journal, RecordKind
from execution.groups import OrderGroup
from market.vix import VIX


@dataclass(slots=True)
class _Parts:
    """Legs of one position that ended one by one: price in points by leg, dollars of cash and fees together."""

    prices: dict[str, float] = field(default_factory=dict)
    cash: float = 0.0
    fees: float = 0.0
    expired: bool = False
    assigned: bool = False


class PositionTracker:
    """Turns finished groups and expirations into positions and trades."""

    def __init__(self, bus: EventBus, journal: Journal, gateway: Gateway, book: Book) -> None:
        self._bus = bus
        self._journal = journal
        self._gateway = gateway
        self._book = book
        self._parts: dict[str, _Parts] = {}
        self.share_orders: set[int] = set()

    def plan(self, group: OrderGroup) -> None:
        """Count an entry on its way as if it were open."""
        if group.terms is not None:
            prices = tuple(0.0 for _ in group.package.legs)
            self._book.pending[group.position] = self._position(group, prices)

    def abandon(self, group: OrderGroup) -> None:
        """Forget an entry that came to nothing."""
        self._book.pending.pop(group.position, None)

    def opened(self, group: OrderGroup) -> Position:
        """Take a filled entry into the book."""
        self._book.pending.pop(group.position, None)
        prices = tuple(group.price_of(leg) for leg in group.package.legs)
        position = self._position(group, prices)
        self._book.positions[position.id] = position
        self._publish(position, ChangeKind.OPENED, group.cash, group.fees)
        return position

    def _position(self, group: OrderGroup, prices: tuple[float, ...]) -> Position:
        if group.terms is None:
            raise ValueError(f"group {group.id}: an entry without terms; expected the proposal's terms")
        return Position(
            id=group.position,
            package=group.package,
            terms=group.terms,
            contracts=group.contracts,
            opened=self._gateway.now(),
            entry_prices=prices,
            entry_cash=group.cash,
            entry_fees=group.fees,
            correlation=group.correlation,
            spot_entry=self._price(group.package.underlying.price_key),
            vix_entry=self._price(VIX),
        )

    def closed(self, group: OrderGroup) -> None:
        """Take a filled exit out of the book; legs that it left to expire count as worth nothing."""
        position = self._book.positions.pop(group.position, None)
        if position is None:
            return
        traded = {leg.contract.name: group.price_of(leg) for leg in group.package.legs}
        prices = [traded.get(leg.contract.name, 0.0) for leg in position.package.legs]
        self._finish(position, ChangeKind.CLOSED, prices, (group.cash, group.fees), (group.rule, group.reason))

    def settled(self, event: OrderUpdated) -> None:
        """Take note of a leg that expired or was assigned, and of shares (an order event of no group of ours)."""
        if underlying_named(event.contract) is not None:
            self._move_shares(event)
            return
        if event.status is not FillStatus.FILLED:
            return
        if any(event.contract in about for about in self._book.doubted.values()):
            return  # the fill of an order that is not known to be ours yet: the next look tells
        for position in list(self._book.positions.values()):
            leg = next((leg for leg in position.package.legs if leg.contract.name == event.contract), None)
            if leg is None or self._has_ended(position, leg) or not self._is_settlement(leg.contract, event):
                continue
            self._end_leg(position, leg, event.is_assignment)

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

    def assigned(self, position: Position, name: str) -> bool:
        """A leg was assigned while nobody looked: it is counted at its intrinsic value; whether it was the last."""
        leg = next(leg for leg in position.package.legs if leg.contract.name == name)
        return self._end_leg(position, leg, assigned=True)

    def rest_of(self, position: Position) -> tuple[Leg, ...]:
        """Legs (signed contracts) of a position of which others ended alone; empty when none did."""
        parts = self._parts.get(position.id)
        if parts is None or not parts.assigned:
            return ()
        legs = (leg for leg in position.package.legs if leg.contract.name not in parts.prices)
        return tuple(Leg(leg.contract, leg.ratio * position.contracts) for leg in legs)

    def _has_ended(self, position: Position, leg: Leg) -> bool:
        parts = self._parts.get(position.id)
        return parts is not None and leg.contract.name in parts.prices

    def _is_settlement(self, contract: Contract, event: OrderUpdated) -> bool:
        """An assignment, or what comes after the last session's close; before it, somebody else traded the contract."""
        if event.is_assignment:
            return True
        session = self._gateway.session(contract.expiry)
        ends = datetime.combine(contract.expiry, MARKET_CLOSE) if session is None else session.closes_at
        return event.time >= ends

    def _end_leg(self, position: Position, leg: Leg, assigned: bool) -> bool:
        """Value a leg at its expiry or assignment; whether it was the position's last."""
        spot = self._price(leg.contract.underlying.price_key)
        if spot is None:
            raise ValueError(f"{leg.contract.name}: ended without a price of {leg.contract.underlying.price_key}")
        parts = self._parts.setdefault(position.id, _Parts())
        parts.expired = True
        parts.assigned = parts.assigned or assigned
        price = intrinsic(leg.contract, spot)
        cash = leg.ratio * position.contracts * price * leg.contract.multiplier
        return self.part(position, leg.contract.name, price, (cash, 0.0))

    def part(self, position: Position, name: str, price: float, flow: tuple[float, float]) -> bool:
        """One leg ended alone, bringing (cash, fees) in dollars; whether it was the last."""
        parts = self._parts.setdefault(position.id, _Parts())
        parts.prices[name] = price
        parts.cash += flow[0]
        parts.fees += flow[1]
        if len(parts.prices) < len(position.package.legs):
            return False
        del self._parts[position.id]
        self._book.positions.pop(position.id, None)
        kind = ChangeKind.CLOSED
        if parts.expired:
            kind = ChangeKind.ASSIGNED if parts.assigned else ChangeKind.EXPIRED
        why = (kind.value, "held to expiry") if parts.expired else ("unwind", "closed leg by leg")
        prices = [parts.prices[leg.contract.name] for leg in position.package.legs]
        self._finish(position, kind, prices, (parts.cash, parts.fees), why)
        return True

    def part_filled(self, position: Position, flow: tuple[float, float]) -> None:
        """Some contracts of a leg were closed, bringing (cash, fees) in dollars; the leg goes on with the rest."""
        parts = self._parts.setdefault(position.id, _Parts())
        parts.cash += flow[0]
        parts.fees += flow[1]

    def broken(self, group: OrderGroup, left: Package) -> Position:
        """Take the filled part of an entry into the book, so that its end is counted; its ratios are contracts."""
        self._book.pending.pop(group.position, None)
        prices = tuple(group.price_of(leg) for leg in left.legs)
        position = replace(self._position(group, prices), package=left, contracts=1)
        self._book.positions[position.id] = position
        self._publish(position, ChangeKind.OPENED, group.cash, group.fees)
        return position

    def gone(self, position: Position, reason: str) -> None:
        """Take a position out that a person closed at the broker; its result is unknown and counts as zero cash."""
        self._book.positions.pop(position.id, None)
        prices = [0.0 for _ in position.package.legs]
        self._finish(position, ChangeKind.CORRECTED, prices, (0.0, 0.0), ("closed_outside", reason))

    def _finish(
        self,
        position: Position,
        kind: ChangeKind,
        prices: list[float],
        flows: tuple[float, float],
        why: tuple[str, str],
    ) -> None:
        cash, fees = flows
        self._book.blocked.pop(position.id, None)
        now = self._gateway.now()
        profit = position.entry_cash + cash - position.entry_fees - fees
        paid = position.entry_fees + fees
        self._book.trades.append(
            ClosedTrade(position.terms.strategy, position.id, position.opened, now, profit, position.max_loss, paid)
        )
        self._journal.record(
            RecordKind.TRADE_CLOSED,
            component="tracker",
            reason=why[1],
            correlation=position.correlation,
            exit_rule=why[0],
            **self._row(position, now, prices),
            cash_in=position.entry_cash,
            cash_out=cash,
            fees=paid,
            profit=profit,
        )
        self._publish(position, kind, cash, fees)

    def _row(self, position: Position, now: datetime, prices: list[float]) -> dict[str, object]:
        ticker = position.package.underlying.ticker
        return {
            "strategy": position.terms.strategy,
            "position": position.id,
            "underlying": ticker,
            "structure": position.terms.structure,
            "opened": position.opened,
            "closed": now,
            "contracts": position.contracts,
            "multiplier": position.multiplier,
            "legs": [
                {
                    "name": leg.contract.name,
                    "ratio": leg.ratio,
                    "strike": leg.contract.strike,
                    "right": leg.contract.right,
                    "expiry": leg.contract.expiry,
                    "entry": round(entry, 4),
                    "exit": round(price, 4),
                }
                for leg, entry, price in zip(position.package.legs, position.entry_prices, prices, strict=True)
            ],
            "credit": position.credit * position.multiplier * position.contracts,
            "max_loss": position.max_loss,
            "underlying_entry": position.spot_entry,
            "underlying_exit": self._price(position.package.underlying.price_key),
            "vix_entry": position.vix_entry,
            "vix_exit": self._price(VIX),
        }

    def _price(self, ticker: str) -> float | None:
        tick = self._gateway.tick(ticker)
        return None if tick is None else tick.price

    def _publish(self, position: Position, kind: ChangeKind, cash: float, fees: float) -> None:
        self.announce(position.id, position.terms.strategy, position.correlation, kind, cash, fees)

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


def intrinsic(contract: Contract, spot: float) -> float:
    """Value of an option at its end, in points."""
    inside = spot - contract.strike if contract.right is Right.CALL else contract.strike - spot
    return max(inside, 0.0)
