"""Tests of `simulation/securities/`."""
