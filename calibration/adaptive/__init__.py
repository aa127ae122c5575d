"""What to measure next: the cases that narrow the interval of one answer most, until it narrows no more."""
