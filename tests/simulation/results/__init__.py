"""Tests of `simulation/results/`."""
