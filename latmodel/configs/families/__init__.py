"""Families of decoders: reading their configurations."""
