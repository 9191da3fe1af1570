"""LEAN's enumerations: same members, same integer values (quantconnect-stubs is the reference)."""

from __future__ import annotations

from zoneinfo import ZoneInfo

from simulation.lean.enums_orders import *
from simulation.lean.names import LeanEnum, Named


class SecurityType(LeanEnum):
    """Kinds of security."""

    BASE = 0
    EQUITY = 1
    OPTION = 2
    COMMODITY = 3
    FOREX = 4
    FUTURE = 5
    CFD = 6
    CRYPTO = 7
    FUTURE_OPTION = 8
    INDEX = 9
    INDEX_OPTION = 10
    CRYPTO_FUTURE = 11


class OptionStyle(LeanEnum):
    """When an option may be exercised."""

    AMERICAN = 0
    EUROPEAN = 1


class OptionRight(LeanEnum):
    """Call or put."""

    CALL = 0
    PUT = 1


class Resolution(LeanEnum):
    """Length of a bar."""

    TICK = 0
    SECOND = 1
    MINUTE = 2
    HOUR = 3
    DAILY = 4


class TickType(LeanEnum):
    """What a subscription carries."""

    TRADE = 0
    QUOTE = 1
    OPEN_INTEREST = 2


class AccountType(LeanEnum):
    """LEAN's account type."""

    MARGIN = 0
    CASH = 1


class MarketDataType(LeanEnum):
    """LEAN's market data type."""

    BASE = 0
    TRADE_BAR = 1
    TICK = 2
    AUXILIARY = 3
    QUOTE_BAR = 4
    OPTION_CHAIN = 5
    FUTURES_CHAIN = 6


class DelistingType(LeanEnum):
    """LEAN's delisting type."""

    WARNING = 0
    DELISTED = 1


class SplitType(LeanEnum):
    """LEAN's split type."""

    WARNING = 0
    SPLIT_OCCURRED = 1


class PositionSide(LeanEnum):
    """LEAN's position side."""

    SHORT = -1
    NONE = 0
    LONG = 1


class SettlementType(LeanEnum):
    """LEAN's settlement type."""

    PHYSICAL_DELIVERY = 0
    CASH = 1


class AlgorithmStatus(LeanEnum):
    """LEAN's algorithm status."""

    DEPLOY_ERROR = 0
    IN_QUEUE = 1
    RUNNING = 2
    STOPPED = 3
    LIQUIDATED = 4
    DELETED = 5
    COMPLETED = 6
    RUNTIME_ERROR = 7
    INVALID = 8
    LOGGING_IN = 9
    INITIALIZING = 10
    HISTORY = 11
    PENDING_INPUT = 12
    IDLE = 13


class DataNormalizationMode(LeanEnum):
    """LEAN's data normalization mode."""

    RAW = 0
    ADJUSTED = 1
    SPLIT_ADJUSTED = 2
    TOTAL_RETURN = 3
    FORWARD_PANAMA_CANAL = 4
    BACKWARDS_PANAMA_CANAL = 5
    BACKWARDS_RATIO = 6
    SCALED_RAW = 7


class DataMappingMode(LeanEnum):
    """LEAN's data mapping mode."""

    LAST_TRADING_DAY = 0
    FIRST_DAY_MONTH = 1
    OPEN_INTEREST = 2
    OPEN_INTEREST_ANNUAL = 3


class DeploymentTarget(LeanEnum):
    """LEAN's deployment target."""

    CLOUD_PLATFORM = 0
    LOCAL_PLATFORM = 1
    PRIVATE_CLOUD_PLATFORM = 2


class AlgorithmMode(LeanEnum):
    """LEAN's algorithm mode."""

    LIVE = 0
    OPTIMIZATION = 1
    BACKTESTING = 2
    RESEARCH = 3


class ChartType(LeanEnum):
    """LEAN's chart type."""

    OVERLAY = 0
    STACKED = 1


class SeriesType(LeanEnum):
    """LEAN's series type."""

    LINE = 0
    SCATTER = 1
    CANDLE = 2
    BAR = 3
    FLAG = 4
    STACKED_AREA = 5
    PIE = 6
    TREEMAP = 7
    HEATMAP = 9
    SCATTER_3D = 9


class ScatterMarkerSymbol(LeanEnum):
    """LEAN's scatter marker symbol."""

    NONE = 0
    CIRCLE = 1
    SQUARE = 2
    DIAMOND = 3
    TRIANGLE = 4
    TRIANGLE_DOWN = 5


class WritePolicy(LeanEnum):
    """LEAN's write policy."""

    OVERWRITE = 0
    MERGE = 1
    APPEND = 2


class Language(LeanEnum):
    """LEAN's language."""

    C_SHARP = 0
    F_SHARP = 1
    VISUAL_BASIC = 2
    JAVA = 3
    PYTHON = 4


class BrokerageName(LeanEnum):
    """LEAN's brokerage name; the gap before GDAX is LEAN's own (BrokerageName.cs)."""

    DEFAULT = 0
    QUANT_CONNECT_BROKERAGE = 0
    INTERACTIVE_BROKERS_BROKERAGE = 1
    TRADIER_BROKERAGE = 2
    OANDA_BROKERAGE = 3
    FXCM_BROKERAGE = 4
    BITFINEX = 5
    BINANCE = 6
    GDAX = 12
    ALPACA = 13
    ALPHA_STREAMS = 14
    ZERODHA = 15
    SAMCO = 16
    ATREYU = 17
    TRADING_TECHNOLOGIES = 18
    KRAKEN = 19
    FTX = 20
    FTXUS = 21
    EXANTE = 22
    BINANCE_US = 23
    WOLVERINE = 24
    TD_AMERITRADE = 25
    BINANCE_FUTURES = 26
    BINANCE_COIN_FUTURES = 27
    RBI = 28
    BYBIT = 29
    EZE = 30
    AXOS = 31
    COINBASE = 32
    TRADE_STATION = 33
    TERMINAL_LINK = 34
    CHARLES_SCHWAB = 35
    TASTYTRADE = 36
    INTERACTIVE_BROKERS_FIX = 37
    DYDX = 38
    WEBULL = 39
    PUBLIC = 40
    BLOOMBERG_FIX = 41
    CLEAR_STREET = 42


class BrokerageMessageType(LeanEnum):
    """LEAN's brokerage message type."""

    INFORMATION = 0
    WARNING = 1
    ERROR = 2
    RECONNECT = 3
    DISCONNECT = 4
    ACTION_REQUIRED = 5


class MovingAverageType(LeanEnum):
    """LEAN's moving average type."""

    SIMPLE = 0
    EXPONENTIAL = 1
    WILDERS = 2
    LINEAR_WEIGHTED_MOVING_AVERAGE = 3
    DOUBLE_EXPONENTIAL = 4
    TRIPLE_EXPONENTIAL = 5
    TRIANGULAR = 6
    T_3 = 7
    KAMA = 8
    HULL = 9
    ALMA = 10
    ZLEMA = 11
    MGD = 12


class IndicatorStatus(LeanEnum):
    """LEAN's indicator status."""

    SUCCESS = 0
    INVALID_INPUT = 1
    MATH_ERROR = 2
    VALUE_NOT_READY = 3


class OptionPricingModelType(LeanEnum):
    """LEAN's option pricing model type."""

    BLACK_SCHOLES = 0
    BINOMIAL_COX_ROSS_RUBINSTEIN = 1
    FORWARD_TREE = 2


class TradeDirection(LeanEnum):
    """LEAN's trade direction."""

    LONG = 0
    SHORT = 1


class FillGroupingMethod(LeanEnum):
    """LEAN's fill grouping method."""

    FILL_TO_FILL = 0
    FLAT_TO_FLAT = 1
    FLAT_TO_REDUCED = 2


class FillMatchingMethod(LeanEnum):
    """LEAN's fill matching method."""

    FIFO = 0
    LIFO = 1


class MarketHoursState(LeanEnum):
    """LEAN's market hours state."""

    CLOSED = 0
    PRE_MARKET = 1
    MARKET = 2
    POST_MARKET = 3


class BarDirection(LeanEnum):
    """LEAN's bar direction."""

    RISING = 0
    NO_DELTA = 1
    FALLING = 2


class RenkoType(LeanEnum):
    """LEAN's renko type."""

    CLASSIC = 0
    WICKED = 1


class InsightDirection(LeanEnum):
    """LEAN's insight direction."""

    DOWN = -1
    FLAT = 0
    UP = 1


class InsightType(LeanEnum):
    """LEAN's insight type."""

    PRICE = 0
    VOLATILITY = 1


class TradingDayType(LeanEnum):
    """What a calendar day is on an exchange."""

    BUSINESS_DAY = 0
    PUBLIC_HOLIDAY = 1
    WEEKEND = 2
    OPTION_EXPIRATION = 3
    FUTURE_EXPIRATION = 4
    FUTURE_ROLL = 5
    SYMBOL_DELISTING = 6
    EQUITY_DIVIDENDS = 7
    ECONOMIC_EVENT = 8


class DayOfWeek(LeanEnum):
    """.NET's days of the week: Sunday is 0."""

    SUNDAY = 0
    MONDAY = 1
    TUESDAY = 2
    WEDNESDAY = 3
    THURSDAY = 4
    FRIDAY = 5
    SATURDAY = 6


class Market(Named):
    """Market identifiers, the folder names of a LEAN data folder."""

    USA = "usa"
    OANDA = "oanda"
    FXCM = "fxcm"
    DUKASCOPY = "dukascopy"
    BITFINEX = "bitfinex"
    GLOBEX = "cmeglobex"
    NYMEX = "nymex"
    CBOT = "cbot"
    ICE = "ice"
    CBOE = "cboe"
    CFE = "cfe"
    INDIA = "india"
    COMEX = "comex"
    CME = "cme"
    EUREX = "eurex"
    SGX = "sgx"
    HKFE = "hkfe"
    OSE = "ose"
    NYSELIFFE = "nyseliffe"
    COINBASE = "coinbase"
    KRAKEN = "kraken"
    BITSTAMP = "bitstamp"
    BINANCE = "binance"
    BYBIT = "bybit"
    INTERACTIVE_BROKERS = "interactivebrokers"


class TimeZones(Named):
    """Common time zones."""

    UTC = ZoneInfo("UTC")
    NEW_YORK = ZoneInfo("America/New_York")
    CHICAGO = ZoneInfo("America/Chicago")
    LOS_ANGELES = ZoneInfo("America/Los_Angeles")
    DENVER = ZoneInfo("America/Denver")
    PHOENIX = ZoneInfo("America/Phoenix")
    TORONTO = ZoneInfo("America/Toronto")
    VANCOUVER = ZoneInfo("America/Vancouver")
    LONDON = ZoneInfo("Europe/London")
    PARIS = ZoneInfo("Europe/Paris")
    BERLIN = ZoneInfo("Europe/Berlin")
    ROME = ZoneInfo("Europe/Rome")
    AMSTERDAM = ZoneInfo("Europe/Amsterdam")
    ZURICH = ZoneInfo("Europe/Zurich")
    TOKYO = ZoneInfo("Asia/Tokyo")
    HONG_KONG = ZoneInfo("Asia/Hong_Kong")
    SHANGHAI = ZoneInfo("Asia/Shanghai")
    KOLKATA = ZoneInfo("Asia/Kolkata")
    SYDNEY = ZoneInfo("Australia/Sydney")
    EASTERN_STANDARD = ZoneInfo("Etc/GMT+5")


OPTION_TYPES = frozenset({SecurityType.OPTION, SecurityType.FUTURE_OPTION, SecurityType.INDEX_OPTION})
"""Security types that are options."""
