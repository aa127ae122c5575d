"""GGUF files, read from their headers."""
