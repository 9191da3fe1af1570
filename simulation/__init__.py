"""The embedded LEAN-compatible engine, its market data and its result files."""
