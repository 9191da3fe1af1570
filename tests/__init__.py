"""Tests; their own helpers live in conftest.py and beside them."""
