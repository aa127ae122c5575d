"""Speculative decoding run for real on this CPU: a 24-layer target, drafts of 2 and 8 layers, forced acceptance.

    python benchmarks/speculative_cpu.py --dtype bfloat16 --reuse

Takes the calibration of `steps_cpu.py` (or makes it). Draft and target are Transformers models with random weights: the
draft makes `LOOKAHEAD` tokens one by one, the target checks them in one pass with logits at every position, and both
caches are cut back. How many are accepted is forced: numbers of a fixed sequence that has the distribution of
independent acceptances, so that no luck is in the result. Runs with and without the draft take turns, and the ratio of
their times a token is held against the prediction.
"""

import argparse
import statistics
import time
from collections.abc import Iterator
from typing import Any

import torch
from steps_cpu import calibrated, options_of
from transformers import DynamicCache
from verify_cpu import RUNTIME

from calibration.engines.block import DTYPES, Arena
from calibration.engines.cache_argument import cache_argument
from calibration.engines.llama import llama
from calibration.measure.cases import Case, weight_elements
from latmodel import ModelConfig, Predictor, Workload
from latmodel.device.profile import Profile
from latmodel.predict.generation import Draft, generate

TARGET = ModelConfig(num_hidden_layers=24, hidden_size=768, num_attention_heads=12, vocab_size=8192)
DRAFTS = {layers: TARGET.model_copy(update={"num_hidden_layers": layers}) for layers in (2, 8)}
LOOKAHEAD, PROMPT, ROUNDS, TURNS = 4, 256, 24, 5
STRIDE = 7  # has no divisor in common with the rounds: every level comes once, in no order


class Runner:
    """A model with a cache that is cut back."""

    def __init__(self, config: ModelConfig, dtype: str) -> None:
        work = Workload(prompt_tokens=PROMPT, dtype=dtype)  # type: ignore[arg-type]
        elements = weight_elements(Case("x", "model", "prefill", config, work, RUNTIME))
        self._model = llama(config, Arena(elements, DTYPES[dtype], torch.device("cpu")), torch.device("cpu"))
        self._name = cache_argument(self._model)
        self._cache: Any = None

    def prefill(self, tokens: torch.Tensor) -> None:
        """Read a prompt into an empty cache."""
        self._cache = DynamicCache(config=self._model.config)
        self(tokens)

    def __call__(self, tokens: torch.Tensor) -> torch.Tensor:
        """The likeliest token after each of some tokens [1, n], which enter the cache."""
        logits = self._model(tokens, use_cache=True, **{self._name: self._cache}).logits
        return logits.argmax(-1)  # type: ignore[no-any-return]

    def cut(self, positions: int) -> None:
        """Forget all but so many positions: views, as `DynamicCache.crop` takes them."""
        for layer in self._cache.layers:
            layer.keys, layer.values = layer.keys[:, :, :positions], layer.values[:, :, :positions]


def accepted(acceptance: float) -> Iterator[int]:
    """How many drafted tokens each round keeps: P(at least i) = acceptance^i, each level as often as it should be."""
    for one in range(ROUNDS):
        place = ((one * STRIDE) % ROUNDS + 0.5) / ROUNDS
        yield sum(place < acceptance ** (i + 1) for i in range(LOOKAHEAD))


def plain(target: Runner, prompt: torch.Tensor) -> float:
    """Seconds a token, one token a pass."""
    target.prefill(prompt)
    token, count = prompt[:, -1:], 2 * ROUNDS
    start = time.process_time()
    for _ in range(count):
        token = target(token)
    return (time.process_time() - start) / count


def drafted(target: Runner, draft: Runner, prompt: torch.Tensor, acceptance: float) -> tuple[float, float]:
    """Seconds a token with a draft, and tokens a round."""
    target.prefill(prompt)
    draft.prefill(prompt)
    length, done, following = PROMPT, 0, prompt[:, -1:]
    start = time.process_time()
    for keep in accepted(acceptance):
        tokens, given = [following[:, -1:]], following
        for _ in range(LOOKAHEAD):
            given = draft(given)[:, -1:]
            tokens.append(given)
        choices = target(torch.cat(tokens, dim=1))  # [1, lookahead + 1]
        int((choices[:, :-1] == torch.cat(tokens[1:], dim=1)).sum())  # the comparison that a real run waits for
        length, done = length + keep + 1, done + keep + 1
        target.cut(length)
        # Where all were kept the draft has not read its own last token yet.
        draft.cut(length if keep < LOOKAHEAD else length - 1)
        new = choices[:, keep : keep + 1]
        following = torch.cat([tokens[-1], new], dim=1) if keep == LOOKAHEAD else new
    return (time.process_time() - start) / done, done / ROUNDS


def main() -> None:
    """Print the speed-up of each draft and acceptance, measured and predicted."""
    options: argparse.Namespace = options_of(__doc__)
    _, profile = calibrated(options)
    torch.set_num_threads(1)
    with torch.no_grad():
        target = Runner(TARGET, options.dtype)
        prompt = torch.randint(TARGET.vocab_size, (1, PROMPT))
        for layers, config in DRAFTS.items():
            draft = Runner(config, options.dtype)
            for acceptance in (0.5, 0.8):
                print(compared(profile, target, draft, layers, prompt, acceptance, options.dtype), flush=True)


def compared(
    profile: Profile, target: Runner, draft: Runner, layers: int, prompt: torch.Tensor, acceptance: float, dtype: str
) -> str:
    """One line: the median over turns of the measured speed-up, and the predicted one."""
    pairs: list[tuple[float, float, float]] = []
    for _ in range(TURNS):
        pairs.append((plain(target, prompt), *drafted(target, draft, prompt, acceptance)))
    alone, together = (statistics.median(some) for some in list(zip(*pairs, strict=True))[:2])
    work = Workload(prompt_tokens=PROMPT, new_tokens=2 * ROUNDS, dtype=dtype)  # type: ignore[arg-type]
    way = Draft(f"{layers} layers", DRAFTS[layers].architecture(), work, LOOKAHEAD, acceptance)
    found = generate(Predictor(profile, RUNTIME), TARGET.architecture(), work, way=way)
    measured, predicted = alone / together, float(found.details["decode_speedup"])
    tokens, off = float(found.details["tokens_per_round"]), 100.0 * (predicted / measured - 1.0)
    return (
        f"draft of {layers} layers, acceptance {acceptance}: {pairs[0][2]:.2f} tokens a round ({tokens:.2f} expected), "
        f"a token {1e3 * alone:.2f} ms alone, {1e3 * together:.2f} ms drafted: {measured:.2f} times as fast, "
        f"predicted {predicted:.2f} ({off:+.1f} %)"
    )


if __name__ == "__main__":
    main()
