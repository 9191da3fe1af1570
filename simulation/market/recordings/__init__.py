"""Recorded option chains and index histories, which the modelled market is held against; nothing of them is kept."""
