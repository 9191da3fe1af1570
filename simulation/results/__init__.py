"""What a run leaves: samples, statistics, analysis and LEAN's result files."""
