"""Tests of the fault layer."""
