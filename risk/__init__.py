"""What may be opened, how large, and when everything must go: one manager, many plugins, fail closed."""
