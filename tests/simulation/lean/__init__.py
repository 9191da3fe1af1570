"""Tests of `simulation/lean/`."""
