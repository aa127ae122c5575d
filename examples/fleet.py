"""Calibrate a fleet, one board a task, and find the odd one: `python examples/fleet.py --gpu a100 --boards 16`.

Under SLURM every task gets a GPU of its own, with Ray too (`--executor ray`); `--executor process` takes the GPUs of
this host in turn. Profiles go to `--out`, which all tasks must see. `--simulate` tries it without a GPU; `--slow N`
then slows one simulated board down.
"""

import argparse
from functools import partial
from pathlib import Path

from calibration.verbs.fleet import calibrate_board, calibrate_fleet, lines
from calibration.verbs.request import Request
from calibration.verbs.simulated_board import SimulatedBoard, calibrate_simulated
from latmodel.device.profile_file import write_profile


def main() -> None:
    """Calibrate, say what failed and what is odd, and write one profile of the boards that are alike."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--gpu", default="a100")
    parser.add_argument("--boards", type=int, default=4)
    parser.add_argument("--executor", default="slurm", choices=["slurm", "ray", "process"])
    parser.add_argument("--workers", type=int, help="tasks at once; all if left out")
    parser.add_argument("--effort", default="quick")
    parser.add_argument("--out", type=Path, default=Path("profiles"))
    parser.add_argument("--simulate", action="store_true")
    parser.add_argument("--slow", type=int, help="which simulated board computes at three quarters of its speed")
    options = parser.parse_args()
    options.out.mkdir(parents=True, exist_ok=True)
    names = [f"{options.gpu}-{number}" for number in range(options.boards)]
    run = partial(calibrate_fleet, executor=options.executor, workers=options.workers)
    if options.simulate:
        slow = {"device.gemm.compute_efficiency": 0.75}
        boards = {
            name: SimulatedBoard(name, number, slow if number == options.slow else {})
            for number, name in enumerate(names)
        }
        fleet = run(boards, calibrate=calibrate_simulated, gpus=0)
    else:
        own = options.executor == "process"  # all GPUs are visible to every task: take the task's own
        requests = {
            name: Request(
                options.gpu, f"cuda:{number if own else 0}", effort=options.effort, out=options.out / f"{name}.json"
            )
            for number, name in enumerate(names)
        }
        fleet = run(requests, calibrate=calibrate_board)
    for line in lines(fleet):
        print(line)
    if len(fleet.profiles) - len(fleet.odd()) > 1:
        merged = fleet.merged(f"{options.gpu}-fleet")
        write_profile(merged, options.out / f"{merged.name}.json")
        print(f"{len(fleet.profiles) - len(fleet.odd())} boards as one: {options.out / merged.name}.json")


if __name__ == "__main__":
    main()
