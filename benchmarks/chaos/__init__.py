"""Real jobs on a real stack while servers, workers and parsers are killed and stalled."""
