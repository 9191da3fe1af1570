"""When what is held must be looked at next (decisions 046, 084); live, each minute.

A position rests until a time while its underlying, the VIX and, near a limit, what its own contracts are worth stay in
bands at whose edges its row's rules would do nothing.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from math import copysign, inf, nextafter

from core.book import Position
from core.contracts import Contract, Leg
from core.gateway import Gateway
from core.parts import Part
from core.settings.fields import MarketSettings
from greeks.service import CentralGreeksService
from market.vix import VIX
from strategies.base import HoldContext, Strategy
from strategies.exits import ContractEnds

Weights = tuple[tuple[str, float], ...]
"""Prices by name (a ticker, a contract), each with how much of it counts."""
Bands = tuple[tuple[Weights, float, float], ...]
"""Sums of prices, each with the least and the most that it may be."""


def band(name: str, low: float, high: float) -> tuple[Weights, float, float]:
    """A band of one price."""
    return ((name, 1.0),), low, high


def shared(bands: Iterable[tuple[Weights, float, float]]) -> Bands:
    """Of each sum what all its bands (from where, to where) share: each minute asks them, few minutes make them."""
    found: dict[Weights, tuple[float, float]] = {}
    for key, low, high in bands:
        others = found.get(key, (low, high))
        found[key] = max(low, others[0]), min(high, others[1])
    return tuple((key, *limits) for key, limits in found.items())


def worth(gateway: Gateway, weights: Weights) -> float | None:
    """A sum of prices now; ``None`` where one is unknown."""
    if len(weights) == 1:
        ((name, weight),) = weights
        price = gateway.price(name)
        return None if price is None else weight * price
    total = 0.0
    for name, weight in weights:
        price = gateway.price(name)
        if price is None:
            return None
        total += weight * price
    return total


def is_within(gateway: Gateway, known: tuple[datetime, Bands] | None, now: datetime) -> bool:
    """Whether it is before a time and all prices are in their bands."""
    if known is None or now >= known[0]:
        return False
    for weights, low, high in known[1]:
        price = worth(gateway, weights)
        if price is None or not low <= price <= high:
            return False
    return True


@dataclass(frozen=True, slots=True)
class Rest:
    """A position of which nothing can become due until a time, while prices stay in their bands.

    ``risked``: dollars between the ends of the bands of its own value; infinite where there are none. ``moves``:
    dollars that Greeks say its value may move until the close with the widest bands; infinite where it has others.
    """

    position: Position
    until: datetime
    bands: Bands
    risked: float = inf
    moves: float = inf


_LAST_HOUR = timedelta(minutes=60)


def ends_quietly(gateway: Gateway, held: Iterable[Position], now: datetime) -> bool:
    """Whether what ends today is so little that only it must be looked at each minute, not the account.

    An option moves by what its underlying does at most: together they move the account by no larger share than their
    underlyings move by. Never in the last hour, and not where a price is unknown.
    """
    ending = [row for row in held if row.expiry <= now.date()]
    session, most = gateway.session(now.date()), 0.0
    if not ending or session is None or now >= session.closes_at - _LAST_HOUR:
        return not ending
    for position in ending:
        price = gateway.price(position.underlying.price_key)
        if price is None:
            return False
        legs = (leg for leg in position.legs if leg.contract.expiry <= now.date())
        most += sum(abs(leg.ratio) * leg.contract.multiplier * price for leg in legs)
    return most <= gateway.account().equity


_FAR = timedelta(days=150)  # at which the ladder's own rungs are rolled


def is_far(held: Iterable[Position], now: datetime) -> bool:
    """Whether all that is held ends so late that hours change little of its figures: it may rest until the close."""
    return all(row.expiry - now.date() > _FAR for row in held)


_VOLATILITY = 1.0  # points by which volatilities are taken to move while the VIX stays near
_APART_SHARE = 0.25  # of it by which legs of one part may move apart from each other
_VIX_SHARE = 10.0  # times ``market.quiet_move``
_SWERVE = 1.25  # times what the Greeks of the last portfolio say that a value moves
_MINUTE = timedelta(minutes=1)
_TRIED_AGAIN = timedelta(minutes=5)
_SHARES = (1.0, 0.5, 0.25)  # of the longest rest and the widest bands: near a limit the smaller ones are tried
# Times what Greeks say that a value moves, from the widest to the narrowest: how far a value's own band goes.
_TIMES = (4.0, 2.0, 1.0, 0.5, 0.25, 0.125, 0.0625)
_WIDE = 3.0  # times ``market.quiet_move`` by which an underlying may move until the close
_LITTLE = 2.0  # times ``market.quiet_move`` of equity, of the percent that rules of risk keep off their levels
_ENDING_SHARE = 0.1  # of ``market.quiet_move`` of equity: that reach on the last day, when Greeks are no guide
_Reaches = dict[str, tuple[float, float]]
"""By part its value and how far it may move, in points a package."""


class HeldLooks:
    """Which positions rest, and until when.

    After a full look that found nothing to do, the rules are asked at the edges: at the end of the longest rest, with
    the underlying at each end of its band, and values and deltas where that and a move of volatility can bring them.
    Where something would be due there, a rest also ends when the part's own contracts are no more worth what the rules
    allow; else less of time and bands is tried. What is not wholly known is looked at every minute.
    """

    def __init__(
        self, gateway: Gateway, service: CentralGreeksService, ends: ContractEnds, settings: MarketSettings
    ) -> None:
        self._gateway = gateway
        self._service = service
        self._ends = ends
        self._longest = timedelta(minutes=settings.held_minutes)
        self._move = settings.quiet_move
        self._rests: dict[str, Rest] = {}
        self._again: dict[str, datetime] = {}
        self._to_close = False

    def rests(self, position: Position, now: datetime) -> bool:
        """Whether nothing can be due of a position at the prices of now."""
        rest = self._rests.get(position.id)
        if rest is None or rest.position is not position:
            return False
        return is_within(self._gateway, (rest.until, rest.bands), now)

    def longest(self, now: datetime) -> timedelta:
        """How long a rest is at most: all end at the same minutes, for the first look of a minute costs the most."""
        whole = self._longest // _MINUTE
        return timedelta(minutes=whole - (now.hour * 60 + now.minute) % whole)

    def vix_band(self, vix: float) -> float:
        """Points by which the VIX may move within a rest."""
        return min(_VIX_SHARE * self._move * vix, _VOLATILITY)

    @staticmethod
    def vix_bounds(vix: float, levels: Iterable[float]) -> tuple[float, float]:
        """Where the VIX may go until the close: a point either way, and to none of the levels."""
        low, high = vix - _VOLATILITY, vix + _VOLATILITY
        for level in levels:
            low = max(low, nextafter(level, inf)) if level < vix else low
            high = min(high, nextafter(level, -inf)) if level > vix else high
            low, high = (vix, vix) if level == vix else (low, high)
        return low, high

    def all_of(self, positions: Iterable[Position]) -> tuple[Rest, ...] | None:
        """The rests of positions; ``None`` where one of them has none."""
        found = [(position, self._rests.get(position.id)) for position in positions]
        rests = tuple(rest for position, rest in found if rest is not None and rest.position is position)
        return rests if len(rests) == len(found) else None

    def ending(self, held: Iterable[Position], now: datetime) -> Bands | None:
        """Bands within which what ends today moves the account by little; ``None`` where nothing says that it does."""
        held = list(held)
        if ends_quietly(self._gateway, held, now):
            return ()
        rests = self.all_of(row for row in held if row.expiry <= now.date())
        if rests is None or sum(rest.risked for rest in rests) > self._move * self._gateway.account().equity:
            return None
        return tuple(one for rest in rests for one in rest.bands)

    def move_to_close(self, held: Iterable[Position]) -> float:
        """By how much of itself an index may move until the close before the account is looked at: the most where all
        that is held rests so and moves the account by little."""
        rests = self.all_of(held)
        little = _LITTLE * self._move * self._gateway.account().equity
        is_wide = rests is not None and sum(rest.moves for rest in rests) <= little
        return self._move * (_WIDE if is_wide else 1.0)

    def begin(self, held: Iterable[Position], now: datetime, sampled: bool) -> None:
        """What is held is looked at, one after the other; ``sampled``: a rule takes samples of it over time."""
        self._to_close = not sampled and is_far(held, now)

    def forget(self, position: str) -> None:
        """Look at it at the next minute."""
        self._rests.pop(position, None)

    def looked(self, strategy: Strategy, position: Position, context: HoldContext) -> None:
        """A full look found nothing to do; where no rest is found the next try waits, for they cost as much."""
        self.forget(position.id)
        if context.now < self._again.get(position.id, datetime.min):
            return
        rest = self._rest_of(strategy, position, context)
        if rest is not None:
            self._again.pop(position.id, None)
            self._rests[position.id] = rest
        elif self.longest(context.now) > _MINUTE:  # else the next minute is one at which rests end anyway
            self._again[position.id] = context.now + _TRIED_AGAIN

    def _rest_of(self, strategy: Strategy, position: Position, context: HoldContext) -> Rest | None:
        spot, vix, left = context.spot, self._gateway.price(VIX), context.session.closes_at - context.now
        most = self.longest(context.now)
        if self._gateway.is_live() or spot is None or vix is None:
            return None
        ends = position.expiry <= context.now.date()
        if ends:
            left -= _LAST_HOUR
        elif self._to_close and (rest := self._until_the_close(strategy, position, context, spot, vix)) is not None:
            return rest
        for share in _SHARES:
            longest, move = min(share * most, left), share * self._move * spot
            if longest <= _MINUTE:
                return None
            there = replace(context, now=context.now + longest)
            reach = _Reach(spot, move, share * _VOLATILITY)
            far = self._steps(position, there) if ends else self._reaches(position, there, reach)
            if far is None:
                return None
            if any(True for _ in self._ends.due(position, there)):
                continue
            points = share * self.vix_band(vix)
            edges = _Edges(self._service, strategy, position, there, spot, move, points, far, ends, not ends)
            values = self._values(position, edges)
            if values is None and edges.all_free:
                values = ()
            if values is not None:
                return self._rest(edges, vix, values)
        return None

    def _until_the_close(
        self, strategy: Strategy, position: Position, context: HoldContext, spot: float, vix: float
    ) -> Rest | None:
        """The rest of the day, where nothing is due by then wherever Greeks may bring it, nor by time; else ``None``.

        Its value is watched besides. A short call on shares is looked at in the last hour: a dividend may call it.
        """
        until = context.session.closes_at - (_LAST_HOUR if self._ends.may_be_called(position) else timedelta(0))
        if self._longest <= _MINUTE or until - context.now <= self.longest(context.now):
            return None
        there, days = replace(context, now=until), (until - context.now) / timedelta(days=1)
        if any(True for _ in self._ends.due(position, there)):
            return None
        for times in (_WIDE, 1.0):
            move = times * self._move * spot
            far = self._reaches(position, there, _Reach(spot, move, _VOLATILITY, days))
            if far is None:
                return None
            edges = _Edges(self._service, strategy, position, there, spot, move, _VOLATILITY, far, asks=False)
            values = self._values(position, edges, least=1.0)
            if values is not None:
                rest = self._rest(edges, vix, values)
                return replace(rest, moves=self._dollars(position, edges)) if times == _WIDE else rest
        return None

    def _rest(self, edges: _Edges, vix: float, values: Bands) -> Rest:
        position, spot, move, points = edges.position, edges.spot, edges.move, edges.points
        key = position.underlying.price_key
        bands = band(key, spot - move, spot + move), band(VIX, vix - points, vix + points), *values
        return Rest(position, edges.there.now, bands, self._risked(position, values))

    @staticmethod
    def _dollars(position: Position, edges: _Edges) -> float:
        """Dollars that Greeks say the position may move."""
        return sum(edges.far[part.name][1] * part.multiplier * part.contracts for part in position.parts)

    def _values(self, position: Position, edges: _Edges, least: float = 0.0) -> Bands | None:
        """Bands of what the parts' contracts are worth; ``None`` where something is due at once or a quote lacks.

        ``least``: how many times what Greeks say a value must be free to move, either way.
        """
        down, up = edges.free(-1.0, least), edges.free(1.0, least)
        if down is None or up is None:
            return None
        found = []
        for part in position.parts:
            value, far = edges.far[part.name]
            legs, contracts = _held(part)
            weights = tuple((leg.contract.name, leg.ratio / contracts) for leg in legs)
            quoted = worth(self._gateway, weights)
            apart = inf if quoted is None else abs(quoted - value)  # as of a leg without a bid
            if quoted is None or apart >= min(down, up) * far:
                return None
            found.append((weights, quoted - down * far + apart, quoted + up * far - apart))
        return tuple(found)

    @staticmethod
    def _risked(position: Position, values: Bands) -> float:
        """Dollars between the ends of the parts' bands; infinite without bands."""
        if not values:
            return inf
        return sum(
            (high - low) * part.multiplier * part.contracts
            for part, (_, low, high) in zip(position.parts, values, strict=True)
        )

    def _steps(self, position: Position, there: HoldContext) -> _Reaches | None:
        """Each part's value and its reach on the last day, in points; ``None`` where a value is unknown."""
        dollars = _ENDING_SHARE * self._move * self._gateway.account().equity / len(position.parts)
        found = {}
        for part in position.parts:
            if (value := there.values.get(part.name)) is None:
                return None
            found[part.name] = value, dollars / (part.multiplier * part.contracts)
        return found

    def _reaches(self, position: Position, there: HoldContext, reach: _Reach) -> _Reaches | None:
        """Each part's value and the points by which it may move; ``None`` where one's or its Greeks are unknown."""
        found = {}
        for part in position.parts:
            value, far = there.values.get(part.name), self._reach_of(part, reach)
            if value is None or far is None:
                return None
            found[part.name] = value, far
        return found

    def _reach_of(self, part: Part, within: _Reach) -> float | None:
        """Points by which a part's value may move within its rest; ``None`` where its Greeks are unknown."""
        legs, contracts = _held(part)
        spot, move, volatility, days = within.spot, within.move, within.volatility, within.days
        delta = bend = vega = vegas = theta = 0.0
        for leg in legs:
            known = self._service.roughly(leg.contract)
            if known is None:
                return None
            delta += leg.ratio * known.delta
            bend += abs(leg.ratio * known.gamma) * (0.5 * move + abs(spot - known.spot))
            vega += leg.ratio * known.vega
            vegas += abs(leg.ratio * known.vega)
            theta += leg.ratio * known.theta
        far = days * abs(theta)
        far += _SWERVE * (abs(delta) + bend) * move + volatility * (abs(vega) + _APART_SHARE * vegas)
        return far / contracts


@dataclass(frozen=True, slots=True)
class _Reach:
    """How far an underlying, in points, and volatilities, in vol points, are taken to move within a rest of so many
    calendar days; 0 of less than half an hour, in which time costs nothing."""

    spot: float
    move: float
    volatility: float
    days: float = 0.0


def _held(part: Part) -> tuple[tuple[Leg, ...], int]:
    """Legs of a part and the packages that they are."""
    return (part.package.legs, 1) if part.is_whole else (part.legs, part.contracts)


class _Deltas:
    """Deltas with the underlying moved one way; each is worked out once for all values that are tried there."""

    def __init__(self, edges: _Edges, move: float) -> None:
        self._edges = edges
        self._move = move
        self._known: dict[str, float | None] = {}
        self.lacked = False
        """Whether one was asked for that is no guide, since this was set to false last."""

    def of(self, contract: Contract) -> float | None:
        """A contract's delta there; ``None`` where none is a guide."""
        name = contract.name
        if name not in self._known:
            self._known[name] = self._find(contract)
        found = self._known[name]
        self.lacked = self.lacked or found is None
        return found

    def _find(self, contract: Contract) -> float | None:
        edges, move = self._edges, self._move
        known = edges.service.roughly(contract) if edges.asks else None
        if known is None:
            return None
        delta, gamma, then = known.delta, known.gamma, known.spot
        swerved = abs(delta) + copysign(_SWERVE * gamma * (abs(move) + abs(edges.spot - then)), move)
        return copysign(min(max(swerved, 0.0), 1.0), delta)


@dataclass(frozen=True, slots=True)
class _Edges:
    """The rules of a row at the edges of a rest."""

    service: CentralGreeksService
    strategy: Strategy
    position: Position
    there: HoldContext
    spot: float
    move: float
    points: float
    far: _Reaches
    ends: bool = False
    asks: bool = True
    """Whether deltas are told: of an option's last day, or hours from now, its delta of now is no guide."""
    ways: tuple[tuple[float, _Deltas], ...] = field(init=False)
    """The underlying's two ways, up and down, with the deltas there."""

    def __post_init__(self) -> None:
        object.__setattr__(self, "ways", tuple((way, _Deltas(self, way * self.move)) for way in (1.0, -1.0)))

    @property
    def all_free(self) -> bool:
        """Whether nothing is due wherever Greeks say that values may go; unknown on the last day."""
        return not self.ends and not any(self._due(way, deltas, way) for way, deltas in self.ways)

    def free(self, side: float, least: float = 0.0) -> float | None:
        """How many times their reach the values may move to one side (-1 down, 1 up) without anything due there;
        ``None`` where it is less than so many."""
        for times in _TIMES:
            if times < least:
                return None
            if not any(self._due(way, deltas, side * times) for way, deltas in self.ways):
                return times
        return None

    def _due(self, way: float, deltas: _Deltas, times: float) -> bool:
        """Whether something is due with the underlying moved one way, the VIX the other, values so many reaches away.

        A row that asks for a delta which is no guide has something due.
        """
        there, deltas.lacked = self.there, False
        values: dict[str, float | None] = {name: value + times * reach for name, (value, reach) in self.far.items()}
        vix = None if there.vix is None else there.vix - way * self.points
        spot = self.spot + way * self.move
        at = HoldContext(there.now, there.session, values, spot, deltas.of, there.rolled_from, vix)
        return self.strategy.is_due(self.position, at) or (deltas.lacked and not self.asks)
