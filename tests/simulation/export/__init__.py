"""Tests of `simulation/export/`."""
