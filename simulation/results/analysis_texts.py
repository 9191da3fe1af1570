"""The longer words of LEAN's analyzer (Engine/Results/Analysis/Analyses), as it writes them for a Python algorithm."""

from __future__ import annotations

from datetime import datetime

FLAT_EQUITY = (
    "Log how often each entry condition passes individually: when several conditions must align "
    "(trend, volume, indicator thresholds), it is common that they are never all true at the same time. "
    "Relax the single most restrictive condition and re-run, changing one condition per backtest "
    "instead of redesigning the strategy.",
    "Check if you need to warm-up some data structures, including indicators, RollingWindow objects, and training "
    "data. "
    "Log how many assets pass IsReady or warm-up gates: they can silently exclude most of the universe.",
    "Check if the algorithm subscribes to any assets. "
    "Is the universe selection actually selecting anything? Log the selection count on each rebalance.",
    "Check custom data sources actually deliver data by logging the first points received: "
    "a reader or date-format error can silently produce no data and therefore no signals.",
    "Check minimum-history or training-window requirements against the history the data source actually provides: "
    "if a model requires more history than exists, the trading logic may never activate.",
    "Check if there is enough cash to satisfy the minimum order sizes.",
)
STALE_FILLS = (
    "Stale fills occur when you fill an order with price data that is timestamped an hour or more into the past. "
    "Stale fills usually only occur if you trade illiquid assets or if your algorithm uses daily data but you trade "
    "intraday with Scheduled Events. "
    "If your order is filled with stale data, the fill price may not be realistic. "
    "The pre-built fill models can only fill market orders with stale data. "
    "To adjust the length of time that needs to pass before an order is considered stale, set the "
    "`stale_price_time_span` setting.\n"
    "```\ndef initialize(self) -> None:\n    # Adjust the stale price time span to be 10 minutes.\n"
    "    self.settings.stale_price_time_span = timedelta(minutes=10)\n```",
    "Investigate if there is a data issue.",
)
_COUNTED = """| Parameter Types | Example Instances |
|-|-|
| Numeric Comparison | Numeric operators used to compare numeric arguments: <= < > >= |
| Time Span | Setting the interval of `TimeSpan` or `timedelta` |
| Order Event | Inputting numeric arguments when placing orders |
| Scheduled Event | Inputting numeric arguments when scheduling an algorithm event to occur |
| Variable Assignment | Assigning numeric values to variables |
| Mathematical Operation | Any mathematical operation involving explicit numbers |
| Lean API | Numeric arguments passed to Indicators, Consolidators, Rolling Windows, etc. |"""
_NOT_COUNTED = """| Non-Parameter Types | Example Instances |
|---------------------|-------------------|
| Common APIs | `set_start_date`, `set_end_date`, `set_cash`, etc. |
| Boolean Comparison | Testing for True or False conditions |
| String Numbers | Numbers formatted as part of `log` or `debug` method statements |
| Variable Names | Any variable names that use numbers as part of the name (for example, `smaIndicator200`) |
| Common Functions | Rounding, array indexing, boolean comparison using 1/0 for True/False, etc. |"""
PARAMETERS = (
    "Try to remove some parameters to make the strategy more robust. "
    f"The following table shows the criteria for parameters:{_COUNTED}"
    f"The following table shows common expressions that are not parameters:{_NOT_COUNTED}",
)
CRISIS = (
    "Consider adding risk management techniques such as stop-loss orders, position sizing, "
    "Option hedging, and diversification to mitigate losses during turbulent periods.",
)
CRISES = (
    ("DotCom Bubble 2000", datetime(2000, 2, 26), datetime(2000, 9, 10)),
    ("September 11, 2001", datetime(2001, 9, 5), datetime(2001, 10, 10)),
    ("U.S. Housing Bubble 2003", datetime(2003, 1, 1), datetime(2003, 2, 20)),
    ("Global Financial Crisis 2007", datetime(2007, 10, 1), datetime(2011, 12, 1)),
    ("Flash Crash 2010", datetime(2010, 5, 1), datetime(2010, 5, 22)),
    ("Fukushima Meltdown 2011", datetime(2011, 3, 1), datetime(2011, 4, 22)),
    ("U.S. Credit Downgrade 2011", datetime(2011, 8, 5), datetime(2011, 9, 1)),
    ("ECB IR Event 2012", datetime(2012, 9, 5), datetime(2012, 10, 12)),
    ("European Debt Crisis 2014", datetime(2014, 10, 1), datetime(2014, 10, 29)),
    ("Market Sell-Off 2015", datetime(2015, 8, 10), datetime(2015, 10, 10)),
    ("Recovery 2010-2012", datetime(2010, 1, 1), datetime(2012, 10, 1)),
    ("New Normal 2014-2019", datetime(2014, 1, 1), datetime(2019, 1, 1)),
    ("COVID-19 Pandemic 2020", datetime(2020, 2, 10), datetime(2020, 9, 20)),
    ("Post-COVID Run-up 2020-2021", datetime(2020, 4, 1), datetime(2022, 1, 1)),
    ("Meme Season 2021", datetime(2021, 1, 1), datetime(2021, 5, 15)),
    ("Russia Invades Ukraine 2022-2023", datetime(2022, 2, 1), datetime(2024, 1, 1)),
)
"""What LEAN calls a crisis; its last one runs to the clock's today and so lies in no run whole."""
