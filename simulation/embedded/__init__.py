"""The folder that a backtest puts on the import path, so that `from AlgorithmImports import *` finds this engine."""
