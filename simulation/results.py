"""LEAN's result files: `<id>.json`, `<id>-summary.json`, `<id>-order-events.json`, `<id>-log.txt`, its keys and units.

Times are ISO 8601 UTC in the files (charts: seconds since 1970). What describes the machine LEAN ran on (server
statistics) says that the run was made by the embedded engine.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, fields
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

from simulation import statistics
from simulation.order_parts import EPOCH, OrderEvent, clean, decimal_text, from_utc_ms
from simulation.orders import Order
from simulation.statistics import PortfolioStatistics, StatisticsInput
from simulation.tradebuilder import Trade, TradeStatistics, trade_statistics

EQUITY_CHART = "Strategy Equity"
_LINE, _CANDLE, _BAR, _TREEMAP = 0, 2, 3, 7
_DURATION_NAMES = ("average", "median")
_PRICE_FIELDS = ("limit_price", "stop_price", "trigger_price", "trailing_amount")


@dataclass
class Summary:
    """Statistics of a finished run: LEAN's table of strings, the figures behind it, closed trades."""

    statistics: dict[str, str]
    runtime: dict[str, str]
    portfolio: PortfolioStatistics
    trades: TradeStatistics
    closed_trades: list[Trade]
    data: StatisticsInput


def summarize(engine: Any) -> Summary:
    """LEAN's statistics of a finished run. Raises ValueError for an engine that failed before it had a portfolio."""
    if engine.portfolio is None:
        raise ValueError("no results: the engine failed before its portfolio was made; see the error before this one")
    samples, portfolio, transactions = engine.samples, engine.portfolio, engine.transactions
    rates = engine.source.interest_rates()
    data = StatisticsInput(
        equity=[(point[0], point[4]) for point in samples.equity],
        performance=samples.series["performance"],
        benchmark=samples.series["benchmark"],
        turnover=samples.series["turnover"],
        profit_loss=transactions.transaction_record,
        wins=transactions.wins,
        starting_capital=samples.starting_capital,
        total_fees=portfolio.total_fees,
        total_orders=transactions.orders_count,
    )
    if rates is not None:
        data.rate_on = rates.at
    made = statistics.total_performance(data)
    capacity, asset = samples.final_capacity()
    table = statistics.summary(data, made, capacity, asset)
    table.update(engine.algorithm.summary_statistics)
    trades = list(portfolio.trade_builder.closed_trades)
    return Summary(table, _runtime(engine, table, data), made, trade_statistics(trades), trades, data)


def _money(value: float) -> str:
    return f"{value:,.2f}"


def _runtime(engine: Any, table: dict[str, str], data: StatisticsInput) -> dict[str, str]:
    portfolio = engine.portfolio
    value, start = portfolio.total_portfolio_value, data.starting_capital
    made = {str(key): str(text) for key, text in engine.algorithm.runtime_statistics.items()}
    made["Probabilistic Sharpe Ratio"] = table["Probabilistic Sharpe Ratio"]
    made["Unrealized"] = "$" + _money(portfolio.total_unrealized_profit)
    made["Fees"] = "-$" + _money(portfolio.total_fees)
    made["Net Profit"] = "$" + _money(portfolio.total_net_profit)
    made["Return"] = f"{(value / start - 1) * 100 if start else start:,.2f} %"
    made["Equity"] = "$" + _money(value)
    made["Holdings"] = "$" + _money(portfolio.total_holdings_value)
    made["Volume"] = "$" + _money(portfolio.total_sale_volume)
    return dict(sorted(made.items()))


# -------------------------------------------------------------------- spelling


def camel(name: str) -> str:
    """snake_case to LEAN's camelCase; MAE and MFE stay upper case."""
    first, *rest = name.split("_")
    return first + "".join(part.upper() if part in ("mae", "mfe") else part[:1].upper() + part[1:] for part in rest)


def iso(moment: datetime | int | None) -> str | None:
    """A UTC time as LEAN writes it: milliseconds only where there are any."""
    if moment is None:
        return None
    when = from_utc_ms(moment) if isinstance(moment, int) else moment
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


def symbol_json(symbol: Any) -> dict[str, Any]:
    """A symbol with its identity and its underlying's."""
    made: dict[str, Any] = {"value": symbol.value, "id": str(symbol.id), "permtick": symbol.value}
    if symbol.has_underlying:
        made["underlying"] = symbol_json(symbol.underlying)
    return made


# -------------------------------------------------------------------- orders


def order_json(order: Order) -> dict[str, Any]:
    """One order, LEAN's keys."""
    made: dict[str, Any] = {"type": int(order.type), "id": order.id, "contingentId": order.contingent_id}
    made |= {"brokerId": list(order.broker_id), "symbol": symbol_json(order.symbol), "price": order.price}
    made |= {"priceCurrency": order.price_currency, "time": iso(order.time_ms), "createdTime": iso(order.time_ms)}
    for key, when in (
        ("lastFillTime", order.last_fill_ms),
        ("lastUpdateTime", order.last_update_ms),
        ("canceledTime", order.canceled_ms),
    ):
        if when is not None:
            made[key] = iso(when)
    made |= {"quantity": order.quantity, "status": int(order.status)}
    if order.tag is not None:
        made["tag"] = order.tag
    made |= {"properties": {"timeInForce": {}}, "securityType": int(order.security_type)}
    made |= {"direction": int(order.direction), "value": order.value}
    data = order.order_submission_data
    if data is not None:
        prices = {"bidPrice": data.bid_price, "askPrice": data.ask_price, "lastPrice": data.last_price}
        made["orderSubmissionData"] = prices
    made["isMarketable"] = order.is_marketable
    for name in _PRICE_FIELDS:
        if hasattr(order, name):
            made[camel(name)] = getattr(order, name)
    group = order.group_order_manager
    if group is not None:
        made["groupOrderManager"] = {
            "id": group.id,
            "quantity": group.quantity,
            "count": group.count,
            "limitPrice": group.limit_price,
            "orderIds": list(group.order_ids),
            "direction": int(group.direction),
        }
    made["priceAdjustmentMode"] = 0
    return made


def event_json(event: OrderEvent, algorithm_id: str) -> dict[str, Any]:
    """One order event, LEAN's keys; a fee appears when there is one to speak of."""
    symbol = event.symbol
    made: dict[str, Any] = {
        "id": f"{algorithm_id}-{event.order_id}-{event.id}",
        "algorithmId": algorithm_id,
        "orderId": event.order_id,
        "orderEventId": event.id,
        "symbol": str(symbol.id),
        "symbolValue": symbol.value,
        "symbolPermtick": symbol.id.symbol,
        "time": event.utc_ms / 1000,
        "status": camel(str(event.status).lower()),
    }
    fee = event.order_fee.value
    if fee.currency != "QCC":
        made |= {"orderFeeAmount": fee.amount, "orderFeeCurrency": fee.currency}
    made |= {"fillPrice": event.fill_price, "fillPriceCurrency": event.fill_price_currency}
    made |= {"fillQuantity": event.fill_quantity, "direction": str(event.direction).lower()}
    if event.message:
        made["message"] = event.message
    made |= {"isAssignment": event.is_assignment, "quantity": event.quantity}
    for name in _PRICE_FIELDS:
        price = getattr(event, name)
        if price is not None:
            made[camel(name)] = price
    if event.is_in_the_money:
        made["isInTheMoney"] = True
    return made


def trade_json(trade: Trade) -> dict[str, Any]:
    """One closed trade, LEAN's keys."""
    return {
        "id": trade.id,
        "symbols": [symbol_json(trade.symbol)],
        "entryTime": iso(trade.entry_ms),
        "entryPrice": trade.entry_price,
        "direction": int(trade.direction),
        "quantity": trade.quantity,
        "exitTime": iso(trade.exit_ms),
        "exitPrice": trade.exit_price,
        "profitLoss": trade.profit_loss,
        "totalFees": trade.total_fees,
        "mae": trade.mae,
        "mfe": trade.mfe,
        "duration": span(trade.exit_ms - trade.entry_ms),
        "endTradeDrawdown": trade.end_trade_drawdown,
        "isWin": trade.is_win,
        "orderIds": list(trade.order_ids),
    }


# -------------------------------------------------------------------- statistics


def portfolio_json(made: PortfolioStatistics) -> dict[str, Any]:
    """The portfolio statistics, LEAN's keys, figures as strings."""
    return {camel(item.name): four(float(getattr(made, item.name))) for item in fields(made)}


def trade_statistics_json(made: TradeStatistics) -> dict[str, Any]:
    """The trade statistics, LEAN's keys: counts as numbers, money and ratios as strings, durations as time spans."""
    written: dict[str, Any] = {}
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
            written[camel(name)] = four(value)
    return written


def _performance(summary: Summary, trades: list[Trade], portfolio: PortfolioStatistics) -> dict[str, Any]:
    return {
        "tradeStatistics": trade_statistics_json(trade_statistics(trades)),
        "portfolioStatistics": portfolio_json(portfolio),
        "closedTrades": [trade_json(trade) for trade in trades] if trades is summary.closed_trades else [],
    }


def _rolling(summary: Summary) -> dict[str, Any]:
    made = {}
    for key, (first, last, figures) in statistics.rolling_performance(summary.data).items():
        inside = [trade for trade in summary.closed_trades if first <= trade.exit_time.date() <= last]
        made[key] = _performance(summary, list(inside), figures)
    return made


# -------------------------------------------------------------------- charts


def _series(name: str, unit: str, kind: int, values: list[Any], index: int = 0, **more: str) -> dict[str, Any]:
    made: dict[str, Any] = {"name": name, "unit": unit, "index": index, "seriesType": kind, **more, "values": values}
    return made if kind == _CANDLE else made | {"color": "", "scatterMarkerSymbol": "none"}


def _points(series: list[Any]) -> list[list[Any]]:
    return [[point[0] // 1000, *(smart(value) for value in point[1:])] for point in series]


def _chart(name: str, series: list[dict[str, Any]], **more: Any) -> dict[str, Any]:
    return {"name": name, "chartType": 0, "series": {one["name"]: one for one in series}, **more}


def charts_json(engine: Any) -> dict[str, Any]:
    """LEAN's charts and those the algorithm plotted."""
    samples = engine.samples
    series = {name: _points(values) for name, values in samples.series.items()}
    equity = _series("Equity", "$", _CANDLE, [[p[0] // 1000, *p[1:]] for p in samples.equity])
    margin = [
        _series(name, "%", _BAR, _points(values), indexName="Margin Used (%)", tooltip="{SERIES_NAME}: {VALUE}%")
        for name, values in samples.margin.items()
        if len(values) > 1
    ]
    exposure = [_series(name, "", _LINE, _points(values)) for name, values in samples.exposure.items()]
    sales = [_series(name, "$", _TREEMAP, _points(values)) for name, values in samples.sales.items()]
    made = [
        _chart("Drawdown", [_series("Equity Drawdown", "%", _LINE, series["drawdown"])]),
        _chart("Portfolio Turnover", [_series("Portfolio Turnover", "%", _LINE, series["turnover"])]),
        _chart("Exposure", exposure),
        _chart(EQUITY_CHART, [equity, _series("Return", "%", _BAR, series["performance"], 1)]),
        _chart("Capacity", [_series("Strategy Capacity", "$", _LINE, series["capacity"])]),
        _chart("Assets Sales Volume", sales),
        _chart("Portfolio Margin", margin, legendDisabled=True),
        _chart("Benchmark", [_series("Benchmark", "$", _LINE, series["benchmark"])]),
    ]
    for name, plotted in engine.algorithm.charts.items():
        made.append(_chart(name, [_series(key, "$", _LINE, _points(values)) for key, values in plotted.items()]))
    return {chart["name"]: chart for chart in made if chart["series"]}


# -------------------------------------------------------------------- files


def _state(engine: Any, error: str | None) -> dict[str, str]:
    algorithm = engine.algorithm
    return {
        "StartTime": str(iso(algorithm.start_date)),
        "EndTime": str(iso(from_utc_ms(engine.utc_ms))),
        "RuntimeError": "" if error is None else error.strip().splitlines()[-1],
        "StackTrace": error or "",
        "LogCount": str(len(algorithm.logs.lines)),
        "OrderCount": str(engine.transactions.orders_count),
        "InsightCount": "0",
        "Name": algorithm.name,
        "Hostname": "embedded engine",
        "Status": "Completed" if error is None else "RuntimeError",
    }


def _configuration(engine: Any) -> dict[str, Any]:
    algorithm = engine.algorithm
    end = EPOCH + timedelta(seconds=int((algorithm.end_date - EPOCH).total_seconds()))
    return {
        "name": algorithm.name,
        "tags": list(algorithm.tags),
        "accountCurrency": algorithm.account_currency,
        "brokerage": int(getattr(algorithm.brokerage_model, "brokerage_name", 0)),
        "accountType": int(algorithm.brokerage_model.account_type),
        "parameters": dict(algorithm.parameters),
        "outOfSampleMaxEndDate": None,
        "outOfSampleDays": 0,
        "startDate": iso(algorithm.start_date),
        "endDate": iso(end),
        "tradingDaysPerYear": statistics.TRADING_DAYS,
    }


def write(engine: Any, summary: Summary, folder: Path, error: str | None = None) -> None:
    """Writes the four files into a folder, which is made when it is not there."""
    folder.mkdir(parents=True, exist_ok=True)
    algorithm = engine.algorithm
    name = algorithm.algorithm_id
    charts = charts_json(engine)
    server = {"Hostname": "embedded engine", "LEAN Version": "embedded", "CPU Usage": "0.0%", "Up Time": "0d 00:00:00"}
    server |= {"Used RAM (MB)": "0", "Total RAM (MB)": "0"}
    shared = {
        "statistics": summary.statistics,
        "runtimeStatistics": summary.runtime,
        "state": _state(engine, error),
        "serverStatistics": server,
        "algorithmConfiguration": _configuration(engine),
    }
    whole = {
        "rollingWindow": _rolling(summary),
        "totalPerformance": _performance(summary, summary.closed_trades, summary.portfolio),
        "charts": charts,
        "orders": {str(order.id): order_json(order) for order in engine.transactions.get_orders()},
        "profitLoss": {iso(when): value for when, value in sorted(summary.data.profit_loss.items())},
        **shared,
        "analysis": [],
    }
    equity = {key: value for key, value in charts.get(EQUITY_CHART, {}).items()}
    if equity:
        equity["series"] = {"Equity": _weekly(equity["series"]["Equity"])}
    brief = {
        "rollingWindow": {},
        "totalPerformance": {**_performance(summary, [], summary.portfolio)},
        "charts": {EQUITY_CHART: equity} if equity else {},
        **shared,
    }
    brief["totalPerformance"]["tradeStatistics"] = trade_statistics_json(summary.trades)
    events = [event_json(event, name) for event in engine.order_events]
    for suffix, content in (("", whole), ("-summary", brief), ("-order-events", events)):
        text = json.dumps(content, separators=(",", ":"), allow_nan=False)
        (folder / f"{name}{suffix}.json").write_text(text, encoding="utf-8")
    (folder / f"{name}-log.txt").write_text("".join(f"{line}\n" for line in algorithm.logs.lines), encoding="utf-8")


def _weekly(series: dict[str, Any]) -> dict[str, Any]:
    """The equity candles of the summary: gathered over up to seven days, as LEAN thins them."""
    values = series["values"]
    days = min(7, len(values) // 100)
    if days <= 1:
        return series
    width, first = days * 86_400, values[0][0]
    thin: list[list[Any]] = [list(values[0])]
    bucket: list[list[Any]] = []
    edge = first + width
    for point in values[1:]:
        if point[0] > edge and bucket:
            thin.append(_gather(edge, bucket))
            bucket, edge = [], edge + width
        bucket.append(point)
    return {**series, "values": thin}


def _gather(when: int, bucket: list[list[Any]]) -> list[Any]:
    return [when, bucket[0][1], max(p[2] for p in bucket), min(p[3] for p in bucket), bucket[-1][4]]
