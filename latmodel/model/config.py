"""What a user gives: the dimensions of a model and the work it is asked to do, checked at the door."""

from collections.abc import Mapping
from functools import lru_cache
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator

from ..errors import UsageError
from .architecture import Architecture, uniform
from .defaults import TIE_WORD_EMBEDDINGS, VOCAB_SIZE, fill_dimensions
from .formats import CACHE_BYTES, FORMATS, CacheName, Numbers, WeightFormat
from .gguf import GGUF_FORMATS, GGUF_PARTS

# Largest accepted value of any dimension: four times beyond anything built, far below where float64 sums lose bytes.
MAX_DIMENSION = 10_000_000
Dimension = Annotated[int, Field(ge=1, le=MAX_DIMENSION, strict=True)]

DType = Literal["bfloat16", "float16", "float32"]
Logits = Literal["last", "all"]
ALL_FORMATS: dict[str, WeightFormat] = {**FORMATS, **GGUF_FORMATS}
DTYPE_BYTES: dict[str, float] = {"bfloat16": 2.0, "float16": 2.0, "float32": 4.0}

# Architecture columns of a table, in the order of the contract.
CONFIG_FIELDS = (
    "num_hidden_layers",
    "hidden_size",
    "intermediate_size",
    "num_attention_heads",
    "num_key_value_heads",
    "head_dim",
    "vocab_size",
    "tie_word_embeddings",
)


class _Checked(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", protected_namespaces=())

    def __init__(self, **values: Any) -> None:
        try:
            super().__init__(**values)
        except ValidationError as error:
            raise UsageError(describe(error, type(self).__name__)) from None


class ModelConfig(_Checked):
    """A decoder with identical blocks, by the names of a Hugging Face `config.json`.

    What is left out is filled in by `defaults.fill_dimensions`; `num_hidden_layers` and `hidden_size` must be given.

    Raises:
        UsageError: a dimension is missing, not a whole number from 1 to 1e7, or does not divide as it must.
    """

    num_hidden_layers: Dimension
    hidden_size: Dimension
    intermediate_size: Dimension = None  # type: ignore[assignment]  # filled in, as all below
    num_attention_heads: Dimension = None  # type: ignore[assignment]
    num_key_value_heads: Dimension = None  # type: ignore[assignment]
    head_dim: Dimension = None  # type: ignore[assignment]
    vocab_size: Dimension = VOCAB_SIZE
    tie_word_embeddings: bool = TIE_WORD_EMBEDDINGS

    @model_validator(mode="before")
    @classmethod
    def _fill(cls, values: Any) -> Any:
        if not isinstance(values, Mapping):
            return values
        used = [values.get(name) for name in ("hidden_size", "num_attention_heads", "head_dim")]
        checkable = all(value is None or (isinstance(value, int) and value > 0) for value in used)
        # A value that is none is told of by its own field.
        return fill_dimensions(values) if checkable else dict(values)

    @model_validator(mode="after")
    def _divides(self) -> "ModelConfig":
        if self.num_attention_heads % self.num_key_value_heads:
            raise ValueError(
                f"num_attention_heads {self.num_attention_heads} is not divisible by "
                f"num_key_value_heads {self.num_key_value_heads}"
            )
        return self

    def architecture(self) -> Architecture:
        """The sequence of blocks that these dimensions mean (Llama's: gated FFN, RMSNorm, RoPE, no biases)."""
        return _architecture(
            self.num_hidden_layers, self.hidden_size, self.intermediate_size, self.num_attention_heads,
            self.num_key_value_heads, self.head_dim, self.vocab_size, self.tie_word_embeddings,
        )  # fmt: skip


@lru_cache(maxsize=1024)
def _architecture(
    layers: int, hidden: int, inner: int, heads: int, kv_heads: int, head_dim: int, vocab: int, tie: bool
) -> Architecture:
    """Kept by value: a search prices the same shape under many workloads."""
    return uniform(
        num_hidden_layers=float(layers),
        hidden_size=float(hidden),
        intermediate_size=float(inner),
        num_attention_heads=float(heads),
        num_key_value_heads=float(kv_heads),
        head_dim=float(head_dim),
        vocab_size=float(vocab),
        tie_word_embeddings=float(tie),
        aligned=not any(width % 8 for width in (hidden, inner, head_dim, vocab)),
    )


class Workload(_Checked):
    """What is asked of the model: read `prompt_tokens`, then generate `new_tokens`, for `batch_size` sequences at once.

    `logits="all"` computes logits for every prompt position, as a bare `model(input_ids)` does; `generate` needs
    the last one only. The response is the prefill and `new_tokens` decode steps. `cached_tokens` positions before the
    prompt are in the KV cache already, as a prefix that was read earlier. `weights` quantises the linear layers of the
    blocks, `kv_cache` the cache; None leaves them in `dtype`, in which all arithmetic is done.

    Raises:
        UsageError: a value is not a whole number in range, or not one of the choices.
    """

    prompt_tokens: Dimension = 512
    new_tokens: Annotated[int, Field(ge=0, le=MAX_DIMENSION, strict=True)] = 100
    batch_size: Dimension = 1
    dtype: DType = "bfloat16"
    logits: Logits = "last"
    weights: str | WeightFormat | None = None  # a name of ALL_FORMATS, or a format of your own
    kv_cache: CacheName | None = None
    cached_tokens: Annotated[int, Field(ge=0, le=MAX_DIMENSION, strict=True)] = 0

    @field_validator("weights")
    @classmethod
    def _known(cls, weights: str | WeightFormat | None) -> str | WeightFormat | None:
        if isinstance(weights, str) and weights not in ALL_FORMATS:
            raise ValueError(f"no such format; choose from {', '.join(ALL_FORMATS)}")
        return weights

    @property
    def numbers_name(self) -> str:
        """How weights, cache and arithmetic are kept, for a title: "bfloat16, int4-awq weights, fp8 cache"."""
        weights = self.weights.name if isinstance(self.weights, WeightFormat) else self.weights
        named = [f"{weights} weights"] if weights else []
        return ", ".join([self.dtype, *named, *([f"{self.kv_cache} cache"] if self.kv_cache else [])])

    def numbers(self) -> Numbers:
        """Bytes per element under this dtype and these formats."""
        size = DTYPE_BYTES[self.dtype]
        cache = CACHE_BYTES[self.kv_cache] if self.kv_cache else size
        if self.weights is None:
            return Numbers(size, size, cache)
        chosen = ALL_FORMATS[self.weights] if isinstance(self.weights, str) else self.weights
        parts = GGUF_PARTS.get(chosen.name, ()) if chosen.head_bits is not None else ()
        return Numbers(chosen.bytes_each, size, cache, chosen, parts)


def describe(error: ValidationError, what: str) -> str:
    """The first problem of a pydantic error in one line: the field, what is wrong, what was given."""
    first = error.errors(include_url=False)[0]
    where = ".".join(str(part) for part in first["loc"]) or what
    message = first["msg"].removeprefix("Value error, ")
    given = first.get("input")
    shown = f" (got {str(given)[:40]!r})" if isinstance(given, (str, int, float, bool)) else ""
    return f"{where}: {message}{shown}"
