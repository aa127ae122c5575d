"""On a machine with a CUDA device: `pytest -m gpu`."""

from pathlib import Path

import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("transformers")

from calibration.devices.hardware import detect, free_memory, throttle_reasons  # noqa: E402
from calibration.devices.lab import TorchLab  # noqa: E402
from calibration.devices.timers import bench  # noqa: E402
from calibration.engines.registry import ENGINES, find_engine  # noqa: E402
from calibration.measure.bench import OutOfMemory  # noqa: E402
from calibration.measure.cases import Case  # noqa: E402
from calibration.measure.samples import Rules, sample  # noqa: E402
from calibration.verbs.calibrate import calibrate  # noqa: E402
from calibration.verbs.prepare import prepare  # noqa: E402
from calibration.verbs.request import Request  # noqa: E402
from calibration.verify.whole_models import verify  # noqa: E402
from latmodel.model.config import ModelConfig, Workload  # noqa: E402
from latmodel.predict.predictor import Predictor  # noqa: E402

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device"),
    pytest.mark.filterwarnings("default"),  # libraries warn about hardware that the authors do not know
]
SHAPE = ModelConfig(
    num_hidden_layers=8, hidden_size=1024, intermediate_size=2816, num_attention_heads=16, num_key_value_heads=4,
    vocab_size=32000,
)  # fmt: skip
WORK = Workload(prompt_tokens=128, new_tokens=4)


@pytest.mark.parametrize("name", list(ENGINES))
@pytest.mark.parametrize("phase", ["prefill", "decode"])
def test_every_runtime_runs_and_its_clocks_agree(name: str, phase: str) -> None:
    lab = TorchLab(detect("cuda:0"), find_engine(name), "bfloat16")
    opened = lab.open(Case("x", "blocks", phase, SHAPE, WORK, name))  # type: ignore[arg-type]
    found = sample(opened, lab.now, Rules(sample_s=0.3))
    opened.close()
    wall, device, replay = found.times
    assert device is not None and 0.0 < device <= 1.05 * wall
    if replay is not None:
        assert replay <= 1.1 * wall  # a replay has no more to do than the eager run


def test_eager_decode_of_a_small_model_is_bound_by_the_host() -> None:
    small = SHAPE.model_copy(update={"hidden_size": 512, "intermediate_size": 1024, "num_hidden_layers": 24})
    lab = TorchLab(detect("cuda:0"), find_engine("transformers-eager"), "bfloat16")
    wall, _, replay = sample(
        lab.open(Case("x", "blocks", "decode", small, WORK, "transformers-eager")), lab.now, Rules()
    ).times
    assert replay is not None and wall > 1.5 * replay


def test_a_product_takes_no_less_time_than_its_arithmetic() -> None:
    hardware = detect("cuda:0")
    a = torch.randn(4096, 4096, device="cuda", dtype=torch.bfloat16)
    timer = bench(lambda: a @ a, hardware, graph=False)
    timer.time(10)
    seconds = timer.time(50).wall_s / 50
    assert 2 * 4096**3 / seconds < 3e15  # faster than any device made so far: the clock would be wrong


def test_what_does_not_fit_is_refused_before_it_is_allocated() -> None:
    hardware = detect("cuda:0")
    lab = TorchLab(hardware, find_engine("torch-eager"), "bfloat16")
    before = free_memory(hardware)
    deep = SHAPE.model_copy(update={"num_hidden_layers": 100_000})
    with pytest.raises(OutOfMemory):
        lab.open(Case("x", "blocks", "decode", deep, WORK, "torch-eager"))
    assert free_memory(hardware) >= 0.98 * before


def test_the_throttle_reasons_are_words() -> None:
    assert all(isinstance(reason, str) for reason in throttle_reasons(detect("cuda:0")))


@pytest.mark.slow
def test_a_quick_calibration_predicts_a_model_it_never_saw(tmp_path: Path) -> None:
    hardware = detect("cuda:0")
    from latmodel.device.datasheets import slug

    ready = prepare(Request(slug(hardware.name), "cuda:0", ("torch-eager",), out=tmp_path / "gpu.json", max_noise=0.3))
    done = calibrate(ready, print, lambda done, total, what: None)
    lab = TorchLab(hardware, find_engine("torch-eager"), "bfloat16")
    row = verify(lab, Predictor(done.profile, "torch-eager"), SHAPE, Workload(prompt_tokens=512, new_tokens=32))
    assert row.worst < 0.15
