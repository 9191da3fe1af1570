"""LEAN's result files: `<id>.json`, `<id>-summary.json`, `<id>-order-events.json`, `<id>-log.txt`, its keys and units.

Times are ISO 8601 UTC in the files (charts: seconds since 1970). What describes the machine LEAN ran on (server
statistics) says that the run was made by the embedded engine.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

from simulation.account.brokerages import brokerage_name
from simulation.account.trade_statistics import TradeStatistics, trade_statistics
from simulation.account.tradebuilder import Trade
from simulation.lean.clock import EPOCH, utc_datetime
from simulation.orders.order_event import OrderEvent
from simulation.orders.orders import Order
from simulation.results import analysis, statistics
from simulation.results.results_text import (
    EXACT,
    RAW,
    camel,
    digits,
    exact,
    iso,
    portfolio_json,
    price_digits,
    smart,
    symbol_json,
    text_of,
    trade_json,
    trade_statistics_json,
)
from simulation.results.sampling import OTHERS
from simulation.results.statistics import PortfolioStatistics, StatisticsInput

EQUITY_CHART = "Strategy Equity"
_LINE, _CANDLE, _BAR, _TREEMAP = 0, 2, 3, 7
_LOG_ORDER = {"debug": 0, "error": 1, "log": 2}
ENGINE_LINES = 3
"""Lines that LEAN itself adds to a log: that it starts, how fast it was, where the log is. They are counted only."""
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
    if getattr(engine, "portfolio", None) is None:
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
    made |= {"direction": int(order.direction), "value": order.value + 0.0}
    data = order.order_submission_data
    if data is not None:
        prices = {"bidPrice": data.bid_price, "askPrice": data.ask_price, "lastPrice": data.last_price}
        least = price_digits(order.symbol)
        made["orderSubmissionData"] = {
            key: exact(digits(value, least)) if value and least else value for key, value in prices.items()
        }
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


# -------------------------------------------------------------------- statistics


def _performance(summary: Summary, trades: list[Trade], portfolio: PortfolioStatistics) -> dict[str, Any]:
    return {
        "tradeStatistics": trade_statistics_json(trade_statistics(trades), trades),
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
    return [[point[0] // 1000, *(_plain(smart(value)) for value in point[1:])] for point in series]


def _number(written: float | str | None) -> float:
    """The value of a chart's point as it is written; 0 for a missing one, as LEAN adds them up."""
    return float(written.lstrip(RAW + EXACT)) if isinstance(written, str) else written or 0.0


def _plain(value: float | None) -> float | str | None:
    """A chart value; a small one without the exponent that Python would write."""
    return exact(Decimal(f"{value:.12f}").normalize()) if value and abs(value) < 1e-4 else value


def _series_text(charts: dict[str, Any]) -> dict[str, Any]:
    """Charts with each series on one line."""
    return {
        name: {**chart, "series": {key: RAW + text_of(one, None) for key, one in chart["series"].items()}}
        for name, chart in charts.items()
    }


def _chart(name: str, series: list[dict[str, Any]], **more: Any) -> dict[str, Any]:
    """A chart; LEAN sorts its series by index, number of points and sum (ChartSeriesJsonConverter.cs:54)."""

    def rank(one: dict[str, Any]) -> tuple[int, int, float]:
        points = one["values"] if one["seriesType"] != _CANDLE else ()
        return one["index"], len(one["values"]), sum(_number(point[1]) for point in points)

    return {"name": name, "chartType": 0, "series": {one["name"]: one for one in sorted(series, key=rank)}, **more}


def charts_json(engine: Any) -> dict[str, Any]:
    """LEAN's charts and those the algorithm plotted."""
    samples = engine.samples
    series = {name: _points(values) for name, values in samples.series.items()}
    equity = _series("Equity", "$", _CANDLE, [[p[0] // 1000, *p[1:]] for p in samples.equity])
    margin = [
        _series(name, "%", _BAR, _points(values), indexName="Margin Used (%)", tooltip="{SERIES_NAME}: {VALUE}%")
        | ({"color": "#808080"} if name == OTHERS else {})
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
        "EndTime": str(iso(utc_datetime(engine.utc_ms))),
        "RuntimeError": "" if error is None else error.strip().splitlines()[-1],
        "StackTrace": error or "",
        "LogCount": str(len(algorithm.logs.entries) + ENGINE_LINES),
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
        "brokerage": int(brokerage_name(algorithm.brokerage_model)),
        "accountType": int(algorithm.brokerage_model.account_type),
        "parameters": dict(algorithm.parameters),
        "outOfSampleMaxEndDate": None,
        "outOfSampleDays": 0,
        "startDate": iso(algorithm.start_date),
        "endDate": iso(end),
        "tradingDaysPerYear": statistics.TRADING_DAYS,
    }


def _gained(value: float) -> Decimal:
    """A realised profit with the decimals of the price that made it, as far as a contract of 100 shows them."""
    return digits(value, min(2, -int(digits(value / 100, 0).as_tuple().exponent)))


def _log_text(engine: Any) -> str:
    """The log as LEAN keeps it: gathered at each point of the equity curve, debug lines before errors before logs."""
    entries, edges = engine.algorithm.logs.entries, [*engine.samples.log_edges]
    lines: list[str] = []
    for first, last in zip([0, *edges], [*edges, len(entries)], strict=True):
        batch = sorted(entries[first:last], key=lambda entry: _LOG_ORDER[entry[0]])
        lines.extend(f"{line}\n" for _, line in batch)
    return "".join(lines)


def write(engine: Any, summary: Summary, folder: Path, error: str | None = None) -> None:
    """Writes the four files into a folder, which is made when it is not there."""
    folder.mkdir(parents=True, exist_ok=True)
    algorithm = engine.algorithm
    name = algorithm.algorithm_id
    charts = charts_json(engine)
    server = {"CPU Usage": "0.0%", "Used RAM (MB)": "0", "Total RAM (MB)": "0"}
    server |= {"Hostname": "embedded engine", "LEAN Version": "embedded", "Up Time": "0d 00:00:00"}
    shared = {
        "statistics": summary.statistics,
        "runtimeStatistics": summary.runtime,
        "state": _state(engine, error),
        "serverStatistics": server,
        "algorithmConfiguration": _configuration(engine),
    }
    events = [event_json(event, name) for event in engine.order_events]
    whole = {
        "rollingWindow": _rolling(summary),
        "charts": _series_text(charts),
        "orders": {str(order.id): order_json(order) for order in engine.transactions.get_orders()},
        "profitLoss": {iso(when): exact(_gained(value)) for when, value in sorted(summary.data.profit_loss.items())},
        **shared,
        "totalPerformance": _performance(summary, summary.closed_trades, summary.portfolio),
        "analysis": analysis.findings(engine, events),
    }
    equity = {key: value for key, value in charts.get(EQUITY_CHART, {}).items()}
    if equity:
        equity["series"] = {"Equity": _weekly(equity["series"]["Equity"])}
    brief = {
        "rollingWindow": {},
        "charts": _series_text({EQUITY_CHART: equity} if equity else {}),
        **shared,
        "totalPerformance": {**_performance(summary, summary.closed_trades, summary.portfolio), "closedTrades": []},
    }
    for suffix, content, indent in (("", whole, 2), ("-summary", brief, 2), ("-order-events", events, None)):
        (folder / f"{name}{suffix}.json").write_text(text_of(content, indent), encoding="utf-8", newline="")
    (folder / f"{name}-log.txt").write_text(_log_text(engine), encoding="utf-8", newline="")


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
