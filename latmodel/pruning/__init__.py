"""Pruned shapes that reach a target time."""
