"""Tests of `simulation/data/`."""
