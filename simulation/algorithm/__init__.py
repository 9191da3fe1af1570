"""What QCAlgorithm offers."""
