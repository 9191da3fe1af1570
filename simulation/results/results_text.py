"""How LEAN's result files spell numbers, times, trades and statistics.

C# decimals keep the digits they came with (5.9000, -16365.00), and so do these: prices of shares and their options have
four, what is made of prices has theirs, a running average ends in the zeros of its last division.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, dataclass, fields
from datetime import datetime
from decimal import Decimal, localcontext
from typing import Any

from simulation.account.trade_statistics import TradeStatistics
from simulation.account.tradebuilder import Trade
from simulation.data.lean_folder import SCALED_TYPES
from simulation.lean.clock import utc_datetime
from simulation.lean.numbers import clean, decimal_text
from simulation.results.statistics import PortfolioStatistics

_DURATION_NAMES = ("average", "median")


def camel(name: str) -> str:
    """snake_case to LEAN's camelCase; MAE and MFE stay upper case."""
    first, *rest = name.split("_")
    return first + "".join(part.upper() if part in ("mae", "mfe") else part[:1].upper() + part[1:] for part in rest)


def iso(moment: datetime | int | None) -> str | None:
    """A UTC time as LEAN writes it: milliseconds only where there are any."""
    if moment is None:
        return None
    when = utc_datetime(moment) if isinstance(moment, int) else moment
    text = when.strftime("%Y-%m-%dT%H:%M:%S")
    millis = when.microsecond // 1000
    return f"{text}.{millis:03d}".rstrip("0").rstrip(".") + "Z" if millis else text + "Z"


def span(milliseconds: float) -> str:
    """A duration as C# writes a TimeSpan: [d.]hh:mm:ss[.fffffff]."""
    ticks = round(milliseconds * 10_000)
    seconds, rest = divmod(ticks, 10_000_000)
    days, seconds = divmod(seconds, 86_400)
    hours, seconds = divmod(seconds, 3_600)
    minutes, seconds = divmod(seconds, 60)
    text = f"{hours:02d}:{minutes:02d}:{seconds:02d}"
    text = f"{days}.{text}" if days else text
    return f"{text}.{rest:07d}" if rest else text


def smart(value: float | None) -> float | None:
    """A chart value as LEAN rounds it: 4 decimals above 1000, else 7 significant digits."""
    if value is None:
        return None
    return round(value, 4) if value > 1000 else float(f"{value:.7g}")


def four(value: float) -> str:
    """A figure as the statistics block prints it: four decimals at most."""
    exact = decimal_text(value)
    return exact if len(exact.partition(".")[2]) <= 4 else f"{round(clean(value), 4):.4f}"


EXACT = "\x00"
"""Begins a number that is written with the digits it has; JSON of Python knows no trailing zeros."""
_EXACT_IN_JSON = re.compile(r'"\\u0000([-0-9.]+)"')
RAW = "\x01"
"""Begins a text that is JSON already: LEAN indents its files, but not the series of a chart."""
_RAW_IN_JSON = re.compile(r'"\\u0001(?:[^"\\]|\\.)*"')


def text_of(content: Any, indent: int | None = 2) -> str:
    """JSON as LEAN writes it: two spaces deep or none, decimals with their digits, text unescaped."""
    separators = (",", ":") if indent is None else (",", ": ")
    text = json.dumps(content, separators=separators, indent=indent, ensure_ascii=False, allow_nan=False)
    text = _RAW_IN_JSON.sub(lambda found: str(json.loads(found.group()))[1:], text)
    return _EXACT_IN_JSON.sub(r"\1", text)


def exact(value: Decimal) -> str:
    """A decimal as LEAN writes it to JSON: with its own digits, one at least."""
    return EXACT + (f"{value:.1f}" if int(value.as_tuple().exponent) >= 0 else f"{value:f}")


def digits(value: float, least: int) -> Decimal:
    """A number with at least so many decimals, as a C# decimal that came from such a price has."""
    made = Decimal(decimal_text(value))
    short = -int(made.as_tuple().exponent) < least
    return round(made, least) if short else made


def price_digits(symbol: Any) -> int:
    """Decimals of a price that was read from a file: prices of shares and their options are stored times 10,000."""
    return 4 if symbol.security_type in SCALED_TYPES else 0


def symbol_json(symbol: Any) -> dict[str, Any]:
    """A symbol with its identity and its underlying's."""
    made: dict[str, Any] = {"value": symbol.value, "id": str(symbol.id), "permtick": symbol.value}
    if symbol.has_underlying:
        made["underlying"] = symbol_json(symbol.underlying)
    return made


@dataclass(frozen=True)
class _Amounts:
    """Money of one closed trade with the decimals that LEAN's arithmetic leaves (TradeBuilder.cs:328-333)."""

    profit: Decimal
    mae: Decimal
    mfe: Decimal
    fall: Decimal
    fees: Decimal


def _amounts(trade: Trade) -> _Amounts:
    entry, left = (-int(digits(price, 0).as_tuple().exponent) for price in (trade.entry_price, trade.exit_price))
    seen = price_digits(trade.symbol)

    def excursion(value: float) -> Decimal:
        """It is measured from a price that was seen, unless the price stood still or the option died worthless."""
        at_zero = abs(abs(value) - abs(trade.entry_price * _units(trade))) < 1e-6
        return digits(clean(value), min(2, entry if at_zero or not value else max(entry, seen)))

    return _Amounts(
        digits(trade.profit_loss, min(2, max(entry, left))),
        excursion(trade.mae),
        excursion(trade.mfe),
        digits(trade.end_trade_drawdown, min(2, seen) if trade.end_trade_drawdown else 0),
        digits(trade.total_fees, 0),
    )


def _units(trade: Trade) -> float:
    """Dollars that one point of a trade's price is worth; 0 for a trade that gained nothing on no move."""
    move = abs(trade.exit_price - trade.entry_price)
    return abs(trade.profit_loss) / move if move else move


def trade_json(trade: Trade) -> dict[str, Any]:
    """One closed trade, LEAN's keys."""
    amounts = _amounts(trade)
    return {
        "id": trade.id,
        "symbols": [symbol_json(trade.symbol)],
        "entryTime": iso(trade.entry_ms),
        "entryPrice": trade.entry_price,
        "direction": int(trade.direction),
        "quantity": trade.quantity,
        "exitTime": iso(trade.exit_ms),
        "exitPrice": trade.exit_price,
        "profitLoss": exact(amounts.profit),
        "totalFees": trade.total_fees,
        "mae": exact(amounts.mae),
        "mfe": exact(amounts.mfe),
        "duration": span(trade.exit_ms - trade.entry_ms),
        "endTradeDrawdown": exact(amounts.fall),
        "isWin": trade.is_win,
        "orderIds": list(trade.order_ids),
    }


def portfolio_json(made: PortfolioStatistics) -> dict[str, Any]:
    """The portfolio statistics, LEAN's keys, figures as strings."""
    written: dict[str, Any] = {camel(item.name): four(float(getattr(made, item.name))) for item in fields(made)}
    for key in ("valueAtRisk99", "valueAtRisk95"):
        if float(written[key]):
            written[key] = f"{float(written[key]):.3f}"  # LEAN rounds it to three places and keeps them
    return written


def _mean(values: Iterable[Decimal]) -> Decimal:
    """LEAN's running average: it keeps every digit that a step brings, so that a round result ends in zeros."""
    average = Decimal(0)
    for count, value in enumerate(values, 1):
        average += (value - average) / count
    return average


def _money_texts(trades: Sequence[Trade]) -> dict[str, str]:
    """Members of the trade statistics that are money, as text with the decimals that 28-digit arithmetic leaves."""
    amounts = [_amounts(trade) for trade in trades]
    made: dict[str, Decimal] = {}
    with localcontext() as context:
        context.prec = 28
        won = [one.profit for one in amounts if one.profit > 0]
        lost = [one.profit for one in amounts if one.profit <= 0]
        everything = [one.profit for one in amounts]
        for name, values in (("profit_loss", everything), ("profit", won), ("loss", lost)):
            made[f"total_{name}"] = sum(values, Decimal(0))
            made[f"average_{name}"] = _mean(values)
        made["largest_profit"], made["largest_loss"] = _extreme(max, won), _extreme(min, lost)
        for name in ("mae", "mfe"):
            excursions = [getattr(one, name) for one in amounts]
            made[f"average_{name}"] = _mean(excursions)
            made[f"largest_{name}"] = _extreme(min if name == "mae" else max, excursions)
        made["maximum_end_trade_drawdown"] = _extreme(max, [one.fall for one in amounts])
        made["average_end_trade_drawdown"] = made["average_profit_loss"] - made["average_mfe"]
        made["total_fees"] = sum((one.fees for one in amounts), Decimal(0))
        _falls(made, amounts)
    return {name: _text(value) for name, value in made.items()}


def _extreme(choose: Callable[..., Decimal], values: Sequence[Decimal]) -> Decimal:
    return choose((Decimal(0), *values))


def _falls(made: dict[str, Decimal], amounts: Sequence[_Amounts]) -> None:
    total = peak = peak_within = closed = within = Decimal(0)
    for one in amounts:
        peak_within = max(peak_within, total + one.mfe)
        within = min(within, total + one.mae - peak_within)
        total += one.profit
        if one.profit > 0:
            peak = max(peak, total)
        else:
            closed = min(closed, total - peak)
    made["maximum_closed_trade_drawdown"], made["maximum_intra_trade_drawdown"] = closed, within


def _text(value: Decimal) -> str:
    """Four decimals at most, those it has otherwise; no sign on zero."""
    short = round(value, 4) if -int(value.as_tuple().exponent) > 4 else value
    return f"{short or abs(short):f}"


def trade_statistics_json(made: TradeStatistics, trades: Sequence[Trade]) -> dict[str, Any]:
    """The trade statistics, LEAN's keys: counts as numbers, money and ratios as strings, durations as time spans."""
    written: dict[str, Any] = {}
    money = _money_texts(trades)
    for name, value in asdict(made).items():
        if name in ("start_ms", "end_ms"):
            written["startDateTime" if name == "start_ms" else "endDateTime"] = iso(value)
        elif name.endswith("_duration"):
            prefix, _, rest = name.partition("_")
            in_trades = prefix in _DURATION_NAMES
            key = f"{prefix}_{rest.replace('duration', 'trade_duration')}" if in_trades else name
            written[camel(key)] = span(value)
        elif isinstance(value, int):
            written[camel(name)] = value
        else:
            written[camel(name)] = money[name] if name in money else four(value)
    return written
