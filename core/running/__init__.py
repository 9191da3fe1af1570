"""What a live run needs beside the trading: one inbox, what outlives the machine, and what a person is told."""
