"""A market written out in LEAN's layout."""
