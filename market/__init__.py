"""What is known now: daily history, VIX and its regime, trend, freshness, option chains and the calendar."""
