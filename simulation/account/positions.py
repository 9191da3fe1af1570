"""Position groups: how LEAN bundles what is held, what each bundle reserves, and whether an order may be carried."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence
from typing import ClassVar, Protocol

from simulation.account.buying_power import (
    BuyingPowerModel,
    GetMaximumOrderQuantityForTargetBuyingPowerParameters,
    GetMaximumOrderQuantityResult,
    HasSufficientBuyingPowerForOrderParameters,
    HasSufficientBuyingPowerForOrderResult,
    InitialMargin,
    OptionInitialMargin,
)
from simulation.account.faces import PortfolioFace
from simulation.account.strategies_margin import (
    Legs,
    initial_of,
    maintenance_of,
    strategy_initial,
    strategy_maintenance,
)
from simulation.account.strategies_match import Book, OptionPosition, match_strategies
from simulation.lean.enums import OptionRight, OrderDirection, SecurityType
from simulation.lean.names import Named
from simulation.lean.numbers import clean, decimal_text
from simulation.lean.symbols import Symbol
from simulation.orders.orders import Order
from simulation.securities.securities import Security

HAS_OPTIONS = (SecurityType.EQUITY, SecurityType.INDEX, SecurityType.FUTURE)
REMEMBERED_BOOKS = 256
"""How many matched books are kept while no holding changes: a resting combo asks for the same few on every pass."""


class Position(Named):
    """A signed quantity of one symbol within a group; `unit_quantity` is its share in one unit of the group."""

    def __init__(self, security: Security, quantity: float, unit_quantity: float) -> None:
        self.security = security
        self.symbol = security.symbol
        self.quantity = float(quantity)
        self.unit_quantity = float(unit_quantity)


class OptionStrategyPositionGroupBuyingPowerModel(Named):
    """Margin of a recognised strategy; prints as the strategy's name, as in LEAN."""

    def __init__(self, name: str) -> None:
        self.name = name

    def __str__(self) -> str:
        return self.name

    def maintenance(self, group: PositionGroup) -> float:
        """Margin to hold the group."""
        return strategy_maintenance(self.name, group.legs()) if group.quantity else group.quantity

    def initial(self, group: PositionGroup) -> InitialMargin:
        """Margin to open the group."""
        return strategy_initial(self.name, group.legs()) if group.quantity else OptionInitialMargin(0.0, 0.0)


class SecurityPositionGroupBuyingPowerModel(Named):
    """Margin of one security alone, by its own model."""

    def __str__(self) -> str:
        return f"QuantConnect.Securities.Positions.{type(self).__name__}"

    def maintenance(self, group: PositionGroup) -> float:
        """Margin to hold the position."""
        return clean(sum(maintenance_of(p.security, p.quantity) for p in group.positions))

    def initial(self, group: PositionGroup) -> InitialMargin:
        """Margin to open the position (a long option's premium included)."""
        return InitialMargin(clean(sum(float(initial_of(p.security, p.quantity)) for p in group.positions)))


class GroupMargin(Protocol):
    """A group's margin model, dollars."""

    def maintenance(self, group: PositionGroup) -> float:
        """Margin to hold the group."""

    def initial(self, group: PositionGroup) -> InitialMargin:
        """Margin to open the group."""


class PositionGroup(Named):
    """Positions that are margined together."""

    def __init__(self, model: GroupMargin, quantity: float, positions: Sequence[Position]) -> None:
        self.buying_power_model = model
        self.quantity = quantity
        self.positions = list(positions)

    def legs(self) -> Legs:
        """The legs as the margin formulas want them."""
        return Legs([(position.security, position.quantity) for position in self.positions], self.quantity)

    @property
    def is_default(self) -> bool:
        """Whether this is one position by itself, margined by its security's own model."""
        return isinstance(self.buying_power_model, SecurityPositionGroupBuyingPowerModel)

    def with_quantity(self, quantity: float) -> PositionGroup:
        """The same strategy so many times; not meant for negative numbers."""
        positions = [
            Position(p.security, quantity * p.unit_quantity * (-1 if p.quantity < 0 else 1), p.unit_quantity)
            for p in self.positions
        ]
        return PositionGroup(self.buying_power_model, quantity, positions)

    def reserved_buying_power(self) -> float:
        """Maintenance margin, dollars."""
        return float(self.buying_power_model.maintenance(self))

    @property
    def count(self) -> int:
        """Number of positions."""
        return len(self.positions)

    def __len__(self) -> int:
        return len(self.positions)

    def __iter__(self) -> Iterator[Position]:
        return iter(self.positions)


class SecurityPositionGroupModel(Named):
    """How positions are grouped; NULL leaves every security alone."""

    NULL: ClassVar[SecurityPositionGroupModel]

    def __init__(self, groups_strategies: bool = True) -> None:
        self.groups_strategies = groups_strategies


SecurityPositionGroupModel.NULL = SecurityPositionGroupModel(False)
_ALONE = SecurityPositionGroupBuyingPowerModel()


def option_position(security: Security, quantity: float, unit: float) -> OptionPosition:
    """What the matcher sees of a position: contracts, or whole lots of the underlying."""
    if not security.is_option:
        return OptionPosition(security.symbol, int(quantity / unit), None, 0.0, None)
    calling = security.right == OptionRight.CALL
    return OptionPosition(security.symbol, int(quantity), calling, security.strike_price, security.expiry)


class PositionManager(Named):
    """`portfolio.positions`: the groups of the whole book, formed anew when a holding changes."""

    def __init__(self, portfolio: PortfolioFace) -> None:
        self._portfolio = portfolio
        self._groups: list[PositionGroup] | None = None
        self._matched: dict[tuple[object, ...], list[PositionGroup]] = {}
        self._model = SecurityPositionGroupModel()

    def use(self, model: SecurityPositionGroupModel) -> None:
        """Replaces the way of grouping."""
        self._model = model
        self._groups = None

    def invalidate(self) -> None:
        """A holding changed (engine only)."""
        self._groups = None
        self._matched.clear()

    @property
    def groups(self) -> list[PositionGroup]:
        """Strategies in the order of LEAN's definitions, then what stands alone."""
        if self._groups is None:
            find = self._portfolio.securities
            held = [security for security in find.values() if security.holdings.invested]
            self._groups = self.resolve([(security, security.holdings.quantity) for security in held])
        return self._groups

    @property
    def is_only_default_groups(self) -> bool:
        """Whether no strategy was recognised."""
        return all(group.buying_power_model is _ALONE for group in self.groups)

    # ---------------------------------------------------------------- grouping

    def resolve(self, positions: Sequence[tuple[Security, float]]) -> list[PositionGroup]:
        """Groups of a set of positions (one entry per symbol)."""
        held = {security.symbol: security for security, _ in positions}
        left = {security.symbol: quantity for security, quantity in positions}
        groups = []
        for group in self._strategy_groups(positions):
            groups.append(group)
            for position in group.positions:
                left[position.symbol] = clean(left[position.symbol] - position.quantity)
                if not left[position.symbol]:
                    del left[position.symbol]
        for symbol, quantity in left.items():
            security = held[symbol]
            groups.append(PositionGroup(_ALONE, quantity, [Position(security, quantity, 1.0)]))
        return groups

    def _strategy_groups(self, positions: Iterable[tuple[Security, float]]) -> list[PositionGroup]:
        """Strategies by underlying; one empty group when the positions of an underlying cancel out."""
        if not self._model.groups_strategies:
            return list[PositionGroup]()
        by_underlying: dict[Symbol, list[tuple[Security, float]]] = {}
        for security, quantity in positions:
            if security.is_option:
                by_underlying.setdefault(security.symbol.underlying, []).append((security, quantity))
            elif security.type in HAS_OPTIONS:
                by_underlying.setdefault(security.symbol, []).append((security, quantity))
        groups: list[PositionGroup] = []
        for members in by_underlying.values():
            option = next((security for security, _ in members if security.is_option), None)
            if option is None:
                continue
            unit = float(option.contract_unit_of_trade)
            book = Book([option_position(security, quantity, unit) for security, quantity in members])
            if not len(book):
                return [*groups, PositionGroup(OptionStrategyPositionGroupBuyingPowerModel(""), 0.0, [])]
            groups.extend(self._remembered(book, members, unit))
        return groups

    def _remembered(self, book: Book, members: list[tuple[Security, float]], unit: float) -> list[PositionGroup]:
        """The groups of a book; which they are depends on its members only, not on prices, so each is matched once."""
        key = (unit, *members)
        found = self._matched.get(key)
        if found is None:
            if len(self._matched) >= REMEMBERED_BOOKS:
                self._matched.clear()
            found = self._groups_of(book, {security.symbol: security for security, _ in members}, unit)
            self._matched[key] = found
        return found

    @staticmethod
    def _groups_of(book: Book, securities: dict[Symbol, Security], unit: float) -> list[PositionGroup]:
        groups: list[PositionGroup] = []
        for match in match_strategies(book):
            legs = match.legs if match.underlying is None else (*match.legs, match.underlying)
            times = math.gcd(*(leg.quantity for leg in legs))
            positions = []
            for leg in legs:
                scale = unit if leg.is_underlying else 1.0
                positions.append(
                    Position(securities[leg.symbol], leg.quantity * scale, abs(leg.quantity) * scale / times)
                )
            groups.append(
                PositionGroup(OptionStrategyPositionGroupBuyingPowerModel(match.name), float(times), positions)
            )
        return groups

    def impacted(self, positions: Sequence[tuple[Security, float]]) -> list[PositionGroup]:
        """Groups that share an underlying (or, without options, a symbol) with the given positions."""
        symbols = set()
        if self._model.groups_strategies:
            for security, _ in positions:
                if security.is_option:
                    symbols |= {security.symbol, security.symbol.underlying}
                elif security.type in HAS_OPTIONS:
                    symbols.add(security.symbol)
        own = {security.symbol for security, _ in positions}
        return [group for group in self.groups if group.quantity and self._touches(group, symbols, own)]

    @staticmethod
    def _touches(group: PositionGroup, symbols: set[Symbol], own: set[Symbol]) -> bool:
        for position in group.positions:
            symbol = position.symbol
            if symbol in symbols or symbol in own:
                return True
            if position.security.is_option and symbol.underlying in symbols:
                return True
        return False

    # ---------------------------------------------------------------- the check of orders

    def check(self, orders: list[Order]) -> HasSufficientBuyingPowerForOrderResult:
        """Whether the account can carry the orders (PositionGroupBuyingPowerModel.cs); ValueError for a leg twice."""
        find = self._portfolio.securities
        new = [(find[order.symbol], order.quantity) for order in orders]
        if self._forms_strategy(new):
            return self._check_group(orders, new)
        for order, (security, _) in zip(orders, new, strict=True):
            parameters = HasSufficientBuyingPowerForOrderParameters(self._portfolio, security, order)
            result = security.buying_power_model.has_sufficient_buying_power_for_order(parameters)
            if not result.is_sufficient:
                return result  # type: ignore[no-any-return]
        return HasSufficientBuyingPowerForOrderResult(True)

    def _forms_strategy(self, new: list[tuple[Security, float]]) -> bool:
        """Whether the new positions, with those they touch, make any group (OptionStrategyPositionGroupResolver)."""
        if not self._model.groups_strategies:
            return False
        if not self.groups:
            return len(new) > 1 and bool(self._strategy_groups(new))
        touched = [(p.security, p.quantity) for group in self._option_impacted(new) for p in group.positions]
        return bool(self._strategy_groups([*new, *touched]))

    def _option_impacted(self, new: list[tuple[Security, float]]) -> list[PositionGroup]:
        related = [pair for pair in new if pair[0].is_option or pair[0].type in HAS_OPTIONS]
        return self.impacted(related) if related else []

    def _check_group(
        self, orders: list[Order], new: list[tuple[Security, float]]
    ) -> HasSufficientBuyingPowerForOrderResult:
        together: dict[Symbol, tuple[Security, float]] = {}
        for security, quantity in new:
            if security.symbol in together:
                raise ValueError(f"An item with the same key has already been added. Key: {security.symbol}")
            together[security.symbol] = (security, quantity)
        current = 0.0
        for group in self.impacted(new):
            current += group.reserved_buying_power()
            for position in group.positions:
                security, quantity = together.get(position.symbol, (position.security, 0.0))
                together[position.symbol] = (security, clean(quantity + position.quantity))
        after = self.resolve(list(together.values()))
        delta = clean(self._contemplated(after, new) - current)
        if delta < 0:
            return HasSufficientBuyingPowerForOrderResult(True)
        free = self._portfolio.margin_remaining
        if delta <= free:
            return HasSufficientBuyingPowerForOrderResult(True)
        ids = ",".join(str(order.id) for order in orders)
        text = f"Id: {ids}, Maintenance Margin Delta: {decimal_text(delta)}, Free Margin: {decimal_text(free)}"
        return HasSufficientBuyingPowerForOrderResult(False, text)

    def _contemplated(self, after: list[PositionGroup], new: list[tuple[Security, float]]) -> float:
        """Initial margin of the groups after the order without premium, plus the premium of the order if a debit."""
        total = 0.0
        for group in after:
            margin = group.buying_power_model.initial(group)
            total += margin.value_without_premium if isinstance(margin, OptionInitialMargin) else float(margin)
        for group in self.resolve(new):
            margin = group.buying_power_model.initial(group)
            if isinstance(margin, OptionInitialMargin):
                total += float(margin) - margin.value_without_premium
        return total

    # ---------------------------------------------------------------- one symbol

    def buying_power_of_symbol(self, security: Security, direction: OrderDirection) -> float:
        """Free margin for a symbol; closing a stand-alone position frees its margin twice."""
        free = float(self._portfolio.margin_remaining)
        held = security.holdings
        alone = next(
            (g for g in self.groups if g.buying_power_model is _ALONE and g.positions[0].symbol == security.symbol),
            None,
        )
        closing = direction == (OrderDirection.SELL if held.quantity > 0 else OrderDirection.BUY)
        if alone is not None and held.quantity and closing:
            free += alone.reserved_buying_power() + abs(float(alone.buying_power_model.initial(alone)))
        return clean(free)

    def order_quantity_for_target(
        self, security: Security, target: float, minimum: float
    ) -> GetMaximumOrderQuantityResult:
        """The order that brings a symbol to a fraction of the portfolio's margin (`set_holdings`)."""
        parameters = GetMaximumOrderQuantityForTargetBuyingPowerParameters(self._portfolio, security, target, minimum)
        model: BuyingPowerModel = security.buying_power_model
        return model.get_maximum_order_quantity_for_target_buying_power(parameters)


IPosition = Position
IPositionGroup = PositionGroup
