"""A Llama with random weights for ONNX Runtime GenAI, by the package's own model builder.

The builder reads a folder as Hugging Face lays it out: a configuration, weights, a tokenizer. The tokenizer here is a
list of made-up words.
"""

import contextlib
import logging
import sys
from pathlib import Path
from typing import Any

from latmodel.errors import UsageError
from latmodel.model.config import ModelConfig

from .model_folder import model_folder

WEIGHT_STD = 0.02
POSITIONS = 4096  # of the tables of rotary embedding
BLOCK = 32  # weights that share a scale


def check_builds(config: ModelConfig, precision: str) -> None:
    """Refuse a shape that the builder or its kernels do not take.

    Raises:
        UsageError: an input width is no multiple of the block of int4 weights.
    """
    widths = (config.hidden_size, config.intermediate_size, config.num_attention_heads * config.head_dim)
    for width in widths:
        if precision == "int4" and width % BLOCK:
            raise UsageError(f"int4 packs {BLOCK} weights a block: an input width of {width} is no multiple")


def build(path: Path, config: ModelConfig, precision: str, seed: int) -> None:
    """Build the model into the folder `path`; logits of a prompt's last position alone.

    Raises:
        UsageError: a package is missing, or the shape is not one that can be built.
    """
    check_builds(config, precision)
    with model_folder() as folder:
        source, cache = folder / "source", folder / "cache"
        _write_source(source, config, seed)
        # The builder prints what it does, a line a tensor.
        logging.disable(logging.INFO)
        with contextlib.redirect_stdout(sys.stderr):
            builder = _builder()
            options: dict[str, Any] = {"hf_token": False, "prune_lm_head": True}
            options["hf_details"] = builder.get_hf_details("", str(source), str(cache), options)
            builder.create_model("", str(source), str(path), precision, "cpu", str(cache), **options)


def _write_source(folder: Path, config: ModelConfig, seed: int) -> None:
    """The configuration, weights and tokenizer that the builder reads."""
    import torch
    from tokenizers import Tokenizer, models
    from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

    settings = LlamaConfig(
        hidden_size=config.hidden_size, intermediate_size=config.intermediate_size,
        num_hidden_layers=config.num_hidden_layers, num_attention_heads=config.num_attention_heads,
        num_key_value_heads=config.num_key_value_heads, head_dim=config.head_dim, vocab_size=config.vocab_size,
        tie_word_embeddings=config.tie_word_embeddings, max_position_embeddings=POSITIONS,
        bos_token_id=1, eos_token_id=2, pad_token_id=0,
    )  # fmt: skip
    with torch.device("meta"):
        model: Any = LlamaForCausalLM(settings)
    model.to_empty(device="cpu")
    random = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.ndim == 1:  # of a norm
                parameter.fill_(1.0)
            else:
                parameter.uniform_(-WEIGHT_STD * 3.0**0.5, WEIGHT_STD * 3.0**0.5, generator=random)
    model.to(torch.bfloat16).save_pretrained(folder)
    words = {f"w{index}": index for index in range(config.vocab_size)}
    tokenizer = Tokenizer(models.WordLevel(words, unk_token="w0"))
    wrapped: Any = PreTrainedTokenizerFast
    wrapped(tokenizer_object=tokenizer, bos_token="w1", eos_token="w2", unk_token="w0").save_pretrained(folder)


def _builder() -> Any:
    try:
        from onnxruntime_genai.models import builder
    except ImportError as error:
        raise UsageError(f"building models needs {error.name}: pip install 'latmodel[onnxruntime]'") from None
    return builder
