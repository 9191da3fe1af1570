"""Tests of `execution/`."""
