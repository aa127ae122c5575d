"""A search through an executor, one of whose workers dies midway; prints the front. `sweep_run.py EXECUTOR MARKER`."""

import json
import os
import signal
import sys
from pathlib import Path

import numpy as np
from search_toy import toy_predictor

from latmodel import SearchSpace, Span, frontier
from latmodel.search.goals import Objective

SPACE = SearchSpace(num_hidden_layers=Span(4, 40), hidden_size=Span(512, 4096, 128), intermediate_step=32)
MARKER, COORDINATOR = "LATMODEL_TEST_MARKER", "LATMODEL_TEST_COORDINATOR"


def depth_weighted(shapes):
    """Parameters of the blocks, nearly; kills the first worker process that asks while hidden sizes are large."""
    marker = Path(os.environ[MARKER])
    if str(os.getpid()) != os.environ[COORDINATOR] and shapes["hidden_size"].max() > 2000:
        try:
            marker.touch(exist_ok=False)
        except FileExistsError:
            pass
        else:
            os.kill(os.getpid(), signal.SIGKILL)
    width = shapes["hidden_size"] * (shapes["intermediate_size"] + shapes["hidden_size"])
    return np.asarray(width * shapes["num_hidden_layers"], dtype=np.float64)


depth_weighted.monotone = True

if __name__ == "__main__":
    os.environ[MARKER], os.environ[COORDINATOR] = sys.argv[2], str(os.getpid())
    import sweep_run  # the function must be found by name in every worker

    asked = {} if sys.argv[1] == "serial" else {"executor": sys.argv[1], "workers": 2}
    found = frontier(toy_predictor(), SPACE, budget_s=3.0, quality=Objective(sweep_run.depth_weighted), **asked)
    front = {
        "values": {name: [value.hex() for value in values.tolist()] for name, values in found.values.items()},
        "shapes": {name: column.tolist() for name, column in found.columns.items()},
        "searched": found.searched,
    }
    print(json.dumps(front))
