"""The families by `model_type`: what each class of Transformers 5.23 builds, and the values it gives to absent fields.

`tests/test_families.py` builds every class on the meta device, from its defaults and from varied configurations,
and compares parameters to the last one; `benchmarks/families.py` counts over all classes that Transformers registers.
"""

from .dense import DENSE
from .family import Family
from .gemmas import GEMMAS
from .hybrids import HYBRIDS
from .latent import LATENT
from .mixtures import MIXTURES
from .older import OLDER
from .others import OTHERS

FAMILIES: dict[str, Family] = {**DENSE, **OLDER, **MIXTURES, **LATENT, **HYBRIDS, **GEMMAS, **OTHERS}
# Other names of configurations that are built alike: text parts of multimodal models, and later names.
SAME = {
    "gpt-sw3": "gpt2",
    "qwen2_vl": "qwen2",
    "qwen2_vl_text": "qwen2",
    "qwen2_5_vl": "qwen2",
    "qwen2_5_vl_text": "qwen2",
    "qwen2_5_omni_text": "qwen2",
    "qwen3_vl_text": "qwen3",
    "qwen3_vl_moe_text": "qwen3_moe",
    "qwen3_omni_moe_text": "qwen3_moe",
    "kimi_k2": "deepseek_v3",
    "deepseek_ref": "deepseek_v4",
    "minimax_m3": "minimax_m3_vl_text",
    "minimax_m3_vl": "minimax_m3_vl_text",
}
# Classes by name, for a `model_type` that is not known.
BY_CLASS = {
    one.source.removesuffix("Config").removesuffix("Text") + "ForCausalLM": name for name, one in FAMILIES.items()
}
