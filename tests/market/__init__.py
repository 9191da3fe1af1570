"""Tests of `market/`."""
