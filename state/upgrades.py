"""What older versions wrote, in the form of this one: step by step, from each schema to the next.

Schema 1 (version 0.1.0) knew positions of one package. Schema 2 knows parts: a position's ``parts``, what closed ones
brought (``realised``) and the trades that they were (``trades``); groups say whether the position counts their fills
(``folded``). Single records kept their form; positions are brought over whole, once all records were read.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any, Final

WHOLE: Final = "whole"
"""The part that a package of schema 1 becomes."""

_SAME_DAY: Final = ("ends_today", "short_dated", "spared_by_21_dte")
_TRAITS: Final[Mapping[str, tuple[str, ...]]] = MappingProxyType({"friday_0dte": _SAME_DAY})


def _as_it_was(record: dict[str, Any]) -> dict[str, Any]:
    return record


UPGRADES: Final[Mapping[int, Callable[[dict[str, Any]], dict[str, Any]]]] = MappingProxyType({1: _as_it_was})
"""By schema: what turns a record of it into one of the next."""


def upgraded_terms(terms: Mapping[str, Any]) -> dict[str, Any]:
    """Terms with traits; schema 1 knew whether volatility was sold, and one strategy."""
    if "traits" in terms:
        return dict(terms)
    rest = {name: value for name, value in terms.items() if name != "short_volatility"}
    sold = ("short_volatility",) if terms.get("short_volatility", True) else ("debit",)
    return {**rest, "traits": sorted({*sold, *_TRAITS.get(str(terms.get("strategy")), ())})}


def upgraded_position(detail: Mapping[str, Any], settled: Mapping[str, float], ended: bool = False) -> dict[str, Any]:
    """A position's detail with parts. ``settled``: signed contracts by name that its ended groups traded.

    What is gone of the package brought nobody knows what: schema 1 did not write the cash of exits down. One that had
    ``ended`` has no part any more: its trade was told then.
    """
    if "parts" in detail or "package" not in detail:
        return dict(detail)
    corrections = {**settled}
    for name, quantity in detail.get("corrections", {}).items():
        corrections[name] = corrections.get(name, 0.0) + quantity
    terms = upgraded_terms(detail.get("terms") or {})
    plan = {"name": WHOLE, "package": detail["package"], "terms": terms}
    known = {**detail, "plans": [plan], "parts": {}, "realised": {}, "trades": [], "corrections": corrections}
    if "entry_cash" not in detail or ended:
        return known
    contracts = int(detail["contracts"])
    exits = {}
    for row in detail["package"]:
        gone = corrections.get(row["name"], 0.0) - row["ratio"] * contracts
        if gone:
            exits[row["name"]] = [gone, None, 0.0]
    part = {
        "package": detail["package"],
        "contracts": contracts,
        "opened": detail["opened"],
        "entry_prices": detail["entry_prices"],
        "entry_cash": detail["entry_cash"],
        "entry_fees": detail["entry_fees"],
        "terms": terms,
        "exits": exits,
        "exit_rule": "",
        "exit_reason": "",
    }
    return {**known, "parts": {WHOLE: part}}


def upgraded_group(detail: Mapping[str, Any], position: Mapping[str, Any], ended: bool) -> dict[str, Any]:
    """A group's detail: which parts it is about, and, once it ended, that its position counts its fills."""
    if "parts" in detail:
        return dict(detail)
    entry = detail.get("purpose") == "entry"
    plans = position.get("plans", []) if entry else []
    return {**detail, "parts": [WHOLE], "plans": plans, "folded": ended}
