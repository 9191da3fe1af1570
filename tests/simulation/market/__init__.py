"""Tests of `simulation/market/`."""
