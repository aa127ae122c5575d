"""Options of a search: the space, objectives, limits, other devices; text of people → what the search takes."""

import re
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import click

from ..errors import UsageError
from ..units import parse_count, parse_duration, parse_energy, parse_price, parse_size
from .options import WHOLE, Parsed, apply, parse_whole
from .training import training_from

if TYPE_CHECKING:
    from ..predict.predictor import Predictor
    from ..search.goals import Limit, Objective, Scenario
    from ..search.space import SearchSpace

RANGE_HELP = "one number, 64,128 or low:high:step"


def parse_values(text: str) -> Any:
    """Values of a dimension: "576", "64,128", or "4:128" and "256:16384:64" with both ends included.

    Raises:
        UsageError: anything else.
    """
    if ":" not in text:
        return tuple(parse_whole(part) for part in text.split(","))
    ends = text.split(":")
    if len(ends) > 3:
        raise UsageError(f"{text[:40]!r} is no range: write low:high or low:high:step")
    from ..search.space import Span

    return Span(*(parse_whole(end) for end in ends))


# Names that --over takes → fields.
OVER = {
    "layers": "num_hidden_layers", "hidden": "hidden_size", "ffn": "intermediate_size", "heads": "num_attention_heads",
    "kv-heads": "num_key_value_heads", "head-dim": "head_dim", "vocab": "vocab_size", "batch": "batch_size",
    "prompt": "prompt_tokens", "generate": "new_tokens",
}  # fmt: skip


def parse_over(texts: Sequence[str]) -> dict[str, tuple[int, ...]]:
    """Field → values, from "batch=1:512" (powers of two from the low end), "prompt=16,64", "layers=8:64:8".

    Raises:
        UsageError: an unknown name, a name twice, or no such values.
    """
    over: dict[str, tuple[int, ...]] = {}
    for text in texts:
        name, sign, values = text.partition("=")
        field = OVER.get(name.strip().replace("_", "-"))
        if not sign or field is None:
            raise UsageError(f"--over {text[:60]!r}: write NAME=VALUES, with a name out of {', '.join(OVER)}")
        if field in over:
            raise UsageError(f"--over {name}: given twice")
        over[field] = _doubling(values) if values.count(":") == 1 else _listed(values)
    return over


def _doubling(text: str) -> tuple[int, ...]:
    low, high = (parse_whole(end) for end in text.split(":"))
    if low > high:
        raise UsageError(f"--over: the range {low} to {high} is empty; put the smaller end first")
    return tuple(low << k for k in range((high // low).bit_length()))


def _listed(text: str) -> tuple[int, ...]:
    from ..search.space import Span, expand

    values = parse_values(text)
    return expand("--over", values) if isinstance(values, Span) else tuple(dict.fromkeys(values))


def parse_ratio(text: str) -> tuple[float, float]:
    """A range of ratios: "2:5", or "4" for one.

    Raises:
        UsageError: anything else.
    """
    try:
        ends = [float(end) for end in text.split(":")]
    except ValueError:
        ends = []
    if not 1 <= len(ends) <= 2 or not all(0 < end < 1e4 for end in ends):
        raise UsageError(f"{text[:40]!r} is no range of ratios: write 2:5")
    return ends[0], ends[-1]


def _group(text: str) -> tuple[int, int]:
    values = parse_values(text)
    return values[0], values[1] if ":" in text else values[-1]


NEAR = 0.05  # how far from a number of parameters a shape may be


def parse_counts(text: str) -> tuple[float, float]:
    """Least and most parameters: "300M" is within 5 % of it, "250M:350M" a range.

    Raises:
        UsageError: anything else.
    """
    low, sign, high = text.partition(":")
    if not sign:
        return parse_count(text) * (1.0 - NEAR), parse_count(text) * (1.0 + NEAR)
    ends = parse_count(low), parse_count(high)
    if ends[0] > ends[1]:
        raise UsageError(f"{text[:40]!r} is an empty range; put the smaller end first")
    return ends


VALUES = Parsed("values", parse_values)

# Option → dimension of the search space.
_DIMENSIONS = {
    "layers": "num_hidden_layers", "hidden": "hidden_size", "ffn": "intermediate_size",
    "ffn_ratio": "intermediate_ratio",
    "ffn_step": "intermediate_step", "heads": "num_attention_heads", "kv_heads": "num_key_value_heads",
    "group_size": "group_size", "head_dim": "head_dim", "vocab": "vocab_size",
}  # fmt: skip

space_options = apply(
    click.option("--layers", type=VALUES, default=None, help=f"num_hidden_layers: {RANGE_HELP} [default: 4:128]"),
    click.option("--hidden", type=VALUES, default=None, help="hidden_size [default: 256:16384:64]"),
    click.option("--ffn", type=VALUES, default=None, help="intermediate_size [default: by --ffn-ratio]"),
    click.option("--ffn-ratio", type=Parsed("ratios", parse_ratio), default=None,
                 help="intermediate_size / hidden_size [default: 2:5]"),
    click.option("--ffn-step", type=WHOLE, default=None, help="intermediate_size is a multiple of it [default: 64]"),
    click.option("--heads", type=VALUES, default=None, help="num_attention_heads [default: hidden / head_dim]"),
    click.option("--kv-heads", type=VALUES, default=None, help="num_key_value_heads [default: by --group-size]"),
    click.option("--group-size", type=Parsed("sizes", _group), default=None,
                 help="Query heads to a KV head, low:high [default: 1:8]"),
    click.option("--head-dim", type=VALUES, default=None, help="head_dim [default: 64,128]"),
    click.option("--vocab", type=VALUES, default=None, help="vocab_size [default: 65536]"),
    click.option("--tie-embeddings/--untie-embeddings", default=True, show_default=True),
    section="Search space",
)  # fmt: skip


goal_options = apply(
    click.option("--quality", default="effective-params", show_default=True, metavar="NAME",
                 help="What to maximise: effective-params, params, non-embedding-params, loss, loss:hoffmann, "
                 "loss:kaplan, effective-params:levine or package.module:function (docs/quality.md)."),
    click.option("--tokens", type=float, default=None, help="Training tokens, for a loss and with --mfu: 2e12."),
    click.option("--objective", "objectives", multiple=True, metavar="NAME",
                 help="Instead of quality and response, what to trade off: prefill, decode, response, memory, "
                 "throughput, energy, cost, training-flops, gpu-hours, training-memory, params, … or "
                 "package.module:function; give it twice or more."),
    click.option("--limit", "limits", multiple=True, metavar="NAME<=VALUE",
                 help="What every shape keeps: 'decode<=50ms', 'memory<=20GB', 'throughput>=200', "
                 "'energy<=2J' (a token), 'cost<=0.3' (a million tokens). Repeatable."),
    click.option("--price", type=Parsed("price", parse_price), default=None, metavar="MONEY/h",
                 help="Price of the device's time, as 0.5/h: what cost is made of."),
    click.option("--params", type=Parsed("counts", parse_counts), default=None, metavar="300M|LOW:HIGH",
                 help="Only shapes of about so many parameters (within 5 %), or of a range."),
    click.option("--also", multiple=True, metavar="GPU[:RUNTIME]",
                 help="Keep budget and memory on this device too. Repeatable."),
    section="Objectives and limits",
)  # fmt: skip


def space_from(options: dict[str, Any]) -> "SearchSpace":
    """The search space that the options describe.

    Raises:
        UsageError: a dimension is out of range or the space is empty.
    """
    from ..search.space import SearchSpace

    given = {field: options[name] for name, field in _DIMENSIONS.items() if options[name] is not None}
    return SearchSpace(**given, tie_word_embeddings=options["tie_embeddings"])


_LIMIT = re.compile(r"\s*([A-Za-z_][\w.:-]*?)\s*(<=|>=)\s*(\S.*)")


def measure_from(name: str, predictor: "Predictor", options: dict[str, Any]) -> "Objective":
    """The objective of that name, with the power limit, the price and the training of the options.

    Raises:
        UsageError: it cannot be found, or needs an option that is not given.
    """
    from ..search.charged import CHARGES, Charge
    from ..search.trained import TRAINED, training_objective

    if name in TRAINED:
        plan = training_from(options)
        if plan is None:
            raise UsageError(f"{name} is of a training: give --tokens and --mfu")
        return training_objective(name, predictor, plan, options["dtype"])
    objective = objective_from(name)
    if objective.metric not in CHARGES:
        return objective
    return replace(objective, charge=Charge(options["power_limit"], options["price"]))


def parse_limit(text: str, objective_of: "Callable[[str], Objective] | None" = None) -> "Limit":
    """A limit from "decode<=50ms", "memory<=20GB", "throughput>=200" or "package.module:function>=1.5".

    Raises:
        UsageError: it is no such text, or its number cannot be read.
    """
    match = _LIMIT.fullmatch(text)
    if match is None:
        raise UsageError(f"--limit {text[:60]!r}: write NAME<=VALUE or NAME>=VALUE, as in 'decode<=50ms'")
    name, sign, value = match.groups()
    objective = (objective_of or objective_from)(name)
    parse = {"memory": parse_size, "prefill": parse_duration, "decode": parse_duration, "response": parse_duration,
             "energy": parse_energy, "training-memory": parse_size}  # fmt: skip
    try:
        bound = parse.get(name, float)(value)
    except ValueError as error:
        reason = str(error) if isinstance(error, UsageError) else f"{value[:40]!r} is not a number"
        raise UsageError(f"--limit {text[:60]!r}: {reason}") from None
    return objective.at_most(bound) if sign == "<=" else objective.at_least(bound)


def quality_tokens(options: dict[str, Any]) -> float | None:
    """The training tokens that the quality is of; None where they are those of a training alone (`--mfu`)."""
    training_alone = options["mfu"] is not None and not options["quality"].startswith("loss")
    return None if training_alone else options["tokens"]


def check_costs(options: dict[str, Any]) -> None:
    """Refuse options of a cost that no objective and no limit is of.

    Raises:
        UsageError: there is one.
    """
    limits = (_LIMIT.fullmatch(text) for text in options["limits"])
    names = {*options["objectives"], *(match[1] for match in limits if match)}
    if options["price"] is not None and "cost" not in names:
        raise UsageError("--price is what cost is made of: name it, as in --limit 'cost<=3' or --objective cost")
    if training_from(options) is None:
        return
    from ..search.trained import TRAINED

    if not names & set(TRAINED):
        raise UsageError(f"--mfu is of a training: name {' or '.join(TRAINED)}, as in --limit 'gpu-hours<=1e5'")


def limits_from(predictor: "Predictor", options: dict[str, Any]) -> "list[Limit]":
    """The limits of `--limit` and `--params`.

    Raises:
        UsageError: as `parse_limit`, `measure_from` and `check_costs`.
    """
    check_costs(options)
    limits = [parse_limit(text, lambda name: measure_from(name, predictor, options)) for text in options["limits"]]
    if options["params"] is not None:
        low, high = options["params"]
        limits += [objective_from("params").at_least(low), objective_from("params").at_most(high)]
    return limits


def objective_from(text: str) -> "Objective":
    """The objective of that name, or the function at "package.module:function".

    Raises:
        UsageError: it cannot be found.
    """
    from ..quality.user import load_function
    from ..search.goals import METRICS, objective_named

    return objective_named(load_function(text, "objective", METRICS) if ":" in text else text)


def scenario_from(text: str, options: dict[str, Any]) -> "Scenario":
    """Another device, and its runtime if one is named, under the same work.

    Raises:
        ProfileError: no such device, profile or runtime.
    """
    from ..predict.predictor import Predictor
    from ..search.goals import Scenario
    from .options import workload_from

    gpu, _, runtime = text.partition(":")
    return Scenario(Predictor.load(gpu, runtime or None, options["confidence"]), workload_from(options))
