"""`latmodel calibrate` and `latmodel verify` as a user meets them."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

pytest.importorskip("torch")
pytest.importorskip("transformers")

import torch
from click.testing import Result
from separate_runner import separate_runner

from calibration.measure import plan as plan_module
from calibration.measure import session
from calibration.measure.samples import Rules
from latmodel.cli import group
from latmodel.device.profile_file import read_profile
from latmodel.errors import LatmodelError, NoisyError, ProfileError, ToleranceError, UsageError


def invoke(*arguments: str) -> Result:
    return separate_runner().invoke(group, list(arguments))


@pytest.fixture
def tiny(monkeypatch: pytest.MonkeyPatch, tmp_path_factory: pytest.TempPathFactory) -> None:
    """Narrow shapes, a cache of 1 MB and short samples: a calibration of some seconds."""
    scale = plan_module.Scale((64, 192), (16, 32), (16, 32), (16, 32), (256, 512), 2, 2e8, cold_models=True)
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path_factory.mktemp("locks")))  # a calibration may be running here
    monkeypatch.setattr("calibration.verbs.prepare.CPU", scale)
    monkeypatch.setattr("calibration.devices.hardware.cache_bytes", lambda: 1e6)
    monkeypatch.setitem(plan_module.EFFORTS, "quick", (5, 2, 1, 1, Rules(rounds=2, block_s=1e-3, sample_s=0.01)))


ARGUMENTS = (
    "calibrate",
    "--gpu",
    "cpu",
    "--dtype",
    "float32",
    "--effort",
    "quick",
    "--max-noise",
    "1.0",
    "--runtime",
    "torch-eager",
)


@pytest.mark.parametrize("verb", ["calibrate", "verify"])
def test_help_has_an_example(verb: str) -> None:
    found = invoke(verb, "--help")
    assert found.exit_code == 0
    assert f"Example:  latmodel {verb} --" in found.output


@pytest.mark.usefixtures("tiny")
def test_a_calibration_from_the_plan_to_the_verified_profile(tmp_path: Path) -> None:
    out, picture = tmp_path / "mine.json", tmp_path / "fit.png"
    found = invoke(*ARGUMENTS, "--out", str(out), "--plot", str(picture))
    assert found.exit_code == 0, found.output
    assert "cpu.compute_efficiency" in found.stdout and "held-out shapes" in found.stdout
    assert picture.stat().st_size > 5000
    profile = read_profile(out)
    assert profile.name == "mine" and profile.gpu == "cpu" and set(profile.runtimes) == {"torch-eager"}
    assert (tmp_path / "mine.samples.jsonl").exists()
    shape = ("--profile", str(out), "--layers", "3", "--hidden", "128", "--vocab", "300", "--prompt", "20", "--generate", "3",
             "--dtype", "float32", "--limit", "50ms", "--format", "json")  # fmt: skip
    good = invoke("verify", *shape, "--tolerance", "50", "--update")
    assert good.exit_code == 0, good.output
    row = json.loads(good.stdout)
    assert row["measured_prefill_s"] > 0 and row["prefill_s_low"] <= row["prefill_s"] <= row["prefill_s_high"]
    kept = len((tmp_path / "mine.observations.jsonl").read_text().splitlines())
    assert len([o for o in read_profile(out).provenance.notes if "refitted" in o]) == 1
    strict = invoke("verify", *shape, "--tolerance", "1e-9")
    assert isinstance(strict.exception, ToleranceError) and strict.exception.exit_code == 4
    assert len((tmp_path / "mine.observations.jsonl").read_text().splitlines()) == kept  # only --update adds


def test_a_dry_run_draws_nothing() -> None:
    found = invoke(*ARGUMENTS, "--dry-run", "--plot", "x.png")
    assert "--plot" in str(found.exception) + found.stderr
    assert found.exit_code != 0


@pytest.mark.usefixtures("tiny")
def test_a_dry_run_measures_nothing(tmp_path: Path) -> None:
    found = invoke(*ARGUMENTS, "--out", str(tmp_path / "x.json"), "--dry-run", "--format", "json")
    assert found.exit_code == 0
    rows = json.loads(found.stdout)
    assert len(rows) == 2 * 7 + 1 + 2 + plan_module.PASSES["quick"]
    assert list(tmp_path.iterdir()) == []


@pytest.mark.usefixtures("tiny")
def test_noise_above_the_limit_is_exit_5_and_keeps_the_samples(tmp_path: Path) -> None:
    found = invoke(
        *ARGUMENTS[:-4], "--runtime", "torch-eager", "--max-noise", "0.0001", "--out", str(tmp_path / "x.json")
    )
    assert isinstance(found.exception, NoisyError) and found.exception.exit_code == 5
    assert (tmp_path / "x.samples.jsonl").stat().st_size > 1000
    assert not (tmp_path / "x.json").exists()


@pytest.mark.skipif(torch.cuda.is_available(), reason="a CUDA device is here")
def test_a_gpu_that_is_not_here_is_said_with_what_to_do() -> None:
    found = invoke("calibrate", "--gpu", "3090", "--dry-run")
    assert isinstance(found.exception, LatmodelError)
    for hint in ("RTX 3090", "--gpu cpu", "latmodel fit", "packaged profile"):
        assert hint in str(found.exception)


@pytest.mark.skipif(torch.cuda.is_available(), reason="a CUDA device is here")
def test_a_device_that_is_not_here() -> None:
    found = invoke("calibrate", "--gpu", "cpu", "--device", "cuda:7", "--dry-run")
    assert isinstance(found.exception, UsageError) and "--device cpu" in str(found.exception)
    found = invoke("calibrate", "--gpu", "cpu", "--device", "toaster", "--dry-run")
    assert isinstance(found.exception, UsageError) and "toaster" in str(found.exception)
    found = invoke("verify", "--gpu", "3090", "--layers", "2", "--hidden", "64")
    assert isinstance(found.exception, ProfileError) and found.exception.exit_code == 6


@pytest.mark.usefixtures("tiny")
def test_a_graph_needs_a_gpu(tmp_path: Path) -> None:
    found = invoke("calibrate", "--gpu", "cpu", "--runtime", "cuda-graph", "--out", str(tmp_path / "x.json"))
    assert isinstance(found.exception, UsageError) and "torch-eager" in str(found.exception)


@pytest.mark.usefixtures("tiny")
def test_a_place_that_cannot_be_written(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    found = invoke(*ARGUMENTS, "--out", str(tmp_path / "file" / "x.json"))
    assert isinstance(found.exception, UsageError) and "--out" in str(found.exception)


@pytest.mark.usefixtures("tiny")
@pytest.mark.parametrize(
    ("option", "value", "hint"),
    [("--out", ".", "is a folder"), ("--out", "my profile.json", "letters, digits"), ("--plot", "no/fit.png", "no folder"),
     ("--plot", "fit.docx", ".svg")],
)  # fmt: skip
def test_what_could_not_be_written_in_the_end_is_said_before_anything_is_measured(
    option: str, value: str, hint: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    found = invoke(*ARGUMENTS, option, value)
    assert isinstance(found.exception, UsageError) and hint in str(found.exception) and option in str(found.exception)
    assert list(tmp_path.iterdir()) == []


def test_a_cpu_that_was_never_calibrated(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path))
    found = invoke("verify", "--gpu", "cpu", "--layers", "2", "--hidden", "64")
    assert isinstance(found.exception, ProfileError) and "latmodel calibrate --gpu cpu" in str(found.exception)


def test_another_distributions_package_is_named(tmp_path: Path) -> None:
    (tmp_path / "calibration").mkdir()
    (tmp_path / "calibration" / "__init__.py").write_text("")
    root = str(Path(__file__).parent.parent)
    code = f"import sys; sys.path[:0] = [{str(tmp_path)!r}, {root!r}]; from latmodel.cli import main; sys.argv[1:] = ['calibrate', '--gpu', 'cpu']; main()"
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False, cwd=tmp_path)
    assert found.returncode == 1
    assert "another distribution" in found.stderr and "Traceback" not in found.stderr


@pytest.mark.usefixtures("tiny")
def test_samples_and_profile_are_bound_to_the_version_of_transformers(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Samples of another version do not mix; runtimes of plain PyTorch do not care."""
    import transformers

    from calibration.engines.registry import ENGINES
    from calibration.verbs.calibrate import binding
    from calibration.verbs.prepare import prepare
    from calibration.verbs.request import Request

    request = Request("cpu", effort="quick", out=tmp_path / "mine.json", dtype="float32")
    ready = prepare(request)
    assert binding(ready)["transformers"] == transformers.__version__
    assert f"transformers {transformers.__version__}, driver" in ready.source
    log = session.open_samples(ready.samples_path, binding(ready), resume=True)
    assert log.header["transformers"] == transformers.__version__
    monkeypatch.setattr("calibration.engines.engine.version", lambda name: "4.0")
    with pytest.raises(UsageError, match=r"transformers '\d.*this run has '4.0'"):
        session.open_samples(ready.samples_path, binding(prepare(request)), resume=True)
    assert ENGINES["torch-eager"].versions() == {} == ENGINES["cuda-graph"].versions()
    # What is compiled runs from a graph on CUDA, as it is priced, and elsewhere without one.
    assert [name for name, engine in ENGINES.items() if engine.replays("cuda")] == ["cuda-graph", "torch-compile"]
    assert not any(engine.replays(kind) for engine in ENGINES.values() for kind in ("cpu", "mps"))
