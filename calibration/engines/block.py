"""One decoder block and what surrounds it, in plain PyTorch: pure functions of weights, a cache and a position.

Weights are views into one arena of random numbers, so that a ring of blocks costs no time to make and is as cold as a
real model's. Values stay finite: norms bound what enters every product, and the numbers of the arena are small.
"""

from typing import NamedTuple

import torch
import torch.nn.functional as F  # noqa: N812
from torch import Tensor

from latmodel.model.config import ModelConfig

from ..measure.cases import ALIGNMENT, Case

ROPE_BASE = 10_000.0
EPSILON = 1e-6
WEIGHT_STD = 0.02
DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16}


class Arena:
    """A pool of random numbers that weights are cut from; `rewind` starts again at its beginning."""

    def __init__(self, elements: int, dtype: torch.dtype, device: torch.device, seed: int = 0) -> None:
        generator = torch.Generator(device=device).manual_seed(seed)
        self._values = torch.empty(elements, dtype=dtype, device=device)
        self._values.uniform_(-1.7 * WEIGHT_STD, 1.7 * WEIGHT_STD, generator=generator)
        self._next = 0

    @property
    def elements(self) -> int:
        """How many numbers there are."""
        return self._values.numel()

    def rewind(self) -> None:
        """Give out the same numbers again."""
        self._next = 0

    def take(self, *shape: int) -> Tensor:
        """A contiguous tensor of `shape`.

        Raises:
            MemoryError: the arena is too small; it must be made for the largest case.
        """
        count = 1
        for size in shape:
            count *= size
        if self._next + count > self.elements:
            raise MemoryError(f"the arena of {self.elements} elements is used up")
        taken = self._values[self._next : self._next + count].view(shape)
        self._next += -(-count // ALIGNMENT) * ALIGNMENT
        return taken


class BlockWeights(NamedTuple):
    """Matrices are (out × in), as `torch.nn.functional.linear` takes them."""

    input_norm: Tensor  # [hidden]
    q: Tensor  # [heads · head_dim, hidden]
    k: Tensor  # [kv_heads · head_dim, hidden]
    v: Tensor
    o: Tensor  # [hidden, heads · head_dim]
    post_norm: Tensor
    gate: Tensor  # [intermediate, hidden]
    up: Tensor
    down: Tensor  # [hidden, intermediate]


class Cache(NamedTuple):
    """Keys and values of one block, written in place: [batch, kv_heads, positions, head_dim]."""

    keys: Tensor
    values: Tensor


class HeadWeights(NamedTuple):
    """Embedding, final norm and LM head (the embedding itself where they are tied)."""

    embedding: Tensor  # [vocab, hidden]
    norm: Tensor
    lm_head: Tensor  # [vocab, hidden]


def block_weights(config: ModelConfig, arena: Arena) -> BlockWeights:
    """Random weights of one block."""
    hidden, inner = config.hidden_size, config.intermediate_size
    queries, keys = config.num_attention_heads * config.head_dim, config.num_key_value_heads * config.head_dim
    take = arena.take
    return BlockWeights(
        take(hidden), take(queries, hidden), take(keys, hidden), take(keys, hidden), take(hidden, queries),
        take(hidden), take(inner, hidden), take(inner, hidden), take(hidden, inner),
    )  # fmt: skip


def head_weights(config: ModelConfig, arena: Arena) -> HeadWeights:
    """Random weights of the embedding, the final norm and the LM head."""
    embedding = arena.take(config.vocab_size, config.hidden_size)
    norm = arena.take(config.hidden_size)
    tied = config.tie_word_embeddings
    return HeadWeights(embedding, norm, embedding if tied else arena.take(config.vocab_size, config.hidden_size))


def new_cache(config: ModelConfig, batch: int, positions: int, dtype: torch.dtype, device: torch.device) -> Cache:
    """A cache filled with small random numbers, so that attention over it is finite."""
    shape = (batch, config.num_key_value_heads, positions, config.head_dim)
    keys, values = (torch.empty(shape, dtype=dtype, device=device).uniform_(-1.0, 1.0) for _ in range(2))
    return Cache(keys, values)


def rope_table(config: ModelConfig, positions: int, dtype: torch.dtype, device: torch.device) -> tuple[Tensor, Tensor]:
    """Cosines and sines, [positions, head_dim] each (Su et al. 2021; halves rotated, as Llama does)."""
    half = torch.arange(0, config.head_dim, 2, device=device, dtype=torch.float32)
    frequencies = ROPE_BASE ** (-half / config.head_dim)
    angles = torch.outer(torch.arange(positions, device=device, dtype=torch.float32), frequencies)
    both = torch.cat((angles, angles), dim=-1)[:, : config.head_dim]
    return both.cos().to(dtype), both.sin().to(dtype)


def rotate(x: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
    """Rotary embedding of x [batch, heads, tokens, head_dim] by angles [tokens, head_dim]."""
    half = x.shape[-1] // 2
    turned = torch.cat((-x[..., half:], x[..., :half]), dim=-1)
    return x * cos + turned * sin


def causal_mask(tokens: int, cached: int, device: torch.device) -> Tensor:
    """[tokens, cached + tokens]: true where a new token sees a position. SDPA's own `is_causal` counts from the first
    position of the cache, so that several tokens behind one need it."""
    return torch.ones(tokens, cached + tokens, dtype=torch.bool, device=device).tril_(cached)


def block_forward(
    w: BlockWeights, x: Tensor, cos: Tensor, sin: Tensor, cache: Cache, start: int, mask: Tensor | None = None
) -> Tensor:
    """x [batch, tokens, hidden] at positions `start …` through one block; its keys and values enter the cache.

    Several tokens behind a cache need a `mask`, which all blocks share.
    """
    batch, tokens, hidden = x.shape
    head_dim = cache.keys.shape[-1]
    heads = (batch, tokens, -1, head_dim)
    normed = F.rms_norm(x, (hidden,), w.input_norm, EPSILON)
    q = F.linear(normed, w.q).view(heads).transpose(1, 2)  # [batch, heads, tokens, head_dim]
    k = F.linear(normed, w.k).view(heads).transpose(1, 2)
    v = F.linear(normed, w.v).view(heads).transpose(1, 2)
    end = start + tokens
    q, k = rotate(q, cos[start:end], sin[start:end]), rotate(k, cos[start:end], sin[start:end])
    cache.keys[:, :, start:end].copy_(k)
    cache.values[:, :, start:end].copy_(v)
    attended = F.scaled_dot_product_attention(
        q, cache.keys[:, :, :end], cache.values[:, :, :end],
        attn_mask=mask, is_causal=tokens > 1 and mask is None, enable_gqa=q.shape[1] != cache.keys.shape[1],
    )  # fmt: skip
    x = x + F.linear(attended.transpose(1, 2).reshape(batch, tokens, -1), w.o)
    normed = F.rms_norm(x, (hidden,), w.post_norm, EPSILON)
    return x + F.linear(F.silu(F.linear(normed, w.gate)) * F.linear(normed, w.up), w.down)


def head_forward(w: HeadWeights, x: Tensor, logits_all: bool) -> Tensor:
    """Logits [batch, 1 or tokens, vocab] of hidden states [batch, tokens, hidden]."""
    normed = F.rms_norm(x, (x.shape[-1],), w.norm, EPSILON)
    # Contiguous: a strided view would be multiplied as a batch, with a copy of the whole matrix (see `llama.fill`).
    return F.linear(normed if logits_all else normed[:, -1:].contiguous(), w.lm_head)


def case_tokens(case: Case, device: torch.device) -> Tensor:
    """Random token ids [batch, tokens]: the prompt, or one token for the head of a decode step."""
    count = 1 if case.phase == "decode" and case.part == "head" else case.workload.prompt_tokens
    return torch.randint(case.config.vocab_size, (case.workload.batch_size, count), device=device)
