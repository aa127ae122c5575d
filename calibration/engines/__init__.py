"""What runs a case: blocks in plain PyTorch, Transformers' layers, compiled, as a CUDA graph."""
