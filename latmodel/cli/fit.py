"""`latmodel fit`."""

from typing import Any

import click

from ..errors import UsageError
from .files import InputFile, OutputFile, Source
from .sections import SectionedCommand

LLAMA_BENCH = "llama-bench"
TOOLS = ("vllm-bench", "optimum-benchmark")


@click.command(
    cls=SectionedCommand, epilog="Example:  latmodel fit --gpu 3090 --observations times.jsonl --out mine.json"
)
@click.option("--template", is_flag=True, help="Print a table to fill in, and what its columns hold.")
@click.option("--gpu", default=None, help="Device that was measured: 3090, h100, …")
@click.option("--observations", type=InputFile(folders=True), multiple=True, metavar="FILE",
              help="Measured times: JSON Lines or CSV, one observation a row. Repeatable.")  # fmt: skip
@click.option("--from", "format_", default="latmodel", show_default=True, metavar="FORMAT",
              help="What the files are: latmodel (our columns), depth-width (the RTX 3090 study), or published "
              "kernels of aiconfigurator (installed: no file), vidur or llmservingsim (their folder), or runs of the "
              "model in --config: llama-bench (its json, jsonl or csv), vllm-bench (what `vllm bench serve "
              "--max-concurrency 1 --save-result` writes), optimum-benchmark (its benchmark.json).")  # fmt: skip
@click.option("--config", type=Source(), default=None, metavar="CONFIG",
              help="With --from llama-bench, vllm-bench, optimum-benchmark: the model, a preset or a config.json."
              )  # fmt: skip
@click.option("--prior", type=Source(), default=None, metavar="PROFILE",
              help="Profile to refine. [default: the device's own, or its data sheet]")  # fmt: skip
@click.option(
    "--attention",
    default=None,
    metavar="NAME",
    help="How the runs attended, as `predict --attention` has it. [default: the runtime's]",
)
@click.option("--out", type=OutputFile(), default=None,
              help="Profile to write. [default: ./profiles/NAME.json]")  # fmt: skip
def fit(**options: Any) -> None:
    """Fit or refine a profile from measurements made elsewhere."""
    from ..report.fitted import paragraph
    from .calibration_package import load

    if options["template"]:
        table = load("observations.table")
        click.echo(table.template())
        for line in table.column_lines():
            click.echo(line, err=True)
        return
    if options["gpu"] is None:
        raise UsageError("give --gpu NAME: the device that was measured")
    if options["attention"] is not None and options["format_"] in (LLAMA_BENCH, *TOOLS):
        raise UsageError(f"--attention does not go with --from {options['format_']}: its files say what ran")
    if options["format_"] == LLAMA_BENCH:
        for line in load("verbs.fit_llama_bench").fit_llama_bench(
            options["gpu"], list(options["observations"]), _llama(options["config"]), options["prior"], options["out"]
        ):
            click.echo(paragraph(line))
        return
    if options["format_"] in TOOLS:
        for line in load("verbs.fit_tool").fit_tool(
            options["format_"], options["gpu"], list(options["observations"]), _llama(options["config"]),
            options["prior"], options["out"],
        ):  # fmt: skip
            click.echo(line)
        return
    if options["config"] is not None:
        raise UsageError(f"--config goes with --from {', '.join((LLAMA_BENCH, *TOOLS))} alone")
    verb = load("verbs.fit")
    for line in verb.fit_observations(
        options["gpu"], list(options["observations"]), options["format_"], options["prior"], options["out"],
        options["attention"],
    ):  # fmt: skip
        click.echo(paragraph(line))


def _llama(source: str | None) -> Any:
    """The dimensions of the model that was run, if its blocks are all alike: attention, and a gated FFN."""
    from ..configs.models import read_model
    from ..model.config import ModelConfig

    if source is None:
        return None
    model = read_model(source).model
    if isinstance(model, ModelConfig):
        return model
    layers = model.groups[0].block.layers
    if len(model.groups) > 1 or [layer.kind for layer in layers] != ["Attention", "FeedForward"]:
        raise UsageError(f"--config {source[:60]}: runs of other tools are fitted for Llamas alone")
    shape = {name: int(value) for layer in layers for name, value in layer.dimensions().items()}
    return ModelConfig(
        **shape, num_hidden_layers=int(model.num_hidden_layers), hidden_size=int(model.hidden_size),
        vocab_size=int(model.vocab_size), tie_word_embeddings=bool(model.tie_word_embeddings),
    )  # fmt: skip
