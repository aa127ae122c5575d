"""What `predict` adds for other ways to generate, and for energy and money: fields, columns and notes."""

from collections.abc import Mapping
from typing import Any

from ..configs.model_input import shape_config
from ..configs.models import NamedModel, read_model
from ..errors import UsageError
from ..model.architecture import Architecture
from ..model.config import Workload
from ..predict.chunks import Chunks
from ..predict.energy import cost_per_million, power_of, response_energy
from ..predict.extrapolation import with_untimed
from ..predict.generation import Denoising, Draft, Generated, generate
from ..predict.predictor import Predictor
from ..predict.self_drafts import own_draft
from ..predict.tensor_parallel import share_of, together
from ..units import parse_shape_or_none, show_seconds
from .column import Column, Row
from .generation import Generation
from .trained import TRAINING_COLUMNS, training_fields

# Of a prediction: true of a plain prefill and a token a pass alone.
PLAIN_FIELDS = ("prefill_s_per_layer", "decode_s_per_layer", "response_s_low_published", "response_s_high_published")


def added(
    row: Mapping[str, Any], predictor: Predictor, named: NamedModel, given: Workload, options: Generation
) -> dict[str, Any]:
    """A row of a prediction with what the options change and add; model and draft have each their own weight format.

    Raises:
        UsageError: the draft cannot be read or has another vocabulary, or a number is out of range.
    """
    if options.devices > 1:
        row = {**row, **together(predictor, named.architecture, named.under(given), options.devices)}
    if options.training is not None:
        row = {**row, **training_fields(predictor, named.architecture, given.dtype, options.training)}
    if not (options.changes_passes or options.charged):
        return dict(row)
    chunks = None
    if options.chunk_tokens is not None:
        chunks = Chunks(options.chunk_tokens, options.others or 0, options.others_tokens or 1)
    workload, model = named.under(given), named.architecture
    if options.devices > 1:
        model = share_of(model, options.devices)
    response = generate(predictor, model, workload, chunks=chunks, way=_way(named, given, options))
    fields = dict(row)
    if options.changes_passes:
        for name in PLAIN_FIELDS:
            fields.pop(name, None)
        fields |= response.as_dict()
        fields["notes"] = [*row["notes"], *_notes(response)]
    if options.energy:
        fields |= _energy(fields, predictor, model, workload, response, options)
        fields["notes"] = [*fields["notes"], *_energy_notes(fields, options.devices)]
    if options.price_per_h is not None:
        fields |= _money(fields, workload, options.price_per_h, options.devices)
    return fields


def _way(named: NamedModel, workload: Workload, options: Generation) -> Draft | Denoising | None:
    if options.draft is not None:
        assert options.lookahead is not None, "checked"
        assert options.acceptance is not None, "checked"
        own = own_draft(options.draft, named.architecture)
        if own is not None:
            shares, model = own
            return Draft(options.draft, model, named.under(workload), options.lookahead, options.acceptance, shares)
        draft = read_draft(options.draft, named)
        return Draft(draft.name, draft.architecture, draft.under(workload), options.lookahead, options.acceptance)
    if options.block_tokens is not None:
        assert options.denoising_steps is not None, "checked"
        return Denoising(options.block_tokens, options.denoising_steps)
    return None


def read_draft(name: str, target: NamedModel) -> NamedModel:
    """The draft of that name; one given as layers x hidden has the vocabulary of its target.

    Raises:
        UsageError: it cannot be read, or its vocabulary is another: drafted tokens would mean nothing to the target.
    """
    vocabulary, shape = int(target.architecture.vocab_size), parse_shape_or_none(name)
    if shape is not None:
        return NamedModel(name, shape_config(*shape, vocab=vocabulary))
    draft = read_model(name)
    other = int(draft.architecture.vocab_size)
    if other != vocabulary:
        raise UsageError(
            f"--draft {name[:60]}: its vocabulary has {other} tokens, that of {target.name} {vocabulary}; "
            "give a draft with the same, or layers x hidden"
        )
    return draft


def _notes(response: Generated) -> list[str]:
    details = response.details
    notes = []
    if "others" in details:
        notes.append(
            f"while the prompt is read each of {details['others']} other sequences gets a token every "
            f"{show_seconds(details['others_token_s'])}"
        )
    if "draft" not in details:
        return notes
    pays = details["break_even_acceptance"]
    least = "never pays here" if pays is None else f"pays from an acceptance of {pays:.2f} on"
    return [
        *notes,
        f"a round of {show_seconds(details['round_s'])} gives {details['tokens_per_round']:.2f} tokens "
        f"({details['decode_speedup']:.2f} times as fast as without the draft, which {least}); "
        "the acceptance is taken as given, and every sequence of a batch advances at its own pace",
    ]


def _energy(
    row: Mapping[str, Any], predictor: Predictor, model: Architecture, workload: Workload, response: Generated,
    options: Generation,
) -> dict[str, Any]:  # fmt: skip
    """Joules of all devices, which are busy with their shares and with the sums between them; watts of one."""
    power, tokens = power_of(predictor.profile.gpu, options.power_limit_w), workload.new_tokens * workload.batch_size
    sums_s = row.get("all_reduce_prefill_s", 0.0) + workload.new_tokens * row.get("all_reduce_s_per_token", 0.0)
    names = ("energy_j", "energy_j_low", "energy_j_high")
    joules: tuple[float | None, ...] = (None, None, None)
    if power is not None:
        watts, busy_s = options.devices * power.watts, response.device_s + sums_s
        widest = with_untimed(predictor.interval.widest, (model, workload.numbers().format))
        joules = response_energy(watts, busy_s, row["response_s_high"], widest)
    each = [None if value is None or not tokens else value / tokens for value in joules]
    return {
        **dict(zip(names, joules, strict=True)),
        **dict(zip((n.replace("_j", "_j_per_token", 1) for n in names), each, strict=True)),
        "power_w": None if power is None else power.watts,
        "power_source": None if power is None else power.source or None,
    }


def _energy_notes(row: Mapping[str, Any], devices: int) -> list[str]:
    if row["power_w"] is None:
        return ["energy: no power of this device is known from its data sheet"]
    source = row["power_source"] or "recalled, no document at hand"
    cards = "the card alone" if devices == 1 else f"{devices} cards, busy in all-reduces too, and they alone"
    return [
        f"energy: kernels at the power limit of {row['power_w']:g} W ({source}); what is drawn was not measured, the "
        f"interval reaches from a fifth of the limit in kernels alone to the limit throughout; {cards}"
    ]


def _money(row: Mapping[str, Any], workload: Workload, price_per_h: float, devices: int) -> dict[str, Any]:
    if not workload.new_tokens:
        raise UsageError("--price is of generated tokens, and there are none (--generate 0)")
    tokens = float(workload.new_tokens * workload.batch_size)
    money: dict[str, float | None] = {"price_per_h": price_per_h}
    for end in ("", "_low", "_high"):
        seconds = row[f"response_s{end}"]
        money[f"cost_per_million_tokens{end}"] = (
            None if seconds is None else cost_per_million(devices * price_per_h, seconds, tokens)
        )
    return money


def generation_columns(options: Generation) -> list[Column]:
    """Columns of what the options add."""
    columns = []
    if options.devices > 1:
        columns += [
            Column("devices", lambda row: str(row["devices"])),
            Column("all-reduces", lambda row: f"{show_seconds(row['all_reduce_s_per_token'])} a token"),
        ]
    if options.draft is not None:
        columns += [
            Column("tokens/round", lambda row: f"{row['tokens_per_round']:.2f}"),
            Column("speed-up", lambda row: f"{row['decode_speedup']:.2f}"),
            Column("pays from", _break_even_text, 1),
        ]
    if options.energy:
        columns.append(Column("J/token", lambda row: _with_ends(row, "energy_j_per_token")))
    if options.training is not None:
        columns += TRAINING_COLUMNS
    if options.price_per_h is not None:
        columns.append(Column("per 1M tokens", lambda row: _with_ends(row, "cost_per_million_tokens")))
    return columns


def _break_even_text(row: Row) -> str:
    pays = row["break_even_acceptance"]
    return "never" if pays is None else f"{pays:.2f}"


def _with_ends(row: Row, name: str) -> str:
    value, low, high = (row[f"{name}{end}"] for end in ("", "_low", "_high"))
    if value is None:
        return "?"
    return f"{value:.3g} (?)" if low is None or high is None else f"{value:.3g} ({low:.3g}–{high:.3g})"
