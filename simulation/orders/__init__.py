"""An order's life: requests, checks, the queue, the simulated broker, fills, fees and exercise."""
