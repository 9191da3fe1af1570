"""How packages, parts, positions and trades are written down as plain values, and read back.

What is read is not trusted: a value of the wrong kind is a ``CorruptStoreError`` that names the subject.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import date, datetime
from typing import Any

from core.book import ClosedTrade, Position
from core.contracts import Leg, Package, Right
from core.instruments import INSTRUMENTS
from core.parts import LegExit, Part, PartPlan, Realised, Terms, Trait
from state.errors import CorruptStoreError
from state.ledger import Subject


def describe_package(package: Package) -> list[dict[str, Any]]:
    """Legs as plain values, for the journal and for the store."""
    return [
        {
            "name": leg.contract.name,
            "root": leg.contract.root,
            "expiry": leg.contract.expiry.isoformat(),
            "strike": leg.contract.strike,
            "right": leg.contract.right.value,
            "ratio": leg.ratio,
        }
        for leg in package.legs
    ]


def rebuild_package(rows: Sequence[Mapping[str, Any]]) -> Package:
    """The package that ``describe_package`` wrote; its contracts have no gateway handle until they are listed again."""
    legs = []
    for row in rows:
        instrument = INSTRUMENTS[str(row["root"])]
        expiry = date.fromisoformat(str(row["expiry"]))
        contract = instrument.contract(expiry, float(row["strike"]), Right(str(row["right"])))
        legs.append(Leg(contract, int(row["ratio"])))
    return Package(tuple(legs))


def rebuild_terms(row: Mapping[str, Any]) -> Terms:
    """The terms that were written as plain values."""
    traits = frozenset(Trait(str(trait)) for trait in row["traits"])
    return Terms(str(row["strategy"]), str(row["structure"]), float(row["max_loss"]), float(row["margin"]), traits)


def describe_plans(plans: Sequence[PartPlan]) -> list[dict[str, Any]]:
    """What an entry opens, part by part."""
    return [{"name": plan.name, "package": describe_package(plan.package), "terms": plan.terms} for plan in plans]


def rebuild_plans(rows: Sequence[Mapping[str, Any]]) -> tuple[PartPlan, ...]:
    """The parts that ``describe_plans`` wrote."""
    return tuple(
        PartPlan(str(row["name"]), rebuild_package(list(row["package"])), rebuild_terms(row["terms"])) for row in rows
    )


def describe_parts(position: Position) -> dict[str, dict[str, Any]]:
    """The open parts of a position by name, in order."""
    return {
        part.name: {
            "package": describe_package(part.package),
            "contracts": part.contracts,
            "opened": part.opened,
            "entry_prices": part.entry_prices,
            "entry_cash": part.entry_cash,
            "entry_fees": part.entry_fees,
            "terms": part.terms,
            "exits": {name: [gone.quantity, gone.cash, gone.fees] for name, gone in part.exits.items()},
            "exit_rule": part.exit_rule,
            "exit_reason": part.exit_reason,
        }
        for part in position.parts
    }


def describe_realised(position: Position) -> dict[str, list[Any]]:
    """What the closed parts of a position brought, by name."""
    return {name: [row.cash, row.fees, row.count] for name, row in position.realised.items()}


def rebuild_position(subject: Subject) -> Position | None:
    """An open position out of what its state remembers; ``None`` for one of which no part is open.

    Raises CorruptStoreError for values that no position has.
    """
    detail = dict(subject.detail)
    if not detail.get("parts"):
        return None
    try:
        parts = tuple(_part(str(name), row) for name, row in detail["parts"].items())
        realised = {
            str(name): Realised(_number(row[0]), float(row[1]), int(row[2]))
            for name, row in detail.get("realised", {}).items()
        }
        return Position(
            id=subject.id,
            strategy=subject.parent,
            opened=datetime.fromisoformat(str(detail.get("opened", subject.created.isoformat()))),
            parts=parts,
            correlation=str(detail.get("correlation", "")),
            realised=realised,
            spot_entry=_number(detail.get("spot_entry")),
            vix_entry=_number(detail.get("vix_entry")),
            slot=str(detail.get("slot", "")),
        )
    except (KeyError, TypeError, ValueError, AttributeError, IndexError) as error:
        raise CorruptStoreError(f"position {subject.id}: {type(error).__name__}: {error}") from error


def _part(name: str, row: Mapping[str, Any]) -> Part:
    return Part(
        name=name,
        package=rebuild_package(list(row["package"])),
        contracts=int(row["contracts"]),
        opened=datetime.fromisoformat(str(row["opened"])),
        entry_prices=tuple(float(price) for price in row["entry_prices"]),
        entry_cash=float(row["entry_cash"]),
        entry_fees=float(row["entry_fees"]),
        terms=rebuild_terms(row["terms"]),
        exits={
            str(leg): LegExit(float(gone[0]), _number(gone[1]), float(gone[2])) for leg, gone in row["exits"].items()
        },
        exit_rule=str(row["exit_rule"]),
        exit_reason=str(row["exit_reason"]),
    )


def describe_trade(trade: ClosedTrade) -> list[Any]:
    """A closed trade as a row of plain values."""
    times = [trade.opened, trade.closed]
    return [trade.strategy, trade.position, *times, trade.profit, trade.max_loss, trade.fees, trade.part, trade.ended]


def rebuild_trade(row: Sequence[Any]) -> ClosedTrade:
    """The trade that ``describe_trade`` wrote."""
    strategy, position, opened, closed, profit, max_loss, fees, part, ended = row
    start, end = datetime.fromisoformat(str(opened)), datetime.fromisoformat(str(closed))
    known = _number(profit)
    return ClosedTrade(
        str(strategy), str(position), start, end, known, float(max_loss), float(fees), str(part), bool(ended)
    )


def _number(value: object) -> float | None:
    return None if value is None else float(str(value))
