"""How the packaged profiles are made."""
