"""Prices, implied volatilities and Greeks, computed in this room alone. Formulas and sources: docs/greeks.md."""
