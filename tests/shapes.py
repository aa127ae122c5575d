"""Shapes of published models that several tests price."""

from latmodel import ModelConfig

# LLaMA 1 and 2 of 7B parameters (arXiv 2302.13971, 2307.09288).
LLAMA_7B = ModelConfig(
    num_hidden_layers=32, hidden_size=4096, intermediate_size=11008, num_attention_heads=32, vocab_size=32000,
    tie_word_embeddings=False,
)  # fmt: skip
