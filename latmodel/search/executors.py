"""Where the parts of a search run: a process pool here, or Dask, Ray and SLURM through their own executors.

Each is started by name and may be started anew when a worker's death has broken it; any other executor with
`submit(function, *arguments)` and futures with `done()` and `result()` may be handed over, already started.
"""

import os
from collections.abc import Callable
from dataclasses import dataclass
from importlib import import_module
from typing import Any, Protocol

from ..errors import UsageError

NAMES = ("process", "dask", "ray", "slurm")


class Future(Protocol):
    """What `submit` returns."""

    def done(self) -> bool: ...
    def result(self) -> Any: ...


class Executor(Protocol):
    """What runs functions elsewhere."""

    def submit(self, function: Callable[..., Any], /, *arguments: Any) -> Future: ...


@dataclass
class Pool:
    """An executor that can be stopped, and where `start` is known, started again."""

    executor: Any
    stop: Callable[[], None]
    start: "Callable[[], Pool] | None" = None


def pool(executor: "str | Executor", workers: int, gpus: int = 0) -> Pool:
    """An executor by name, started, or a given one; with `gpus`, Ray and SLURM give each task so many of its own.

    Raises:
        UsageError: no such executor, or what it needs is not installed; the extra is named.
    """
    if not isinstance(executor, str):
        return Pool(executor, stop=lambda: None)
    starters: dict[str, Callable[[int, int], Pool]] = {
        "process": _process, "dask": _dask, "ray": _ray, "slurm": _slurm,
    }  # fmt: skip
    if executor not in starters:
        raise UsageError(f"unknown executor {executor[:40]!r}; known: {', '.join(NAMES)}")
    try:
        started = starters[executor](workers, gpus)
    except ImportError as error:
        raise UsageError(f"executor {executor} needs {error.name}; run `pip install 'latmodel[{executor}]'`") from None
    started.start = lambda: pool(executor, workers, gpus)
    return started


def _process(workers: int, _gpus: int) -> Pool:
    import multiprocessing
    from concurrent.futures import ProcessPoolExecutor

    # Spawned, not forked: a fork copies the locks of whatever threads the caller has.
    spawn = multiprocessing.get_context("spawn")
    executor = ProcessPoolExecutor(workers, mp_context=spawn, initializer=end_with_parent)
    return Pool(executor, stop=lambda: executor.shutdown(wait=True, cancel_futures=True))


def end_with_parent() -> None:
    """Watch the parent from a thread and end this worker with it: after a SIGKILL nobody else would tell it to."""
    import multiprocessing
    import threading

    parent = multiprocessing.parent_process()
    if parent is None:
        return

    def watch() -> None:
        parent.join()
        os._exit(1)

    threading.Thread(target=watch, name="end-with-parent", daemon=True).start()


def _dask(workers: int, _gpus: int) -> Pool:
    distributed: Any = import_module("distributed")
    cluster = distributed.LocalCluster(n_workers=workers, threads_per_worker=1, dashboard_address=None)
    client = distributed.Client(cluster)

    def stop() -> None:
        client.close()
        cluster.close()

    return Pool(client.get_executor(pure=False), stop)


def _ray(workers: int, gpus: int) -> Pool:
    ray: Any = import_module("ray")
    ray.init(num_cpus=workers, include_dashboard=False, logging_level="ERROR", log_to_driver=False)

    class Tasks:
        """Ray's tasks as futures."""

        def submit(self, function: Callable[..., Any], /, *arguments: Any) -> Any:
            # Retried by the sweep, as everywhere: Ray's own retries would hide how often a part failed.
            return ray.remote(max_retries=0, num_gpus=gpus)(function).remote(*arguments).future()

    return Pool(Tasks(), stop=ray.shutdown)


def _slurm(workers: int, gpus: int) -> Pool:
    submitit: Any = import_module("submitit")
    executor = submitit.AutoExecutor(folder="latmodel-jobs")  # SLURM where it is found, processes here if not
    executor.update_parameters(name="latmodel", slurm_array_parallelism=workers, timeout_min=60, cpus_per_task=1)
    if gpus:
        executor.update_parameters(gpus_per_node=gpus)
    return Pool(executor, stop=lambda: None)
