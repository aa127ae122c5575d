"""How a model is carried out: one file a runtime, and the registry that profiles name them by."""
