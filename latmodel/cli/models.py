"""The models that a verb is about: positional names, `--config`, or dimensions as options."""

from typing import TYPE_CHECKING, Any

import click

from ..errors import UsageError
from .options import apply, shape_options

if TYPE_CHECKING:
    from ..configs.models import NamedModel

DIMENSIONS = ("layers", "hidden", "ffn", "heads", "kv_heads", "head_dim", "vocab", "tie_embeddings", "params")

models_argument = click.argument("models", nargs=-1, metavar="[MODEL]...")
config_option = click.option(
    "--config", "configs", multiple=True, metavar="CONFIG",
    help="A Hugging Face config.json or its folder, a .gguf file, or a preset (`latmodel preset list`). Repeatable.",
)  # fmt: skip
assume_option = click.option(
    "--assume-llama", is_flag=True,
    help="Read a configuration with fields that are not understood as if they changed nothing.",
)  # fmt: skip
# A positional MODEL is a preset, a path, or layers x hidden: 80x576.
model_options = apply(models_argument, config_option, assume_option, shape_options)


def models_from(options: dict[str, Any]) -> "list[NamedModel]":
    """The models that the options name, in order; those by name first, then that of the dimensions.

    Raises:
        UsageError: there is none, one cannot be read, or dimensions are given beside a name.
    """
    from ..configs.model_input import shape_config
    from ..configs.models import NamedModel, read_model

    names = [*options.get("models", ()), *options["configs"]]
    given = [name for name in DIMENSIONS if options.get(name) is not None]
    if names and given:
        raise UsageError(f"--{given[0].replace('_', '-')} is of a model given by its dimensions: leave it out")
    if names:
        return [read_model(name, assume_llama=options.get("assume_llama", False)) for name in names]
    if options.get("assume_llama"):
        raise UsageError("--assume-llama is of a configuration: give one")
    tie = options.get("tie_embeddings") in (None, True)
    shape = {name: options.get(name) for name in ("ffn", "heads", "kv_heads", "head_dim", "vocab")}
    if options.get("params") is not None:
        from ..configs.sized import sized_config

        config = sized_config(options["params"], options["layers"], options["hidden"], shape, tie)
    elif options.get("layers") is None or options.get("hidden") is None:
        raise UsageError(
            "give a model: a preset, a config.json or layers x hidden (80x576), or --layers and --hidden, or --params"
        )
    else:
        config = shape_config(options["layers"], options["hidden"], **shape, tie=tie)
    return [NamedModel(f"{config.num_hidden_layers}x{config.hidden_size}", config)]


def one_model(options: dict[str, Any]) -> "NamedModel":
    """The only model that the options name.

    Raises:
        UsageError: as `models_from`, or there are several.
    """
    models = models_from(options)
    if len(models) > 1:
        raise UsageError(f"this is of one model, {len(models)} are given: {', '.join(m.name for m in models)}")
    return models[0]
