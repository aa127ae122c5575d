"""From operators to seconds: the forward pass on two timelines, intervals, predictions."""
