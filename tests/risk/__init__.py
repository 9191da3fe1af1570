"""Tests of `risk/`."""
