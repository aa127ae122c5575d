"""Observations → coefficients ± error → a profile."""
