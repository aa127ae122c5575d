"""Readers of published measurements, one file for each format; each yields checked observations."""
