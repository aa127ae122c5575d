"""A `vllm` that only pretends, for a process of its own: it takes three times what an H100 is predicted to take."""

import json
import time
import types
from pathlib import Path
from typing import Any

from latmodel import ModelConfig, Predictor, Workload
from latmodel.model.config import CONFIG_FIELDS

__version__ = "0.33.0"
SLOWER = 3.0  # so that what sleeping takes beyond what was asked counts little


class SamplingParams:
    """What is asked of a generation."""

    def __init__(self, **options: Any) -> None:
        self.options = options


class LLM:
    """A model that sleeps."""

    def __init__(self, model: str, **options: Any) -> None:
        fields = json.loads((Path(model) / "config.json").read_text())
        self._config = ModelConfig(**{name: fields[name] for name in CONFIG_FIELDS})
        self._dtype = options["dtype"]
        self._predictor = Predictor.load("h100", "vllm")

    def generate(self, prompts: list[dict[str, Any]], sampling: SamplingParams, *, use_tqdm: bool) -> list[Any]:
        """As many tokens as were asked, after as long as they take."""
        begin = time.perf_counter()
        new, prompt = sampling.options["max_tokens"], len(prompts[0]["prompt_token_ids"])
        work = Workload(prompt_tokens=prompt, new_tokens=max(new - 1, 1), dtype=self._dtype)
        found = self._predictor.predict(self._config, work)
        seconds = SLOWER * (found.prefill_s + (new - 1) * found.decode_s_per_token)
        time.sleep(max(0.0, begin + seconds - time.perf_counter()))
        return [types.SimpleNamespace(outputs=[types.SimpleNamespace(token_ids=[0] * new)])]
