"""The strategies: one file each, shared entry and exit rules, and the coordinator that runs them."""
