"""`latmodel predict`."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from .options import (
    format_option,
    number_options,
    predictor_from,
    say_notes,
    shape_options,
    target_options,
    workload_from,
    workload_options,
)

if TYPE_CHECKING:
    from ..model.config import Workload


@click.command(epilog="Example:  latmodel predict --gpu 3090 --layers 80 --hidden 576 --breakdown")
@target_options
@click.option("--config", default=None, metavar="CONFIG", help="A Hugging Face config.json, or the name of a preset.")
@shape_options
@click.option("--input", "table", type=click.Path(path_type=Path), default=None, metavar="CSV",
              help="Architectures in a table (CSV or JSON Lines), one a row.")  # fmt: skip
@workload_options
@number_options
@click.option("--limits", is_flag=True, help="The largest batch and the longest context that fit the memory.")
@click.option("--breakdown", is_flag=True, help="Every operator: FLOPs, bytes, device and host time, MFU, MBU, bound.")
@format_option
def predict(**options: Any) -> None:
    """Latency, memory, bound and interval of one architecture or of a table of them."""
    from ..errors import UsageError
    from ..report.predict_rows import predict_one, predict_table

    predictor, workload = predictor_from(options), workload_from(options)
    output_format, details = options["format_"], {"operators": options["breakdown"], "limits": options["limits"]}
    if options["table"] is None:
        model, workload = model_and_workload(options, workload)
        text = predict_one(predictor, model, workload, output_format, **details)
    elif any(details.values()):
        raise UsageError("--breakdown and --limits are of one architecture: give it instead of --input")
    else:
        text = predict_table(predictor, options["table"], workload, output_format)
    say_notes(predictor, workload)
    click.echo(text)


def model_and_workload(options: dict[str, Any], workload: "Workload") -> tuple[Any, "Workload"]:
    """The model that the options describe, and the workload with the format that its configuration names."""
    from ..configs.model_input import shape_config
    from ..errors import UsageError

    if options["config"] is not None:
        from ..configs.huggingface import read_decoder

        decoder = read_decoder(options["config"])
        for line in decoder.notes:
            click.echo(f"note: {line}", err=True)
        formats = {"weights": workload.weights or decoder.format}
        return decoder.architecture, workload.model_copy(update=formats)
    if options["layers"] is None or options["hidden"] is None:
        raise UsageError("give --layers and --hidden, or --config, or --input; see `latmodel predict --help`")
    config = shape_config(
        options["layers"], options["hidden"], ffn=options["ffn"], heads=options["heads"], kv_heads=options["kv_heads"],
        head_dim=options["head_dim"], vocab=options["vocab"], tie=options["tie_embeddings"],
    )  # fmt: skip
    return config, workload
