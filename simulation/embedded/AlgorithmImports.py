"""`from AlgorithmImports import *` of the embedded engine: LEAN's names, and the modules that LEAN hands every
algorithm.

The folder of this file is put on the import path by `simulation.runner` while a backtest runs; nothing else imports it.
"""

import json
import math
from datetime import date, datetime, time, timedelta
from typing import *

import numpy as np

from simulation.algorithm import QCAlgorithm
from simulation.bars import (
    Bar,
    BaseData,
    Delisting,
    Dividend,
    OpenInterest,
    QuoteBar,
    Split,
    SymbolChangedEvent,
    TradeBar,
)
from simulation.brokerages import *
from simulation.chain_files import UniverseRow as FutureUniverse
from simulation.chain_files import UniverseRow as OptionUniverse
from simulation.chains import FuturesChain, FuturesContract, OptionChain, OptionContract
from simulation.consolidators import (
    BaseDataConsolidator,
    Calendar,
    CalendarInfo,
    IdentityDataConsolidator,
    MarketHourAwareConsolidator,
    QuoteBarConsolidator,
    TradeBarConsolidator,
)
from simulation.derivatives import *
from simulation.dictionaries import CircularQueue, KeyValuePair
from simulation.enums import *
from simulation.exchange_hours import *
from simulation.exercise import *
from simulation.extensions import *
from simulation.fees import *
from simulation.fills import *
from simulation.fills_equity import *
from simulation.futures import *
from simulation.holdings import *
from simulation.hours import *
from simulation.identifiers import *
from simulation.indicators import *
from simulation.margin import *
from simulation.margin_calls import *
from simulation.margin_futures import *
from simulation.option_indicators import (
    ConstantDividendYieldModel,
    ConstantRiskFreeRateInterestRateModel,
    Delta,
    DividendYieldProvider,
    FuncRiskFreeRateInterestRateModel,
    Gamma,
    ImpliedVolatility,
    InterestRateProvider,
    OptionGreekIndicatorsHelper,
    OptionGreeksIndicatorBase,
    OptionIndicatorBase,
    Rho,
    Theta,
    Vega,
)
from simulation.option_models import (
    ArgumentException,
    CurrentPriceOptionPriceModel,
    IndicatorBasedOptionPriceModel,
    OptionPriceModel,
    OptionPriceModelParameters,
    OptionPriceModels,
    QLOptionPriceModel,
    QLOptionPriceModelProvider,
    RegressionTestException,
)
from simulation.option_strategies import *
from simulation.order_parts import *
from simulation.orders import *
from simulation.portfolio import *
from simulation.positions import *
from simulation.pricing import Greeks, OptionPriceModelResult
from simulation.properties import *
from simulation.requests import *
from simulation.schedule import ScheduledEvent
from simulation.schedule_rules import DateRules, TimeRules
from simulation.securities import *
from simulation.selection import OptionChainedUniverseSelectionModel, ScheduledUniverse, SecurityChanges
from simulation.services import *
from simulation.services import LazyModule
from simulation.slices import (
    Delistings,
    Dividends,
    FuturesChains,
    OptionChains,
    QuoteBars,
    Slice,
    Splits,
    SymbolChangedEvents,
    TradeBars,
)
from simulation.symbols import *
from simulation.tradebuilder import *
from simulation.trading_api import PortfolioTarget
from simulation.universe import FutureFilterUniverse, OptionFilterUniverse

pd = LazyModule("pandas")
plt = LazyModule("matplotlib.pyplot")
QCAlgorithmFramework = QCAlgorithm
QCAlgorithmFrameworkBridge = QCAlgorithm
