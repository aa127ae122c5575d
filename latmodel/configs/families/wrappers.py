"""Which part of a configuration is the text decoder, and which configurations are of none."""

import re
from collections.abc import Mapping
from typing import Any

from ...errors import UsageError
from .fields import ALIASES

# Where a multimodal wrapper keeps its decoder, in the order of preference.
INNER = (
    "text_config", "thinker_config", "llm_config", "language_config", "language_model_config", "lm_config",
    "text_model_config", "decoder_config", "text_cfg", "language_model",
)  # fmt: skip
MAX_NESTING = 4
# Fields that no text decoder has, and what they mean.
FOREIGN = {
    "is_encoder_decoder": "an encoder-decoder",
    "image_size": "a vision model",
    "patch_size": "a vision model",
    "num_mel_bins": "an audio model",
    "type_vocab_size": "an encoder (token types)",
    "position_biased_input": "an encoder",
    "relative_attention_num_buckets": "an encoder",
}
ENCODERS = frozenset(
    [
        "bert",
        "roberta",
        "xlm-roberta",
        "distilbert",
        "albert",
        "electra",
        "camembert",
        "deberta",
        "deberta-v2",
        "modernbert",
        "mpnet",
        "ernie",
        "esm",
        "nomic_bert",
        "t5",
        "mt5",
        "umt5",
        "bart",
        "mbart",
        "pegasus",
        "marian",
        "whisper",
        "m2m_100",
        "vit",
        "deit",
        "beit",
        "swin",
        "clip",
        "siglip",
        "dinov2",
        "convnext",
        "resnet",
        "wav2vec2",
        "hubert",
        "longformer",
        "big_bird",
        "xlnet",
        "layoutlm",
        "layoutlmv3",
        "clip_text_model",
        "siglip_vision_model",
        "siglip2",
        "git",
        "clip_vision_model",
        "blip",
        "bert-generation",
        "xlm",
        "data2vec-text",
        "rembert",
        "roformer",
        "megatron-bert",
    ]
)
_DRAFT = re.compile(r"eagle|medusa|mtp|nextn|draft|speculat|hydra|dflash", re.IGNORECASE)
_OTHER_HEAD = re.compile(
    r"For(SequenceClassification|TokenClassification|QuestionAnswering|MaskedLM|MultipleChoice|ImageClassification"
    r"|Reward\w*|CTC|Embedding|Retrieval)$|RewardModel$|Classifi(er|cation)$"
)
_HEADLESS = re.compile(r"(?<!LMHead)(?<!ChatGLM)Model$")


def decoder_part(data: dict[str, Any], depth: int = 0) -> tuple[dict[str, Any], list[str]]:
    """The text decoder of a configuration, and notes on what of it is left out.

    Raises:
        UsageError: the configuration is of an encoder, a vision or an audio model, a draft head or a classifier.
    """
    kind = data.get("model_type")
    if isinstance(kind, str) and kind in ENCODERS:
        raise UsageError(f"model_type: {kind!r} is no decoder; latmodel predicts decoder-only language models")
    _check_head(data)
    for name in INNER:
        inner = data.get(name)
        if isinstance(inner, Mapping) and inner and depth < MAX_NESTING and not _is_whole(data, inner):
            return _unwrapped(data, dict(inner), name, depth)
    for field, what in FOREIGN.items():
        if data.get(field) and not any(name in data for name in ("num_experts", "model_name")):
            raise UsageError(f"{field}: this is the configuration of {what}; latmodel predicts text decoders")
    return data, []


def _is_whole(outer: Mapping[str, Any], inner: Mapping[str, Any]) -> bool:
    """Whether the outer part is a decoder by itself and the inner one no more than a remark on it."""
    return (
        _has_sizes(outer) and not _has_sizes(inner) and not any(isinstance(inner.get(name), Mapping) for name in INNER)
    )


def _has_sizes(data: Mapping[str, Any]) -> bool:
    return all(
        any(isinstance(data.get(name), int) for name in (field, *ALIASES[field]))
        for field in ("hidden_size", "num_hidden_layers")
    )


def _check_head(data: Mapping[str, Any]) -> None:
    """Refuse what `architectures` names as anything but a language model.

    Raises:
        UsageError: a draft head, a classifier, or a model without a head.
    """
    named = data.get("architectures")
    first = named[0] if isinstance(named, list | tuple) and named else None
    if not isinstance(first, str):
        return
    if _DRAFT.search(first) or data.get("draft_vocab_size"):
        raise UsageError(
            f"architectures: {first[:60]!r} is a draft head that shares parts of another model; give that model"
        )
    if _OTHER_HEAD.search(first):
        raise UsageError(f"architectures: {first[:60]!r} has another head than a language model's")
    if _HEADLESS.search(first) and "auto_map" not in data:
        raise UsageError(f"architectures: {first[:60]!r} has no language model's head; latmodel predicts text decoders")


def _unwrapped(outer: dict[str, Any], inner: dict[str, Any], name: str, depth: int) -> tuple[dict[str, Any], list[str]]:
    if not inner.get("model_type"):
        inner["model_type"] = outer.get("model_type")
    for shared in ("tie_word_embeddings", "torch_dtype", "dtype", "quantization_config"):
        if outer.get(shared) is not None and inner.get(shared) is None:
            inner[shared] = outer[shared]
    others = sorted(key for key, value in outer.items() if key.endswith("_config") and key != name and value)
    others = [key for key in others if key not in ("quantization_config", "generation_config")]
    left_out = f", {', '.join(others)[:120]} left out" if others else ""
    found, deeper = decoder_part(inner, depth + 1)
    return found, deeper or [f"{name}: the text decoder alone is read{left_out}"]
