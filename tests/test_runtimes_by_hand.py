"""What a runtime's record says of kernels, attention and quantised weights, with a number of its own for every count."""

import math

import numpy as np
import pytest
from toy import TWO_BYTES
from toy_runtime import COUNTED, EIGHT, FUSES, JOINED, KEEPS, MASKS, UNPACKS, WRITES

from latmodel.errors import UsageError
from latmodel.model.formats import FORMATS, Numbers
from latmodel.model.implementation import AttentionPath
from latmodel.model.kernels import UNPACKED, Way, WeightKernel
from latmodel.model.layers.unpacking import float8_product, with_unpacking
from latmodel.model.ops import OpCost, OpKind, gemm, pointwise
from latmodel.model.step import Step, attended_pairs, seen_positions
from latmodel.runtimes.serving import SERVING

# --- Kernels of weights ---------------------------------------------------------------------------


def test_a_kernel_is_one_launch_without_a_price_unless_it_says_so() -> None:
    plain = WeightKernel(name="x", way=Way.FUSED)
    assert (plain.launches, plain.floors, plain.instructions, plain.row_step, plain.step_s) == (
        1.0,
        0.0,
        0.0,
        16.0,
        0.0,
    )
    assert (plain.rows, plain.beyond, plain.holds_workspace, plain.gpus) == (math.inf, None, False, ())
    # Where nothing is known: written out and read back, launched once more.
    assert (UNPACKED.way, UNPACKED.launches, UNPACKED.unpacks) == (Way.UNPACKED, 2.0, True)


def test_who_writes_a_matrix_out() -> None:
    assert UNPACKS.unpacks and FUSES.unpacks  # at last
    assert not FUSES._replace(beyond=None).unpacks
    assert not EIGHT.unpacks  # where there are products of 8-bit floats


def test_an_overhead_that_is_shared_out() -> None:
    """Half of what a kernel costs beyond reading: launches, floors, instructions, what a pass takes longer."""
    half = FUSES.with_overhead(0.5)
    assert (half.launches, half.floors, half.instructions, half.step_s) == (2.0, 5.5, 0.75, 0.5e-3)
    assert (half.rows, half.row_step, half.way) == (100.0, 1.0, Way.FUSED)
    assert half.beyond is not None and half.beyond.launches == 2.5
    double = FUSES.with_overhead(2.0)
    assert (double.launches, double.floors, double.instructions, double.step_s) == (5.0, 22.0, 3.0, 2e-3)
    few = FUSES._replace(launches=0.4)  # fewer launches than a product of 16 bits are no overhead
    assert few.with_overhead(0.5).launches == few.with_overhead(0.0).launches == 0.4
    none = FUSES.with_overhead(0.0)
    assert none == FUSES._replace(launches=1.0, floors=0.0, instructions=0.0, step_s=0.0, rows=math.inf, beyond=None)
    assert UNPACKS.with_overhead(0.0).way is Way.FUSED
    # Products of 8-bit floats stay; what stands in for them does not.
    assert EIGHT.with_overhead(0.5) == EIGHT._replace(beyond=half)
    assert EIGHT._replace(beyond=None).with_overhead(0.5) == EIGHT._replace(beyond=None)


def test_which_kernel_a_format_has() -> None:
    gptq, fp8, nf4 = FORMATS["int4-gptq"], FORMATS["fp8"], FORMATS["nf4"]
    assert (COUNTED.kernel(gptq), COUNTED.kernel(fp8), COUNTED.kernel(nf4)) == (FUSES, FUSES, UNPACKS)
    able = COUNTED._replace(multiplies_float8=True)
    assert able.kernel(fp8) == EIGHT
    lonely = COUNTED._replace(kernels=(("fp8", EIGHT._replace(beyond=None)),))
    assert lonely.kernel(fp8) == UNPACKED
    assert able.measured_on(fp8, "anywhere")
    assert COUNTED.measured_on(gptq, "here") and not COUNTED.measured_on(gptq, "there")
    assert not COUNTED.measured_on(nf4, "here")
    assert (COUNTED.format_step_s(gptq), COUNTED.format_step_s(nf4), COUNTED.format_step_s(None)) == (1e-3, 0.0, 0.0)
    half = COUNTED.with_overhead(gptq, 0.5)
    assert half.kernel(gptq) == FUSES.with_overhead(0.5) and half.kernel(fp8) == FUSES and len(half.kernels) == 2


# --- Quantised products ---------------------------------------------------------------------------


def products(rows: float | np.ndarray) -> list[OpCost]:
    """Two by weights of half a byte, one launched twice, one by 16 bits, and something else."""
    return [
        gemm("a", rows, 10.0, 20.0, 0.5, 2.0), gemm("b", rows, 30.0, 20.0, 0.5, 2.0, 2.0), gemm("c", rows, 5.0, 20.0, 2.0, 2.0),
        pointwise("d", 40.0, moves=2.0, kernels=1.0, bytes_each=2.0),
    ]  # fmt: skip


def unpacked(rows: float | np.ndarray, form: str, weight_bytes: float = 0.5, able: bool = False) -> dict[str, OpCost]:
    numbers = Numbers(weight_bytes, 2.0, 2.0, FORMATS[form])
    runtime = COUNTED._replace(multiplies_float8=able)
    return {op.name: op for op in with_unpacking("beside", products(rows), {"a", "b", "other"}, runtime, numbers)}


WEIGHTS = 20 * 10 + 2 * 20 * 30  # of the quantised products, which are three in all


def test_weights_that_are_written_out() -> None:
    """2.5 values of two bytes moved for each; three further launches a product."""
    found = unpacked(200.0, "nf4")
    assert (found["beside"].kind, found["beside"].bytes, found["beside"].kernels) == (
        OpKind.POINTWISE,
        WEIGHTS * 2.5 * 2,
        9.0,
    )
    assert [found[name] for name in "abcd"] == products(200.0)
    # From a hundred rows on the fused kernel hands over.
    assert unpacked(100.0, "int4-gptq") == unpacked(100.0, "nf4")


def test_weights_that_are_dequantised_in_registers() -> None:
    found = unpacked(99.0, "int4-gptq")
    side = found["beside"]
    assert (side.kind, side.flops, side.bytes, side.kernels) == (OpKind.DEQUANTIZE, 1.5 * WEIGHTS, 0.0, 0.0)
    assert side.repeat == 11 * 3  # floors of three products
    assert [found[name].kernels for name in "abcd"] == [3.0, 6.0, 1.0, 1.0]
    assert [found[name].row_step for name in "abcd"] == [1.0, 1.0, 16.0, 16.0]
    assert [found[name].bytes for name in "abcd"] == [op.bytes for op in products(99.0)]


@pytest.mark.parametrize(("launches", "row_step"), [(3.0, 16.0), (1.6, 16.0), (1.0, 1.0), (1.0, 16.0)])
def test_a_product_is_launched_and_padded_as_its_kernel_says(launches: float, row_step: float) -> None:
    runtime = COUNTED._replace(kernels=(("int4-gptq", FUSES._replace(launches=launches, row_step=row_step)),))
    numbers = Numbers(0.5, 2.0, 2.0, FORMATS["int4-gptq"])
    for names, counts in (({"a", "b"}, (launches, 2 * launches)), ({"b"}, (1.0, 2 * launches))):
        a, b, *_ = with_unpacking("beside", products(1.0), names, runtime, numbers)
        assert (a.kernels, b.kernels, b.row_step) == (*counts, row_step)
    (only, _) = with_unpacking("beside", products(1.0)[:1], {"a"}, runtime, numbers)
    assert only.kernels == launches


@pytest.mark.parametrize("changes", [{"floors": 0.0}, {"instructions": 0.0}, {"floors": 0.0, "instructions": 0.0}])
def test_what_costs_nothing_beside_is_no_operator(changes: dict[str, float]) -> None:
    runtime = COUNTED._replace(kernels=(("int4-gptq", FUSES._replace(**changes)),))
    numbers = Numbers(0.5, 2.0, 2.0, FORMATS["int4-gptq"])
    found = with_unpacking("beside", products(1.0), {"a", "b"}, runtime, numbers)
    assert len(found) == (4 if len(changes) == 2 else 5)


def test_a_column_of_rows_takes_each_its_own() -> None:
    rows = np.array([1.0, 99.0, 100.0, 500.0])
    numbers = Numbers(0.5, 2.0, 2.0, FORMATS["int4-gptq"])
    many = with_unpacking("beside", products(rows), {"a", "b"}, COUNTED, numbers)
    for i, one in enumerate(rows):
        single = unpacked(float(one), "int4-gptq")
        for name in "abcd":
            op = next(op for op in many if op.name == name)
            assert np.broadcast_to(op.kernels, 4)[i] == single[name].kernels
            assert np.broadcast_to(op.row_step, 4)[i] == single[name].row_step
        side = [op for op in many if op.name == "beside"]
        assert [op.kind for op in side] == [OpKind.DEQUANTIZE, OpKind.POINTWISE]
        few = one < 100.0
        assert (side[0].flops[i], side[0].repeat[i]) == ((1.5 * WEIGHTS, 33.0) if few else (0.0, 0.0))  # type: ignore[index]
        assert (side[1].activation_bytes[i], side[1].kernels[i]) == ((0.0, 0.0) if few else (WEIGHTS * 5.0, 9.0))


def test_products_of_8_bit_floats() -> None:
    """The input is read in half of its bytes, the output written in 16 bits: (k / 2 + n) / (k + n) of the traffic."""
    found = unpacked(10.0, "fp8", 1.0, able=True)
    assert set(found) == set("abcd")
    assert [found[name].kind for name in "abcd"] == [OpKind.GEMM8, OpKind.GEMM8, OpKind.GEMM, OpKind.POINTWISE]
    assert found["a"].activation_bytes == 10 * 2 * (20 / 2 + 10)
    assert [found[name].kernels for name in "abcd"] == [2.0, 4.0, 1.0, 1.0]  # quantising launches once more
    alone = float8_product(products(10.0)[0])
    assert (alone.kernels, alone.weight_bytes, alone.flops) == (1.0, 0.5 * 200, 2 * 10 * 200)


def test_operators_without_quantised_products_stay() -> None:
    numbers = Numbers(0.5, 2.0, 2.0, FORMATS["int4-gptq"])
    assert with_unpacking("beside", products(1.0), {"other"}, COUNTED, numbers) == products(1.0)
    with pytest.raises(AssertionError, match="not unpacked"):
        with_unpacking("beside", products(1.0), {"a"}, COUNTED, TWO_BYTES)


# --- Ways to attend -------------------------------------------------------------------------------


def test_a_way_to_attend_is_one_kernel_that_writes_nothing_unless_it_says_so() -> None:
    plain = AttentionPath(name="x")
    assert (plain.kernels, plain.splits, plain.expand_kernels, plain.score_kernels, plain.score_moves) == (
        1.0,
        False,
        0.0,
        0.0,
        0.0,
    )
    assert (plain.float32_logits, plain.mask_expand_kernels) == (False, 0.0)
    assert plain.keeps_on_chip and MASKS.keeps_on_chip and not WRITES.keeps_on_chip
    assert not KEEPS._replace(expand_kernels=1.0).keeps_on_chip and not KEEPS._replace(score_moves=1.0).keeps_on_chip


def test_when_keys_and_values_are_written_out() -> None:
    prompt, token, behind = Step(5.0), Step(1.0, 7.0), Step(5.0, 7.0)
    assert [WRITES.expanded(step, 2.0) for step in (prompt, token, behind)] == [1.0, 1.0, 1.0]
    assert [KEEPS.expanded(step, 2.0) for step in (prompt, token, behind)] == [0.0, 0.0, 0.0]
    # For a mask, where several tokens follow a cache, and not of a single head.
    assert [MASKS.expanded(step, 2.0) for step in (prompt, token, behind)] == [0.0, 0.0, 1.0]
    assert [MASKS.expanded(behind, heads) for heads in (1.0, 2.0)] == [0.0, 1.0]
    columns = Step(np.array([5.0, 1.0, 5.0]), np.array([0.0, 7.0, 7.0]))
    assert MASKS.expanded(columns, 2.0).tolist() == [0.0, 0.0, 1.0]
    assert MASKS.expanded(behind, np.array([1.0, 1.5, 2.0])).tolist() == [0.0, 1.0, 1.0]


def test_the_way_that_is_taken() -> None:
    assert COUNTED.attention == KEEPS
    assert COUNTED.with_attention("writes").attention == WRITES
    with pytest.raises(UsageError, match="^--attention quick: this runtime has keeps, writes, masks$"):
        COUNTED.with_attention("quick")


def test_what_a_prompt_leaves_out_of_its_last_block() -> None:
    """0.5 of one block of four for all tokens but one of ten."""
    cut = COUNTED._replace(cut_of_last_block=0.5)
    assert cut.prompt_share(4.0, 10.0, False) == 1 - 0.5 * 0.9 / 4
    assert cut.prompt_share(4.0, 10.0, True) == COUNTED.prompt_share(4.0, 10.0, False) == 1.0
    assert cut.prompt_share(0.5, 10.0, False) == 1 - 0.5 * 0.9  # no more than the block


def test_what_most_runtimes_do_and_do_not() -> None:
    """Weights that are unpacked are written once and read once; nothing of a prompt is left out."""
    assert (SERVING.unpack_moves, SERVING.cut_of_last_block, SERVING.group_kernels, SERVING.micro_batch) == (
        2.0,
        0.0,
        0.0,
        None,
    )
    assert SERVING.other_kernel == UNPACKED


def test_rotary_embedding() -> None:
    found = COUNTED.rope(4.0, 1.0, 2.0, 2.0)
    assert (found.bytes, found.kernels, found.passes, found.strided, found.k) == (10 * 17 * 2, 5.0, 17.0, False, 0.0)
    # Over views half of the kernels are for queries, half for keys.
    assert JOINED.rope(4.0, 1.0, 2.0, 2.0) == found._replace(strided=True, m=2.0, n=4.0, k=1.0)


# --- Steps ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("window", [None, 1.0, 3.0, 7.0, 20.0])
@pytest.mark.parametrize(("new", "cached"), [(1.0, 0.0), (1.0, 9.0), (5.0, 0.0), (5.0, 4.0), (12.0, 9.0)])
def test_pairs_and_positions_by_counting(new: float, cached: float, window: float | None) -> None:
    step = Step(new, cached, 2.0)
    width = 1e9 if window is None else window
    seen = [range(int(max(0, cached + i + 1 - width)), int(cached + i + 1)) for i in range(int(new))]
    assert attended_pairs(step, window) == sum(map(len, seen))
    assert seen_positions(step, window) == len({position for one in seen for position in one})
    assert (step.context, step.rows) == (cached + new, 2 * new)


def test_phases_and_masks() -> None:
    assert Step(1.0) == Step(1.0, 0.0, 1.0)
    cases = {(5.0, 0.0): ("prefill", 0), (1.0, 0.0): ("prefill", 0), (1.0, 5.0): ("decode", 0), (2.0, 5.0): ("prefill", 1), (1.5, 0.5): ("prefill", 1)}  # fmt: skip
    for (new, cached), (phase, mask) in cases.items():
        step = Step(new, cached)
        assert (step.phase, step.needs_mask, step.attention_kind) == (phase, mask, OpKind(phase))
        columns = Step(np.array([new, new]), np.array([cached, 0.0]))
        assert columns.needs_mask.tolist() == [mask, 0.0]
        assert columns.phase == "prefill"
    assert Step(1.0, np.array([5.0])).phase == "decode"
    assert Step(np.array([1.0, 2.0]), 0.0).needs_mask == 0.0 and Step(
        np.array([1.0, 2.0]), 5.0
    ).needs_mask.tolist() == [0.0, 1.0]
