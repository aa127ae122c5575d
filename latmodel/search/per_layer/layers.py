"""Per-layer search: every layer of a decoder picks its own block, exactly, under a latency and a memory budget.

Layers add: kernels, device seconds, weights and cache of a model are sums over its layers, and the response is a convex
function of those sums (host and device timelines that overlap). So the best choice is an integer linear programme with
the response's tangents as constraints (`layer_search.py`).
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from ...arrays import Array
from ...errors import BudgetError, UsageError
from ...model.architecture import Architecture, Block
from ...model.config import Workload
from ...predict.prediction import Prediction
from ...predict.predictor import Predictor
from ...units import show_seconds
from .branching import best_choice, quickest_choice
from .costs import layer_costs
from .program import LayerProgram, Limits


@dataclass(frozen=True)
class PerLayer:
    """The answer of a per-layer search.

    Attributes:
        choices: for each layer, which block it picked.
        score: sum of the scores of what was picked.
        bound: no choice within the budgets scores more than this.
        gap: (bound - score) / |score|.
        additive_s: the response as the sum that the search worked with.
        prediction: the same model predicted whole.
    """

    architecture: Architecture
    choices: tuple[int, ...]
    score: float
    bound: float
    gap: float
    additive_s: float
    prediction: Prediction


def search_layers(
    predictor: Predictor,
    blocks: Sequence[Block],
    scores: Array,
    *,
    hidden_size: int,
    vocab_size: int,
    tie_word_embeddings: bool = True,
    workload: Workload | None = None,
    budget_s: float,
    memory_bytes: float | None = None,
    gap: float = 1e-3,
    time_limit_s: float = 60.0,
) -> PerLayer:
    """For every layer the block that makes the sum of scores greatest within the budgets.

    Args:
        predictor: what prices a block.
        blocks: what a layer may pick; a block without attention and FFN is a layer left out.
        scores: [layers, blocks]; minus infinity forbids a block at a layer.
        hidden_size: of all layers.
        vocab_size: of the embedding and the LM head.
        tie_word_embeddings: whether the two share their weights.
        workload: prompt, new tokens, batch and number formats; the default `Workload` if None.
        budget_s: longest response, in seconds.
        memory_bytes: most memory at the peak; the predictor's device if None.
        gap: stop when no choice can score more by this share.
        time_limit_s: stop after about so long; the answer then says its gap. Unless that happens the answer is the same
            on every machine.

    Raises:
        BudgetError: no choice keeps the budgets; the quickest there is, is named.
        UsageError: scores are of another shape or hold NaN or infinity, SciPy is missing, or the solver found nothing
            in its time.
    """
    table = _checked(scores, len(blocks))
    if not 0.0 < budget_s < np.inf:
        raise UsageError(f"budget_s: {budget_s} is not a positive number")
    shared = (float(hidden_size), float(vocab_size), float(tie_word_embeddings))
    costs = layer_costs(predictor, tuple(blocks), shared, workload or Workload())
    memory = predictor.memory_bytes if memory_bytes is None else memory_bytes
    program = LayerProgram(costs, table, unit=budget_s)
    picked, bound = best_choice(program, Limits(budget_s, memory), gap, time_limit_s)
    if picked is None:
        raise _nothing(program, budget_s, memory)
    score = float(table[np.arange(len(table)), picked].sum())
    model = costs.model(_runs([blocks[index] for index in picked]))
    return PerLayer(
        architecture=model,
        choices=tuple(int(index) for index in picked),
        score=score,
        bound=max(bound, score),
        gap=max(bound - score, 0.0) / max(abs(score), 1e-300),
        additive_s=float(costs.response(costs.total(picked))),
        prediction=predictor.predict(model, workload),
    )


def _nothing(program: LayerProgram, budget_s: float, memory_bytes: float) -> BudgetError:
    """What to say when no choice keeps the budgets."""
    quickest = quickest_choice(program, memory_bytes)
    if quickest is None:
        return BudgetError("no choice of blocks fits in the memory; raise memory_bytes or offer smaller blocks")
    seconds = float(program.costs.response(program.costs.total(quickest)))
    return BudgetError(
        f"no choice of blocks answers within {show_seconds(budget_s)}: the quickest takes {show_seconds(seconds)}; "
        "raise the budget or offer smaller blocks"
    )


def _checked(scores: Array, blocks: int) -> Array:
    table = np.asarray(scores, dtype=np.float64)
    if table.ndim != 2 or table.shape[1] != blocks or not table.size:
        raise UsageError(f"scores: shape {table.shape} is not (layers, {blocks} blocks)")
    wrong = np.isnan(table) | (table == np.inf)
    if wrong.any():
        layer, block = np.argwhere(wrong)[0]
        raise UsageError(f"scores: layer {layer}, block {block} is {table[layer, block]}")
    if not np.isfinite(table).any(axis=1).all():
        layer = int(np.argmin(np.isfinite(table).any(axis=1)))
        raise UsageError(f"scores: layer {layer} may pick no block at all")
    return table


def _runs(blocks: Sequence[Block]) -> list[tuple[float, Block]]:
    """Blocks in order as groups of equal neighbours, left-out layers dropped."""
    runs: list[tuple[float, Block]] = []
    for block in blocks:
        if not block.layers:
            continue
        if runs and runs[-1][1] == block:
            runs[-1] = (runs[-1][0] + 1.0, block)
        else:
            runs.append((1.0, block))
    return runs
