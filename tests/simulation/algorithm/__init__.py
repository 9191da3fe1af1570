"""Tests of `simulation/algorithm/`."""
