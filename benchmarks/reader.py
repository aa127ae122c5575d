"""What the largest and most awkward configurations cost to read: `python benchmarks/reader.py`.

Every input has nearly the largest size that is read at all (256 kB). Processor time of the fastest of several readings,
and the peak of what Python allocates; an input may take 50 ms and 50 MB, whether it is refused or read.
"""

import json
import sys
import time
import tracemalloc
from typing import Any

from latmodel.configs.families.reading import parse
from latmodel.configs.huggingface import read_decoder
from latmodel.errors import UsageError
from latmodel.report.text import table

LAYERS, LIMIT_S, LIMIT_BYTES = 5000, 0.050, 50e6
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
INPUTS: dict[str, str] = {
    f"{LAYERS} unlike layers": json.dumps(LLAMA),
    f"{LAYERS} unlike layers of a hybrid": json.dumps(HYBRID),
    "22000 unknown fields": json.dumps(SMALL | dict.fromkeys(NAMES, 1), separators=(",", ":")),
    "a name given twice, the last of 22000": "{" + ",".join(f'"{name}":1' for name in [*NAMES, NAMES[-1]]) + "}",
    "85000 objects": '{"x": [' + "{}," * 85_000 + "{}]}",
    "120000 nested lists": "[" * 120_000,
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
    for _ in range(7):
        start = time.process_time()
        read(raw)
        times.append(time.process_time() - start)
    tracemalloc.start()
    read(raw)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    return min(times), float(peak)


def main() -> int:
    """Print; 1 if an input takes too much."""
    costs = {name: cost(text.encode()) for name, text in INPUTS.items()}
    rows = [[name, f"{1e3 * seconds:.1f} ms", f"{peak / 1e6:.1f} MB"] for name, (seconds, peak) in costs.items()]
    print(table(["input", "time", "memory"], rows))
    return int(any(seconds > LIMIT_S or peak > LIMIT_BYTES for seconds, peak in costs.values()))


if __name__ == "__main__":
    sys.exit(main())
