"""The real model, built, run and compared with its prediction."""
