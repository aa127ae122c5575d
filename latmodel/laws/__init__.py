"""Device time of one operator: the laws of its kind, their coefficients, and a learned correction."""
