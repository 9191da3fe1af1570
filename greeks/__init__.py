"""Prices, implied volatilities and Greeks: the only room where one is computed. Formulas and sources: docs/greeks.md."""
