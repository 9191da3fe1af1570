"""`from AlgorithmImports import *` of the embedded engine: LEAN's names, and the modules that LEAN hands every
algorithm.

The folder of this file is put on the import path by `simulation.runner` while a backtest runs; nothing else imports it.
"""

import json
import math
from datetime import date, datetime, time, timedelta
from typing import *

import numpy as np

from simulation.account.brokerages import *
from simulation.account.buying_power import *
from simulation.account.holdings import *
from simulation.account.margin_calls import *
from simulation.account.margin_futures import *
from simulation.account.portfolio import *
from simulation.account.positions import *
from simulation.account.trade_statistics import *
from simulation.account.tradebuilder import *
from simulation.algorithm.algorithm import QCAlgorithm
from simulation.algorithm.algorithm_settings import *
from simulation.algorithm.consolidators import (
    BaseDataConsolidator,
    Calendar,
    CalendarInfo,
    IdentityDataConsolidator,
    MarketHourAwareConsolidator,
    QuoteBarConsolidator,
    TradeBarConsolidator,
)
from simulation.algorithm.extensions import *
from simulation.algorithm.indicators import *
from simulation.algorithm.messages import *
from simulation.algorithm.object_store import *
from simulation.algorithm.option_indicators import (
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
from simulation.algorithm.option_strategies import *
from simulation.algorithm.security_initializers import *
from simulation.algorithm.services import *
from simulation.algorithm.trading_api import PortfolioTarget
from simulation.algorithm.words import *
from simulation.data.chain_files import UniverseRow as FutureUniverse
from simulation.data.chain_files import UniverseRow as OptionUniverse
from simulation.data.market_hours import *
from simulation.data.symbol_properties import *
from simulation.engine.schedule import ScheduledEvent
from simulation.engine.schedule_rules import DateRules, TimeRules
from simulation.lean.bars import (
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
from simulation.lean.contract_months import *
from simulation.lean.dictionaries import CircularQueue, KeyValuePair, RollingWindow
from simulation.lean.enums import *
from simulation.lean.exchange_hours import *
from simulation.lean.identifiers import *
from simulation.lean.lazy_module import LazyModule
from simulation.lean.symbols import *
from simulation.orders.exercise import *
from simulation.orders.fees import *
from simulation.orders.fills import *
from simulation.orders.fills_equity import *
from simulation.orders.order_event import *
from simulation.orders.order_parts import *
from simulation.orders.orders import *
from simulation.orders.requests import *
from simulation.orders.tickets import *
from simulation.securities.chains import FuturesChain, FuturesContract, OptionChain, OptionContract
from simulation.securities.contract_filters import FutureFilterUniverse, OptionFilterUniverse
from simulation.securities.derivatives import *
from simulation.securities.option_models import (
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
from simulation.securities.pricing import Greeks, OptionPriceModelResult
from simulation.securities.securities import *
from simulation.securities.slices import (
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
from simulation.securities.universes import OptionChainedUniverseSelectionModel, ScheduledUniverse, SecurityChanges
from simulation.securities.volatility_models import *

pd = LazyModule("pandas")
plt = LazyModule("matplotlib.pyplot")
QCAlgorithmFramework = QCAlgorithm
QCAlgorithmFrameworkBridge = QCAlgorithm
