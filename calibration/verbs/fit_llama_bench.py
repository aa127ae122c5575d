"""`latmodel fit --from llama-bench`: llama-bench's output of a run of one's own moves one device, and nothing else."""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import numpy as np

from latmodel.device.llama_cpp import own_scores
from latmodel.device.profile import Coefficient, RuntimePart
from latmodel.device.profile_file import write_profile
from latmodel.device.store import load_profile
from latmodel.errors import UsageError
from latmodel.laws.coefficients import GGML_FITTED
from latmodel.laws.priors import GGML_PRIORS
from latmodel.model.config import ModelConfig
from latmodel.predict.intervals import conformal_quantile
from latmodel.runtimes.llama_cpp import LLAMA_CPP

from ..published.llama_cpp.devices import NOMINAL_CORES, Device
from ..published.llama_cpp.effects import NOISE, OWN_EFFECTS
from ..published.llama_cpp.generations import UNKNOWN
from ..published.llama_cpp.hierarchy import Fitted, Floats, fit_hierarchy
from ..published.llama_cpp.law import Problem, Row, row_of
from ..sources.llama_bench import SpeedTest, read_own_runs

LEVEL = 0.9
MOST_NAMED = 4  # builds in a note
MOST_EXTRAPOLATION = 100.0  # that a profile may hold
LEAST = {"score_bytes": 1e-6, "prompt_launch_s": 1e-9}  # no logarithm of nothing


def fit_llama_bench(
    gpu: str, files: Sequence[Path], config: ModelConfig | None, prior: str | None, out: Path | None
) -> Iterator[str]:
    """Move the device's coefficients to the runs, write the profile, and yield the lines of the report.

    Raises:
        UsageError: no file or no model's dimensions, or a file of another tool.
        ProfileError: nothing is known of llama.cpp on the device.
    """
    if not files:
        raise UsageError("give at least one --observations FILE, the output of llama-bench -o jsonl")
    if config is None:
        raise UsageError(
            "llama-bench does not say the model's dimensions: give --config CONFIG, a preset or config.json"
        )
    profile = load_profile(prior or gpu, LLAMA_CPP.name)
    part = profile.runtimes[LLAMA_CPP.name]
    tests = [test for path in files for test in read_own_runs(path, config, profile.title, profile.gpu)]
    for test in tests:
        if test.weights not in part.formats:
            raise UsageError(f"{test.weights} is not priced: choose runs of {', '.join(part.formats)}")
    device = Device(
        profile.gpu, profile.title, profile.gpu, profile.gpu, UNKNOWN, profile.device.sheet.bandwidth_bytes_per_s,
        NOMINAL_CORES, None, "profile",
    )  # fmt: skip
    rows = [row for test in tests if (row := row_of(test, device)) is not None]
    problem, start = Problem(rows), _start(part, tests)
    before = np.log(problem.seconds / problem.predict(start))
    moved = fit_hierarchy(rows, problem.predict, problem.seconds, start, OWN_EFFECTS, np.full(len(rows), NOISE))
    after = np.log(problem.seconds / problem.predict(moved.coefficients(rows)))
    scores: Mapping[str, list[float]] = own_scores(profile.gpu) or dict(part.conformal_scores)  # type: ignore[arg-type]
    reached = _reaching(part, config.hidden_size, scores)
    changed = _moved(reached, moved, rows, scores)
    path = out or Path("profiles") / f"{profile.gpu}.json"
    write_profile(profile.model_copy(update={"runtimes": {**profile.runtimes, LLAMA_CPP.name: changed}}), path)
    for test, old, new in zip(tests, before, after, strict=True):
        yield (
            f"{test.phase:8} {test.depth}+{test.tokens} {test.weights}: measured / predicted was "
            f"{float(np.exp(old)):.2f}, is {float(np.exp(new)):.2f}"
        )
    yield from _other_builds(part, tests)
    for phase in ("prefill", "decode"):
        was, now = (conformal_quantile(table.get(phase, []), LEVEL) for table in (part.conformal_scores, scores))
        yield f"{phase}: 90 % interval ×/÷ {float(np.exp(was)):.2f} before, ×/÷ {float(np.exp(now)):.2f} now"
    yield f"wrote {path}"


def _start(part: RuntimePart, tests: Sequence[SpeedTest]) -> dict[str, Floats]:
    """The profile's coefficients in the hierarchy's terms, for each test."""

    def column(name: str) -> Floats:
        return np.array([part.formats[test.weights][f"ggml.{name}"].value for test in tests])

    values = {name: column(name) for name in ("attention_ratio", "unpack_passes", "launch_s", "bandwidth_efficiency")}
    values["vector_flops_per_core"] = column("vector_flops_per_s")
    values["product_flops_per_core"] = column("product_flops_per_s")
    values["token_attention_flops_per_core"] = column("token_attention_flops_per_s")
    values["cache_ratio"] = column("cache_efficiency") / column("bandwidth_efficiency")
    for name, least in LEAST.items():
        known = [part.formats[test.weights].get(f"ggml.{name}") for test in tests]
        values[name] = np.array([max(one.value, least) if one else least for one in known])
    return {**values, "pass_s": np.full(len(tests), part.coefficients["pass_s"].value)}


def _reaching(part: RuntimePart, width: float, scores: Mapping[str, Sequence[float]]) -> RuntimePart:
    """The runtime where a model of this width counts as measured, and others that do not are as unsure as before: what
    one run says of the device is no word on them (an H100's, by `benchmarks/llama_cpp_board.py`)."""
    ranges, known = dict(part.ranges), part.conformal_scores
    if "hidden_size" in ranges:
        low, high = ranges["hidden_size"]
        ranges["hidden_size"] = (min(low, width), max(high, width))
    widths = [
        tuple(conformal_quantile(table[phase], LEVEL) for table in (known, scores))
        for phase in ("prefill", "decode") if known.get(phase) and scores.get(phase)
    ]  # fmt: skip
    narrower = max((before / now for before, now in widths if now > 0.0), default=1.0)
    factor = min(part.extrapolation_factor * max(narrower, 1.0), MOST_EXTRAPOLATION)
    return part.model_copy(update={"ranges": ranges, "extrapolation_factor": factor})


def _builds(tests: Sequence[SpeedTest]) -> tuple[int, int] | None:
    """The lowest and the highest build number of runs; None where none tells."""
    numbers = [test.number for test in tests if test.number]
    return (min(numbers), max(numbers)) if numbers else None


def _named(tests: Sequence[SpeedTest]) -> str:
    """The builds of runs, "11549 (a1b2c3d)", or nothing."""
    found = {f"{test.number or 'without a number'} ({test.setup or 'no commit'})" for test in tests
             if test.number or test.setup}  # fmt: skip
    return ", ".join(sorted(found)[:MOST_NAMED])


def _other_builds(part: RuntimePart, tests: Sequence[SpeedTest]) -> Iterator[str]:
    """That the runs are of other builds of llama.cpp than those behind the profile, or of several: kernels differ."""
    own, known = _builds(tests), part.builds
    if own is None:
        return
    if own[0] < own[1]:
        yield f"note: runs of several builds of llama.cpp, whose kernels may differ: {_named(tests)}"
    if known is None:
        yield f"note: runs of llama.cpp's build {_named(tests)}; those behind the profile state none"
    elif own[0] < known[0] or own[1] > known[1]:
        yield (
            f"note: runs of llama.cpp's build {_named(tests)}; those behind the profile are of "
            f"{known[0]} to {known[1]}, whose kernels may differ: what your runs do not show is still theirs"
        )


def _moved(
    part: RuntimePart, moved: Fitted, rows: Sequence[Row], scores: Mapping[str, list[float]]
) -> RuntimePart:  # fmt: skip
    """The runtime with every format's coefficients multiplied by what the rows say of the device."""
    factors = Fitted(dict.fromkeys(moved.start, 1.0), moved.effects, moved.values).coefficients(rows[:1])
    by = {name: float(value[0]) for name, value in factors.items()}
    times = {
        "bandwidth_efficiency": by["bandwidth_efficiency"], "vector_flops_per_s": by["vector_flops_per_core"],
        "product_flops_per_s": by["product_flops_per_core"], "attention_ratio": by["attention_ratio"],
        "cache_efficiency": by["bandwidth_efficiency"] * by["cache_ratio"], "unpack_passes": 1.0,
        "token_attention_flops_per_s": 1.0,
        "launch_s": by["launch_s"], "prompt_launch_s": by["prompt_launch_s"], "score_bytes": 1.0,
    }  # fmt: skip
    formats = {
        name: {f"ggml.{key}": _scaled(table, key, times[key]) for key in GGML_FITTED if f"ggml.{key}" in table}
        for name, table in part.formats.items()
    }
    pass_s = Coefficient(value=part.coefficients["pass_s"].value * by["pass_s"])
    tests = [row.test for row in rows]
    told = f", of build {_named(tests)}" if _named(tests) else ""
    return part.model_copy(
        update={
            "formats": formats, "coefficients": {**part.coefficients, "pass_s": pass_s}, "conformal_scores": scores,
            "note": f"{part.note}; moved by {len(rows)} rows of its own{told}"[:2000],
            "builds": _builds(tests) or part.builds,
        }
    )  # fmt: skip


def _scaled(table: Mapping[str, Coefficient], key: str, factor: float) -> Coefficient:
    prior = GGML_PRIORS[f"ggml.{key}"]
    value = table[f"ggml.{key}"].value * factor
    return Coefficient(value=min(max(value, prior.low), prior.high) if value else 0.0, status="fitted")
