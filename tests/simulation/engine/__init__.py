"""Tests of `simulation/engine/`."""
