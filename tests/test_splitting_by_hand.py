"""Which blocks of a graph split k, and what each kernel of the others takes longer."""

import numpy as np
import pytest
from search_toy import toy_predictor
from toy import RUNTIME, TARGET, TWO_BYTES, model, work

from latmodel import ModelConfig, Workload
from latmodel.laws.splitting import unsplit
from latmodel.model.architecture import Attention, Block, FeedForward
from latmodel.model.ops import OpCost, gemm, pointwise
from latmodel.model.step import Step
from latmodel.model.transformer import dense_ops
from latmodel.predict.breakdown import breakdown
from latmodel.predict.chunks import Chunks, chunked_prefill
from latmodel.predict.forward import block_cost, block_load
from latmodel.predict.inputs import work_of
from latmodel.predict.waterfall import MEANING, waterfall
from latmodel.search.space import SearchSpace
from latmodel.search.tables import parts, tables

GAP, MORE = 3e-7, 2e-6
PLAIN = TARGET._replace(runtime=RUNTIME._replace(gap_s=GAP))
WAITS = TARGET._replace(runtime=RUNTIME._replace(gap_s=GAP, unsplit_gap_s=MORE))


def product(m: float, n: float, k: float) -> OpCost:
    return gemm("p", m, n, k, 2.0, 2.0)


@pytest.mark.parametrize(
    ("m", "n", "k", "split"),
    [(1, 64, 2560, 1), (64, 64, 2560, 1), (65, 64, 2560, 0), (1, 64, 2552, 0), (1, 64, 9000, 1), (1, 60, 9000, 0),
     (1, 64, 9001, 0), (16, 8, 4096, 1)],
)  # fmt: skip
def test_few_rows_and_a_long_depth_in_whole_eights(m: float, n: float, k: float, split: float) -> None:
    assert unsplit([product(float(m), float(n), float(k))]) == 1.0 - split
    columns = [np.array([float(size), float(size)]) for size in (m, n, k)]
    for some in ((float(m), *columns[1:]), columns, (columns[0], float(n), float(k))):
        assert np.broadcast_to(unsplit([product(*some)]), 2).tolist() == [1.0 - split] * 2  # type: ignore[arg-type]


def test_one_product_of_a_block_is_enough() -> None:
    short, long = product(4.0, 512.0, 512.0), product(4.0, 512.0, 4096.0)
    assert [unsplit(ops) for ops in ([], [short, short], [short, long], [long, short])] == [1.0, 1.0, 0.0, 0.0]
    # Pointwise chains keep something else in `k`; sizes that are known to be whole eights are not looked at.
    assert unsplit([pointwise("n", 8.0, moves=1.0, kernels=1.0, bytes_each=2.0, summed=9000.0), short]) == 1.0
    assert unsplit([product(4.0, 512.0, 4097.0)], aligned=True) == 0.0


def test_a_gap_is_longer_where_no_product_splits() -> None:
    ops = [product(4.0, 512.0, np.array([512.0, 4096.0]))]
    assert WAITS.block_gap_s(ops).tolist() == pytest.approx([GAP + MORE, GAP])
    assert PLAIN.block_gap_s(ops) == GAP


@pytest.mark.parametrize(("ffn", "batch", "waits"), [(2048.0, 1.0, 1), (4096.0, 1.0, 0), (4096.0, 65.0, 1)])
def test_every_kernel_of_the_block_waits(ffn: float, batch: float, waits: int) -> None:
    block = Block(Attention(4.0, 2.0, 64.0), FeedForward(ffn))
    some = work(batch=batch)
    plain, found = (block_cost(block, 256.0, some, target) for target in (PLAIN, WAITS))
    for one, other, more in ((plain.prefill, found.prefill, MORE), (plain.first, found.first, MORE * waits),
                             (plain.last, found.last, MORE * waits)):  # fmt: skip
        assert (one.kernels, one.compute_s) == (other.kernels, other.compute_s)
        assert other.seconds - one.seconds == pytest.approx(more * one.kernels, rel=1e-9, abs=1e-18)
    step = Step(1.0, 128.0, batch)
    assert block_load(block, 256.0, step, TWO_BYTES, WAITS).seconds == pytest.approx(found.first.seconds)
    ops = dense_ops(block, 256.0, batch, TARGET.implementation, TWO_BYTES)
    assert unsplit(ops) == waits


@pytest.mark.parametrize("ffn", [2048, 4096])
def test_parts_add_up_with_a_gap_that_depends_on_the_block(ffn: int) -> None:
    # A host that takes no time, so that the device's is all.
    still = dict.fromkeys(("launch_s", "block_s", "prefill_block_s", "pass_s", "token_s"), 0.0)
    predictor = toy_predictor(**still, unsplit_gap_s=MORE)
    config = ModelConfig(num_hidden_layers=8, hidden_size=512, intermediate_size=ffn)
    workload = Workload(new_tokens=1)
    whole = predictor.predict(config, workload)
    fall = waterfall(predictor, config, workload)
    assert sum(map(fall.total, MEANING)) == pytest.approx(whole.response_s, rel=1e-9)
    rows = breakdown(predictor, config, workload)
    for phase, seconds in (("prefill", whole.prefill_s), ("decode", whole.decode_s_per_token)):
        assert sum(row["device_s"] for row in rows if row["phase"] == phase) == pytest.approx(seconds, rel=1e-9)


def test_a_chunk_that_is_mixed_with_other_sequences_waits_by_all_their_rows() -> None:
    architecture, some = model(intermediate_size=4096.0), work(prompt=64.0)
    mixes = WAITS.implementation._replace(mixes_requests=True)
    kernels = block_load(architecture.groups[0].block, 256.0, Step(1.0, 1.0, 1.0), TWO_BYTES, WAITS).kernels

    def device_s(chunk: int, more: float) -> float:
        runtime = WAITS.runtime._replace(unsplit_gap_s=more)
        target = WAITS._replace(runtime=runtime, implementation=mixes)
        return chunked_prefill(architecture, some, target, Chunks(chunk, 4, 100))[0].device_s

    # Two passes of 32 tokens and four others split k; a pass of 64 and four, of more rows than a library splits, waits.
    assert device_s(32, MORE) == pytest.approx(device_s(32, 0.0), rel=1e-12)
    attention_twice = 1.0 + WAITS.implementation.cache_kernels + WAITS.implementation.attention.kernels - 1.0
    waited = device_s(64, MORE) - device_s(64, 0.0)
    assert waited == pytest.approx(4.0 * MORE * (kernels + attention_twice), rel=1e-9)


@pytest.mark.parametrize("prompt", [40, 512])
def test_a_search_s_tables_know_it_of_both_layers_together(prompt: int) -> None:
    """Of widths 512 and 3072 with FFNs of 2048 and 4096, the first with the first alone splits no product."""
    workload = Workload(prompt_tokens=prompt, new_tokens=8)
    space = SearchSpace(
        num_hidden_layers=[4], hidden_size=[512, 3072], intermediate_size=[2048, 4096], head_dim=(64,), group_size=(1, 1),
        vocab_size=1000, tie_word_embeddings=True,
    )  # fmt: skip
    predictors = [toy_predictor(launch_s=1e-9, block_s=1e-9, unsplit_gap_s=more) for more in (MORE, 0.0)]
    (part,) = parts(space)
    found, plain = (tables(one, space, work_of(workload), "bfloat16", part) for one in predictors)
    waits = []
    for stem, hidden in enumerate(found.stems.hidden_size.tolist()):
        for ffn in range(found.offset[stem], found.offset[stem] + found.ffn_count[stem]):
            rows = np.array([stem]), np.array([ffn]), np.array([4.0])
            config = ModelConfig(num_hidden_layers=4, hidden_size=hidden, intermediate_size=int(found.ffn_sizes[ffn]),
                                 head_dim=64, num_attention_heads=hidden // 64, vocab_size=1000, tie_word_embeddings=True)  # fmt: skip
            alone, times = predictors[0].predict(config, workload), found.forecast(*rows)
            assert (times.prefill_s[0], times.step_s[0]) == pytest.approx((alone.prefill_s, alone.decode_s_per_token))
            more = found.forecast(*rows).step_s - plain.forecast(*rows).step_s
            at_prompt = found.forecast(*rows).prefill_s - plain.forecast(*rows).prefill_s
            waits.append((bool(more > 1e-9), bool(at_prompt > 1e-9)))
            seconds = found.device_s(*rows) - plain.device_s(*rows)
            assert seconds[0] == pytest.approx(at_prompt[0] + 8 * more[0], rel=1e-6, abs=1e-12)
    assert [one for one, _ in waits] == [True, False, False, False]
    assert [one for _, one in waits] == ([True] * 4 if prompt > 64 else [True, False, False, False])
