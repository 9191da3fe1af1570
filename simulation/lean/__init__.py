"""LEAN's words: names, enumerations, symbols, times, bars."""
