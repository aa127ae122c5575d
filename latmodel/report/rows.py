"""Rows as programs read them: the model's shape, the workload, what is predicted, versions and notes. SI units."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

from ..configs.model_input import config_dict, dimensions
from ..model.architecture import Architecture, uniform
from ..model.config import ModelConfig, Workload
from ..predict.predictor import Predictor
from ..units import show_bytes
from ..version import __version__

PLAIN_LLAMA = "plain_llama"  # false in a row whose model is more than its dimensions say


class Answer(NamedTuple):
    """What goes to stdout, and the notes on it, which a table leaves to stderr and rows hold themselves."""

    text: str
    notes: Sequence[str]


def notes_of(rows: Iterable[Mapping[str, Any]]) -> list[str]:
    """The notes of some rows, each once, in order."""
    return list(dict.fromkeys(note for row in rows for note in row["notes"]))


def shape_fields(model: ModelConfig | Architecture) -> dict[str, Any]:
    """Dimensions by their Hugging Face names; where blocks differ, those of the commonest.

    A model that is more than its dimensions say (other layers, biases, blocks that differ) is told by `plain_llama`.
    """
    if isinstance(model, ModelConfig):
        return config_dict(model)
    fields = dimensions(model)
    fields |= {"vocab_size": int(model.vocab_size), "tie_word_embeddings": bool(model.tie_word_embeddings)}
    return fields if _is_llama(model, fields) else {**fields, PLAIN_LLAMA: False}


def _is_llama(model: Architecture, fields: Mapping[str, Any]) -> bool:
    """Whether the model is the Llama of these dimensions and nothing else."""
    known = {name: float(value) for name, value in fields.items()}
    return any(uniform(**known, aligned=aligned) == model for aligned in (True, False))


def workload_fields(workload: Workload) -> dict[str, Any]:
    """The workload by the names that a table of architectures reads; None where a format is that of `dtype`.

    A cached prefix is told of where there is one.
    """
    fields = {
        name: getattr(workload, name)
        for name in ("batch_size", "prompt_tokens", "new_tokens", "dtype", "weights", "kv_cache", "logits")
    }
    prefix = {"cached_tokens": workload.cached_tokens} if workload.cached_tokens else {}
    return {**{name: getattr(value, "name", value) for name, value in fields.items()}, **prefix}


def run_notes(predictor: Predictor, workload: Workload, *more: Iterable[str]) -> list[str]:
    """What must be known of the numbers: of the profile, of the number formats, and `more`; each once, in order."""
    lines = [*predictor.notes, *predictor.number_notes(workload)]
    for some in more:
        lines += some
    return list(dict.fromkeys(lines))


def memory_note(predictor: Predictor, peak_bytes: float) -> list[str]:
    """That a model misses the memory by less than the margin, if it does."""
    known = predictor.room
    if not predictor.memory_bytes < peak_bytes <= known.sheet_bytes:
        return []
    return [
        f"near miss: {show_bytes(peak_bytes)} of the device's {show_bytes(known.sheet_bytes)}, of which the driver "
        f"leaves about {show_bytes(known.usable_bytes)}; a model may fill {show_bytes(predictor.memory_bytes)}, "
        "which leaves a margin for the error of this prediction (--memory-margin)"
    ]


def full_row(
    row: Mapping[str, Any],
    predictor: Predictor,
    workload: Workload,
    notes: Sequence[str] = (),
    *,
    shape: Mapping[str, Any] | None = None,
) -> dict[str, Any]:
    """A row of results with everything that was given to get it, the version that made it and its notes.

    `shape` is the model's, where the row does not hold it already; the notes that a prediction has of its own come
    first.
    """
    own = list(row.get("notes", ()))
    return {
        **(shape or {}),
        **{name: value for name, value in row.items() if name != "notes"},
        **{name: value for name, value in workload_fields(workload).items() if name not in row},
        "attention": row.get("attention") or predictor.attention,
        "latmodel_version": __version__,
        "notes": list(dict.fromkeys([*own, *notes, *memory_note(predictor, row["peak_memory_bytes"])])),
    }
