"""Tests of `reporting/`."""
