"""The commands of ``python run.py``: the bootstrap and what runs inside its environment."""
