"""What is on disk, and the face that every source of market data shows."""
