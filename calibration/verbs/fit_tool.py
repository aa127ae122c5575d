"""`latmodel fit --from vllm-bench` and `--from optimum-benchmark`: one run of another tool moves one device."""

import math
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from latmodel.device.datasheets import datasheet
from latmodel.device.profile import Profile
from latmodel.device.profile_file import read_profile
from latmodel.device.store import load_profile
from latmodel.errors import UsageError
from latmodel.model.config import CONFIG_FIELDS, DType, ModelConfig, Workload
from latmodel.predict.prediction import Prediction
from latmodel.predict.predictor import Predictor

from ..observations.record import Observation
from ..sources.optimum_benchmark import read_optimum_benchmark
from ..sources.vllm_bench import read_vllm_bench
from .fit import fit_rows

Reader = Callable[[Path, ModelConfig, str, DType], list[Observation]]
DTYPES: tuple[DType, ...] = ("bfloat16", "float16", "float32")
TOOLS: dict[str, Reader] = {"vllm-bench": read_vllm_bench, "optimum-benchmark": read_optimum_benchmark}


def fit_tool(
    tool: str, gpu: str, files: Sequence[Path], config: ModelConfig | None, prior: str | None, out: Path | None
) -> Iterator[str]:
    """Fit the runs, write the profile, and say how much narrower its intervals became on them.

    Raises:
        UsageError: no file or no model's dimensions, or a file of another tool.
        ProfileError: nothing is known of the device or of the runtime on it.
    """
    if not files:
        raise UsageError(f"give at least one --observations FILE, which {tool} wrote")
    if config is None:
        raise UsageError(f"{tool} does not say the model's dimensions: give --config CONFIG, a preset or config.json")
    name = "cpu" if gpu == "cpu" else datasheet(gpu).name
    before = load_profile(prior or name)
    dtype = _dtype(before)
    rows = [row for path in files for row in TOOLS[tool](path, config, name, dtype)]
    for row in rows:
        if row.runtime not in before.runtimes:
            raise UsageError(
                f"the profile of {before.title} has no runtime {row.runtime}: it has {', '.join(before.runtimes)}"
            )
    path = out or Path("profiles") / f"{name}.json"
    yield from fit_rows(name, rows, [file.name for file in files], prior, path)
    after = read_profile(path)
    for row in rows:
        was, now = _predicted(before, row), _predicted(after, row)
        yield (
            f"{row.phase}: measured {row.seconds:.4g} s; predicted {was[0]:.4g} s ×/÷ {_width(was):.2f} before, "
            f"{now[0]:.4g} s ×/÷ {_width(now):.2f} now"
        )


def _dtype(profile: Profile) -> DType:
    """What the profile was measured in; stands where a file names none."""
    return next((dtype for dtype in DTYPES if dtype in profile.device.coefficients), DTYPES[0])


Estimate = tuple[float, float | None, float | None]  # seconds, and the ends of the interval


def _predicted(profile: Profile, row: Observation) -> Estimate:
    config = ModelConfig(**{name: getattr(row, name) for name in CONFIG_FIELDS})
    work = Workload(
        batch_size=row.batch_size, prompt_tokens=row.prompt_tokens, new_tokens=row.new_tokens or 1, dtype=row.dtype
    )
    p: Prediction = Predictor(profile, row.runtime).predict(config, work)
    if row.phase == "prefill":
        return p.prefill_s, p.prefill_s_low, p.prefill_s_high
    return p.decode_s_per_token, p.decode_s_per_token_low, p.decode_s_per_token_high


def _width(estimate: Estimate) -> float:
    """The factor that an interval spans to each side, in the geometric mean; without bound where there is none."""
    _, low, high = estimate
    return math.inf if not low or high is None else math.sqrt(high / low)
