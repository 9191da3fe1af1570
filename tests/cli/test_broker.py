"""The broker's check against a local server that speaks the documented API, kindly and unkindly."""

from __future__ import annotations

import contextlib
import json
import math
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import datetime, time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from cli import broker
from cli.app import run
from cli.broker import Account, Api, BrokerError
from cli.errors import UserError
from core.instruments import INSTRUMENTS, contract_named
from tests.conftest import ROOT
from tests.fake_gateway import FRIDAY, FakeGateway, build, run_day

NUMBER = "5WX01234"
PUT, WING = "SPXW  180202P02780000", "SPXW  180202P02765000"
ORDER = "2.55 -1:SPXW_180202P2780 +1:SPXW_180202P2765"


def held(symbol: str, quantity: int, kind: str = "Equity Option", underlying: str = "SPX") -> dict[str, object]:
    """A row of positions as the broker writes it."""
    side = "Long" if quantity > 0 else "Short"
    return {"symbol": symbol, "instrument-type": kind, "underlying-symbol": underlying, "quantity": abs(quantity),
            "quantity-direction": side}  # fmt: skip


ANSWERS: dict[str, Any] = {
    "/oauth/token": {"access_token": "token-1", "expires_in": 900},
    f"/accounts/{NUMBER}/positions": {"data": {"items": [held(PUT, -1), held(WING, 1)]}},
    f"/accounts/{NUMBER}/orders/live": {"data": {"items": []}},
    f"/accounts/{NUMBER}/balances": {"data": {
        "net-liquidating-value": "100123.45", "cash-balance": "100300.0", "derivative-buying-power": "98623.45",
        "maintenance-requirement": "1500.0"}},
    f"/margin/accounts/{NUMBER}/requirements": {"data": {"groups": [
        {"code": "SPX", "margin-requirement": "1500.0", "margin-requirement-effect": "Debit"}]}},
    f"/accounts/{NUMBER}/orders/dry-run": {"data": {
        "buying-power-effect": {
            "change-in-buying-power": "1247.3", "change-in-buying-power-effect": "Debit",
            "isolated-order-margin-requirement": "1500.0", "isolated-order-margin-requirement-effect": "Debit",
            "new-buying-power": "97376.15", "new-buying-power-effect": "Credit"},
        "fee-calculation": {"total-fees": "2.3", "total-fees-effect": "Debit"},
        "warnings": [{"code": "outside_hours", "message": "The market is closed"}]}},
    "/market-data/by-type": {"data": {"items": [
        {"symbol": "SPX", "mark": "2795.4"}, {"symbol": PUT, "mark": "2.65"}, {"symbol": WING, "mark": "1.0"}]}},
}  # fmt: skip


@dataclass
class Broker:
    """The server: what it answers, what goes wrong first, and what it was asked."""

    answers: dict[str, Any] = field(default_factory=lambda: json.loads(json.dumps(ANSWERS)))
    wrong: list[tuple[int, bytes]] = field(default_factory=list)
    asked: list[tuple[str, str, dict[str, str], Any]] = field(default_factory=list)
    answering: threading.Event = field(default_factory=threading.Event)
    address: str = ""

    def api(self, timeout: float = 60.0) -> tuple[Api, list[float]]:
        waits: list[float] = []
        return Api(self.address, NUMBER, wait=waits.append, timeout=timeout), waits

    def respond(self, handler: BaseHTTPRequestHandler, method: str) -> None:
        length = int(handler.headers.get("Content-Length") or 0)
        body = json.loads(handler.rfile.read(length)) if length else None
        path = handler.path.partition("?")[0]
        self.asked.append((method, handler.path, dict(handler.headers), body))
        self.answering.wait(60)
        if self.wrong and path != "/oauth/token":
            status, text = self.wrong.pop(0)
        elif path != "/oauth/token" and handler.headers.get("Authorization") != "Bearer token-1":
            status, text = 401, b'{"error": {"code": "unauthorized", "message": "no"}}'
        elif not handler.headers.get("User-Agent", "").startswith("tom-king"):
            status, text = 401, b"{}"
        elif path not in self.answers:
            status, text = 404, b'{"error": {"code": "not_found", "message": "unknown account"}}'
        else:
            status, text = 200, json.dumps(self.answers[path]).encode()
        half = text.startswith(b"half")
        text = text.removeprefix(b"half")
        with contextlib.suppress(ConnectionError):  # whoever asked has given up meanwhile
            handler.send_response(status)
            handler.send_header("Content-Length", str(len(text) * (2 if half else 1)))
            handler.end_headers()
            handler.wfile.write(text)


@pytest.fixture
def there(monkeypatch: pytest.MonkeyPatch) -> Iterator[Broker]:
    """The server on a port of this machine, and secrets in the environment."""
    found = Broker()
    found.answering.set()

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            found.respond(self, "GET")

        def do_POST(self) -> None:
            found.respond(self, "POST")

        def log_message(self, format: str, *args: object) -> None:
            """Nothing."""

    monkeypatch.setenv(broker.SECRET, "the-secret")
    monkeypatch.setenv(broker.REFRESH, "the-grant")
    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    found.address = f"http://127.0.0.1:{server.server_address[1]}"
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield found
    server.shutdown()
    server.server_close()


def test_an_account_is_shown_and_an_order_tried_dry(there: Broker, capsys: pytest.CaptureFixture[str]) -> None:
    code = run(["broker", "check", "--account", NUMBER, "--api", there.address, "--order", ORDER])
    said = capsys.readouterr()
    assert (code, said.err) == (0, "")
    assert "$100,123.45" in said.out
    assert "SPXW 180202P2780" in said.out
    # The broker takes 1,247.30: 15 points of width, less 2.55 of credit, and 2.30 of fees. Ours takes the width, 1,500.
    assert "$1,247.30" in said.out
    assert "$1,500.00" in said.out
    assert "The market is closed" in said.out
    posts = [(path, body) for method, path, _, body in there.asked if method == "POST"]
    assert [path for path, _ in posts] == ["/oauth/token", f"/accounts/{NUMBER}/orders/dry-run"]
    sent = posts[1][1]
    assert (sent["price"], sent["price-effect"], sent["order-type"]) == ("2.55", "Credit", "Limit")
    assert [(leg["symbol"], leg["action"], leg["quantity"]) for leg in sent["legs"]] == [
        (PUT, "Sell to Open", 1),
        (WING, "Buy to Open", 1),
    ]
    assert "the-secret" not in said.out + said.err
    assert "token-1" not in repr(there.api()[0])


def test_nothing_but_a_dry_run_can_be_posted() -> None:
    """The client that stands beside a real account knows no way to send, change or cancel an order."""
    source = (ROOT / "cli" / "broker.py").read_text(encoding="utf-8")
    assert source.count('"POST", ') == 2
    assert '"POST", "/oauth/token"' in source
    assert '"POST", f"/accounts/{self.account}/orders/dry-run"' in source
    assert not any(f'"{word}"' in source for word in ("PUT", "DELETE", "PATCH"))


def test_the_state_and_the_broker_agree_or_differ(
    there: Broker, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    gateway = FakeGateway(
        datetime.combine(FRIDAY, time()), lambda now: 5000.0 + math.sin(now.minute), lambda _: 24.0, tmp_path
    )
    system, _ = build(gateway)
    run_day(system, gateway, FRIDAY, time(11, 0))
    (position,) = system.book.positions.values()
    rows = [held(broker.broker_symbol(leg.contract), leg.ratio) for leg in position.legs]
    there.answers[f"/accounts/{NUMBER}/positions"] = {"data": {"items": rows}}
    folder = next(path.parent for path in tmp_path.rglob("segment-*.jsonl"))
    command = ["broker", "check", "--account", NUMBER, "--api", there.address, "--state", str(folder)]
    before = {path: path.read_bytes() for path in folder.iterdir()}
    assert run(command) == 0  # beside a process that holds the state's lock
    assert "nothing differs" in capsys.readouterr().out
    assert {path: path.read_bytes() for path in folder.iterdir()} == before
    # A person closed one leg, and an order works that the state does not know.
    rows[0]["quantity"] = int(str(rows[0]["quantity"])) + 1
    legs = [{"symbol": PUT, "instrument-type": "Equity Option", "action": "Buy to Close", "quantity": 1}]
    order = {"id": 77, "status": "Live", "underlying-symbol": "SPX", "legs": legs}
    there.answers[f"/accounts/{NUMBER}/orders/live"] = {"data": {"items": [order, {**order, "status": "Filled"}]}}
    assert run(command) == 1
    said = capsys.readouterr().out
    assert said.count("DIFFERS") == 2
    assert "order 77" in said


def test_an_expired_token_is_renewed_once(there: Broker) -> None:
    there.wrong = [(401, b'{"error": {"code": "token_expired", "message": "x"}}')]
    api, waits = there.api()
    assert len(api.positions()) == 2
    assert [path for _, path, _, _ in there.asked].count("/oauth/token") == 2
    assert waits == []
    there.wrong = [(401, b"{}")] * 9
    with pytest.raises(BrokerError, match=f"status 401.*check {broker.SECRET}"):
        api.positions()


def test_too_many_requests_are_waited_out(there: Broker) -> None:
    there.wrong = [(429, b""), (429, b""), (503, b"busy")]
    api, waits = there.api()
    assert len(api.positions()) == 2
    assert waits == [1.0, 2.0, 4.0]
    there.wrong = [(429, b"")] * 9
    with pytest.raises(BrokerError, match="too many requests at 5 attempts"):
        api.positions()
    assert waits == [1.0, 2.0, 4.0, 1.0, 2.0, 4.0, 8.0]


@pytest.mark.parametrize("text", [b'half{"data": {"items": []}}', b"<html>", b"[]", b""])
def test_half_an_answer_is_none(there: Broker, text: bytes) -> None:
    there.wrong = [(200, text)]
    api, waits = there.api()
    assert len(api.positions()) == 2
    assert waits == [1.0]


def test_a_slow_broker_is_given_up(there: Broker) -> None:
    api, waits = there.api()
    api.positions()
    api.timeout = 0.1
    there.answering.clear()
    with pytest.raises(BrokerError, match="no answer at 5 attempts"):
        api.balances()
    there.answering.set()
    assert len(waits) == 4


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        (
            {"data": {"items": [{"symbol": PUT, "quantity": "many", "quantity-direction": "Long"}]}},
            "quantity is 'many'",
        ),
        ({"data": {"items": [{"symbol": PUT, "quantity": 1, "quantity-direction": "Up"}]}}, "direction of SPXW"),
        ({"data": {"items": [{"symbol": PUT, "quantity": "nan", "quantity-direction": "Long"}]}}, "finite number"),
        ({"data": {"items": 3}}, "no items"),
        ({"items": []}, "no data"),
    ],
)
def test_what_is_not_documented_is_refused(there: Broker, answer: dict[str, object], words: str) -> None:
    there.answers[f"/accounts/{NUMBER}/positions"] = answer
    api, _ = there.api()
    with pytest.raises(BrokerError, match=words):
        broker.by_broker(api.positions(), [])


def test_refusals_say_what_helps(there: Broker, monkeypatch: pytest.MonkeyPatch) -> None:
    api, waits = there.api()
    there.wrong = [(403, b'{"error": {"code": "not_permitted", "message": "scope"}}')]
    with pytest.raises(BrokerError, match=r"403 \(not_permitted: scope\); not permitted: check the scopes"):
        api.balances()
    there.wrong = [(307, b"")]
    with pytest.raises(BrokerError, match="status 307"):  # not followed: the token would go with it
        api.balances()
    assert waits == []
    monkeypatch.delenv(broker.REFRESH)
    with pytest.raises(BrokerError, match=f"{broker.SECRET} and {broker.REFRESH} are needed"):
        there.api()[0].balances()


def test_a_refused_log_in_is_not_repeated(there: Broker) -> None:
    del there.answers["/oauth/token"]
    with pytest.raises(BrokerError, match="POST /oauth/token: refused with status 404"):
        there.api()[0].balances()
    assert len(there.asked) == 1


def test_symbols_of_the_broker_are_names_of_the_house() -> None:
    for name in ("SPXW 180202P2780", "SPY 261218C700.5", "XSP 261218P512"):
        contract = contract_named(name)
        assert contract is not None
        assert broker.our_name(broker.broker_symbol(contract), "Equity Option", "") == name
    assert broker.our_name("SPY", "Equity", "SPY") == "SPY"
    assert broker.our_name("GME", "Equity", "GME") is None
    for symbol in ("./ESZ6 EW2Z6 261211P5900", "./ESZ6EW2Z6 261211P5900"):
        assert broker.our_name(symbol, "Future Option", "/ESZ6") == "ES 261211P5900"
    assert INSTRUMENTS["LO"].facts.ticker == "CL"
    assert broker.our_name("./CLF7 LOF7 261216C70.5", "Future Option", "/CLF7") == "LO 261216C70.5"
    assert str(broker.our_name("/ESZ6", "Future", "/ES")).startswith("ESZ")
    assert broker.our_name("BTC/USD", "Cryptocurrency", "") is None


def test_strangers_are_listed_and_never_counted() -> None:
    account = broker.by_broker([held("GME", 3, "Equity", "GME"), held(PUT, -1)], [])
    assert account == Account({"SPXW 180202P2780": -1.0}, (), ("+3 GME (Equity)",))


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["check", "--account", "x"], "--account"),
        (["trade", "--account", NUMBER], "expected check"),
        (["check", "--account", NUMBER, "--api", "https://example.com"], "expected production, sandbox"),
        (["check", "--account", NUMBER, "--api", "http://example.com"], "expected production, sandbox"),
        (["check", "--account", NUMBER, "--state", "/nowhere"], "holds no state"),
        (["check", "--account", NUMBER, "--order", "2.55"], "at least one leg"),
        (["check", "--account", NUMBER, "--order", "x -1:SPXW_180202P2780"], "--order"),
        (["check", "--account", NUMBER, "--order", "1 -1:GME_180202P2780"], "is no leg"),
    ],
)
def test_what_is_asked_wrongly_is_said(arguments: list[str], words: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["broker", *arguments]) == 2
    assert words in capsys.readouterr().err


def test_options_on_futures_are_not_tried() -> None:
    contract = contract_named("ES 261211P5900")
    assert contract is not None
    with pytest.raises(UserError, match="not known"):
        broker.broker_symbol(contract)
