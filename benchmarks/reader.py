"""What the largest and most awkward configurations cost to read: `python benchmarks/reader.py`.

Processor time of the fastest of several readings, and the peak of what Python allocates, whether an input is refused or
read: 50 ms and 50 MB for up to 1 MB, 1 s and 250 MB for the 8 MB that are read at all.
"""

import json
import sys
import time
import tracemalloc
from operator import gt
from typing import Any

from latmodel.configs.families.reading import parse
from latmodel.configs.huggingface import read_decoder
from latmodel.errors import UsageError
from latmodel.report.text import table

LAYERS = 5000
LIMITS = {1_000_000: (0.050, 50e6), 8_000_000: (1.0, 250e6)}  # bytes of input: seconds, bytes
SIZES = list(range(1, LAYERS + 1))
LLAMA: dict[str, Any] = {
    "model_type": "llama", "hidden_size": 64, "num_hidden_layers": LAYERS, "num_attention_heads": [4] * LAYERS,
    "vocab_size": 100, "intermediate_size": SIZES,
}  # fmt: skip
HYBRID = LLAMA | {
    "model_type": "granitemoehybrid", "layer_types": ["mamba", "attention"] * (LAYERS // 2), "mamba_n_heads": 4,
    "mamba_expand": 2, "mamba_d_head": 32, "num_local_experts": 4, "num_experts_per_tok": 2,
    "shared_intermediate_size": 32,
}  # fmt: skip
SMALL = {"hidden_size": 64, "num_hidden_layers": 2, "num_attention_heads": 4, "vocab_size": 9, "intermediate_size": 64}
NAMES = [f"{number:x}" for number in range(22_000)]
MODULES = [f"model.layers.{index % 80}.block_sparse_moe.experts.{index}.w1" for index in range(1_000_000)]
PATTERNS = [f"re:.*layers.{index}.*proj.*" for index in range(600)]


def quantised(names: list[str], **more: Any) -> str:
    """A configuration with a list of modules that are left alone."""
    ignored = {"quant_method": "modelopt", "quant_algo": "FP8", "ignore": names, **more}
    return json.dumps(SMALL | {"model_type": "llama", "quantization_config": ignored}, separators=(",", ":"))


INPUTS: dict[str, str] = {
    f"{LAYERS} unlike layers": json.dumps(LLAMA),
    f"{LAYERS} unlike layers of a hybrid": json.dumps(HYBRID),
    "22000 unknown fields": json.dumps(SMALL | dict.fromkeys(NAMES, 1), separators=(",", ":")),
    "a name given twice, the last of 22000": "{" + ",".join(f'"{name}":1' for name in [*NAMES, NAMES[-1]]) + "}",
    "99000 objects": '{"x": [' + "{}," * 99_000 + "{}]}",
    "330000 objects": '{"x": [' + "{}," * 330_000 + "{}]}",
    "99000 nested lists": "[" * 99_000,
    "1 MB of modules": quantised(MODULES[:18_000]),
    "600 patterns": quantised(PATTERNS),
    "600 patterns and 5000 layers": json.dumps(json.loads(quantised(PATTERNS)) | {"num_hidden_layers": LAYERS}),
    "8 MB of modules": quantised(MODULES[:145_000]),
    "8 MB of numbers": '{"x": [' + "1," * 3_999_000 + "1]}",
    "8 MB of small objects": '{"x": [' + '{"a":1},' * 990_000 + "1]}",
    "8 MB of fields": "{" + ",".join(f'"{number:x}":1' for number in range(800_000)) + "}",
}


def read(raw: bytes) -> None:
    """Read or refuse."""
    try:
        read_decoder(parse(raw, "config.json"))
    except UsageError:
        return


def cost(raw: bytes) -> tuple[float, float]:
    """Seconds and bytes of one reading."""
    times = []
    for _ in range(3):
        start = time.process_time()
        read(raw)
        times.append(time.process_time() - start)
    tracemalloc.start()
    read(raw)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    return min(times), float(peak)


def allowed(raw: bytes) -> tuple[float, float]:
    """Seconds and bytes that an input of this size may take."""
    return next(limits for size, limits in LIMITS.items() if len(raw) <= size)


def main() -> int:
    """Print; 1 if an input takes too much."""
    raw = {name: text.encode() for name, text in INPUTS.items()}
    costs = {name: cost(one) for name, one in raw.items()}
    rows = [
        [name, f"{len(raw[name]) / 1e6:.2f} MB", f"{1e3 * seconds:.1f} ms", f"{peak / 1e6:.1f} MB"]
        for name, (seconds, peak) in costs.items()
    ]
    print(table(["input", "size", "time", "memory"], rows))
    over = [name for name, both in costs.items() if any(map(gt, both, allowed(raw[name])))]
    return int(bool(over))


if __name__ == "__main__":
    sys.exit(main())
