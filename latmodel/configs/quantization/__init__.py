"""What a checkpoint's quantisation means: which products are in which format, with groups, scales, zero points."""
