"""Our own block and Transformers' compute the same function; both are finite; decode continues prefill."""

import pytest

torch = pytest.importorskip("torch")
transformers = pytest.importorskip("transformers")

from calibration_support import case, config  # noqa: E402

from calibration.engines.block import Arena, block_forward  # noqa: E402
from calibration.engines.cache_argument import cache_argument  # noqa: E402
from calibration.engines.llama import llama  # noqa: E402
from calibration.engines.registry import find_engine  # noqa: E402
from calibration.engines.torch_blocks import OwnDecoder  # noqa: E402
from calibration.measure.cases import Case, weight_elements  # noqa: E402
from latmodel.errors import UsageError  # noqa: E402
from latmodel.model.config import ModelConfig, Workload  # noqa: E402

CPU = torch.device("cpu")


@pytest.fixture(autouse=True)
def _one_thread() -> None:
    torch.set_num_threads(1)


def twins(shape: ModelConfig, positions: int) -> tuple[OwnDecoder, "transformers.LlamaForCausalLM"]:
    """Our decoder and Transformers' Llama with the same weights."""
    ours = OwnDecoder(shape, 2, positions, torch.float32, CPU)
    ours.take_weights(Arena(3_000_000, torch.float32, CPU), with_head=True)
    theirs = llama(shape, Arena(3_000_000, torch.float32, CPU, seed=1), CPU)
    head, blocks = ours._head, ours._weights
    assert head is not None
    names = ["input_layernorm", "self_attn.q_proj", "self_attn.k_proj", "self_attn.v_proj", "self_attn.o_proj",
             "post_attention_layernorm", "mlp.gate_proj", "mlp.up_proj", "mlp.down_proj"]  # fmt: skip
    state = {
        "model.embed_tokens.weight": head.embedding,
        "model.norm.weight": head.norm,
        "lm_head.weight": head.lm_head,
    }
    for i, weights in enumerate(blocks):
        state |= {f"model.layers.{i}.{name}.weight": weight for name, weight in zip(names, weights, strict=True)}
    theirs.load_state_dict(state)
    return ours, theirs


@pytest.mark.parametrize(("heads", "kv_heads"), [(2, 2), (4, 2), (4, 1)])
def test_our_decoder_is_the_one_of_transformers(heads: int, kv_heads: int) -> None:
    shape = config(layers=2, heads=heads, kv_heads=kv_heads)
    ours, theirs = twins(shape, 12)
    tokens = torch.randint(256, (2, 10))
    with torch.no_grad():
        expected = theirs(tokens, use_cache=True)
        torch.testing.assert_close(ours.logits(tokens, 0, block_forward, True), expected.logits, rtol=1e-4, atol=1e-5)
        following, name = torch.randint(256, (2, 1)), cache_argument(theirs)
        step = theirs(following, use_cache=True, **{name: expected[name]}).logits
        torch.testing.assert_close(ours.logits(following, 10, block_forward), step, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(("heads", "kv_heads"), [(2, 2), (4, 2)])
def test_a_pass_over_a_cache_equals_the_prompt_in_one(heads: int, kv_heads: int) -> None:
    """In our decoder and in Transformers': several tokens behind a cache see what they would in a whole prompt."""
    ours, theirs = twins(config(layers=2, heads=heads, kv_heads=kv_heads), 12)
    tokens = torch.randint(256, (2, 10))
    with torch.no_grad():
        whole = theirs(tokens).logits[:, 6:]
        ours.logits(tokens[:, :6], 0, block_forward)
        torch.testing.assert_close(ours.logits(tokens[:, 6:], 6, block_forward, True), whole, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("name", ["torch-eager", "transformers-eager"])
def test_a_pass_over_a_cache_is_the_same_each_time(name: str) -> None:
    """The cache is cut back before each run: one that kept growing would change the result."""
    work = Workload(prompt_tokens=4, cached_tokens=40, dtype="float32")
    for part in ("blocks", "model"):
        one = Case("x", part, "prefill", config(layers=2), work, name)  # type: ignore[arg-type]
        arena = Arena(weight_elements(one), torch.float32, CPU)
        with torch.no_grad():
            run = find_engine(name).build(one, arena, CPU)
            first = run()
            if isinstance(first, torch.Tensor):
                assert first.shape[1] in (1, 4)
                torch.testing.assert_close(run(), first)


@pytest.mark.parametrize("name", ["torch-eager", "transformers-eager"])
@pytest.mark.parametrize("part", ["blocks", "head", "model"])
@pytest.mark.parametrize("phase", ["prefill", "decode"])
@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_every_case_runs_and_stays_finite(name: str, part: str, phase: str, dtype: str) -> None:
    one = Case("x", part, phase, config(layers=12), Workload(prompt_tokens=16, new_tokens=3, dtype=dtype), name)  # type: ignore[arg-type]
    arena = Arena(weight_elements(one), getattr(torch, dtype), CPU)  # exactly what is promised must be enough
    with torch.no_grad():
        run = find_engine(name).build(one, arena, CPU)
        for _ in range(3):
            found = run()
    if isinstance(found, torch.Tensor):
        assert torch.isfinite(found.float()).all()


def test_blocks_of_a_ring_have_weights_of_their_own() -> None:
    decoder = OwnDecoder(config(layers=3), 1, 4, torch.float32, CPU)
    decoder.take_weights(Arena(3_000_000, torch.float32, CPU), with_head=False)
    assert len({weights.q.data_ptr() for weights in decoder._weights}) == 3


def test_an_arena_that_is_used_up_says_so() -> None:
    arena = Arena(100, torch.float32, CPU)
    arena.take(64)
    with pytest.raises(MemoryError, match="100 elements"):
        arena.take(64)


def test_a_decode_of_transformers_starts_from_the_prompt_each_time() -> None:
    one = case("x", "decode", "blocks", layers=2)
    arena = Arena(weight_elements(one), torch.float32, CPU)
    with torch.no_grad():
        run = find_engine("transformers-eager").build(one, arena, CPU)
        first = run()
        torch.testing.assert_close(run(), first)  # a context that kept growing would change the result


def test_an_unknown_runtime_is_named() -> None:
    with pytest.raises(UsageError, match="torch-eager"):
        find_engine("vllm")
