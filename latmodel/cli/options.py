"""Options that several verbs share, each written once; values are checked as they are read."""

import sys
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any, TypeVar

import click

from ..errors import UsageError
from ..report.text import OUTPUT_FORMATS
from ..units import parse_count, parse_duration, parse_power, parse_shape, parse_size

if TYPE_CHECKING:
    from ..device.profile import Profile
    from ..model.config import Workload

    ParamType = click.ParamType[Any]  # generic to type checkers, not in every supported click at run time
else:
    ParamType = click.ParamType

F = TypeVar("F", bound=Callable[..., Any])
MAX_DIMENSION = 10_000_000  # as in config, which is not imported here: `--help` must not load pydantic
CACHES = ["fp8", "int8", "q8_0", "q4_0"]  # of the KV cache (`model.formats.CACHE_BYTES`)


def given(name: str) -> bool:
    """Whether the option of that parameter stands on the command line, whatever its default."""
    context = click.get_current_context(silent=True)
    return context is not None and context.get_parameter_source(name) is click.core.ParameterSource.COMMANDLINE


class Parsed(ParamType):
    """A click type around a parser that raises UsageError."""

    def __init__(self, name: str, parser: Callable[[str], Any]) -> None:
        self.name = name
        self._parser = parser

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        if not isinstance(value, str):
            return value
        try:
            return self._parser(value)
        except UsageError as error:
            self.fail(str(error), param, ctx)


def parse_whole(text: str) -> int:
    """A whole number from 1 to 1e7.

    Raises:
        UsageError: anything else.
    """
    if not (text.isascii() and text.isdigit() and len(text) <= 12 and 1 <= int(text) <= MAX_DIMENSION):
        raise UsageError(f"{text[:40]!r} is not a whole number from 1 to {MAX_DIMENSION}")
    return int(text)


DURATION = Parsed("duration", parse_duration)
SIZE = Parsed("size", parse_size)
POWER = Parsed("power", parse_power)
SHAPE = Parsed("shape", parse_shape)
WHOLE = Parsed("number", parse_whole)
COUNT = Parsed("number", lambda text: 0 if text.strip() == "0" else parse_whole(text))


def parse_margin(text: str) -> float:
    """Bytes that stay free; 0 is none.

    Raises:
        UsageError: it is no size.
    """
    return 0.0 if text.strip() == "0" else parse_size(text)


def apply(*decorators: Callable[[F], F], section: str = "") -> Callable[[F], F]:
    """Several decorators as one, in reading order; with a `section` their options stand under that heading in help."""

    def decorate(function: F) -> F:
        before = len(getattr(function, "__click_params__", ()))
        for decorator in reversed(decorators):
            function = decorator(function)
        if section:
            for param in function.__click_params__[before:]:  # type: ignore[attr-defined]  # click's own list
                param.section = getattr(param, "section", section)
        return function

    return decorate


workload_options = apply(
    click.option("--prompt", type=WHOLE, default=512, show_default=True, help="Prompt tokens."),
    click.option("--generate", type=COUNT, default=100, show_default=True,
                 help="Tokens to generate; 0 is a prefill alone."),
    click.option("--batch", type=WHOLE, default=1, show_default=True, help="Sequences at once."),
    click.option(
        "--dtype", type=click.Choice(["bfloat16", "float16", "float32"]), default="bfloat16", show_default=True
    ),
    click.option(
        "--logits", type=click.Choice(["last", "all"]), default="last", show_default=True,
        help="Positions of the prompt that get logits; a bare model(input_ids) computes all.",
    ),
    section="Workload",
)  # fmt: skip


def _target_options(*, several: bool) -> Callable[[F], F]:
    """The device, the runtime and what an interval is of; with `several`, device and runtime are repeatable."""
    more: dict[str, Any] = {"multiple": True} if several else {"default": None}
    again = " Repeatable." if several else ""
    return apply(
        click.option("--gpu", **more, metavar="GPU",
                     help=f"Device to predict for: 3090, h100, … [default: 3090]{again}"),
        click.option("--profile", default=None, metavar="PATH", help="Profile to use instead of the device's own."),
        click.option("--runtime", **more, metavar="RUNTIME",
                     help="Runtime that launches the kernels: transformers-eager, torch-eager, torch-compile, "
                     "cuda-graph, vllm, llama.cpp, of those that the profile has (`latmodel profile list`). "
                     f"[default: the profile's first]{again}"),
        click.option("--memory", type=SIZE, default=None,
                     help="What a model may fill: 24GB. [default: the data sheet's, less 1.25 % for the driver]"),
        click.option("--memory-margin", type=Parsed("size", parse_margin), default=None, metavar="SIZE",
                     help="Kept free of that: 1GB, or 0. [default: 2 %, the error of peak memory; none with --memory]"),
        click.option("--confidence", type=click.FloatRange(0.5, 0.99), default=0.9, show_default=True,
                     help="Level of the intervals."),
        click.option("--host", type=click.Choice(["any", "published", "this"]), default=None,
                     help="Whose host the intervals are for. [default: this where it was measured, else any]"),
        click.option("--attention", default=None, metavar="NAME",
                     help="How attention runs: sdpa, eager, flash; sdpa-4, flash-4 before Transformers 5. "
                     "[default: the runtime's]"),
        click.option("--power-limit", type=POWER, default=None,
                     help="Limit below the card's own, as 275W: long products slow down. [default: data sheet]"),
        section="Device, runtime and interval",
    )  # fmt: skip


target_options = _target_options(several=False)
repeated_target_options = _target_options(several=True)

number_options = apply(
    click.option("--weights", default=None, metavar="FORMAT",
                 help="Format of the blocks' linear layers: fp8, int8, int4-awq, … (an unknown name lists all). "
                      "[default: the configuration's, or --dtype]"),
    click.option("--kv-cache", type=click.Choice(CACHES), default=None,
                 help="Format of the KV cache. [default: --dtype]"),
    section="Number formats",
)  # fmt: skip

shape_options = apply(
    click.option("--layers", type=WHOLE, default=None, help="num_hidden_layers"),
    click.option("--hidden", type=WHOLE, default=None, help="hidden_size"),
    click.option("--ffn", type=WHOLE, default=None, help="intermediate_size [default: 8/3 × hidden]"),
    click.option("--heads", type=WHOLE, default=None, help="num_attention_heads [default: hidden / head_dim]"),
    click.option("--kv-heads", type=WHOLE, default=None,
                 help="num_key_value_heads [default: --heads if given, else groups of 4, 3, 2 or 1]"),
    click.option("--head-dim", type=WHOLE, default=None, help="head_dim [default: 64, or hidden / heads]"),
    click.option("--vocab", type=WHOLE, default=None, help="vocab_size [default: 65536]"),
    click.option("--tie-embeddings/--untie-embeddings", default=None, help="[default: tied]"),
    click.option("--params", type=Parsed("count", parse_count), default=None, metavar="300M",
                 help="Parameters in all, instead of --layers or --hidden: the nearest. Alone: 128 wide a layer."),
    section="Dimensions",
)  # fmt: skip


def _set_wide(_context: click.Context, _option: click.Parameter, value: bool) -> None:
    from ..report.fitted import WIDE

    WIDE.set(value)


format_option = apply(
    click.option("--format", "format_", type=click.Choice(OUTPUT_FORMATS), default="table", show_default=True),
    click.option("--wide", is_flag=True, expose_value=False, callback=_set_wide,
                 help="Every column of a table, however wide. [default: those that fit the terminal]"),
    section="Output",
)  # fmt: skip


def workload_from(options: dict[str, Any]) -> "Workload":
    """The workload that the shared options describe."""
    from ..model.config import Workload

    return Workload(
        prompt_tokens=options["prompt"], new_tokens=options["generate"], batch_size=options["batch"],
        dtype=options["dtype"], logits=options["logits"],
        weights=options.get("weights"), kv_cache=options.get("kv_cache"),
        cached_tokens=options.get("cached", 0),
    )  # fmt: skip


def predictor_from(options: dict[str, Any]) -> Any:
    """The predictor that the shared options describe.

    Raises:
        ProfileError: no such device, profile or runtime, or the profile is of another device than `--gpu`.
    """
    from ..device.store import device_name, load_profile
    from ..errors import ProfileError

    profile = load_profile(options["profile"] or options["gpu"] or "3090", options["runtime"])
    if options["profile"] and options["gpu"] and device_name(options["gpu"]) != profile.gpu:
        raise ProfileError(
            f"profile {profile.name} is of {profile.gpu}, not of {options['gpu']}; leave out one of the two"
        )
    return predictor_of(profile, options)


def predictor_of(profile: "Profile", options: dict[str, Any]) -> Any:
    """The predictor of a profile that is at hand, as the shared options describe it.

    Raises:
        ProfileError: the profile lacks the runtime.
    """
    from ..device.hosts import is_measured
    from ..device.room import room
    from ..predict.predictor import Predictor
    from ..units import show_bytes

    if options["power_limit"] is not None:
        from ..device.power import with_power_limit

        profile = with_power_limit(profile, options["power_limit"])
    memory, margin = options["memory"], options["memory_margin"]
    if margin is not None:
        usable = memory or room(profile.device.sheet.memory_bytes, driver=not profile.is_cpu).usable_bytes
        if margin >= usable:
            raise UsageError(f"--memory-margin leaves nothing of {show_bytes(usable)}; give less")
        memory = usable - margin
    predictor = Predictor(
        profile, options["runtime"], options["confidence"], memory, host=options["host"],
        attention=options["attention"],
    )  # fmt: skip
    if options["host"] == "published" and not is_measured(profile.runtimes[predictor.runtime]):
        raise UsageError(
            f"--host published: no host of {predictor.runtime} was measured for profile {profile.name}; leave the "
            "option out"
        )
    return predictor


def several_predictors(options: dict[str, Any]) -> list[Any]:
    """A predictor for each device and runtime of the repeatable options, in order.

    Raises:
        ProfileError: as `predictor_from`.
    """
    gpus, runtimes = (tuple(dict.fromkeys(options[name])) or (None,) for name in ("gpu", "runtime"))
    return [predictor_from({**options, "gpu": gpu, "runtime": name}) for gpu in gpus for name in runtimes]


def say_notes(notes: Iterable[str]) -> None:
    """Notes on stderr: beside an answer and not beside an error. JSON rows hold the same.

    One line each; in a terminal they are wrapped between words.
    """
    from ..report.fitted import paragraph

    for line in notes:
        click.echo(paragraph(f"note: {line}") if sys.stderr.isatty() else f"note: {line}", err=True)
