"""Tests of `simulation/account/`."""
