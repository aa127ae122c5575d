"""Target and draft of speculative decoding searched together."""
