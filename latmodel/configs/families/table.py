"""The families by `model_type`: what each class of Transformers 5.23 builds, and the values it gives to absent fields.

`tests/test_families.py` builds every class on the meta device, from its defaults and from varied configurations,
and compares parameters to the last one; `benchmarks/families.py` counts over all classes that Transformers registers.
"""

from .dense import DENSE
from .family import Family
from .hybrids import HYBRIDS
from .latent import LATENT
from .mixtures import MIXTURES
from .older import OLDER

FAMILIES: dict[str, Family] = {**DENSE, **OLDER, **MIXTURES, **LATENT, **HYBRIDS}
# Configurations of the same class under another name, and modules of other makers that are built alike.
SAME = {
    "gpt-sw3": "gpt2",
}
