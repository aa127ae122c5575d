"""The published depth and width study, measured against predicted: `python benchmarks/study.py [--data DIR]`.

Every prediction comes from a fit that did not see the model it predicts; intervals from the other models' held-out
residuals. Prints the five tables of the study and draws them into docs/study.png.
"""

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from rich.console import Console
from rich.progress import Progress

from calibration.fit import make
from calibration.observations.evidence import model_of
from calibration.observations.record import Observation
from calibration.published import rtx3090
from latmodel.model.totals import num_parameters
from latmodel.predict.intervals import conformal_quantile
from latmodel.report.text import table
from latmodel.units import show_count

TITLES = {
    "depth_sweep": "Depth, at hidden 576",
    "width_sweep": "Width, at 40 layers",
    "param_matched_sweep": "About 0.35B parameters, deep to shallow",
    "time_matched": "As wide as memory allows, against 80 × 576",
    "arch": "Baguettotron's shape against Gemma 3 12B's",
}


class Point(NamedTuple):
    """One time of one model: measured, predicted unseen, and the ends of its 90 % interval. Seconds."""

    row: Observation
    parameters: float
    predicted: float
    low: float
    high: float


def points(data: Path) -> list[Point]:
    """Every reported time of the study with its held-out prediction."""
    observations, task = rtx3090.models(data), rtx3090.problem(data)
    names = [row.name for row in observations]
    with Progress(console=Console(stderr=True), transient=True) as progress:
        bar = progress.add_task("leave one model out", total=len(set(names)))
        out = make.leave_out(task, observations, names, lambda done, _: progress.update(bar, completed=done))
    shown = rtx3090.headline(observations)
    found = []
    for i in shown:
        row = observations[i]
        others = [abs(out[j]) for j in shown if j != i and observations[j].phase == row.phase]
        factor = float(np.exp(conformal_quantile(others, 0.9)))
        predicted = row.seconds * float(np.exp(out[i]))
        size = float(num_parameters(model_of([row]))[0])
        found.append(Point(row, size, predicted, predicted / factor, predicted * factor))
    return found


def of_sweep(found: Sequence[Point], sweep: str, phase: str) -> list[Point]:
    """The points of one sweep and phase, in the study's order."""
    return [p for p in found if p.row.name.startswith(f"{sweep}/") and p.row.phase == phase]


def sweep_table(found: Sequence[Point], sweep: str) -> str:
    """Measured and predicted decode and response of one sweep."""
    cells = []
    for decode, response in zip(of_sweep(found, sweep, "decode"), of_sweep(found, sweep, "response"), strict=True):
        row = decode.row
        shape = [
            row.name.split("/")[1],
            f"{row.num_hidden_layers}",
            f"{row.hidden_size}",
            show_count(decode.parameters),
        ]
        cells.append([*shape, *_figures(decode, 1e3, 1), *_figures(response, 1.0, 2)])
    heads = ["model", "layers", "hidden", "params", "decode ms", "predicted", "90 %", "response s", "predicted", "90 %"]
    return table(heads, cells, title=TITLES[sweep])


def _figures(point: Point, scale: float, digits: int) -> list[str]:
    values = [scale * value for value in (point.row.seconds, point.predicted, point.low, point.high)]
    measured, predicted, low, high = (f"{value:.{digits}f}" for value in values)
    return [measured, predicted, f"{low}–{high}"]


def draw(found: Sequence[Point], path: Path) -> None:
    """Five panels: measured as dots, predicted as a line with its interval."""
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    figure, grid = plt.subplots(2, 3, figsize=(12, 7.5), constrained_layout=True)
    *panels, rest = grid.flat
    for panel, sweep in zip(panels, TITLES, strict=True):
        phase = "decode" if sweep in ("depth_sweep", "width_sweep") else "response"
        _panel(panel, of_sweep(found, sweep, phase), sweep, phase)
    rest.axis("off")
    rest.legend(*panels[0].get_legend_handles_labels(), loc="center", frameon=False)
    figure.suptitle("Llama-style models on one RTX 3090 (Transformers eager, bf16): measured against predicted unseen")
    figure.savefig(path, dpi=110)


def _panel(panel: Any, some: Sequence[Point], sweep: str, phase: str) -> None:
    ordered = sorted(some, key=lambda p: p.row.hidden_size if sweep == "width_sweep" else p.row.num_hidden_layers)
    labels = [f"{p.row.num_hidden_layers}×{p.row.hidden_size}\n{show_count(p.parameters)}" for p in ordered]
    x = np.arange(len(ordered))
    scale = 1e3 if phase == "decode" else 1.0
    panel.fill_between(
        x, [scale * p.low for p in ordered], [scale * p.high for p in ordered], alpha=0.25, label="90 % interval"
    )
    panel.plot(x, [scale * p.predicted for p in ordered], label="predicted")
    panel.plot(x, [scale * p.row.seconds for p in ordered], "ko", markersize=4, label="measured")
    panel.set_xticks(x, labels, fontsize=6, rotation=60 if len(x) > 6 else 0)
    panel.set_ylim(bottom=0)
    panel.set_title(TITLES[sweep], fontsize=9)
    panel.set_ylabel("decode, ms a token" if phase == "decode" else "response (512 + 100 tokens), s", fontsize=8)


def main() -> None:
    """Print the tables, draw the picture."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, default=Path("../shared/data"))
    parser.add_argument("--plot", type=Path, default=Path("docs/study.png"))
    options = parser.parse_args()
    found = points(options.data)
    for sweep in TITLES:
        print(sweep_table(found, sweep), end="\n\n")
    draw(found, options.plot)
    print(f"drew {options.plot}")


if __name__ == "__main__":
    main()
