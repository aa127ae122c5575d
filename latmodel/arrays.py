"""The few functions that plain arithmetic lacks, for Python floats, NumPy arrays and Torch tensors alike.

Every formula of the model is written once with `+ - * /` and these; what comes in decides what runs.
A Python float stays one (no NumPy scalar), which is what makes a single prediction quick.
"""

import math
import sys
from collections.abc import Sequence
from contextvars import ContextVar
from functools import reduce
from typing import Any

import numpy as np

# A float, a NumPy array or a Torch tensor; all of them broadcast against each other.
Array = Any

_FLOATS = (np.dtype(np.float64), np.dtype(np.float32))

# While true, `ceil` of a Torch tensor is what an aligned shape pays, without steps, so that gradients see it.
SMOOTH: ContextVar[bool] = ContextVar("SMOOTH", default=False)


def _torch(*values: Array) -> Any:
    """The torch module if one of the values is a tensor, else None; never imports it."""
    torch = sys.modules.get("torch")
    if torch is not None and any(isinstance(value, torch.Tensor) for value in values):
        return torch
    return None


def _plain(value: Array) -> bool:
    # The exact type first: most calls of a single prediction end there, and it is the quickest question to ask.
    return type(value) is float or isinstance(value, (float, int))


def is_array(value: Array) -> bool:
    """True for anything with a shape; False for a plain number."""
    return not (type(value) is float or isinstance(value, (float, int)))  # `_plain` without a call: asked most often


def maximum(a: Array, b: Array) -> Array:
    """Elementwise maximum."""
    if (type(a) is float and type(b) is float) or (_plain(a) and _plain(b)):
        return a if a >= b else b
    torch = _torch(a, b)
    if torch is not None:
        return torch.maximum(*_tensors(torch, a, b))
    return np.maximum(_filled(a, b), _filled(b, a))


def minimum(a: Array, b: Array) -> Array:
    """Elementwise minimum."""
    if (type(a) is float and type(b) is float) or (_plain(a) and _plain(b)):
        return a if a <= b else b
    torch = _torch(a, b)
    if torch is not None:
        return torch.minimum(*_tensors(torch, a, b))
    return np.minimum(_filled(a, b), _filled(b, a))


def ordered(a: Array, b: Array) -> tuple[Array, Array]:
    """Elementwise (maximum, minimum), in one call where both are plain."""
    if type(a) is float and type(b) is float:
        return (a, b) if a >= b else (b, a)
    return maximum(a, b), minimum(a, b)


def _filled(a: Array, like: Array) -> Array:
    """A plain float as an array of the other's shape: NumPy has a vector loop for two arrays alone, thrice as fast."""
    return np.full(like.shape, a, like.dtype) if type(a) is float and getattr(like, "dtype", None) in _FLOATS else a


def ceil(a: Array) -> Array:
    """Smallest whole number not below `a`."""
    if type(a) is float or _plain(a):
        return -(-a // 1.0)  # a float stays one, and no function is called
    torch = _torch(a)
    if torch is not None:
        return torch.clamp(a, min=1.0) if SMOOTH.get() else torch.ceil(a)
    return np.ceil(a)


def floor(a: Array) -> Array:
    """Largest whole number not above `a`."""
    if type(a) is float or _plain(a):
        return a // 1.0
    torch = _torch(a)
    if torch is not None:
        return a if SMOOTH.get() else torch.floor(a)
    return np.floor(a)


def log2(a: Array) -> Array:
    """Logarithm to base 2, of a plain number or a NumPy array."""
    return math.log2(a) if type(a) is float or _plain(a) else np.log2(a)


def exp(a: Array) -> Array:
    """e to the power of a plain number or a NumPy array."""
    return math.exp(a) if type(a) is float or _plain(a) else np.exp(a)


def indicator(condition: Array, like: Array) -> Array:
    """1 where the condition holds, else 0, in the precision of `like` (a plain `* 1.0` would be double)."""
    if condition is True or condition is False or isinstance(condition, np.bool_):
        return 1.0 if condition else 0.0
    torch = _torch(condition)
    if torch is not None:
        return condition.to(like.dtype if isinstance(like, torch.Tensor) else torch.get_default_dtype())
    kind = getattr(like, "dtype", None)
    return condition.astype(kind if kind is not None and kind.kind == "f" else np.float64)


def total(values: Sequence[Array]) -> Array:
    """Sum, starting from the first value (adding an array to 0 would cost a pass over it); 0 for none."""
    if not values:
        return 0.0
    return values[0] if len(values) == 1 else sum(values[1:], values[0])


def largest(values: list[Array]) -> Array:
    """The largest of some values, one by one along their axes; 0 for none."""
    return reduce(maximum, values) if values else 0.0


def _tensors(torch: Any, *values: Array) -> list[Array]:
    like = next(value for value in values if isinstance(value, torch.Tensor) and value.is_floating_point())
    return [v if isinstance(v, torch.Tensor) else torch.as_tensor(v, dtype=like.dtype) for v in values]
