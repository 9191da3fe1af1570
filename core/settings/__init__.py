"""Typed settings: how they are read and refused, and the fields of each room and strategy."""
