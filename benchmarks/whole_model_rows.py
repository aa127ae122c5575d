"""The rows of `whole_models/measurements.csv`: a model, a workload, a runtime with its attention, and a time."""

from dataclasses import dataclass
from pathlib import Path

from calibration.sources.tables import read_table
from latmodel.model.config import CONFIG_FIELDS, DType, Logits, ModelConfig, Workload

COLUMNS = (
    "source", "gpu", "runtime", "model", "weights", "dtype", "batch_size", "prompt_tokens", "new_tokens", "phase",
    "seconds", "note", "logits", *CONFIG_FIELDS,
)  # fmt: skip
# Transformers 4.46 repeats grouped keys and values before flash attention; vLLM's rows are of 2024, its engine 0.
ATTENTION = {"flash_attention_2": "flash-4"}
ENGINE_ATTENTION = {"vllm": "flash-0"}
DTYPES: dict[str, DType] = {"bfloat16": "bfloat16", "float16": "float16"}
LOGITS: dict[str, Logits] = {"last": "last", "all": "all"}
GGUF = ("q4_k_m", "f16")  # llama.cpp's formats, of which rows are counted and not priced


@dataclass(frozen=True)
class Row:
    """One time that somebody measured of a whole model, or of one layer."""

    source: str
    gpu: str
    runtime: str
    model: str
    attention: str | None  # None: the runtime's own
    format_name: str
    phase: str
    seconds: float
    config: ModelConfig
    workload: Workload

    @property
    def owner(self) -> str:
        """Who published it."""
        return self.source.split("/", 1)[0]


def read_rows(path: Path) -> list[Row]:
    """All rows of the file; a column that is missing is an error."""
    return [_row(cells) for cells in read_table(path, COLUMNS)]


def _row(cells: dict[str, str]) -> Row:
    sizes = {name: int(cells[name]) for name in CONFIG_FIELDS if name != "tie_word_embeddings"}
    weights = cells["weights"] or None
    attention = next((name for note, name in ATTENTION.items() if note in cells["note"]), None)
    attention = attention or ENGINE_ATTENTION.get(cells["runtime"])
    return Row(
        source=cells["source"], gpu=cells["gpu"], runtime=cells["runtime"], model=cells["model"], attention=attention,
        format_name=weights or "16 bits", phase=cells["phase"], seconds=float(cells["seconds"]),
        config=ModelConfig(**sizes, tie_word_embeddings=cells["tie_word_embeddings"] == "True"),
        workload=Workload(
            prompt_tokens=max(int(cells["prompt_tokens"]), 1), new_tokens=int(cells["new_tokens"]),
            batch_size=int(cells["batch_size"]), dtype=DTYPES[cells["dtype"]], logits=LOGITS[cells["logits"]],
            weights=None if weights in GGUF else weights,
        ),
    )  # fmt: skip
