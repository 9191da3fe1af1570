"""Tests of `state/`."""
