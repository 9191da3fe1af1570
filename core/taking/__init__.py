"""How what happens outside comes in: one at a time, in order of arrival, and a person's words checked."""
