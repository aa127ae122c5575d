"""One record a measured time, and what the model predicts of it."""
