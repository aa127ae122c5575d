"""Whatever names a model: a shape, a preset, a file, a dictionary, an object of Transformers."""

import os
import re
from collections.abc import Mapping
from typing import Any, NamedTuple

from ..model.architecture import Architecture
from ..model.config import CONFIG_FIELDS, ModelConfig, Workload
from ..model.formats import WeightFormat
from ..units import parse_shape
from .model_input import shape_config

_SHAPE_LIKE = re.compile(r"\s*[0-9]+\s*[x×]\s*[0-9]+\s*")


class NamedModel(NamedTuple):
    """A model with the name that it was given by, the format of its weights, and what was assumed of it."""

    name: str
    model: ModelConfig | Architecture
    format: WeightFormat | None = None
    notes: tuple[str, ...] = ()

    @property
    def architecture(self) -> Architecture:
        """The model as a sequence of blocks."""
        return self.model.architecture() if isinstance(self.model, ModelConfig) else self.model

    def under(self, workload: Workload) -> Workload:
        """The workload with the model's own weight format, unless the workload names one."""
        return workload.model_copy(update={"weights": workload.weights or self.format})


def read_model(source: str | os.PathLike[str] | Mapping[str, Any] | Any, *, assume_llama: bool = False) -> NamedModel:
    """A model from a `ModelConfig` or `Architecture`, "80x576" (layers × hidden, the rest filled in), the name of a
    preset, the path of a configuration, a dictionary, or a `PretrainedConfig`.

    A dictionary that holds nothing but the fields of `ModelConfig` is one; any other is a configuration.

    Raises:
        UsageError: it is none of these, cannot be read, or a field is wrong; the field is named.
    """
    if isinstance(source, ModelConfig):
        return NamedModel(f"{source.num_hidden_layers}x{source.hidden_size}", source)
    if isinstance(source, Architecture):
        return NamedModel(f"{int(source.num_hidden_layers)}x{int(source.hidden_size)}", source)
    if isinstance(source, str) and _SHAPE_LIKE.fullmatch(source):
        layers, hidden = parse_shape(source)
        return NamedModel(f"{layers}x{hidden}", shape_config(layers, hidden))
    if isinstance(source, Mapping) and source.keys() <= set(CONFIG_FIELDS):
        return read_model(ModelConfig(**source))
    from .huggingface import read_decoder  # some twenty families, which a plain shape does without

    decoder = read_decoder(source, assume_llama=assume_llama)
    return NamedModel(_name(source, decoder.family), decoder.architecture, decoder.format, decoder.notes)


def _name(source: Any, family: str) -> str:
    if not isinstance(source, str | os.PathLike):
        return family
    path = os.fspath(source)
    stem = os.path.basename(path.rstrip(os.sep))
    return os.path.basename(os.path.dirname(path)) or stem if stem == "config.json" else stem.removesuffix(".json")
