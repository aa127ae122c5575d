"""A search in parts: the same front from every executor, deaths, failures, checkpoints."""

import importlib.util
import json
import os
import subprocess
import sys
from concurrent.futures import Future
from pathlib import Path

import numpy as np
import pytest
from search_toy import toy_predictor
from sweep_run import SPACE

from latmodel import Workload
from latmodel.errors import LatmodelError, UsageError
from latmodel.search.archive import Front
from latmodel.search.run import frontier, job_of
from latmodel.search.sweep import run_part, shards

HERE = Path(__file__).parent
PREDICTOR = toy_predictor()


def front_from(executor, marker):
    """The front that a process of its own finds through an executor; what others print on its stdout is ignored."""
    path = os.pathsep.join((str(HERE.parent), str(HERE), os.environ.get("PYTHONPATH", "")))
    done = subprocess.run(  # noqa: PLW1510  # what it printed goes into the message
        [sys.executable, str(HERE / "sweep_run.py"), executor, str(marker)], capture_output=True, text=True,
        env={**os.environ, "PYTHONPATH": path, "OMP_NUM_THREADS": "1"}, timeout=180, cwd=marker.parent,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-2000:]
    return json.loads(done.stdout.strip().splitlines()[-1])


@pytest.fixture(scope="module")
def serial_front(tmp_path_factory):
    """What one process finds alone; it kills nobody."""
    marker = tmp_path_factory.mktemp("serial") / "unused"
    front = front_from("serial", marker)
    assert not marker.exists()
    return front


@pytest.mark.slow
@pytest.mark.parametrize("executor", ["process", "dask", "ray"])
def test_same_front_to_the_last_bit_with_a_worker_killed_midway(executor, serial_front, tmp_path):
    module = {"dask": "distributed"}.get(executor, executor)
    if executor != "process" and importlib.util.find_spec(module) is None:
        pytest.skip(f"{module} is not installed")
    assert front_from(executor, tmp_path / "killed") == serial_front
    assert (tmp_path / "killed").exists(), "no worker was killed"


class Inline:
    """An executor that runs at once, and fails as told: `failures` maps a part to how often."""

    def __init__(self, failures=None, stop_after=None):
        self.failures, self.stop_after, self.ran = dict(failures or {}), stop_after, []

    def submit(self, function, /, job, part, front):
        future = Future()
        if self.stop_after is not None and len(self.ran) >= self.stop_after:
            raise KeyboardInterrupt
        if self.failures.get(part, 0) > 0:
            self.failures[part] -= 1
            future.set_exception(OSError("the worker went away"))
        else:
            self.ran.append(part)
            future.set_result(function(job, part, front))
        return future


def job():
    return job_of(PREDICTOR, SPACE, Workload(), 3.0, None, "params", None, (), (), False)


def same(one, other):
    return one.to_rows() == other.to_rows()


def test_parts_cover_the_space_once():
    parts = shards(job())
    assert len(parts) > 10
    assert [part[0] for part in parts[1:]] == [part[1] for part in parts[:-1]]
    assert (parts[0][0], parts[-1][1]) == (0, len(SPACE.hidden_size))


def test_parts_merge_in_any_order():
    whole = job()
    fronts = [run_part(whole, part, whole.nothing_yet())[0] for part in shards(whole)]
    rng = np.random.default_rng(1)
    expected = Front.empty(2).merged(fronts)
    for _ in range(3):
        rng.shuffle(fronts)
        again = fronts[0].merged([*fronts[1:], fronts[-1]])  # one of them twice
        assert again.values.tobytes() == expected.values.tobytes()
        assert again.shapes.tobytes() == expected.shapes.tobytes()


def test_a_part_that_fails_twice_runs_again_and_one_that_fails_thrice_is_named():
    first = shards(job())[3]
    expected = frontier(PREDICTOR, SPACE, budget_s=3.0, quality="params")
    assert same(frontier(PREDICTOR, SPACE, budget_s=3.0, executor=Inline({first: 2}), quality="params"), expected)
    hidden = SPACE.hiddens[first[0]]
    with pytest.raises(
        LatmodelError, match=f"hidden sizes {hidden} to .* failed 3 times, last with OSError: the worker"
    ):
        frontier(PREDICTOR, SPACE, budget_s=3.0, executor=Inline({first: 3}), quality="params")


def test_a_checkpoint_is_gone_on_from(tmp_path):
    path = tmp_path / "search.jsonl"
    with pytest.raises(KeyboardInterrupt):
        frontier(PREDICTOR, SPACE, budget_s=3.0, executor=Inline(stop_after=9), checkpoint=path, quality="params")
    done = len(path.read_text().splitlines())
    assert done > 0
    with path.open("a") as file:
        file.write('{"part": [1')  # torn by the interruption
    rest = Inline()
    found = frontier(PREDICTOR, SPACE, budget_s=3.0, executor=rest, checkpoint=path, quality="params")
    assert len(rest.ran) == len(shards(job())) - done
    assert same(found, frontier(PREDICTOR, SPACE, budget_s=3.0, quality="params"))
    again = Inline()
    assert same(frontier(PREDICTOR, SPACE, budget_s=3.0, executor=again, checkpoint=path, quality="params"), found)
    assert again.ran == []


def test_a_checkpoint_of_another_search_or_of_nonsense_is_refused(tmp_path):
    path = tmp_path / "search.jsonl"
    frontier(PREDICTOR, SPACE, budget_s=3.0, executor=Inline(), checkpoint=path, quality="params")
    for changed in ({"budget_s": 2.0}, {"budget_s": 3.0, "workload": Workload(batch_size=2)}):
        with pytest.raises(UsageError, match="of another search"):
            frontier(PREDICTOR, SPACE, executor=Inline(), checkpoint=path, **changed)
    path.write_text("hello\n")
    with pytest.raises(UsageError, match="line 1 is no record"):
        frontier(PREDICTOR, SPACE, budget_s=3.0, executor=Inline(), checkpoint=path, quality="params")
    with pytest.raises(UsageError, match="cannot write"):
        frontier(
            PREDICTOR,
            SPACE,
            budget_s=3.0,
            executor=Inline(),
            checkpoint=tmp_path / "no" / "such.jsonl",
            quality="params",
        )


@pytest.mark.parametrize(("name", "module"), [("dask", "distributed"), ("ray", "ray"), ("slurm", "submitit")])
def test_an_executor_that_is_not_installed_names_the_extra(monkeypatch, name, module):
    monkeypatch.setitem(sys.modules, module, None)
    with pytest.raises(UsageError, match=rf"pip install 'latmodel\[{name}\]'"):
        frontier(PREDICTOR, SPACE, budget_s=3.0, executor=name, quality="params")


def test_an_unknown_executor_is_refused():
    with pytest.raises(UsageError, match="unknown executor 'spark'; known: process, dask, ray, slurm"):
        frontier(PREDICTOR, SPACE, budget_s=3.0, executor="spark", quality="params")
