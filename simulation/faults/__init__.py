"""What a broker, a feed, a disk or a person may do to a system that trades: by seed and rate, the same each time."""
