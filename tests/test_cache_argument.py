"""The name of the cache in Transformers' modules, whatever the release."""

from typing import Any

import pytest

from calibration.engines.cache_argument import cache_argument


class Old:
    def forward(self, tokens: Any, past_key_values: Any = None, use_cache: bool = True) -> None: ...


class New:
    def forward(self, tokens: Any, cache: Any = None, past_key_values: Any = None) -> None: ...


class Mixer:
    def forward(self, hidden: Any, cache_params: Any = None) -> None: ...


class Hidden:
    def forward(self, *arguments: Any, **others: Any) -> None: ...


@pytest.mark.parametrize(
    ("module", "name"),
    [(Old(), "past_key_values"), (New(), "cache"), (Mixer(), "cache_params"), (Hidden(), "past_key_values")],
)
def test_the_newest_name_that_it_has(module: Any, name: str) -> None:
    assert cache_argument(module) == name


def test_the_installed_release_takes_it_without_a_warning() -> None:
    """Warnings are errors here: a name that the release retires would fail."""
    torch, transformers = pytest.importorskip("torch"), pytest.importorskip("transformers")
    config = transformers.LlamaConfig(
        hidden_size=16, intermediate_size=16, num_hidden_layers=1, num_attention_heads=1, vocab_size=8
    )
    model = transformers.LlamaForCausalLM(config).eval()
    cache = transformers.DynamicCache(config=config)
    with torch.no_grad():
        model(torch.zeros(1, 3, dtype=torch.long), use_cache=True, **{cache_argument(model): cache})
    assert cache.get_seq_length() == 3
