"""The best rows of a frontier, built and run here: `frontier --verify`."""

from typing import Any

import click


def verify_configs(
    predictor: Any, configs: list[Any], workload: Any, output_format: Any, tolerance: float = 0.15
) -> str:
    """Each model built and run here, measured against predicted, as text.

    Raises:
        ToleranceError: one is off by more than the tolerance; the text of all comes with the message on stderr.
    """
    from ..errors import ToleranceError
    from ..report.verified import verified_text
    from .calibration_package import load

    run, parts, worst = load("verify.run"), [], 0.0
    for config in configs:
        row = run.verify_here(predictor, config, workload, None, None, 2.0)
        worst = max(worst, row.worst)
        title = f"{config.num_hidden_layers} × {config.hidden_size}, FFN {config.intermediate_size}"
        parts.append(
            f"{title}\n{verified_text(row, output_format)}"
            if output_format == "table"
            else verified_text(row, output_format)
        )
        click.echo(f"verified {len(parts)} of {len(configs)}", err=True)
    text = "\n\n".join(parts)
    if worst > tolerance:
        click.echo(text)
        raise ToleranceError(
            f"off by {100 * worst:.1f} %, more than {100 * tolerance:.0f} %; calibrate on this machine"
        )
    return text
