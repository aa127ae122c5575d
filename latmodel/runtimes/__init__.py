"""How a model is carried out: one file a runtime."""
