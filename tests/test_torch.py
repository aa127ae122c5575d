"""The Torch path: equal to NumPy without smoothing, gradients equal to differences, descent to the exact optimum."""

import numpy as np
import pytest
from search_toy import toy_predictor

from latmodel import Workload
from latmodel.errors import UsageError
from latmodel.model.architecture import Architecture, Attention, Block, FeedForward, Group

torch = pytest.importorskip("torch")
import latmodel.torch as on_torch  # noqa: E402

PREDICTORS = [toy_predictor(), toy_predictor(launch_s=5e-7, block_s=1e-6, prefill_block_s=1e-6)]
WORKLOADS = [Workload(), Workload(prompt_tokens=3000, new_tokens=50, batch_size=8, logits="all")]
NAMES = (
    "num_hidden_layers",
    "hidden_size",
    "intermediate_size",
    "num_attention_heads",
    "num_key_value_heads",
    "head_dim",
)


def shapes(rows=200, seed=0):
    rng = np.random.default_rng(seed)
    kv = rng.integers(1, 12, rows)
    return {
        "num_hidden_layers": rng.integers(1, 90, rows), "hidden_size": rng.integers(100, 9000, rows),
        "intermediate_size": rng.integers(100, 20000, rows), "num_attention_heads": kv * rng.integers(1, 6, rows),
        "num_key_value_heads": kv, "head_dim": rng.choice([48, 64, 100, 128, 256], rows),
        "vocab_size": rng.integers(1000, 150000, rows), "tie_word_embeddings": rng.integers(0, 2, rows),
    }  # fmt: skip


@pytest.mark.parametrize("predictor", PREDICTORS)
@pytest.mark.parametrize("workload", WORKLOADS)
def test_equals_numpy_to_1e_9_without_smoothing(predictor, workload):
    columns = shapes()
    expected = predictor.predict_many(columns, workload)
    got = on_torch.forecast(predictor, {k: torch.tensor(v, dtype=torch.float64) for k, v in columns.items()}, workload)
    np.testing.assert_allclose(got.response_s.numpy(), expected.response_s, rtol=1e-9)
    np.testing.assert_allclose(got.prefill_s.numpy(), expected.prefill_s, rtol=1e-9)
    np.testing.assert_allclose(got.step_s.numpy(), expected.decode_s_per_token, rtol=1e-9)
    total = on_torch.parameters({k: torch.tensor(v, dtype=torch.float64) for k, v in columns.items()})
    np.testing.assert_array_equal(total.numpy(), expected.num_parameters)


@pytest.mark.parametrize("predictor", PREDICTORS)
@pytest.mark.parametrize("workload", WORKLOADS)
def test_gradients_equal_differences(predictor, workload):
    point = torch.tensor([23.3, 2311.7, 6307.9, 21.3, 4.7, 101.3], dtype=torch.float64, requires_grad=True)

    def response(values):
        named = dict(zip(NAMES, values, strict=True))
        return on_torch.forecast(predictor, {**named, "vocab_size": 32000}, workload, smooth=True).response_s

    assert torch.autograd.gradcheck(response, (point,), eps=1e-5, atol=1e-9, rtol=1e-5)
    (slope,) = torch.autograd.grad(response(point), point)
    assert (slope[:5] > 0).all()


def test_smoothing_is_the_lower_edge_of_the_stairs():
    names = {"num_hidden_layers": 24.0, "num_attention_heads": 32.0, "num_key_value_heads": 8.0, "vocab_size": 65536}
    hidden = torch.arange(512.0, 8192.0, 7.0, dtype=torch.float64)
    model = {**names, "hidden_size": hidden, "intermediate_size": 4 * hidden, "head_dim": hidden / 32}
    smooth = on_torch.forecast(PREDICTORS[1], model, smooth=True).response_s
    stairs = on_torch.forecast(PREDICTORS[1], model).response_s
    assert (smooth <= stairs * (1 + 1e-12)).all()
    assert (smooth.diff() > 0).all()
    assert not (stairs.diff() > 0).all()


def test_layers_may_differ():
    sizes = torch.tensor([1024.0, 2048.0, 512.0], dtype=torch.float64, requires_grad=True)
    attention = Attention(16.0, 4.0, 64.0)
    groups = tuple(Group(1.0, Block(attention, FeedForward(size))) for size in sizes)
    times = on_torch.forecast(PREDICTORS[1], Architecture(groups, 1024.0, 32000.0, 1.0), smooth=True)
    (slope,) = torch.autograd.grad(times.prefill_s + times.step_s, sizes)
    assert (slope > 0).all()


def test_descent_on_a_relaxed_twelve_layer_shape_reaches_the_optimum():
    """Most parameters of 12 layers within a budget, hidden size and FFN ratio free: against a fine grid."""
    predictor, budget = PREDICTORS[1], 2.0

    def model(hidden, ratio):
        heads = hidden / 64.0
        return {
            "num_hidden_layers": 12.0, "hidden_size": hidden, "intermediate_size": ratio * hidden,
            "num_attention_heads": heads, "num_key_value_heads": heads / 4.0, "head_dim": 64.0,
            "vocab_size": 32000.0, "tie_word_embeddings": 1.0,
        }  # fmt: skip

    def evaluate(hidden, ratio):
        shape = model(hidden, ratio)
        return on_torch.parameters(shape), on_torch.forecast(predictor, shape, smooth=True).response_s

    grid = torch.meshgrid(
        torch.linspace(256, 6000, 1500, dtype=torch.float64),
        torch.linspace(1, 6, 300, dtype=torch.float64),
        indexing="ij",
    )
    size, seconds = evaluate(*grid)
    optimum = size[seconds <= budget].max().item()
    free = torch.tensor([6.5, 0.0], dtype=torch.float64, requires_grad=True)  # log hidden, and the ratio's logit
    optimiser = torch.optim.Adam([free], lr=0.03)
    multiplier = 0.0
    for _ in range(400):
        hidden, ratio = free[0].exp(), 1.0 + 5.0 * torch.sigmoid(free[1])
        size, seconds = evaluate(hidden, ratio)
        over = torch.log(seconds / budget)
        loss = -torch.log(size) + multiplier * over + 20.0 * torch.relu(over + multiplier / 40.0) ** 2
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        multiplier = max(0.0, multiplier + 0.5 * over.item())
    with torch.no_grad():  # the answer keeps the budget: shrink along the ray until it does
        hidden, ratio = free[0].exp(), 1.0 + 5.0 * torch.sigmoid(free[1])
        while evaluate(hidden, ratio)[1] > budget:
            hidden = hidden * 0.9995
        reached = evaluate(hidden, ratio)[0].item()
    assert 0.98 * optimum <= reached <= optimum * (1 + 1e-3)


@pytest.mark.parametrize(
    ("model", "message"),
    [({"hidden_size": 64.0}, "'num_hidden_layers' is missing"), ({"depth": 4}, "unknown dimension 'depth'")],
)
def test_dimensions_are_checked(model, message):
    with pytest.raises(UsageError, match=message):
        on_torch.forecast(PREDICTORS[0], model)
