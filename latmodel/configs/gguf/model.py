"""A GGUF file as an architecture: its tensors say which layers there are, their types what each product takes."""

import os
import re
from collections.abc import Mapping
from dataclasses import replace
from typing import NamedTuple

from ...errors import UsageError
from ...model.architecture import Architecture, Block, Group, Norm
from ...model.formats import WeightFormat
from ...model.gguf import TENSOR_TYPES
from ...model.layers.layer import Layer
from ...model.totals import num_parameters
from .header import TYPES, Header, Tensor, read_header
from .layers import BLOCK_TENSOR, File, taker

# Tensors that are tables of the software, not parameters.
_TABLES = re.compile(r"^(rope_freqs|rope_factors_long|rope_factors_short)\.weight$|(^|\.)attn_rot_embd\.weight$"
                     r"|\.rope_freqs\.weight$|\.rope_factors_(long|short)\.weight$")  # fmt: skip
# The tensors of each linear product.
PRODUCTS: dict[str, tuple[str, ...]] = {
    "q_proj": ("attn_q",), "kv_proj": ("attn_k", "attn_v"), "qkv_proj": ("attn_qkv",), "o_proj": ("attn_output",),
    "gate_up_proj": ("ffn_gate", "ffn_up"), "up_proj": ("ffn_up",), "down_proj": ("ffn_down",),
    "experts_up": ("ffn_gate_exps", "ffn_up_exps", "ffn_gate_up_exps"), "experts_down": ("ffn_down_exps",),
    "q_a_proj": ("attn_q_a",), "q_b_proj": ("attn_q_b",), "kv_a_proj": ("attn_kv_a_mqa",),
    "kv_b_proj": ("attn_kv_b", "attn_k_b", "attn_v_b"),
}  # fmt: skip
_SHARED = {"gate_up_proj": ("ffn_gate_shexp", "ffn_up_shexp"), "up_proj": ("ffn_up_shexp",),
           "down_proj": ("ffn_down_shexp",)}  # fmt: skip
FILE_TYPES = {
    0: "f32", 1: "f16", 2: "q4_0", 3: "q4_1", 7: "q8_0", 8: "q5_0", 9: "q5_1", 10: "q2_k", 11: "q3_k_s", 12: "q3_k_m",
    13: "q3_k_l", 14: "q4_k_s", 15: "q4_k_m", 16: "q5_k_s", 17: "q5_k_m", 18: "q6_k", 25: "iq4_nl", 30: "iq4_xs",
    32: "bf16", 38: "mxfp4",
}  # fmt: skip


class GgufModel(NamedTuple):
    """What a file holds: the architecture, and its tensors' parameters and bytes as they stand."""

    architecture: Architecture
    family: str
    format: WeightFormat | None
    dtype: str
    parameters: int
    tensor_bytes: int
    context: int | None
    notes: tuple[str, ...]


def read_gguf(path: str | os.PathLike[str]) -> GgufModel:
    """The model of a GGUF file, from its header alone; exact to the last parameter, or refused.

    Raises:
        UsageError: unreadable, no text decoder, or a tensor that no known layer explains; it is named.
    """
    header, where = read_header(path), os.fspath(path)
    file = File(header, where)
    tensors = {name: one for name, one in header.tensors.items() if not _TABLES.search(name)}
    blocks = file.blocks(tensors)
    forms = _formats(header)
    groups: dict[Block, float] = {}
    for index, parts in enumerate(blocks):
        block = file.block(index, parts)
        own = tuple((name, form) for name, form in _of_block(block, parts, file.hidden) if _differs(form, forms))
        block = replace(block, formats=own) if forms is not None else block
        groups[block] = groups.get(block, 0.0) + 1.0
    model = _around(file, tuple(Group(count, block) for block, count in groups.items()), tensors)
    counted = sum(one.values for one in tensors.values())
    if int(num_parameters(model)) != counted:
        raise UsageError(
            f"{where}: {counted} parameters are in its tensors, {num_parameters(model):.0f} in the layers read"
        )
    size = sum(one.bytes for one in tensors.values())
    return GgufModel(
        model, file.family, forms, file.dtype, counted, size, file.optional("context_length"), _notes(file)
    )


def _around(file: File, groups: tuple[Group, ...], tensors: Mapping[str, Tensor]) -> Architecture:
    """The whole model: what stands outside of the blocks added."""
    left = {name: one for name, one in tensors.items() if not BLOCK_TENSOR.fullmatch(name)}
    take = taker(left)
    table = file.need(take("token_embd.weight"), "token_embd.weight")
    head, positions = take("output.weight"), take("position_embd.weight")
    norm, bias = take("output_norm.weight"), take("output_norm.bias")
    embedded, embedded_bias = take("token_embd_norm.weight"), take("token_embd_norm.bias")
    head_bias = take("output.bias")
    if left:
        raise UsageError(f"{file.where}: tensor {next(iter(left))[:60]!r} is of a kind that is not read")
    if table.shape[0] != int(file.hidden) or len(table.shape) != 2:
        raise UsageError(f"{file.where}: token_embd.weight is not {int(file.hidden)} wide")
    return Architecture(
        groups, file.hidden, float(table.shape[1]), 1.0 if head is None else 0.0, _norm(norm, bias),
        0.0 if positions is None else float(positions.shape[1]), None, head_bias is not None,
        _norm(embedded, embedded_bias), head_format=None if head is None else _form([head]),
        embedding_format=_form([table]),
    )  # fmt: skip


def _notes(file: File) -> tuple[str, ...]:
    """What a user should know; a file that is a part of another is refused."""
    parts = file.total("split.count")
    if parts is not None and parts > 1:
        raise UsageError(f"{file.where} is one of {parts} parts; join them with llama-gguf-split --merge")
    return ()


def _norm(weight: Tensor | None, bias: Tensor | None) -> Norm | None:
    if weight is None:
        return None
    return Norm("rms", 1.0) if bias is None else Norm("layer", 2.0)


def _form(tensors: list[Tensor]) -> WeightFormat | None:
    """The format of tensors that one product or table holds; None in 16 bits. Mixed types are averaged by bits."""
    kinds = {TYPES[one.kind] for one in tensors}
    if not kinds or kinds <= {"f16", "bf16"}:
        return None
    bits = 8.0 * sum(one.bytes for one in tensors) / sum(one.values for one in tensors)
    return WeightFormat("/".join(sorted(kinds)), bits, None, None, 0.0, shipped=True)


def _of_block(block: Block, parts: Mapping[str, Tensor], hidden: float) -> list[tuple[str, WeightFormat | None]]:
    found = []
    for layer in block.layers:
        for linear in layer.linears(hidden):
            names = _SHARED[linear.name] if _is_shared(layer, linear.name) else PRODUCTS.get(linear.name, ())
            found.append((linear.name, _form([parts[f"{one}.weight"] for one in names if f"{one}.weight" in parts])))
    return found


def _is_shared(layer: Layer, product: str) -> bool:
    return layer.has_experts and product in _SHARED


def _formats(header: Header) -> WeightFormat | None:
    """The file's main format: that of its name, with the bits that most weights of blocks have; None in 16 bits."""
    sizes: dict[int, int] = {}
    for name, one in header.tensors.items():
        if len(one.shape) > 1 and BLOCK_TENSOR.fullmatch(name):
            sizes[one.kind] = sizes.get(one.kind, 0) + one.values
    if not sizes:
        return None
    kind = max(sizes, key=lambda one: sizes[one])
    name = TYPES[kind]
    if name in ("f16", "bf16"):
        return None if len(sizes) == 1 else WeightFormat(name, 16.0, None, None, 0.0, vector_bytes=4.0, shipped=True)
    stated = FILE_TYPES.get(header.metadata.get("general.file_type", -1), name)
    return WeightFormat(stated, TENSOR_TYPES[name].bits, None, None, 0.0, vector_bytes=4.0, shipped=True)


def _differs(form: WeightFormat | None, main: WeightFormat | None) -> bool:
    return form is None or main is None or form.bits != main.bits
