"""``python run.py broker check``: what the broker says of an account beside what the state says of it.

A second opinion, outside of the trading path: it reads, and asks for an order's dry run, which routes nothing. The
client below knows no other request, so it cannot send, change or cancel an order (decision 043). Its endpoints, fields
and errors are those of tastytrade's documentation (docs/integration.md, T1 to T8).
"""

from __future__ import annotations

import http.client
import json
import math
import os
import re
import time
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date
from enum import StrEnum
from pathlib import Path
from typing import IO, Annotated, Any, Final

import typer

from cli.errors import UserError
from cli.options import configured_parameters, settings_of
from core.contracts import AssetKind, Contract, Leg, Right
from core.events import Level
from core.instruments import INSTRUMENTS, contract_named, underlying_named
from core.settings.fields import Settings
from reporting.markup import money
from risk.margin import buying_power
from state.facts import SHARES
from state.ledger import ledger_of
from state.tables import StateError

PRODUCTION: Final = "https://api.tastyworks.com"
SANDBOX: Final = "https://api.cert.tastyworks.com"
SECRET, REFRESH = "TASTYTRADE_CLIENT_SECRET", "TASTYTRADE_REFRESH_TOKEN"  # names of variables, not secrets
AGENT: Final = "tom-king-trading-system/0.1"  # without one the broker answers 401
ACCOUNT = re.compile(r"[A-Z0-9]{4,16}")
OCC = re.compile(r"(?P<root>[A-Z]{1,6}) *(?P<expiry>\d{6})(?P<right>[CP])(?P<strike>\d{8})")
ON_FUTURE = re.compile(r"\./\S+ *\S* +(?P<expiry>\d{6})(?P<right>[CP])(?P<strike>\d+(\.\d+)?)")
LEG = re.compile(r"(?P<ratio>[+-]\d+):(?P<name>\S+)")
ATTEMPTS: Final = 5
FIRST_WAIT, LONGEST_WAIT = 1.0, 30.0  # seconds
TIMEOUT: Final = 15.0
LARGEST: Final = 4_000_000  # bytes of an answer
DONE: Final = frozenset({"Filled", "Cancelled", "Expired", "Rejected", "Removed", "Partially Removed"})


class BrokerError(UserError):
    """The broker did not answer, or not with what it documents; the message names request, status and the way out."""


class _Stays(urllib.request.HTTPRedirectHandler):
    """A redirect is an error: it would carry the token to another address."""

    def redirect_request(
        self, req: urllib.request.Request, fp: IO[bytes], code: int, msg: str, headers: Any, newurl: str
    ) -> None:
        """Nothing is followed."""


@dataclass(slots=True)
class Api:
    """What is asked of the broker. ``wait`` sleeps; secrets are in no message and no representation."""

    base: str
    account: str
    wait: Callable[[float], None] = time.sleep
    timeout: float = TIMEOUT
    _token: str = field(default="", repr=False)

    def balances(self) -> Mapping[str, Any]:
        """The account's balances."""
        return self._data(self._ask("GET", f"/accounts/{self.account}/balances"))

    def positions(self) -> list[Mapping[str, Any]]:
        """What is held, a row a contract or a share."""
        return self._items(self._ask("GET", f"/accounts/{self.account}/positions"))

    def live_orders(self) -> list[Mapping[str, Any]]:
        """Today's orders, working and done."""
        return self._items(self._ask("GET", f"/accounts/{self.account}/orders/live"))

    def requirements(self) -> Mapping[str, Any]:
        """The broker's margin by underlying."""
        return self._data(self._ask("GET", f"/margin/accounts/{self.account}/requirements"))

    def quotes(self, kinds: Mapping[str, Sequence[str]]) -> list[Mapping[str, Any]]:
        """Quotes of symbols by type; at most a hundred."""
        asked = urllib.parse.urlencode({kind: ",".join(symbols) for kind, symbols in kinds.items()})
        return self._items(self._ask("GET", f"/market-data/by-type?{asked}"))

    def dry_run(self, order: Mapping[str, object]) -> Mapping[str, Any]:
        """What an order would do; nothing is routed."""
        return self._data(self._ask("POST", f"/accounts/{self.account}/orders/dry-run", order))

    def _ask(self, method: str, path: str, body: Mapping[str, object] | None = None) -> Mapping[str, Any]:
        wait, renewed = FIRST_WAIT, False
        for attempt in range(1, ATTEMPTS + 1):
            if not self._token:
                self._log_in()
            status, answer = self._send(method, path, body, f"Bearer {self._token}")
            if status == 200 or status == 201:
                if answer is not None:
                    return answer
                words = "an answer that is not whole"
            elif status == 401 and not renewed:  # a token lasts 15 minutes
                self._token, renewed = "", True
                continue
            elif status == 429 or status >= 500 or status == 0:
                words = "too many requests" if status == 429 else f"status {status}" if status else "no answer"
            else:
                raise BrokerError(refused(f"{method} {path.partition('?')[0]}", status, answer))
            if attempt == ATTEMPTS:
                break
            self.wait(wait)
            wait = min(wait * 2, LONGEST_WAIT)
        raise BrokerError(f"{method} {path.partition('?')[0]}: {words} at {ATTEMPTS} attempts; try again later")

    def _log_in(self) -> None:
        """A fresh token. Asked for once: too many failed log-ins block the address for hours."""
        secret, refresh = (os.environ.get(name, "") for name in (SECRET, REFRESH))
        if not secret or not refresh:
            raise BrokerError(
                f"{SECRET} and {REFRESH} are needed in the environment: make an OAuth application with the scope read "
                "(and trade for a dry run) and a grant at tastytrade, under Manage > My Profile > API"
            )
        asked = {"grant_type": "refresh_token", "client_secret": secret, "refresh_token": refresh}
        status, answer = self._send("POST", "/oauth/token", asked, None)
        token = None if answer is None else answer.get("access_token")
        if status not in (200, 201) or not isinstance(token, str) or not token:
            raise BrokerError(refused("POST /oauth/token", status, answer))
        self._token = token

    def _send(
        self, method: str, path: str, body: Mapping[str, object] | None, authority: str | None
    ) -> tuple[int, Mapping[str, Any] | None]:
        """Status (0: nobody answered) and the answer's object, ``None`` where it is half or none."""
        headers = {"User-Agent": AGENT, "Accept": "application/json"}
        headers |= {"Authorization": authority} if authority else {}
        headers |= {"Content-Type": "application/json"} if body is not None else {}
        data = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(f"{self.base}{path}", data, headers, method=method)
        try:
            with urllib.request.build_opener(_Stays).open(request, timeout=self.timeout) as reply:
                return reply.status, read(reply)
        except urllib.error.HTTPError as error:
            with error:
                return error.code, read(error)
        except (TimeoutError, urllib.error.URLError, http.client.HTTPException, OSError):
            return 0, None

    @staticmethod
    def _data(answer: Mapping[str, Any]) -> Mapping[str, Any]:
        data = answer.get("data")
        if not isinstance(data, dict):
            raise BrokerError("the broker's answer has no data; expected an object as documented")
        return data

    @classmethod
    def _items(cls, answer: Mapping[str, Any]) -> list[Mapping[str, Any]]:
        items = cls._data(answer).get("items")
        if not isinstance(items, list) or not all(isinstance(item, dict) for item in items):
            raise BrokerError("the broker's answer has no items; expected a list as documented")
        return items


def read(reply: Any) -> Mapping[str, Any] | None:
    """The object of an answer; ``None`` where it is half, none, or no JSON."""
    try:
        text, whole = reply.read(LARGEST), reply.headers.get("Content-Length")
        found = json.loads(text) if whole in (None, str(len(text))) else None
    except (ValueError, http.client.HTTPException, OSError):
        return None
    return found if isinstance(found, dict) else None


def refused(what: str, status: int, answer: Mapping[str, Any] | None) -> str:
    """A refusal in words: status, the broker's code and message, and what usually helps."""
    error = answer.get("error") if answer is not None else None
    told = f"{error.get('code', '')}: {error.get('message', '')}".strip(": ") if isinstance(error, dict) else ""
    helps = {
        0: "nobody answered: check the network and --api",
        401: f"the token was refused: check {SECRET} and {REFRESH}, and that they are of this --api",
        403: "not permitted: check the scopes of the OAuth application",
        404: "not found: check the account number",
        422: "the broker would not take this order",
    }.get(status, "see the broker's documentation of errors")
    return f"{what}: refused with status {status}{f' ({told[:300]})' if told else ''}; {helps}"


def amount(row: Mapping[str, Any], name: str) -> float:
    """A documented figure, signed by its effect where it has one (a debit is money out)."""
    try:
        value = float(str(row[name]))
    except (KeyError, ValueError) as error:
        raise BrokerError(f"the broker's answer: {name} is {row.get(name)!r}; expected a number") from error
    if not math.isfinite(value):
        raise BrokerError(f"the broker's answer: {name} is {value}; expected a finite number")
    return -value if row.get(f"{name}-effect") == "Debit" else value


def our_name(symbol: str, kind: str, underlying: str) -> str | None:
    """The contract's or share's name in the state; ``None`` for what the house does not know."""
    if kind == "Equity":
        return symbol if underlying_named(symbol) is not None else None
    if kind == "Future":
        return future_key(symbol)
    on_future = kind == "Future Option"
    match = (ON_FUTURE if on_future else OCC).fullmatch(symbol)
    if match is None:
        return None
    root = option_root(underlying) if on_future else match["root"]
    strike = float(match["strike"]) / (1.0 if on_future else 1000.0)
    named = contract_named(f"{root} {match['expiry']}{match['right']}{strike:.10g}")
    return None if named is None else named.name


def option_root(future: str) -> str | None:
    """The house's option root on a future such as /ESZ6; ``None`` where it has none or several."""
    family = future.removeprefix("/")[:-2]
    rows = [
        row.root for row in INSTRUMENTS.values() if row.facts.kind is AssetKind.FUTURE and row.facts.ticker == family
    ]
    return rows[0] if len(rows) == 1 else None


def future_key(symbol: str) -> str | None:
    """The price key of /ESZ6 (a year's last digit: the next that ends so); ``None`` for what is none."""
    code = symbol.removeprefix("/")
    if len(code) < 3 or not code[-1].isdecimal():
        return None
    this = date.today().year  # of the broker's answer, which is of now
    year = next(year for year in range(this - 1, this + 9) if year % 10 == int(code[-1]))
    key = f"{code[:-1]}{year % 100:02d}"
    return key if underlying_named(key) is not None else None


def broker_symbol(contract: Contract) -> str:
    """The broker's symbol (OCC) of a contract; ``BrokerError`` for options on futures, whose code it alone knows."""
    if contract.underlying.kind is AssetKind.FUTURE:
        raise BrokerError(
            f"{contract.name}: the broker's code of options on futures is not known; expected an index or ETF"
        )
    right, strike = "C" if contract.right is Right.CALL else "P", round(contract.strike * 1000)
    return f"{contract.root:6}{contract.expiry:%y%m%d}{right}{strike:08d}"


@dataclass(frozen=True, slots=True)
class Account:
    """An account by one of its two witnesses: signed units by name, working orders by their changes, and strangers."""

    held: Mapping[str, float]
    working: tuple[tuple[str, Mapping[str, float]], ...]
    unknown: tuple[str, ...] = ()


def by_broker(positions: Sequence[Mapping[str, Any]], orders: Sequence[Mapping[str, Any]]) -> Account:
    """The account as the broker's answers have it."""
    held: dict[str, float] = {}
    unknown: list[str] = []
    for row in positions:
        symbol, kind = str(row.get("symbol", "")), str(row.get("instrument-type", ""))
        sign = {"Long": 1, "Short": -1, "Zero": 0}.get(str(row.get("quantity-direction")))
        if sign is None:
            raise BrokerError(f"the broker's answer: direction of {symbol} is {row.get('quantity-direction')!r}")
        name, quantity = our_name(symbol, kind, str(row.get("underlying-symbol", ""))), sign * amount(row, "quantity")
        if name is None:
            unknown.append(f"{quantity:+g} {symbol} ({kind})")
        elif quantity:
            held[name] = held.get(name, 0.0) + quantity
    working = []
    for order in orders:
        if str(order.get("status")) not in DONE:
            changes: dict[str, float] = {}
            for leg in order.get("legs") or ():
                symbol, sign = str(leg.get("symbol", "")), 1 if str(leg.get("action", "")).startswith("Buy") else -1
                name = our_name(symbol, str(leg.get("instrument-type", "")), str(order.get("underlying-symbol", "")))
                changes[name or symbol] = sign * amount(leg, "quantity")
            working.append((str(order.get("id", "?")), changes))
    return Account(held, tuple(working), tuple(unknown))


def by_state(folder: Path) -> Account:
    """The account as the state in a folder has it. The folder is copied first: nothing of it is locked or changed.

    Raises:
        cli.errors.UserError: there is no state, or it cannot be read.
    """
    from cli.status import states_in

    places = states_in(folder)
    if len(places) != 1:
        names = ", ".join(map(str, places)) or "none"
        raise UserError(f"--state: {folder} holds no state, or several ({names}); expected one with segment-1.jsonl")
    try:
        ledger = ledger_of(places[0] / "state")
    except StateError as error:
        raise UserError(f"--state: {folder} cannot be read ({error})") from error
    held: dict[str, float] = {}
    for position in ledger.all_of(Level.POSITION):
        for name, quantity in ledger.held(position.id).items() if not position.ended else ():
            held[name] = held.get(name, 0.0) + quantity
    for ticker, row in (ledger.memory(SHARES) or {}).items():  # quantity, price and cash
        held[str(ticker)] = held.get(str(ticker), 0.0) + float(row[0])
    groups = [group for group in ledger.all_of(Level.ORDER_GROUP) if not group.ended]
    return Account(held, tuple((group.id, dict(group.detail.get("changes", {}))) for group in groups))


Row = tuple[str, ...]


class Verdict(StrEnum):
    """What one line's comparison came to."""

    SAME = "same"
    DIFFERS = "DIFFERS"


def holdings(broker: Account, state: Account) -> list[Row]:
    """A row a contract or share: what each says, and whether they agree."""
    rows: list[Row] = []
    for name in sorted(broker.held.keys() | state.held.keys()):
        there, here = broker.held.get(name, 0.0), state.held.get(name, 0.0)
        rows.append((name, f"{there:+g}", f"{here:+g}", Verdict.SAME if there == here else Verdict.DIFFERS))
    return rows


def orders(broker: Account, state: Account) -> list[Row]:
    """A row a working order: those of the same legs belong together, whatever number they have."""
    rows: list[Row] = []
    left = [(group, dict(changes)) for group, changes in state.working]
    for number, changes in broker.working:
        match = next((row for row in left if row[1] == changes), None)
        group, verdict = ("", Verdict.DIFFERS) if match is None else (match[0], Verdict.SAME)
        rows.append((legs_words(changes), f"order {number}", group, verdict))
        left = [row for row in left if row is not match]
    rows += [(legs_words(changes), "", group, Verdict.DIFFERS) for group, changes in left]
    return rows


def legs_words(changes: Mapping[str, float]) -> str:
    """Legs in words."""
    return ", ".join(f"{quantity:+g} {name}" for name, quantity in sorted(changes.items()))


def ordered(text: str) -> tuple[float, tuple[Leg, ...]]:
    """Limit (points, a credit positive) and legs of ``2.55 -1:SPXW_180202P2780 +1:SPXW_180202P2765``."""
    words = text.split()
    try:
        limit = float(words[0])
        legs = []
        for word in words[1:]:
            match = LEG.fullmatch(word)
            contract = None if match is None else contract_named(match["name"].replace("_", " "))
            if match is None or contract is None or not int(match["ratio"]):
                raise ValueError(f"{word!r} is no leg")
            legs.append(Leg(contract, int(match["ratio"])))
        if not legs or not math.isfinite(limit):
            raise ValueError("a limit and at least one leg are needed")
    except (ValueError, IndexError) as error:
        raise UserError(
            f"--order: {text!r} ({error}); expected a limit in points (a credit positive) and legs as `trades --csv` "
            "writes them, for example '2.55 -1:SPXW_180202P2780 +1:SPXW_180202P2765'"
        ) from error
    return limit, tuple(legs)


def order_body(limit: float, legs: Sequence[Leg]) -> dict[str, object]:
    """The order as the broker documents it: a day's limit order that opens."""
    return {
        "time-in-force": "Day", "order-type": "Limit", "price": f"{abs(limit):.2f}",
        "price-effect": "Credit" if limit >= 0 else "Debit",
        "legs": [
            {"instrument-type": "Equity Option", "symbol": broker_symbol(leg.contract), "quantity": abs(leg.ratio),
             "action": "Buy to Open" if leg.ratio > 0 else "Sell to Open"}
            for leg in legs
        ],
    }  # fmt: skip


def beside_dry_run(api: Api, limit: float, legs: Sequence[Leg], settings: Settings) -> list[Row]:
    """The broker's figures of an order beside ours, at the broker's own prices of this moment."""
    answer = api.dry_run(order_body(limit, legs))
    effect, fees = answer.get("buying-power-effect"), answer.get("fee-calculation")
    if not isinstance(effect, dict) or not isinstance(fees, dict):
        raise BrokerError("the dry run's answer has no buying-power-effect or no fee-calculation; expected both")
    underlying, symbols = legs[0].contract.underlying, [broker_symbol(leg.contract) for leg in legs]
    kind = "index" if underlying.kind is AssetKind.INDEX else "equity"
    rows_of = api.quotes({kind: [underlying.ticker], "equity-option": symbols})
    marks = {str(row.get("symbol")): amount(row, "mark") for row in rows_of}
    missing = [name for name in (underlying.ticker, *symbols) if name not in marks]
    if missing:
        raise BrokerError(f"no quote of {', '.join(missing)}; our margin needs them")
    spot, prices = marks[underlying.ticker], [marks[symbol] for symbol in symbols]
    ours = buying_power(legs, spot, prices, settings.margin)
    rows: list[Row] = [
        ("buying power taken", money(-amount(effect, "change-in-buying-power"), cents=True), money(ours, cents=True)),
        ("margin of the order alone", money(abs(amount(effect, "isolated-order-margin-requirement")), cents=True), ""),
        ("buying power after it", money(amount(effect, "new-buying-power"), cents=True), ""),
        ("fees", money(abs(amount(fees, "total-fees")), cents=True), ""),
    ]
    warnings = answer.get("warnings") or ()
    rows += [("warning", str(one.get("message", one))[:200], "") for one in warnings if isinstance(one, dict)]
    return rows


def base_of(text: str) -> str:
    """The address that is asked; secrets go over TLS, or to this machine alone (tests)."""
    known = {"production": PRODUCTION, "sandbox": SANDBOX}
    address = known.get(text, text).rstrip("/")
    parts = urllib.parse.urlsplit(address)
    local = parts.scheme == "http" and parts.hostname == "127.0.0.1"
    if not local and address not in known.values():
        raise UserError(f"--api: {text!r}; expected production, sandbox, or http://127.0.0.1:PORT of this machine")
    return address


def broker(
    what: Annotated[str, typer.Argument(help="check: the only thing that it does")],
    account: Annotated[str, typer.Option(help="The account's number. Example: --account 5WX01234")],
    state: Annotated[
        Path | None,
        typer.Option(help="The state's folder, of LEAN's object store or a copy. Example: --state storage"),
    ] = None,
    order: Annotated[
        str | None,
        typer.Option(
            help="An order to try dry: limit (a credit positive), legs. Example: --order '-3 +1:SPY_261218C700'"
        ),
    ] = None,
    api: Annotated[str, typer.Option(help="production or sandbox. Example: --api sandbox")] = "production",
) -> int:
    """Set what tastytrade says of an account beside what the state says: positions, orders, balances, margin.

    It reads, and tries orders dry; it cannot send one. Secrets come from TASTYTRADE_CLIENT_SECRET and
    TASTYTRADE_REFRESH_TOKEN in the environment. Exit code 1 where the two differ.

    Examples:

    python run.py broker check --account 5WX01234 --state storage

    python run.py broker check --account 5WX01234 --order '2.55 -1:SPXW_180202P2780 +1:SPXW_180202P2765'
    """
    if what != "check":
        raise UserError(f"broker {what}: expected check")
    if not ACCOUNT.fullmatch(account):
        raise UserError(f"--account: {account!r}; expected the number as the broker writes it, for example 5WX01234")
    planned = None if order is None else ordered(order)
    ours = None if state is None else by_state(state)
    return checked(Api(base_of(api), account), ours, planned)


def checked(api: Api, ours: Account | None, planned: tuple[float, tuple[Leg, ...]] | None) -> int:
    """Ask, compare and print. Returns 0 where nothing differs, else 1."""
    from cli.runs import show

    theirs = by_broker(api.positions(), api.live_orders())
    balances, margin = api.balances(), api.requirements()
    figures = [
        (name.replace("-", " "), money(amount(balances, name), cents=True))
        for name in ("net-liquidating-value", "cash-balance", "derivative-buying-power", "maintenance-requirement")
    ]
    for group in margin.get("groups") or ():
        asked = abs(amount(group, "margin-requirement"))
        figures.append((f"margin of {group.get('code', '?')}", money(asked, cents=True)))
    show(f"Account {api.account} by the broker", ("Figure", "Dollars"), figures, (1,))
    against = ours or Account({}, ())
    compared = {"Positions": holdings(theirs, against), "Working orders": orders(theirs, against)}
    for title, rows in compared.items():
        kept = rows if ours is not None else [(*row[:2], "not asked", "") for row in rows]
        if kept:
            show(title, (title.removesuffix("s"), "Broker", "State", "Verdict"), kept)
        else:
            typer.echo(f"{title}: none\n")
    for words in theirs.unknown:
        typer.echo(f"not of this house, never touched: {words}")
    if planned is not None:
        rows = beside_dry_run(api, *planned, settings_of(configured_parameters()))
        show("Dry run, nothing was sent", ("Figure", "Broker", "Ours"), rows, (1, 2))
    different = ours is not None and any(row[-1] == Verdict.DIFFERS for rows in compared.values() for row in rows)
    if ours is not None:
        typer.echo("the two differ: the broker is right about facts" if different else "nothing differs")
    return int(different)
