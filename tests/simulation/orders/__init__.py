"""Tests of `simulation/orders/`."""
