"""The whole system: several rooms at once."""
