"""From a run's journal and equity to numbers, tables and one HTML page; knows the journal's rows, never the engine."""
