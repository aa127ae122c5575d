"""What shape is worth in quality: scores by name, their bands, ties and limits (docs/quality.md)."""

from ..errors import UsageError
from .compare import FFN_RATIO_RANGE, KV_GROUPS_RANGE, NOT_COVERED, Comparison, Flags, band, best, compare, flags, tied
from .constants import DEFAULT, ConstantsBand, ShapeConstants
from .effective import effective_parameters
from .scores import NAMES, Score, named_score

__all__ = [
    "DEFAULT",
    "FFN_RATIO_RANGE",
    "KV_GROUPS_RANGE",
    "NAMES",
    "NOT_COVERED",
    "Comparison",
    "ConstantsBand",
    "Flags",
    "Score",
    "ShapeConstants",
    "band",
    "best",
    "compare",
    "effective_parameters",
    "flags",
    "score",
    "tied",
]


def score(spec: str, *, tokens: float | None = None) -> Score:
    """A quality score by name: one of `NAMES`, or `package.module:function`.

    Higher is better; the `loss` scores return minus the loss, in nats per token.

    Raises:
        UsageError: unknown name; tokens missing or absurd for a loss, or given for a score that has no use
            for them; a user's function that cannot be used.
    """
    if tokens is not None and not (spec == "loss" or spec.startswith("loss:")):
        raise UsageError(f"--tokens has no effect on --quality {spec}; leave it out or use --quality loss")
    named = named_score(spec, tokens)
    if named is not None:
        return named
    from .user import user_score

    return user_score(spec)
