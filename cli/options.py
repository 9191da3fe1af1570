"""What ``backtest`` can be asked for, and the checks that need no market."""

from __future__ import annotations

import inspect
import json
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import MISSING, Field, dataclass, field, fields, replace
from datetime import date, timedelta
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any, TypeVar, get_type_hints

import typer

from cli.errors import UserError
from core.settings.base import SettingsError
from core.settings.fields import Settings

ROOT = Path(__file__).resolve().parent.parent
MAIN = ROOT / "main.py"
JOURNAL = "journal.jsonl"  # of a run, in its results folder
RESULTS = "backtests"  # one of the few folders that the lean command line never takes for source
SHORT_KEYS = ("start", "end", "cash", "strategies", "seed")  # each stands for the setting run.KEY, as in main.py
LATEST = "latest"  # the newest run, wherever a run is named
RUN_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,79}")
RANGE = ("run.start", "run.end")
LISTINGS = ("today", "then")


@dataclass(frozen=True, slots=True, kw_only=True)
class MarketOptions:
    """What a run is over and with which settings, as text, unchecked."""

    start: Annotated[
        str | None,
        typer.Option(
            help="First day; without it and --end the range that suits the market. Example: --start 2015-01-02"
        ),
    ] = None
    end: Annotated[str | None, typer.Option(help="Last day. Example: --end 2016-12-30")] = None
    cash: Annotated[str | None, typer.Option(help="Dollars to begin with. Example: --cash 45000")] = None
    strategies: Annotated[
        str | None,
        typer.Option(
            help="Which rows to run, parted by commas; all is the ten. Example: --strategies friday_0dte,lt112 or "
            "--strategies all"
        ),
    ] = None
    seed: Annotated[str | None, typer.Option(help="Seed of the modelled minutes and quotes. Example: --seed 7")] = None
    set_: Annotated[
        list[str],
        typer.Option("--set", help="Any setting, as often as needed. Example: --set friday_0dte.min_vix=0"),
    ] = field(default_factory=list)
    market: Annotated[
        str,
        typer.Option(
            help="Where prices come from: history (real daily S&P 500 and VIX, minutes and options modelled), "
            "csv:spx=FILE,vix=FILE (your own daily bars), lean:FOLDER (a LEAN data folder), garch:SEED (years that "
            "never happened), scenario:NAME. Example: --market lean:data"
        ),
    ] = "history"
    listings: Annotated[
        str | None,
        typer.Option(
            help="Expirations and strikes of the modelled market by the rules of today (the default) or of then, each "
            "year's own. Example: --listings then"
        ),
    ] = None
    faults: Annotated[
        str | None,
        typer.Option(
            help="Share of a modelled contract's minutes, 0 to 1, in which its quote is missing, one-sided or stale; "
            "0.004 without it, in scenarios only their own. Example: --faults 0.02"
        ),
    ] = None


@dataclass(frozen=True, slots=True, kw_only=True)
class BacktestOptions(MarketOptions):
    """Every option of ``backtest``, as text, unchecked."""

    algorithm: Annotated[
        Path | None, typer.Option(help="Another LEAN algorithm than main.py. Example: --algorithm probe.py")
    ] = None
    param: Annotated[
        list[str],
        typer.Option(help="A parameter for --algorithm's file, as often as needed. Example: --param seed=yes"),
    ] = field(default_factory=list)
    out: Annotated[Path | None, typer.Option(help="Folder for the results, made new. Example: --out results")] = None
    name: Annotated[
        str | None, typer.Option(help="Name of the run: its results are backtests/NAME. Example: --name baseline")
    ] = None
    benchmark: Annotated[
        Path | None,
        typer.Option(
            help="CSV of daily closes to set the account beside, for example Cboe's file of the PUT index. Example: "
            "--benchmark PUT_History.csv"
        ),
    ] = None
    open_: Annotated[bool, typer.Option("--open", help="Show the report in the browser. Example: --open")] = False


Chosen = TypeVar("Chosen", bound=MarketOptions)


def command_of(body: Callable[[Chosen], int], words: str, kind: type[Chosen]) -> Callable[..., int]:
    """A function with one keyword parameter for each field of ``kind``, as Typer wants to see it."""

    def command(**values: Any) -> int:
        return body(kind(**values))

    hints = get_type_hints(kind, include_extras=True)
    command.__signature__ = inspect.Signature(  # type: ignore[attr-defined]
        [
            inspect.Parameter(
                item.name,
                inspect.Parameter.KEYWORD_ONLY,
                default=default_of(item),
                annotation=hints[item.name],
            )
            for item in fields(kind)
        ]
    )
    command.__annotations__ = {item.name: hints[item.name] for item in fields(kind)}
    command.__doc__ = words
    return command


def default_of(item: Field[Any]) -> object:
    """The default of a field as a signature states it; a field without one must be given."""
    if item.default is not MISSING:
        return item.default
    return item.default_factory() if item.default_factory is not MISSING else inspect.Parameter.empty


class MarketKind(StrEnum):
    """The sources of prices."""

    HISTORY = "history"
    CSV = "csv"
    LEAN = "lean"
    GARCH = "garch"
    SCENARIO = "scenario"


@dataclass(frozen=True, slots=True)
class MarketChoice:
    """Which market, and its file, folder, seed or name (empty for history).

    ``listings`` and ``faults`` (share of minutes) shape a modelled market; None leaves them to it.
    """

    kind: MarketKind
    detail: str
    listings: str | None = None
    faults: float | None = None

    @classmethod
    def parse(cls, text: str) -> MarketChoice:
        """``history`` or ``kind:detail``; raises ``UserError`` for anything else."""
        name, colon, detail = text.partition(":")
        accepted = "history, csv:FILE, lean:FOLDER, garch:SEED or scenario:NAME"
        if name not in list(MarketKind):
            raise UserError(f"--market: {text!r}; expected {accepted}")
        kind = MarketKind(name)
        if (kind is MarketKind.HISTORY) is bool(colon) or (colon and not detail):
            raise UserError(f"--market: {text!r}; expected {accepted}")
        return cls(kind, detail)

    def shaped(self, listings: str | None, faults: str | None) -> MarketChoice:
        """The market with ``--listings`` and ``--faults``; ``UserError`` for a folder, read as it is."""
        for option, text in (("--listings", listings), ("--faults", faults)):
            if text is not None and self.kind is MarketKind.LEAN:
                raise UserError(f"{option}: {text!r} shapes a modelled market; --market lean:FOLDER is read as it is")
        if listings not in (None, *LISTINGS):
            raise UserError(f"--listings: {listings!r}; expected {' or '.join(LISTINGS)}")
        return replace(self, listings=listings, faults=None if faults is None else a_share("--faults", faults))


@dataclass(frozen=True, slots=True)
class RunPlan:
    """A checked request. ``settings`` is None for an algorithm that is not ours."""

    algorithm: Path
    market: MarketChoice
    parameters: Mapping[str, str]
    settings: Settings | None
    seed: int
    out: Path | None
    given: frozenset[str]
    benchmark: Path | None = None


def plan_of(options: BacktestOptions) -> RunPlan:
    """Check everything that can be checked before a market is opened.

    Raises:
        UserError: what is wrong, with the option, the value and what would be right.
    """
    market = MarketChoice.parse(options.market).shaped(options.listings, options.faults)
    options = replace(options, out=named_folder(options))
    if options.out is not None and options.out.exists():
        raise UserError(f"--out: {options.out} exists; expected a folder that does not exist yet")
    own = options.algorithm is None or options.algorithm.resolve() == MAIN
    if not own and options.algorithm is not None:
        return foreign_plan(options, options.algorithm, market)
    if options.param:
        raise UserError(f"--param: {options.param[0]!r} is for another algorithm (--algorithm); main.py takes --set")
    asked = own_parameters(options)
    parameters = {**configured_parameters(), **asked}
    if "run.start" in asked or "run.end" in asked:
        # The configured range is one thing: half of it with half of another would be a range that nobody asked for.
        parameters = {key: value for key, value in parameters.items() if key in asked or key not in RANGE}
    settings = settings_of(parameters)
    given = frozenset(key.removeprefix("run.") for key in RANGE if key in asked)
    seed = settings.run.seed
    return RunPlan(MAIN, market, parameters, settings, seed, options.out, given, options.benchmark)


def named_folder(options: BacktestOptions) -> Path | None:
    """The results folder that ``--out`` or ``--name`` asks for; None for one of the time of the run."""
    if options.name is None:
        return options.out
    if options.out is not None:
        raise UserError(f"--name: {options.name!r} and --out {options.out} are two places; give one of them")
    if not RUN_NAME.fullmatch(options.name) or options.name == LATEST:
        raise UserError(
            f"--name: {options.name!r}; expected letters, digits, dots, dashes and underscores, for example "
            f"--name baseline ({LATEST} always means the newest run)"
        )
    folder = ROOT / RESULTS / options.name
    if folder.exists():
        raise UserError(f"--name: {options.name!r} is taken ({folder}); expected a name that no run has yet")
    return folder


def cannot_trade(settings: Settings) -> tuple[str, ...]:
    """Why none of the run's strategies can open anything, as far as settings alone say so; empty where one can.

    What depends on the market (VIX under a window all the time, a credit too small) shows in the report instead.
    """
    run, least = settings.run, settings.phases.minimum_equity
    if run.cash < least:
        return (f"run.cash {run.cash:,.0f} is under phases.minimum_equity {least:,.0f}: every entry will be denied",)
    reasons = {name: strategy_obstacle(name, settings) for name in run.strategies}
    if any(reason is None for reason in reasons.values()):
        return ()
    return tuple(f"{name} cannot trade: {reason}" for name, reason in reasons.items())


def strategy_obstacle(name: str, settings: Settings) -> str | None:
    """What keeps one strategy from ever opening anything in this run's days."""
    from simulation.market.calendar import calendar
    from strategies.row import Row
    from trading_system import MANAGERS

    row = getattr(settings, name)
    if max(row.contracts_by_phase) == 0:
        return f"{name}.contracts_by_phase is 0 in every phase"
    if name == "box" and not settings.box.cash_wanted:
        return "box.cash_wanted is 0"
    sessions = calendar().between(settings.run.start, settings.run.end)
    if not sessions:
        return f"no session from {settings.run.start} to {settings.run.end}"
    rules = {kind.name: kind.opens for kind in MANAGERS if issubclass(kind, Row)}
    week = timedelta(days=7)  # whether a day before or after the run was open says where an entry moves to
    around = set(calendar().between(settings.run.start - week, settings.run.end + week))
    phases = range(1, len(row.contracts_by_phase) + 1)
    rule = rules.get(name)  # what is no ``Row`` says only in its windows when it looks
    if rule and not any(rule.is_due(day, phase, around.__contains__) for day in sessions for phase in phases):
        return f"none of its entry days is a session from {settings.run.start} to {settings.run.end}"
    return None


def foreign_plan(options: BacktestOptions, algorithm: Path, market: MarketChoice) -> RunPlan:
    """The plan of an algorithm that is not ours: its own dates and cash, our market."""
    if not algorithm.is_file():
        raise UserError(f"--algorithm: {algorithm} is not a file; expected a Python file with one QCAlgorithm")
    for name in ("start", "end", "cash", "strategies"):
        if getattr(options, name) is not None:
            raise UserError(f"--{name}: is a setting of main.py; {algorithm.name} sets its own (parameters: --param)")
    if options.set_:
        raise UserError(f"--set: {options.set_[0]!r} is a setting of main.py; {algorithm.name} takes --param key=value")
    seed = whole_number("--seed", options.seed) if options.seed is not None else 1
    parameters = pairs("--param", options.param)
    place = algorithm.resolve()
    return RunPlan(place, market, parameters, None, seed, options.out, frozenset(), options.benchmark)


def own_parameters(options: BacktestOptions) -> dict[str, str]:
    """``--set`` pairs and the options that stand for a setting; the same key twice with two values is refused."""
    parameters = pairs("--set", options.set_)
    for name in SHORT_KEYS:
        value = getattr(options, name)
        if value is None:
            continue
        key = f"run.{name}"
        if name in ("start", "end"):
            value = a_date(f"--{name}", value).isoformat()
        if parameters.get(key, value) != value:
            raise UserError(f"--{name}: {value!r} contradicts --set {key}={parameters[key]}; give one of them")
        parameters[key] = value
    return parameters


def configured_parameters() -> dict[str, str]:
    """The parameters of config.json, which LEAN would hand to main.py too."""
    path = ROOT / "config.json"
    try:
        read = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return {}
    except ValueError as error:
        raise UserError(f"{path}: is no JSON ({error})") from error
    given = {str(key): str(value) for key, value in read.get("parameters", {}).items()}
    return {f"run.{key}" if key in SHORT_KEYS else key: value for key, value in given.items()}


def settings_of(parameters: Mapping[str, str]) -> Settings:
    """The whole settings, or every complaint about them."""
    try:
        return Settings.from_parameters(parameters)
    except SettingsError as error:
        raise UserError("\n".join(error.problems)) from error


def pairs(option: str, texts: Sequence[str]) -> dict[str, str]:
    """``key=value`` texts as a mapping; a key given twice with different values is refused."""
    found: dict[str, str] = {}
    for text in texts:
        key, equals, value = text.partition("=")
        key, value = key.strip(), value.strip()
        if not equals or not key:
            raise UserError(f"{option}: {text!r}; expected key=value, for example {option} friday_0dte.min_vix=0")
        if found.get(key, value) != value:
            raise UserError(f"{option}: {key} is given twice, as {found[key]!r} and {value!r}; give it once")
        found[key] = value
    return found


def a_date(option: str, text: str) -> date:
    """An ISO date."""
    try:
        return date.fromisoformat(text)
    except ValueError as error:
        raise UserError(f"{option}: {text!r}; expected a date such as 2008-01-31") from error


def a_share(option: str, text: str) -> float:
    """A number from 0 to 1."""
    try:
        share = float(text)
    except ValueError as error:
        raise UserError(f"{option}: {text!r}; expected a share from 0 to 1, for example 0.02") from error
    if not 0.0 <= share <= 1.0:
        raise UserError(f"{option}: {text!r}; expected a share from 0 to 1, for example 0.02")
    return share


def whole_number(option: str, text: str) -> int:
    """A whole number of at least 0."""
    if not text.isdecimal():
        raise UserError(f"{option}: {text!r}; expected a whole number, 0 or more")
    return int(text)
