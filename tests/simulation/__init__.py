"""Tests of the embedded engine, room by room."""
