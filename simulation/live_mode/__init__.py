"""Live mode in the embedded engine: threads, clocks, late acknowledgements, restarts (lean-facts, section 13)."""
