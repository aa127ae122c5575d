"""The blocks of a GGUF file: which layer each tensor belongs to, and how large."""

import re
from collections.abc import Callable, Mapping
from typing import Any, Literal

from ...errors import UsageError
from ...model.architecture import Attention, Block, FeedForward, Norm
from ...model.layers.experts import Experts
from ...model.layers.latent_attention import LatentAttention
from .header import TYPES, Header, Tensor

MAX_LAYERS = 5_000
BLOCK_TENSOR = re.compile(r"blk\.(\d{1,5})\.(.+)")
NORMS = ("attn_norm", "attn_norm_2", "ffn_norm", "post_attention_norm", "post_ffw_norm", "layer_output_norm")
# Layers with a window, where metadata gives its width alone: the period, and whether the full layer leads it
# (llama.cpp, `set_swa_pattern` of each architecture).
WINDOWS: dict[str, int] = {
    "gemma2": 2, "gemma3": 6, "gpt-oss": 2, "cohere2": 4, "olmo2": 4, "exaone4": 4, "phi3": 0, "llama": 0,
    "mistral3": 0,
}  # fmt: skip


class File:
    """Access to a header by the names of its architecture, and the blocks that its tensors make."""

    def __init__(self, header: Header, where: str) -> None:
        self.where, self._meta, self._tensors = where, header.metadata, header.tensors
        family = header.metadata.get("general.architecture")
        if not isinstance(family, str) or not family:
            raise UsageError(f"{where}: general.architecture is missing")
        self.family = family
        self.hidden = float(self.whole("embedding_length"))
        plain = {TYPES[one.kind] for one in header.tensors.values() if len(one.shape) > 1} & {"f16", "bf16"}
        self.dtype = "bfloat16" if "bf16" in plain else "float16"

    def optional(self, name: str, low: int = 1, high: int = 10_000_000) -> int | None:
        """A whole number of the architecture's metadata."""
        value = self._meta.get(f"{self.family}.{name}")
        if value is None:
            return None
        if isinstance(value, bool) or not isinstance(value, int) or not low <= value <= high:
            raise UsageError(f"{self.where}: {self.family}.{name} is {str(value)[:40]}")
        return value

    def total(self, name: str) -> int | None:
        """A whole number of the metadata of all architectures."""
        value = self._meta.get(name)
        return value if isinstance(value, int) else None

    def whole(self, name: str, low: int = 1) -> int:
        """The same, which must be there."""
        value = self.optional(name, low)
        if value is None:
            raise UsageError(f"{self.where}: {self.family}.{name[:60]} is missing")
        return value

    def by_layer(self, name: str, index: int) -> int | None:
        """A number that may be a list, one entry a layer."""
        value = self._meta.get(f"{self.family}.{name}")
        if isinstance(value, list):
            if index >= len(value) or not isinstance(value[index], int) or not 0 <= value[index] <= 10_000_000:
                raise UsageError(f"{self.where}: {self.family}.{name} has no number for layer {index}")
            return int(value[index])
        return self.optional(name, 0)

    def blocks(self, tensors: Mapping[str, Tensor]) -> list[dict[str, Tensor]]:
        """The tensors of each block, by their names within it."""
        depth = self.whole("block_count")
        if depth > MAX_LAYERS:
            raise UsageError(f"{self.where}: {self.family}.block_count is {depth}")
        found: list[dict[str, Tensor]] = [{} for _ in range(depth)]
        for name, tensor in tensors.items():
            match = BLOCK_TENSOR.fullmatch(name)
            if match is not None:
                if int(match[1]) >= depth:
                    raise UsageError(f"{self.where}: tensor {name[:60]!r} is beyond block_count {depth}")
                found[int(match[1])][match[2]] = tensor
        return found

    def block(self, index: int, parts: Mapping[str, Tensor]) -> Block:
        """One block from its tensors.

        Raises:
            UsageError: a tensor that is not understood.
        """
        left = dict(parts)
        take = taker(left)
        norms = [take(f"{name}.weight") for name in NORMS]
        biases = sum(take(f"{name}.bias") is not None for name in NORMS)
        count = sum(one is not None for one in norms)
        if biases not in (0, count):
            raise UsageError(f"{self.where}: some norms of block {index} have biases")
        attention = self._latent(index, take) if "attn_kv_a_mqa.weight" in left else self._attention(index, take, left)
        layer = self._layer(index, take, left)
        if left:
            raise UsageError(
                f"{self.where}: tensor 'blk.{index}.{next(iter(left))[:60]}' is of a kind of layer that is not read"
            )
        norm = Norm("layer", 2.0) if biases else Norm("rms", 1.0)
        return Block(attention, layer, count, norm)

    def _attention(
        self, index: int, take: Callable[[str], Tensor | None], left: Mapping[str, Tensor]
    ) -> Attention | None:
        if not any(name.startswith("attn_") for name in left):
            return None
        heads, kv_heads = self.by_layer("attention.head_count", index), self.by_layer("attention.head_count_kv", index)
        if not heads:
            raise UsageError(f"{self.where}: {self.family}.attention.head_count is missing")
        kv_heads = kv_heads or heads
        if heads % kv_heads:
            raise UsageError(f"{self.where}: {heads} heads are no multiple of {kv_heads} key-value heads")
        width = self.optional("attention.key_length") or int(self.hidden) // heads
        fused = take("attn_qkv.weight") is not None
        gate = False
        for name in () if fused else ("attn_q", "attn_k", "attn_v"):
            tensor = self.need(take(f"{name}.weight"), f"blk.{index}.{name}.weight")
            wide = 2 * heads * width
            gate = gate or (name == "attn_q" and tensor.shape[-1] == wide)
        self.need(take("attn_output.weight"), f"blk.{index}.attn_output.weight")
        biases = [
            take(f"{name}.bias") is not None for name in (("attn_qkv",) if fused else ("attn_q", "attn_k", "attn_v"))
        ]
        norms = [take(f"attn_{name}_norm.weight") for name in "qk"]
        kind: Literal["", "head", "width"] = (
            "" if norms[0] is None else ("head" if norms[0].values == width else "width")
        )
        sinks = take("attn_sinks.weight") or take("attn_sinks")
        rotary = self.optional("rope.dimension_count", 0)
        return Attention(
            float(heads), float(kv_heads), float(width), window=self._window(index), qkv_bias=all(biases),
            out_bias=take("attn_output.bias") is not None, qk_norm=kind, sinks=sinks is not None, fused=fused,
            rotary=1.0 if rotary is None else min(1.0, rotary / width), output_gate=gate,
        )  # fmt: skip

    def _latent(self, index: int, take: Callable[[str], Tensor | None]) -> LatentAttention:
        heads, rope = self.by_layer("attention.head_count", index), self.whole("rope.dimension_count")
        rank, latent = self.optional("attention.q_lora_rank", 0), self.whole("attention.kv_lora_rank")
        key = self.optional("attention.key_length_mla") or self.whole("attention.key_length")
        value = self.optional("attention.value_length_mla") or self.whole("attention.value_length")
        for name in ("attn_q_a", "attn_q_b", "attn_q_a_norm", "attn_q", "attn_kv_a_mqa", "attn_kv_a_norm", "attn_kv_b",
                     "attn_k_b", "attn_v_b", "attn_output"):  # fmt: skip
            take(f"{name}.weight")
        if not heads or key <= rope:
            raise UsageError(f"{self.where}: {self.family}.attention: sizes of latent attention are missing or wrong")
        return LatentAttention(
            float(heads), float(rank) if rank else None, float(latent), float(key - rope), float(rope), float(value)
        )

    def _layer(
        self, index: int, take: Callable[[str], Tensor | None], left: Mapping[str, Tensor]
    ) -> FeedForward | Experts | None:
        if "ffn_down_exps.weight" not in left:
            return self._feed_forward(take, "")
        down = self.need(take("ffn_down_exps.weight"), "ffn_down_exps.weight")
        gated = any([take("ffn_gate_exps.weight"), take("ffn_gate_up_exps.weight")])
        take("ffn_up_exps.weight")
        self.need(take("ffn_gate_inp.weight"), f"blk.{index}.ffn_gate_inp.weight")
        bias = take("ffn_down_exps.bias") is not None
        for name in ("ffn_gate_exps", "ffn_up_exps", "ffn_gate_up_exps"):
            take(f"{name}.bias")
        router_bias = any([take("exp_probs_b.bias"), take("exp_probs_b"), take("ffn_gate_inp.bias")])
        shared = self._feed_forward(take, "_shexp")
        return Experts(
            float(down.shape[2] if len(down.shape) > 2 else self.whole("expert_count")),
            float(self.whole("expert_used_count")), float(down.shape[0]), gated, bias, router_bias, shared,
            take("ffn_gate_inp_shexp.weight") is not None,
        )  # fmt: skip

    def _feed_forward(self, take: Callable[[str], Tensor | None], suffix: str) -> FeedForward | None:
        down, up = take(f"ffn_down{suffix}.weight"), take(f"ffn_up{suffix}.weight")
        if down is None or up is None:
            return None
        gate = take(f"ffn_gate{suffix}.weight") is not None
        bias = take(f"ffn_down{suffix}.bias") is not None
        for name in ("ffn_gate", "ffn_up"):
            take(f"{name}{suffix}.bias")
        inner = down.shape[0]
        fused = not gate and up.shape[-1] == 2 * inner
        return FeedForward(float(inner), gate or fused, bias, fused)

    def _window(self, index: int) -> float | None:
        window = self.optional("attention.sliding_window", 0)
        if not window:
            return None
        listed = self._meta.get(f"{self.family}.attention.sliding_window_pattern")
        if isinstance(listed, list) and index < len(listed):
            return float(window) if listed[index] else None
        period = listed if isinstance(listed, int) and 0 < listed <= MAX_LAYERS else WINDOWS.get(self.family)
        if period is None:
            raise UsageError(
                f"{self.where}: {self.family}.attention.sliding_window is set: which layers have it is not known"
            )
        return float(window) if not period or (index + 1) % period else None

    def need(self, tensor: Tensor | None, name: str) -> Tensor:
        if tensor is None:
            raise UsageError(f"{self.where}: tensor {name!r} is missing")
        return tensor


def taker(left: dict[str, Any]) -> Callable[[str], Tensor | None]:
    return lambda name: left.pop(name, None)
