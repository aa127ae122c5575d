"""One model over several devices of a node, layers cut by heads and columns: derived, never measured whole.

Each block is cut as Megatron does (Shoeybi et al. 2019, arXiv 1909.08053): heads and FFN columns are dealt out, the
outputs of both layers are summed over all devices. So is the embedding, which is cut by words as the LM head is.
"""

from dataclasses import replace
from typing import Any

from ..device.links import link_of
from ..errors import UsageError
from ..model.architecture import Architecture, Attention, Block, FeedForward
from ..model.config import Workload
from .inputs import work_of
from .predictor import Predictor

SUMS = 2.0  # all-reduces a block: after attention and after the FFN


def share_of(model: Architecture, devices: int) -> Architecture:
    """What one of so many devices holds and computes. Fewer KV heads than devices are repeated, one each.

    Raises:
        UsageError: heads, columns or words do not divide, or a layer is of another kind.
    """
    groups = tuple(replace(group, block=_share_of_block(group.block, devices)) for group in model.groups)
    if model.stem or model.vocab_size % devices:
        raise UsageError(f"--devices {devices}: does not divide a vocabulary of {model.vocab_size:g}, or the stem")
    return replace(model, groups=groups, vocab_size=model.vocab_size / devices)


def _share_of_block(block: Block, devices: int) -> Block:
    attention, ffn = block.attention, block.feed_forward
    if not (type(attention) is Attention and type(ffn) is FeedForward and len(block.layers) == 2):
        raise UsageError("--devices: only blocks of attention and a dense FFN are cut")
    kv_heads = attention.kv_heads
    shared = kv_heads % devices == 0 or devices % kv_heads == 0
    if attention.heads % devices or ffn.intermediate_size % devices or not shared:
        raise UsageError(
            f"--devices {devices}: does not divide {attention.heads:g} heads, {kv_heads:g} KV heads and an FFN of "
            f"{ffn.intermediate_size:g}"
        )
    cut = replace(attention, heads=attention.heads / devices, kv_heads=max(kv_heads / devices, 1.0))
    return replace(block, attention=cut, feed_forward=replace(ffn, intermediate_size=ffn.intermediate_size / devices))


def together(predictor: Predictor, model: Architecture, workload: Workload, devices: int) -> dict[str, Any]:
    """A prediction's fields for `devices` of the predictor's kind: times and their intervals with the sums, which
    nothing hides; memory of one device.

    Not counted: launches of the sums, gathering logits, and what overlaps.

    Raises:
        UsageError: no link between such devices is known, or they do not divide the model.
    """
    link, work = link_of(predictor.profile.gpu, devices), work_of(workload)
    row = predictor.predict(share_of(model, devices), workload).as_dict()
    sums, each = SUMS * model.num_hidden_layers + 1.0, model.hidden_size * work.numbers.activation_bytes
    prefill_s = sums * link.all_reduce_s(work.prefill().rows * each)
    step_s = sums * link.all_reduce_s(work.batch * each)
    added = {"prefill_s": prefill_s, "decode_s_per_token": step_s, "response_s": prefill_s + work.new * step_s}
    for name, seconds in added.items():
        for end in ("", "_low", "_high"):
            if row[f"{name}{end}"] is not None:
                row[f"{name}{end}"] += float(seconds)
    why = f"{devices} devices: one device's share and NCCL's published all-reduce ({link.source}), never measured whole"
    return {
        **row, "num_parameters": int(model.num_parameters), "devices": devices,
        "all_reduce_prefill_s": float(prefill_s), "all_reduce_s_per_token": float(step_s), "extrapolated": True,
        "extrapolated_because": [why, *row["extrapolated_because"]],
    }  # fmt: skip
