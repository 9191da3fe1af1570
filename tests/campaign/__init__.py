"""The campaign: the whole system over a faulty broker, week after week, held against what must always be true."""
