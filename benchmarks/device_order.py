"""No better card is predicted slower: `python benchmarks/device_order.py`.

Of every two devices of one maker that the package knows, by profile or by data sheet, where the one has at least the
other's bandwidth, 16-bit peak, multiprocessors and board power: neither LLaMA-3-8B nor 12 × 1024 may take longer on it,
to read 512 tokens or for one of 100 tokens after them, in a graph or in Transformers on one host. What does is printed,
with the measured reason where there is one: times of both cards, or of both chips, or of the law that orders them. A
pair where only one of the two has a known board power is not compared.
"""

import argparse
import itertools
import sys
from collections.abc import Sequence
from typing import NamedTuple

from latmodel.configs.models import read_model
from latmodel.device.datasheets import DataSheet, datasheets
from latmodel.device.store import load_profile
from latmodel.laws.coefficients import HOST_TERMS, RuntimeCoefficients
from latmodel.laws.priors import RUNTIME_PRIORS, prior_values
from latmodel.model.config import Workload
from latmodel.predict.forward import forecast
from latmodel.predict.inputs import work_of
from latmodel.predict.predictor import Predictor
from latmodel.predict.target import Target
from latmodel.report.text import table

MODELS = ("llama-3-8b", "12x1024")
RUNTIMES = ("cuda-graph", "transformers-eager")
WORK = Workload(prompt_tokens=512, new_tokens=100)
ONE_HOST = RuntimeCoefficients(**prior_values(RUNTIME_PRIORS))
TOLERANCE = 1e-3  # below what a prediction is printed with
KERNELS = "the same products and attention, timed on both (NVIDIA/aiconfigurator, medians)"
SMALL = "products of one row and 1024 to 4096 columns, as published kernels show them (NVIDIA/aiconfigurator, medians)"


class Reason(NamedTuple):
    """Why better cards are slower in truth than lesser ones (none named: than any): what was measured."""

    better: tuple[str, ...]
    lesser: tuple[str, ...]
    what: str  # the beginning of what it explains
    why: str


GA102 = ("geforce-rtx-3080", "geforce-rtx-3080-12gb", "geforce-rtx-3080-ti", "geforce-rtx-3090", "geforce-rtx-3090-ti")
V100 = ("v100-sxm2-16gb", "v100-sxm2-32gb", "v100-pcie-16gb", "v100-pcie-32gb")
MEASURED = (
    Reason(("gb200",), ("b300-sxm6-ac",), "cuda-graph", f"{KERNELS}: products of 1 row and 1024 to 4096 columns take "
           "1.07 times as long, of 512 rows 1.04, attention of a prompt 1.13, of a token 1.15"),
    Reason(("gb300",), ("b300-sxm6-ac",), "cuda-graph 12x1024", f"{KERNELS}: products of 1 row and 1024 to 4096 "
           "columns take 1.04 times as long, attention of a prompt 1.02, of a token 1.05"),
    Reason(("gb200", "gb300"), ("b200",), "cuda-graph 12x1024 decode", f"{KERNELS}: attention of a token takes 1.05 "
           "(GB200) and 1.02 (GB300) times as long, small products of 1 row 1.04 and 1.00"),
    Reason(("b200", "gb200", "gb300"), ("h200", "h200-nvl"), "cuda-graph 12x1024 decode", "kernels of an H100's graph "
           "follow each other 0.3 us sooner where a product of the block splits k, as here (a profiler's trace of 80 "
           "graphs); nobody traced a Blackwell's graph, which is priced without that"),
    Reason(("geforce-rtx-4090",), (*GA102, "geforce-rtx-5080"), "cuda-graph 12x1024 decode", "29 models on an RTX 3090 "
           "(hbfreed/inference-pareto) leave 2.8 us for splitting k in a small product, kernels of Llama-3.1-8B in "
           "vLLM on an RTX 4090 (casys-kaist/LLMServingSim, samples swing by 15-25 %) 4.0 us; neither tells it well, "
           "and an RTX 5080, which nobody timed, is held to the RTX 3090 that it is ahead of"),
    Reason(("l40s",), ("geforce-rtx-3080",), "cuda-graph 12x1024 decode", f"{SMALL}: an L40S takes 15.5 us (4096 x "
           "1024: 15.6 us), an RTX PRO 6000 6.7 us; of GA102 29 models on an RTX 3090 (hbfreed/inference-pareto)"),
    Reason(("a100-sxm4-40gb",), ("geforce-rtx-5080",), "cuda-graph 12x1024 decode", f"{SMALL}: an A100 takes 13.2 us, "
           "0.42 of its bandwidth (4096 x 1024: 10.0 us); an RTX 5080, which nobody timed, is held to the RTX 3090"),
    Reason(("v100-pcie-16gb", "v100-pcie-32gb", "geforce-rtx-5080"), ("rtx-a5000",), "", "512 x 4096 outputs are 64 "
           "tiles of 128 x 256: one wave on 64 multiprocessors of 1.7 TFLOP/s, and one on 80 of 1.4 or 84 of 1.3, of "
           "which 16 or 20 idle; waves as they were timed on an A100 (4096 x 4096 takes 2.24 times as long for 1024 "
           "rows as for 512), rates as on an A40, the RTX A5000's chip (project-vidur), and a V100 (44 layers of "
           "Thesys-lab 3 % off)"),
    Reason((*V100, "titan-rtx"), ("geforce-rtx-5070-ti", "geforce-rtx-5070"), "", "a single row is multiplied in "
           "float32, of which the sheets promise 16 TFLOP/s on a V100 and a Titan RTX, 44 on an RTX 5070 Ti and 31 on "
           "a 5070: one row against two is 3 % quicker on an L40S (92 TFLOP/s) and none on an A100 (19.5)"),
    Reason(("l40s",), ("l40",), "", "products of an L40S sustain 0.66 of its peak (NVIDIA/aiconfigurator), which says "
           "that its power binds; an L40 has half the peak, to which its power is no limit"),
    Reason(("geforce-rtx-5080",), ("geforce-rtx-3090",), "cuda-graph llama-3-8b decode", "29 models on an RTX 3090 "
           "(hbfreed/inference-pareto) hide more of the shorter of arithmetic and reading than cards have in common "
           "(0.34 against 0.69 not hidden), which an uncalibrated RTX 5080 is priced at"),
)  # fmt: skip


class Times(NamedTuple):
    """Seconds of a prefill and of a decode step."""

    prefill: float
    decode: float


class Slower(NamedTuple):
    """A better card that is slower."""

    better: str
    lesser: str
    what: str
    slower: float


def times(card: DataSheet) -> dict[str, Times]:
    """By runtime and model."""
    profile, found = load_profile(card.name), {}
    for runtime in RUNTIMES:
        if runtime not in profile.runtimes:
            continue
        target = Predictor(profile, runtime).target("bfloat16")
        if runtime == "transformers-eager":
            target = on_one_host(target)
        for name in MODELS:
            seconds = forecast(read_model(name).architecture, work_of(WORK), target)
            found[f"{runtime} {name}"] = Times(float(seconds.prefill_s), float(seconds.step_s))
    return found


def on_one_host(target: Target) -> Target:
    """The device with the same host as every other, and the same share of it hidden."""
    host = {name: getattr(ONE_HOST, name) for name in (*HOST_TERMS, "overlap_loss")}
    return target._replace(runtime=target.runtime._replace(**host))


def slower_cards(cards: Sequence[DataSheet]) -> tuple[int, list[Slower]]:
    """How many times were compared, and those where the better card is slower, the worst first."""
    known = {card.name: times(card) for card in cards}
    count, found = 0, []
    for lesser, better in itertools.permutations(cards, 2):
        if not better.is_ahead_of(lesser):
            continue
        for name, theirs in known[lesser.name].items():
            mine = known[better.name].get(name)
            if mine is None:
                continue
            for phase in Times._fields:
                count += 1
                slower = getattr(mine, phase) / getattr(theirs, phase) - 1.0
                if slower > TOLERANCE:
                    found.append(Slower(better.name, lesser.name, f"{name} {phase}", slower))
    return count, sorted(found, key=lambda one: -one.slower)


def reason(one: Slower) -> str | None:
    """What was measured that makes it so."""
    better, lesser = (name.removeprefix("nvidia-").removeprefix("tesla-") for name in (one.better, one.lesser))
    for known in MEASURED:
        if better in known.better and lesser in (known.lesser or (lesser,)) and one.what.startswith(known.what):
            return known.why
    return None


def main() -> int:
    """Print the exceptions; the exit status says whether one has no measured reason."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.parse_args()
    cards = [card for card in datasheets() if card.kind != "cpu"]
    count, found = slower_cards(cards)
    why = [reason(one) for one in found]
    numbers = {text: str(number) for number, text in enumerate(dict.fromkeys(filter(None, why)), 1)}
    lines = [
        [one.better, one.lesser, one.what, f"+{100 * one.slower:.1f} %", numbers.get(text or "", "NONE")]
        for one, text in zip(found, why, strict=True)
    ]
    if lines:
        print(table(["better by its sheet", "than", "but slower in", "by", "reason"], lines))
    for text, number in numbers.items():
        print(f"{number}. {text}")
    without = why.count(None)
    print(f"{count} comparisons of {len(cards)} devices: {len(found)} exceptions, {without} without a measured reason")
    return 1 if without else 0


if __name__ == "__main__":
    sys.exit(main())
