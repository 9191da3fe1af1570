"""The engine's API is LEAN's: names, parameters, defaults and kinds agree with quantconnect-stubs."""

from __future__ import annotations

import ast
import importlib.util
import inspect
import re
import typing
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from enum import Enum
from functools import lru_cache
from importlib.metadata import distribution
from pathlib import Path
from types import ModuleType

import pytest

from simulation.lean.names import LeanEnum, Named
from tests.conftest import ROOT

EMBEDDED = ROOT / "simulation" / "embedded" / "AlgorithmImports.py"
ANY_DEFAULT = object()
KEYED = frozenset({"LeanDictionary"})
"""Our common base of LEAN's dictionaries; LEAN names the key of each after what it is (key, symbol, item)."""
SYSTEM_OBJECT = frozenset({"to_string", "equals", "get_hash_code", "get_type", "compare_to"})
"""Members of every C# object; the stubs repeat them for some classes only."""
ENGINE_OWN = {
    owner: frozenset(names.split())
    for owner, names in {
        "AddingApi": "add_security_for_order initialize_models seed",
        "ApplyFundsSettlementModelParameters": "exact_amount of_fill utc_ms",
        "AverageTrueRange": "uses_bars",
        "BaseData": "end_time_utc moved period",
        "ComboLegLimitOrder": "apply_update unit_value",
        "ComboLimitOrder": "apply_update unit_value",
        "ComboOrder": "apply_update join",
        "ContractFilterUniverse": "all_symbols apply_types_filter load select select_many selected where "
        "where_contains",
        "DataConsolidator": "is_timed working_end",
        "DefaultBrokerageModel": "refusal update_refusal",
        "FillModelParameters": "legs",
        "Future": "settlement_price",
        "FuturesContract": "underlying_last_price",
        "HistoryApi": "warmup_start",
        "Indicator": "period uses_bars warm_up_period",
        "InteractiveBrokersBrokerageModel": "refusal",
        "InterestRateProvider": "use",
        "LimitIfTouchedOrder": "apply_update",
        "LimitOrder": "apply_update unit_value",
        "MarketHoursDatabase": "use raw forget_before",
        "MarketHoursSegment": "counts",
        "Option": "is_option",
        "OptionChain": "end_time underlying_price",
        "OptionContract": "greeks implied_volatility right scaled_strike strike style theoretical_price",
        "OptionExerciseOrder": "unit_value",
        "OptionFilterUniverse": "load",
        "OptionIndicatorBase": "uses_bars",
        "OptionStrategyPositionGroupBuyingPowerModel": "initial maintenance",
        "Order": "apply_update next_event_id unit_value",
        "OrderTicket": "add_order_event add_update_request invalid set_order try_set_cancel_request",
        "PositionGroup": "count is_default legs reserved_buying_power with_quantity",
        "Prices": "end_ms start_ms",
        "QCAlgorithm": "benchmark_price follow_end_of_day lock overrides run_security_initializer",
        "ScheduleManager": "deferred",
        "ScheduledEvent": "fire next_ms skip_until",
        "Security": "add_feed drop_feeds emits freeze is_option last_interest last_quote last_trade price_at "
        "price_path trade_close",
        "SecurityChanges": "add remove",
        "SecurityExchangeHours": "sessions_utc_ms forget_before",
        "SecurityHolding": "add_profit quantity_value unsettled_profit",
        "SecurityIdentifier": "pack properties",
        "SecurityManager": "add_security forget is_active retire",
        "SecurityPortfolioManager": "has_short_options holding_changed is_never_called new_holding pay_dividend purse "
        "settlement_scan short_options takes_no_margin",
        "SecurityPositionGroupBuyingPowerModel": "initial maintenance",
        "SecurityTransactionManager": "next_group_id next_order_id record_profit transaction_records utc_ms",
        "Slice": "point symbol_named",
        "StopLimitOrder": "apply_update",
        "StopMarketOrder": "apply_update unit_value",
        "SubmitOrderRequest": "build",
        "SymbolCache": "find",
        "SymbolPropertiesDatabase": "from_file use lines",
        "TastytradeBrokerageModel": "refusal",
        "TimeInForce": "good_til_date",
        "TradeStatistics": "average_duration average_losing_duration average_winning_duration end_ms median_duration "
        "median_losing_duration median_winning_duration start_ms",
        "Trade": "best exit_ms fall see see_all sign",
        "TradeBar": "moved",
        "TradeBuilder": "book_fill follow is_open see_prices",
        "TradingApi": "attach_trading margin_call_scan",
        "TradingCalendar": "is_trading_day",
        "TrailingStopOrder": "apply_update follow stop_for",
        "TrueRange": "period uses_bars",
        "UniverseRow": "block expiry greeks implied_volatility right row strike",
        "OptionPosition": "expiry is_call",
        "VolatilityModel": "volatility",
    }.items()
}
"""What the engine's own parts call on each other. LEAN has no such names: no algorithm can mean another thing."""

Function = ast.FunctionDef | ast.AsyncFunctionDef


@dataclass(frozen=True)
class Signature:
    """Parameters after self: names in order, and the defaults of those that have one."""

    names: tuple[str, ...]
    defaults: dict[str, object] = field(default_factory=dict)
    star: bool = False

    def __str__(self) -> str:
        words = [f"{name}={self.defaults[name]!r}" if name in self.defaults else name for name in self.names]
        return f"({', '.join(words)}{', *' if self.star else ''})"


@dataclass
class StubClass:
    """A class of the stubs: kind and signatures of each member, bases by name."""

    name: str
    bases: list[str]
    kinds: dict[str, str]
    signatures: dict[str, list[Signature]]
    values: dict[str, object]


def stub_files() -> list[Path]:
    """The stub modules that AlgorithmImports imports, in its order, then the others."""
    files = distribution("quantconnect-stubs").files or []
    paths = {str(file): Path(str(file.locate())) for file in files if str(file).endswith("__init__.pyi")}
    text = paths["AlgorithmImports/__init__.pyi"].read_text(encoding="utf-8")
    wanted = [line.split()[1].replace(".", "/") for line in text.splitlines() if line.startswith("from QuantConnect")]
    ordered = [f"{module}/__init__.pyi" for module in wanted]
    rest = sorted(name for name in paths if name.startswith("QuantConnect/") and name not in ordered)
    return [paths[name] for name in [*ordered, *rest] if name in paths]


@lru_cache(maxsize=1)
def stub_texts() -> dict[str, list[str]]:
    """The text of every class of the stubs by name; LEAN uses some names in several namespaces."""
    found: dict[str, list[str]] = {}
    for file in stub_files():
        # A class reaches to the next line that is not indented. Reading the names alone keeps collection quick.
        for text in re.findall(
            r"^class .*\n(?:[ \t].*\n|[ \t]*\n)*", file.read_text(encoding="utf-8") + "\n", re.MULTILINE
        ):
            found.setdefault(re.split(r"\W", text[6:], maxsplit=1)[0], []).append(text)
    return found


@lru_cache
def stubs(name: str) -> tuple[StubClass, ...]:
    """The classes of the stubs with a name; none where the stubs do not know it."""
    found = [ast.parse(text).body[0] for text in stub_texts().get(name, ())]
    return tuple(stub_class(node) for node in found if isinstance(node, ast.ClassDef))


def stub_class(node: ast.ClassDef) -> StubClass:
    kinds: dict[str, str] = {}
    signatures: dict[str, list[Signature]] = {}
    values: dict[str, object] = {}
    for item in node.body:
        if isinstance(item, Function):
            decorators = {ast.unparse(decorator) for decorator in item.decorator_list}
            if any(decorator.endswith(".setter") for decorator in decorators):
                continue
            kind = "static" if "staticmethod" in decorators else "method"
            kinds[item.name] = property_kind(item) if any("property" in d for d in decorators) else kind
            found = stub_signature(item, kind)
            signatures.setdefault(item.name, []).append(found)
            if hands_out(item):
                signatures[item.name].append(Signature(found.names[:-1], found.defaults))
        elif isinstance(item, ast.AnnAssign) and isinstance(item.target, ast.Name):
            kinds[item.target.id] = "value"
        elif isinstance(item, ast.Assign) and isinstance(item.targets[0], ast.Name):
            kinds[item.targets[0].id] = "value"
            values[item.targets[0].id] = literal(item.value)
        elif isinstance(item, ast.ClassDef):
            kinds[item.name] = "class"
    bases = [ast.unparse(base).split("[")[0].rsplit(".", 1)[-1] for base in node.bases]
    return StubClass(node.name, bases, kinds, signatures, values)


def hands_out(node: Function) -> bool:
    """C#'s last `out` parameter: the stubs show it as a parameter and in the returned tuple; it may be left out."""
    returned = ast.unparse(node.returns) if node.returns is not None else ""
    last = node.args.args[-1].annotation if node.args.args else None
    return "Tuple[" in returned and last is not None and "Optional" in ast.unparse(last)


def property_kind(node: Function) -> str:
    """The stubs write a generic method as a property that returns a callable of a hidden name."""
    returned = ast.unparse(node.returns).rsplit(".", 1)[-1] if node.returns is not None else ""
    return "generic" if returned.startswith("_") else "value"


def stub_signature(node: Function, kind: str) -> Signature:
    arguments = node.args.posonlyargs + node.args.args
    names = [argument.arg for argument in arguments][0 if kind == "static" else 1 :]
    values = [literal(default) for default in node.args.defaults]
    defaults = (
        dict(zip([argument.arg for argument in arguments][-len(values) :], values, strict=True)) if values else {}
    )
    return Signature(tuple(names), defaults, node.args.vararg is not None)


def literal(node: ast.expr) -> object:
    try:
        value = ast.literal_eval(node)
    except ValueError:
        return ANY_DEFAULT
    return ANY_DEFAULT if value is Ellipsis else value


@lru_cache(maxsize=1)
def engine() -> ModuleType:
    """The engine's AlgorithmImports, loaded by its path so that the stubs keep that name."""
    spec = importlib.util.spec_from_file_location("embedded_algorithm_imports", EMBEDDED)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def engine_classes() -> Iterator[tuple[str, type]]:
    """LEAN-facing classes: those of the simulation that the stubs know by name."""
    for name, thing in sorted(vars(engine()).items()):
        if inspect.isclass(thing) and thing.__module__.startswith("simulation") and name in stub_texts():
            yield name, thing


def in_stub(name: str, member: str) -> tuple[str, list[Signature]] | None:
    """Kind and all signatures of a member in a stub class and its bases; None when none of them has it."""
    waiting, seen = [name], set[str]()
    kind: str | None = None
    signatures: list[Signature] = []
    while waiting:
        current = waiting.pop(0)
        if current in seen:
            continue
        seen.add(current)
        for found in stubs(current):
            kind = kind or found.kinds.get(member)
            signatures.extend(found.signatures.get(member, ()))
            waiting.extend(found.bases)
    return None if kind is None else (kind, signatures)


def own_members(owner: type) -> Iterator[tuple[type, str, object]]:
    """Public members that our classes define, each once, with the class that does; PascalCase twins are left out."""
    seen: set[str] = set()
    for base in owner.__mro__:
        if not issubclass(base, Named | LeanEnum) and not base.__module__.startswith("simulation"):
            continue
        for name, member in vars(base).items():
            plain = not name.startswith("_") and (name.islower() or name.isupper())
            if plain and name not in seen:
                seen.add(name)
                yield base, name, member


def kind_of(member: object) -> str:
    if isinstance(member, staticmethod | classmethod):
        return "static"
    if inspect.isclass(member):
        return "class"
    return "method" if inspect.isfunction(member) else "value"


def signatures_of(member: object) -> list[Signature]:
    """The overloads of a function when it has any, else its own signature."""
    function = member.__func__ if isinstance(member, staticmethod | classmethod) else member
    assert inspect.isfunction(function)
    signed = getattr(function, "lean_signatures", None)
    if signed is not None:
        return [read_signature(each, bound=False) for each in signed]
    declared: Sequence[object] = typing.get_overloads(function) or [function]
    return [own_signature(each, bound=not isinstance(member, staticmethod)) for each in declared]


def own_signature(function: object, bound: bool) -> Signature:
    if isinstance(function, staticmethod):
        function, bound = function.__func__, False
    assert callable(function)
    return read_signature(inspect.signature(function), bound)


def read_signature(signature: inspect.Signature, bound: bool) -> Signature:
    parameters = list(signature.parameters.values())[1 if bound else 0 :]
    star = any(p.kind in (p.VAR_POSITIONAL, p.VAR_KEYWORD) for p in parameters)
    plain = [p for p in parameters if p.kind not in (p.VAR_POSITIONAL, p.VAR_KEYWORD)]
    defaults = {p.name: p.default for p in plain if p.default is not p.empty}
    return Signature(tuple(p.name for p in plain), defaults, star)


def agrees(ours: Signature, theirs: Sequence[Signature]) -> bool:
    """Same names in the same order, same defaults. One signature of ours may stand for several overloads that go on
    from each other: what the shorter ones leave out then has a default here. A stub's `...` stands for any default."""
    for longest in theirs:
        if ours.names != longest.names or not set(longest.defaults) <= set(ours.defaults):
            continue
        shorter = {len(other.names) for other in theirs if other.names == ours.names[: len(other.names)]}
        first_default = len(ours.names) - len(ours.defaults)
        added = set(ours.defaults) - set(longest.defaults)
        if added and not all(any(length <= ours.names.index(name) for length in shorter) for name in added):
            continue
        if added and first_default not in shorter:
            continue
        if all(same_default(ours.defaults[name], value) for name, value in longest.defaults.items()):
            return True
    return False


def same_default(ours: object, theirs: object) -> bool:
    if theirs is ANY_DEFAULT or ours is ...:
        return True
    value = int(ours) if isinstance(ours, Enum) and isinstance(ours, int) else ours
    return bool(value == theirs)


def problems_of(name: str, owner: type) -> Iterator[str]:
    """Every way in which a class differs from the stubs."""
    for base, member_name, member in own_members(owner):
        stub = in_stub(name, member_name)
        if stub is None:
            if member_name not in SYSTEM_OBJECT and member_name not in ENGINE_OWN.get(base.__name__, ()):
                yield f"{base.__name__}.{member_name}: not in the stubs"
            continue
        kind, (wanted, theirs) = kind_of(member), stub
        if wanted == "generic" or (wanted == "value" and member_name.isupper() and callable(member)):
            continue
        if kind != wanted:
            yield f"{base.__name__}.{member_name}: a {kind} here, a {wanted} in the stubs"
        elif kind in ("method", "static"):
            for ours in signatures_of(member):
                if base.__name__ not in KEYED and not agrees(ours, theirs):
                    yield f"{base.__name__}.{member_name}{ours}: the stubs have {' or '.join(map(str, theirs))}"


@pytest.mark.parametrize("name", [name for name, _ in engine_classes()])
def test_a_class_agrees_with_the_stubs(name: str) -> None:
    assert list(problems_of(name, getattr(engine(), name))) == []


MISCOUNTED = ("BrokerageName",)
"""The stubs number its members without LEAN's alias and gap: the real engine wrote 36 for tastytrade, they say 32."""
ENUMERATIONS = [
    (name, owner) for name, owner in engine_classes() if issubclass(owner, LeanEnum) and name not in MISCOUNTED
]


@pytest.mark.parametrize(("name", "owner"), ENUMERATIONS)
def test_an_enumeration_has_the_stubs_values(name: str, owner: type[LeanEnum]) -> None:
    theirs = stubs(name)[0].values
    assert {member: theirs.get(member) for member in owner.__members__} == {
        member: ANY_DEFAULT if theirs.get(member) is ANY_DEFAULT else int(value)
        for member, value in owner.__members__.items()
    }


def test_brokers_have_leans_numbers() -> None:
    names = engine().BrokerageName
    # BrokerageName.cs: one alias of 0 at the top, and GDAX set to 12.
    assert set(stubs("BrokerageName")[0].values) >= set(names.__members__)
    known = {"DEFAULT": 0, "INTERACTIVE_BROKERS_BROKERAGE": 1, "BINANCE": 6, "GDAX": 12, "ALPACA": 13, "KRAKEN": 19}
    known |= {"COINBASE": 32, "CHARLES_SCHWAB": 35, "TASTYTRADE": 36, "INTERACTIVE_BROKERS_FIX": 37, "PUBLIC": 40}
    assert {name: int(names[name]) for name in known} == known


def test_a_wrong_name_is_seen() -> None:
    class Market(Named):
        def decode(self, number: int) -> str:
            return str(number)

        def no_such_thing(self) -> None:
            """Nothing."""

    # LEAN's is static and names its parameter `code`.
    assert list(problems_of("Market", Market)) == [
        "Market.decode: a method here, a static in the stubs",
        "Market.no_such_thing: not in the stubs",
    ]
