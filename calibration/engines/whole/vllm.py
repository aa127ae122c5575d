"""vLLM on a GPU through its offline API (`vllm.LLM`, read in vLLM 0.33): a local configuration, no weights.

Random weights (`load_format="dummy"`), no tokenizer, no prefix cache, one sequence, greedy. Its scheduler and sampler
are part of a token, as they are of a user's.
"""

import json
import time
from pathlib import Path
from typing import Any

from latmodel.device.engine_options import EngineOptions
from latmodel.errors import LatmodelError, UsageError
from latmodel.model.config import DType, ModelConfig

OLDEST = (0, 6)  # skip_tokenizer_init with token ids as prompts
DTYPES = {"bf16": "bfloat16", "f16": "float16"}
FIRST_WORD, WORDS = 10, 199  # what the tokens are changes nothing in what is computed
MEMORY_SHARE = 0.8  # of the device, for weights and cache


class Vllm:
    """vLLM with 16-bit weights, under the CUDA graphs that it captures itself."""

    name = "vllm"
    formats = tuple(DTYPES)
    dtypes: tuple[DType, ...] = ("bfloat16", "float16")
    few_rows = False

    def __init__(self) -> None:
        self._llm: Any = None

    def version(self) -> str:
        """Version of the package.

        Raises:
            UsageError: it is not installed, or too old.
        """
        found = str(_library().__version__)
        numbers = tuple(int(part) for part in found.split(".")[:2] if part.isdigit())
        if len(numbers) == 2 and numbers < OLDEST:
            raise UsageError(f"vLLM {found} is too old: {'.'.join(map(str, OLDEST))} or newer is needed")
        return f"vllm {found}"

    def write(self, path: Path, config: ModelConfig, weights: str, seed: int) -> None:
        """Write the folder of a Llama's configuration; the weights are made at loading, from `seed`."""
        if weights not in DTYPES:
            raise UsageError(f"vllm is measured with {' or '.join(DTYPES)} weights, not {weights}")
        path.mkdir(parents=True, exist_ok=True)
        fields = {
            **config.model_dump(), "architectures": ["LlamaForCausalLM"], "model_type": "llama",
            "torch_dtype": DTYPES[weights], "hidden_act": "silu", "rms_norm_eps": 1e-5, "rope_theta": 10000.0,
            "max_position_embeddings": 131072, "bos_token_id": 1, "eos_token_id": 2, "latmodel_seed": seed,
        }  # fmt: skip
        (path / "config.json").write_text(json.dumps(fields))

    def open(self, path: Path, options: EngineOptions, context: int) -> None:  # a GPU has its own threads
        """Load a model for so many positions, and capture its graphs."""
        if options != EngineOptions(threads=options.threads):
            raise UsageError("vllm has neither --ubatch nor --flash-attention nor --kv-cache here: leave them out")
        library = _library()
        self.close()
        written = json.loads((path / "config.json").read_text())
        self._llm = library.LLM(
            model=str(path), load_format="dummy", skip_tokenizer_init=True, dtype=written["torch_dtype"],
            seed=written["latmodel_seed"], max_model_len=context, max_num_seqs=1, enable_prefix_caching=False,
            gpu_memory_utilization=MEMORY_SHARE,
        )  # fmt: skip

    def memory(self, path: Path, options: EngineOptions, context: int) -> dict[str, float]:
        """Not told: it fills a share of the device, whatever the model.

        Raises:
            UsageError: always.
        """
        raise UsageError(f"vllm takes {MEMORY_SHARE:.0%} of the device for any model: what one needs is not told")

    def prefill(self, tokens: int) -> float:
        """Seconds from the prompt to its one token."""
        return self._run(tokens, 1)

    def decode(self, start: int, steps: int) -> float:
        """Mean seconds a token: `steps` + 1 tokens after the same prompt against one."""
        one = self._run(start, 1)
        return max(self._run(start, steps + 1) - one, 1e-9) / steps

    def behind(self, cached: int, tokens: int) -> float:
        """Not measured: it would need the prefix cache, which is switched off so that every prompt is read.

        Raises:
            UsageError: always.
        """
        raise UsageError(f"vllm reads every prompt anew: {tokens} tokens behind {cached} cannot be timed")

    def query_tile(self, options: EngineOptions) -> float:
        """0: it runs on GPUs."""
        return 0.0

    def close(self) -> None:
        """Let go of the model; its memory goes with the process."""
        self._llm = None

    def _run(self, prompt: int, new: int) -> float:
        if self._llm is None:
            raise LatmodelError("no model is open")
        sampling = _library().SamplingParams(
            temperature=0.0, max_tokens=new, min_tokens=new, ignore_eos=True, detokenize=False
        )
        words = {"prompt_token_ids": [FIRST_WORD + index % WORDS for index in range(prompt)]}
        begun = time.perf_counter()
        replies = self._llm.generate([words], sampling, use_tqdm=False)
        seconds = time.perf_counter() - begun
        made = len(replies[0].outputs[0].token_ids)
        if made != new:
            raise LatmodelError(f"vLLM wrote {made} tokens instead of {new}")
        return seconds


def _library() -> Any:
    try:
        import vllm
    except ImportError:
        raise UsageError("needs a CUDA device and its package: pip install vllm") from None
    return vllm
