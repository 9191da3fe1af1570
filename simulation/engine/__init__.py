"""Time: the loop, what it can be asked for, and what is due at an instant."""
