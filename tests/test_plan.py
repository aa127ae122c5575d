"""The plan: spread, held-out shapes, cold rings, limits."""

import pytest
from calibration_support import MemoryLog, task

from calibration.measure.bench import Times
from calibration.measure.cases import case_bytes, ring_depth, weight_elements
from calibration.measure.plan import CPU, EFFORTS, GPU, PASS_TOKENS, PASSES, Plan, Scale, make_plan
from calibration.measure.reference import Reference
from calibration.measure.rounds import measure
from calibration.measure.samples import Rules, sample
from calibration.measure.simulated import Disturbance, SimulatedLab
from calibration.verbs.prepare import expected_seconds
from latmodel.model.config import ModelConfig
from latmodel.model.totals import num_parameters


def plan(effort: str = "normal", scale: Scale = GPU, **more: object) -> Plan:
    return make_plan(effort, "torch-eager", "bfloat16", scale, 50e6, **more)  # type: ignore[arg-type]


@pytest.mark.parametrize("scale", [CPU, GPU])
@pytest.mark.parametrize("effort", list(EFFORTS))
def test_names_are_unique_and_as_many_shapes_are_held_out_as_promised(effort: str, scale: Scale) -> None:
    cases = plan(effort, scale).cases
    measured, held_out, heads, models, _ = EFFORTS[effort]
    assert len({case.name for case in cases}) == len(cases)
    passes = [case for case in cases if case.workload.cached_tokens]
    assert sum(case.held_out for case in cases if case not in passes) == 2 * held_out  # prefill and decode
    assert len(passes) == PASSES[effort]
    assert {case.workload.prompt_tokens for case in passes} == set(PASS_TOKENS)
    assert min(case.cached for case in passes) < 3 * scale.cached[0]
    assert max(case.cached for case in passes) > scale.cached[1] / 3
    assert sum(case.part == "blocks" for case in cases) == 2 * (measured + held_out) + len(passes)
    assert sum(case.part == "head" for case in cases) == heads
    assert sum(case.part == "model" for case in cases) == 2 * models


@pytest.mark.parametrize("scale", [CPU, GPU])
def test_the_shapes_reach_over_the_ranges(scale: Scale) -> None:
    blocks = [case for case in plan("normal", scale).cases if case.part == "blocks"]
    hidden = {case.config.hidden_size for case in blocks}
    assert min(hidden) < 2 * scale.hidden[0]
    assert max(hidden) > 0.7 * scale.hidden[1]
    ratios = [case.config.intermediate_size / case.config.hidden_size for case in blocks]
    assert min(ratios) < 2.4
    assert max(ratios) > 4.6
    groups = {case.config.num_attention_heads // case.config.num_key_value_heads for case in blocks}
    assert 1 in groups and len(groups) > 3
    assert any(case.config.num_key_value_heads == 1 < case.config.num_attention_heads for case in blocks)
    assert {64, 128} <= {case.config.head_dim for case in blocks}
    batches = [case.workload.batch_size for case in blocks]
    assert batches.count(1) > len(batches) / 3
    assert max(batches) == scale.most_batch
    assert any(case.config.intermediate_size % 8 for case in blocks)
    assert any(case.config.intermediate_size % 2 for case in blocks)
    assert {case.phase for case in blocks} == {"prefill", "decode"}


def test_a_ring_exceeds_the_cache_several_times() -> None:
    for case in plan("normal").cases:
        if case.part == "blocks" and case.phase == "decode":
            block = case.config.model_copy(update={"vocab_size": 1})
            weights = 2.0 * (float(num_parameters(block.architecture())) - 3 * case.config.hidden_size)
            assert weights >= 3.0 * 50e6
    small = ModelConfig(num_hidden_layers=1, hidden_size=64, intermediate_size=128, num_attention_heads=1, vocab_size=1)
    # 4·64² + 3·64·128 + 2·64 = 41,088 parameters of 4 bytes: 150e6 / 164,352 = 912.7 blocks.
    assert ring_depth(small, "float32", 50e6) == 913


def test_prefill_runs_are_cut_to_the_limit() -> None:
    for case in plan("normal", CPU).cases:
        if case.part == "blocks" and case.phase == "prefill" and case.workload.prompt_tokens > 16:
            rows = case.workload.prompt_tokens * case.workload.batch_size
            assert 2.0 * rows * float(num_parameters(case.config.architecture())) <= 1.01 * CPU.most_flops


def test_the_fingerprint_tells_plans_apart_and_nothing_else() -> None:
    assert plan().fingerprint == plan().fingerprint
    others = [plan("quick"), plan(seed=1), plan(scale=CPU)]
    assert len({plan().fingerprint, *(other.fingerprint for other in others)}) == 4


def test_like_measures_blocks_of_that_architecture() -> None:
    like = ModelConfig(
        num_hidden_layers=80, hidden_size=576, intermediate_size=1536, num_attention_heads=9, num_key_value_heads=3,
        head_dim=64, vocab_size=65536,
    )  # fmt: skip
    blocks = [case.config for case in plan("quick", like=like).cases if case.part == "blocks"]
    assert sum(config.hidden_size == 576 and config.intermediate_size == 1536 for config in blocks) >= 8
    assert all(config.head_dim == 64 and config.num_key_value_heads == 3 for config in blocks)
    assert any(case.part == "head" and case.config.vocab_size == 65536 for case in plan("quick", like=like).cases)


def test_the_estimate_is_that_of_the_rules() -> None:
    cheap = plan("quick", CPU)
    # Runs that take no time still cost warm-up and set-up; blocks of 0.02 s that scatter by 0.8 % are 0.4 % sure after
    # π / 2 × 2² of them: 48 × (0.05 + 0.1257 + 0.15) s × 2 rounds × 1.2.
    assert cheap.estimate_s(lambda case: 0.0) == pytest.approx(len(cheap.cases) * 0.32566 * 2 * 1.2, rel=1e-4)
    slower = cheap.estimate_s(lambda case: 0.01)
    assert slower > cheap.estimate_s(lambda case: 0.0) + len(cheap.cases) * 2 * (1 + Reference.runs(0.01)) * 0.01


class Slept:
    """A bench that takes the same every time, by a clock of its own."""

    def __init__(self, run_s: float) -> None:
        self._run_s, self.clock = run_s, 0.0

    def time(self, runs: int) -> Times:
        self.clock += runs * self._run_s
        return Times(runs * self._run_s)

    def close(self) -> None: ...


@pytest.mark.parametrize("run_s", [1e-5, 0.003, 0.0066, 0.03, 0.3, 0.5])
def test_a_steady_sample_takes_what_is_expected(run_s: float) -> None:
    bench = Slept(run_s)
    sample(bench, lambda: bench.clock, Rules())
    assert Rules().expected_s(run_s, 0.0) == pytest.approx(bench.clock, rel=0.1)


@pytest.mark.parametrize(("kind", "scale"), [("cpu", CPU), ("cuda", GPU)])
@pytest.mark.parametrize("jitter", [0.003, 0.015])
def test_a_simulated_calibration_takes_what_was_estimated_within_a_factor_of_two(
    kind: str, scale: Scale, jitter: float
) -> None:
    """A device that is quieter than what estimates go by, and one that is noisier."""
    made, start = plan("quick", scale), task(kind)
    lab = SimulatedLab(
        start.start.target("transformers-eager"), 1, Disturbance(jitter=jitter), replay=kind == "cuda"
    )  # fmt: skip
    measure(lab, made.cases, made.references, MemoryLog(), made.rules)
    estimate_s = made.estimate_s(lambda case: expected_seconds(case, start, "transformers-eager"))
    assert 0.5 < lab.now() / estimate_s < 2.0


def test_quick_and_normal_keep_their_promise_on_a_cpu_core() -> None:
    for effort, limit_s in (("quick", 180.0), ("normal", 600.0)):
        one = plan(effort, CPU)
        assert one.estimate_s(lambda case: expected_seconds(case, task("cpu"), "transformers-eager")) < limit_s


def test_bytes_are_those_of_weights_and_caches_at_least() -> None:
    for case in plan("quick").cases:
        assert case_bytes(case) >= 2.0 * weight_elements(case)


@pytest.mark.parametrize("effort", ["quick", "normal", "rigorous"])
@pytest.mark.parametrize("seed", range(5))
def test_transformers_can_build_every_shape(effort: str, seed: int) -> None:
    """It wants hidden_size to be a multiple of the heads even where head_dim is given."""
    like = ModelConfig(
        num_hidden_layers=4, hidden_size=960, intermediate_size=2560, num_attention_heads=15, num_key_value_heads=5,
        vocab_size=1000,
    )  # fmt: skip
    for given in (None, like):
        made = make_plan(effort, "transformers-eager", "float32", CPU, 4e7, seed=seed, like=given)
        for case in made.cases:
            assert case.config.hidden_size % case.config.num_attention_heads == 0, case.name
