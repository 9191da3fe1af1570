"""Tests of `greeks/`."""
