"""What comes in by hand: columns of a table, steps, the positions of a model; what is outside a profile; what fits."""

import re
from typing import Any

import numpy as np
import pytest
from search_toy import toy_predictor
from toy import TWO_BYTES, model, work

from latmodel import ModelConfig, Step, Workload
from latmodel.device.profile import RuntimePart
from latmodel.errors import UsageError
from latmodel.model.architecture import Architecture, Attention, Block, FeedForward, Group
from latmodel.model.config import MAX_DIMENSION
from latmodel.model.formats import FORMATS
from latmodel.model.layers.mamba2 import Mamba2
from latmodel.predict.capacity import Capacity, capacity, largest
from latmodel.predict.columns import check_columns
from latmodel.predict.extrapolation import Known, outside, over_cache, reasons
from latmodel.predict.inputs import check_positions, check_step, is_decode, work_of, work_of_step
from latmodel.predict.target import Work
from latmodel.runtimes.transformers_eager import TRANSFORMERS

PLAIN: dict[str, Any] = {"num_hidden_layers": 4, "hidden_size": 256}


# --- Columns --------------------------------------------------------------------------------------


def test_columns_are_numbers_or_arrays_and_what_is_left_out_is_filled_in() -> None:
    rows, table = check_columns({**PLAIN, "hidden_size": [256, 512], "new_tokens": 0})
    assert rows == 2 and table["hidden_size"].tolist() == [256.0, 512.0] and table["new_tokens"] == 0.0
    assert table["num_attention_heads"].tolist() == [4.0, 8.0] and table["head_dim"] == 64.0
    assert type(table["num_hidden_layers"]) is float and type(table["vocab_size"]) is float
    assert check_columns(PLAIN)[0] == check_columns({**PLAIN, "vocab_size": np.float64(7)})[0] == 1
    assert check_columns({**PLAIN, "vocab_size": []})[0] == 0
    assert check_columns({**PLAIN, "vocab_size": [1, MAX_DIMENSION]})[1]["vocab_size"].tolist() == [1, MAX_DIMENSION]
    assert check_columns({**PLAIN, "tie_word_embeddings": [True, 0]})[1]["tie_word_embeddings"].tolist() == [1.0, 0.0]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"depth": 4}, "unknown column 'depth'"), ({"hidden_size": None}, "'hidden_size' is missing"),
        ({"num_hidden_layers": None}, "'num_hidden_layers' is missing"), ({"vocab_size": "x"}, "not a number"),
        ({"vocab_size": [[1, 2]]}, "has 2 dimensions"), ({"vocab_size": [7, 0]}, "row 1: vocab_size must be .* from 1"),
        ({"vocab_size": [7, MAX_DIMENSION + 1]}, f"row 1: vocab_size .* to {MAX_DIMENSION}"),
        ({"vocab_size": 7.5}, "row 0: vocab_size"), ({"vocab_size": [np.nan]}, "row 0: vocab_size"),
        ({"new_tokens": -1}, "row 0: new_tokens must be .* from 0"), ({"batch_size": 0}, "batch_size must be .* from 1"),
        ({"tie_word_embeddings": [0, 1, 2]}, "row 2: tie_word_embeddings"), ({"tie_word_embeddings": 0.5}, "neither"),
        ({"num_attention_heads": [8, 8], "num_key_value_heads": [4, 3]}, "row 1: num_attention_heads is not divisible"),
        ({"vocab_size": [7, 8], "batch_size": [1, 2, 3]}, r"different lengths: \[2, 3\]"),
    ],
)  # fmt: skip
def test_a_column_that_cannot_be_is_named_with_its_row(changes: dict[str, Any], message: str) -> None:
    columns = {name: value for name, value in {**PLAIN, **changes}.items() if value is not None}
    with pytest.raises(UsageError, match=message):
        check_columns(columns)


# --- Steps and positions --------------------------------------------------------------------------


def test_a_decode_step_is_one_token_over_a_cache_that_holds_something() -> None:
    steps = [(1.0, 1.0), (1.0, 0.0), (2.0, 5.0), (1.0, 9.0)]
    assert [bool(is_decode(Step(*one))) for one in steps] == [True, False, False, True]
    rows = Step(*(np.array(column) for column in zip(*steps, strict=True)))
    assert is_decode(rows).tolist() == [True, False, False, True]
    found = [work_of_step(Step(*one, 3.0), Workload(logits="all")) for one in steps]
    assert [(one.prompt, one.cached, one.new, one.batch) for one in found] == [
        (1.0, 0.0, 1.0, 3.0), (1.0, 0.0, 1.0, 3.0), (2.0, 5.0, 1.0, 3.0), (9.0, 0.0, 1.0, 3.0),
    ]  # fmt: skip
    many = work_of_step(rows, Workload())
    assert (many.prompt.tolist(), many.cached.tolist(), many.new) == ([1, 1, 2, 9], [0, 0, 5, 0], 1.0)
    assert found[0].logits_all and not many.logits_all
    asked = work_of(Workload(prompt_tokens=3, new_tokens=5, batch_size=7, cached_tokens=11, logits="all"))
    assert asked == Work(3.0, 5.0, 7.0, True, TWO_BYTES, 11.0)


@pytest.mark.parametrize(
    ("step", "word"),
    [
        (Step(0), "new_tokens must be .* from 1"), (Step(1, -1), "cached_tokens must be .* from 0"),
        (Step(1, 0, 0), "batch_size"), (Step(MAX_DIMENSION + 1), "new_tokens"), (Step(1.5), "new_tokens"),
        (Step("x"), "new_tokens is not a number"), (Step([2, 3.5]), "new_tokens"), (Step(1, np.nan), "cached_tokens"),
    ],
)  # fmt: skip
def test_a_step_that_cannot_be_is_refused(step: Step, word: str) -> None:
    with pytest.raises(UsageError, match=word):
        check_step(step)


def test_a_step_s_numbers_are_floats_and_its_lists_arrays() -> None:
    found = check_step(Step(MAX_DIMENSION, 0, [1, 2]))
    assert (found.new_tokens, found.cached_tokens) == (float(MAX_DIMENSION), 0.0) and type(found.new_tokens) is float
    assert found.batch_size.dtype == np.float64 and found.batch_size.tolist() == [1.0, 2.0]


def test_a_context_is_as_long_as_the_table_of_positions_at_most() -> None:
    whole = Architecture((), 64.0, 10.0, positions=20.0)
    check_positions(whole, 20.0)
    check_positions(whole, np.array([3.0, 20.0]))
    check_positions(Architecture((), 64.0, 10.0), 1e6)
    check_positions(Architecture((), 64.0, 10.0, positions=np.array([20.0])), 1e6)
    for context in (21.0, np.array([30.0, 3.0])):
        with pytest.raises(UsageError, match="positions .*has 20"):
            check_positions(whole, context)


# --- Outside of what was measured -----------------------------------------------------------------

RANGES: dict[str, tuple[float, float]] = {
    "num_hidden_layers": (4.0, 8.0), "hidden_size": (256.0, 512.0), "head_dim": (64.0, 64.0), "prompt_tokens": (100.0, 200.0),
    "new_tokens": (1.0, 60.0), "batch_size": (1.0, MAX_DIMENSION), "vocab_size": (1000.0, 2000.0),
}  # fmt: skip
KNOWN = Known("card", True)


def part(**changes: Any) -> RuntimePart:
    return RuntimePart.model_construct(**{"ranges": RANGES, "layers": [], "formats": {}, "machine": "", **changes})


INSIDE = work(prompt=150.0, new=20.0)


@pytest.mark.parametrize(
    ("shape", "load", "because"),
    [
        ({}, {}, None), ({"num_hidden_layers": 8.0}, {}, None), ({"hidden_size": 512.0}, {"prompt": 100.0}, None),
        ({"num_hidden_layers": 9.0}, {}, "num_hidden_layers 9 (4 to 8 measured)"),
        ({"num_hidden_layers": 3.0}, {}, "num_hidden_layers 3 (4 to 8 measured)"),
        ({"head_dim": 32.0}, {}, "head_dim 32 (64 to 64 measured)"), ({"head_dim": 96.0}, {}, "head_dim 96 (64 to 64 measured)"),
        ({"vocab_size": 2001.0}, {}, "vocab_size 2001 (1000 to 2000 measured)"),
        ({}, {"prompt": 99.0}, "prompt_tokens 99 (100 to 200 measured)"), ({}, {"prompt": 180.0, "new": 20.0}, None),
        ({}, {"prompt": 180.0, "new": 21.0}, "a generation to 201 positions (to 200 measured)"),
        ({}, {"new": 61.0, "prompt": 100.0}, "new_tokens 61 (1 to 60 measured)"), ({}, {"batch": 1e6}, None),
        ({}, {"batch": 0.5}, "batch_size 0.5 (1 or more measured)"),
    ],
)  # fmt: skip
def test_a_dimension_is_outside_beyond_its_range_and_named(
    shape: dict[str, float], load: dict[str, float], because: str | None
) -> None:
    asked, whole = INSIDE._replace(**load), model(**shape)
    assert outside(whole, asked, part(), TRANSFORMERS, KNOWN) == float(because is not None)
    assert reasons(whole, asked, part(), TRANSFORMERS, "card") == ([] if because is None else [because])


def test_a_cached_prefix_is_outside_where_no_pass_over_a_cache_was_measured() -> None:
    prefix = INSIDE._replace(cached=10.0, prompt=140.0)
    assert outside(model(), prefix, part(), TRANSFORMERS, KNOWN) == 1.0
    assert reasons(model(), prefix, part(), TRANSFORMERS, "card") == [over_cache(140.0, 10.0)]
    wide = part(ranges={**RANGES, "cached_tokens": (0.0, 50.0), "prompt_tokens": (1.0, 200.0)})
    assert outside(model(), prefix, wide, TRANSFORMERS, KNOWN) == 0.0
    assert reasons(model(), prefix, wide, TRANSFORMERS, "card") == []
    assert reasons(model(), prefix._replace(cached=51.0, prompt=100.0), wide, TRANSFORMERS, "card") == [
        "cached_tokens 51 (0 to 50 measured)"
    ]
    # A range of prompts is of where they end: 140 over 70 is 210, and one token behind a cache a decode step.
    assert "prompt_tokens 210 (1 to 200 measured)" in reasons(
        model(), prefix._replace(cached=70.0), wide, TRANSFORMERS, "card"
    )
    narrow = part(ranges={"hidden_size": (256.0, 512.0)})
    assert outside(model(), prefix._replace(prompt=1.0), narrow, TRANSFORMERS, KNOWN) == 0.0
    assert reasons(model(), prefix._replace(prompt=1.0), narrow, TRANSFORMERS, "card") == []
    assert outside(model(), prefix._replace(prompt=2.0), narrow, TRANSFORMERS, KNOWN) == 1.0
    rows = prefix._replace(prompt=np.array([1.0, 2.0, 2.0]), cached=np.array([5.0, 5.0, 0.0]))
    assert outside(model(), rows, narrow, TRANSFORMERS, KNOWN).tolist() == [0.0, 1.0, 0.0]


def test_kinds_formats_dtypes_and_what_was_assumed() -> None:
    special = Architecture((Group(4.0, Block(Mamba2(4.0, 16.0, 2.0, 8.0), FeedForward(512.0))),), 256.0, 1024.0)
    assert outside(special, INSIDE, part(ranges={}), TRANSFORMERS, KNOWN) == 1.0
    assert reasons(special, INSIDE, part(ranges={}), TRANSFORMERS, "card") == ["layers of kind Mamba2"]
    assert outside(special, INSIDE, part(ranges={}, layers=["Mamba2"]), TRANSFORMERS, KNOWN) == 0.0
    assert outside(model(), INSIDE, part(), TRANSFORMERS, Known("card", False)) == 1.0
    form = FORMATS["int4-gptq"]
    there, quantised = TRANSFORMERS.kernel(form).gpus[0], INSIDE._replace(numbers=TWO_BYTES._replace(format=form))
    for gpu, some, measured in (
        (there, part(), True), ("card", part(), False), ("card", part(formats={"q": {}}), True),
        ("card", part(formats={"q": {}}, machine="ab"), False),
    ):  # fmt: skip
        assert outside(model(), quantised, some, TRANSFORMERS, Known(gpu, True)) == float(not measured)
        assert bool(reasons(model(), quantised, some, TRANSFORMERS, gpu)) == (not measured)
    assert re.match(
        r"weights int4-gptq \(measured on .*\)", reasons(model(), quantised, part(), TRANSFORMERS, "card")[0]
    )
    assumed = Architecture(model().groups, 256.0, 1024.0, assumed=("something",))
    assert reasons(assumed, INSIDE, part(), TRANSFORMERS, "card") == ["something"]
    assert outside(assumed, INSIDE, part(), TRANSFORMERS, KNOWN) == 1.0
    for width in (48.0, 80.0):  # one of two groups, narrower or wider than what was measured
        other = Group(2.0, Block(Attention(4.0, 2.0, width), None))
        mixed = Architecture((Group(2.0, Block(Attention(4.0, 2.0, 64.0), FeedForward(512.0))), other), 256.0, 1024.0)
        assert outside(mixed, INSIDE, part(), TRANSFORMERS, KNOWN) == 1.0
        assert reasons(mixed, INSIDE, part(), TRANSFORMERS, "card") == [f"head_dim {width:g} (64 to 64 measured)"]
    many = model(num_hidden_layers=np.array([3.0, 4.0, 8.0, 9.0]))  # type: ignore[arg-type]
    assert outside(many, INSIDE, part(), TRANSFORMERS, KNOWN).tolist() == [1.0, 0.0, 0.0, 1.0]


# --- What fits ------------------------------------------------------------------------------------


@pytest.mark.parametrize("most", [0, 1, 2, 3, 99, 100, 101, 999, 1000])
@pytest.mark.parametrize("limit", [1, 100, 1000])
def test_the_largest_that_fits_is_found_without_asking_beyond_the_limit(most: int, limit: int) -> None:
    asked = []

    def fits(value: int) -> bool:
        asked.append(value)
        return value <= most

    assert largest(fits, limit) == min(most, limit)
    assert max(asked) <= limit and len(asked) <= 2 * limit.bit_length() + 2


def test_the_largest_batch_and_context_fit_and_one_more_do_not() -> None:
    toy, shape = toy_predictor(), ModelConfig(num_hidden_layers=12, hidden_size=1024)
    workload = Workload(prompt_tokens=1000, new_tokens=50, cached_tokens=7, batch_size=3)
    found = capacity(toy, shape, workload)
    for more, fits in ((0, True), (1, False)):
        batch = workload.model_copy(update={"batch_size": found.largest_batch + more})
        prompt = workload.model_copy(update={"prompt_tokens": found.longest_context + more - 57})
        assert toy.predict(shape, batch).fits_memory == toy.predict(shape, prompt).fits_memory == fits
    huge = ModelConfig(num_hidden_layers=1000, hidden_size=16384)
    assert capacity(toy, huge, workload) == Capacity(0, 0) and found.as_dict()["largest_batch"] == found.largest_batch
