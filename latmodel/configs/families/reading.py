"""`config.json` as plain data: size, nesting and kind checked before anything is made of it."""

import json
import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ...errors import UsageError
from ...strict_json import no_duplicates, read_regular

MAX_BYTES = 256_000  # the largest configurations of decoders have a few tens of kB
# Where a multimodal wrapper keeps its decoder.
INNER = ("text_config", "llm_config", "language_config")
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
    re.split(
        r"\s+",
        "bert roberta xlm-roberta distilbert albert electra camembert deberta deberta-v2 modernbert mpnet ernie esm "
        "nomic_bert t5 mt5 umt5 bart mbart pegasus marian whisper m2m_100 vit deit beit swin clip siglip dinov2 "
        "convnext resnet wav2vec2 hubert longformer big_bird xlnet layoutlm layoutlmv3 clip_text_model "
        "siglip_vision_model",
    )
)


def plain_data(source: str | os.PathLike[str] | Mapping[str, Any] | Any) -> dict[str, Any]:
    """The configuration as a dictionary, from a path, a mapping, or an object with `to_dict` (`PretrainedConfig`).

    Raises:
        UsageError: it cannot be read, is too large, too deep or not a JSON object.
    """
    if isinstance(source, str | os.PathLike):
        return _file(Path(source))
    if hasattr(source, "to_dict"):
        source = source.to_dict()
    if not isinstance(source, Mapping):
        raise UsageError(f"config is a {type(source).__name__}: give a path, a dictionary or a PretrainedConfig")
    return {str(key): value for key, value in source.items()}


def _file(path: Path) -> dict[str, Any]:
    where = path / "config.json" if path.is_dir() else path
    try:
        raw = read_regular(where, MAX_BYTES)
    except (OSError, ValueError) as error:
        raise UsageError(f"cannot read {where}: {getattr(error, 'strerror', None) or error}") from None
    return parse(raw, str(where))


def parse(raw: bytes, where: str) -> dict[str, Any]:
    """JSON text as a dictionary.

    Raises:
        UsageError: too large, too deep, not JSON, or not an object.
    """
    if len(raw) > MAX_BYTES:
        raise UsageError(f"{where} is larger than {MAX_BYTES} bytes and is no config.json")
    try:
        data = json.loads(raw, object_pairs_hook=no_duplicates)
    except RecursionError:
        raise UsageError(f"{where} is nested too deeply to be a config.json") from None
    except ValueError as error:
        raise UsageError(f"{where} is not valid JSON: {str(error)[:120]}") from None
    if not isinstance(data, dict):
        raise UsageError(f"{where} holds a JSON {type(data).__name__}, not an object; give a model's config.json")
    return data


def decoder_part(data: dict[str, Any]) -> tuple[dict[str, Any], list[str]]:
    """The text decoder of a configuration, and notes on what of it is left out.

    Raises:
        UsageError: the configuration is of an encoder, a vision or an audio model.
    """
    for name in INNER:
        inner = data.get(name)
        if isinstance(inner, Mapping):
            return _unwrapped(data, dict(inner), name)
    kind = data.get("model_type")
    if isinstance(kind, str) and kind in ENCODERS:
        raise UsageError(f"model_type: {kind!r} is no decoder; latmodel predicts decoder-only language models")
    for field, what in FOREIGN.items():
        if data.get(field) and "num_experts" not in data:
            raise UsageError(f"{field}: this is the configuration of {what}; latmodel predicts text decoders")
    return data, []


def _unwrapped(outer: dict[str, Any], inner: dict[str, Any], name: str) -> tuple[dict[str, Any], list[str]]:
    for shared in ("tie_word_embeddings", "torch_dtype", "dtype", "quantization_config"):
        if shared in outer:
            inner.setdefault(shared, outer[shared])
    others = sorted(key for key, value in outer.items() if key.endswith("_config") and key != name and value)
    others = [key for key in others if key not in ("quantization_config", "generation_config")]
    left_out = f", {', '.join(others)[:120]} left out" if others else ""
    return inner, [f"{name}: the text decoder alone is read{left_out}"]
