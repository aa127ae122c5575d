"""What to measure, and timing it: plan, cases, samples, drift, sessions, a simulated device."""
