"""What a round of speculative decoding gives, and from which acceptance on it pays."""

import math


def expected_tokens(acceptance: float, lookahead: int) -> float:
    """Tokens that a round of speculative decoding gives: (1 − a^(k+1)) / (1 − a), k + 1 where all are accepted.

    Drafted tokens are kept up to the first rejection, and the target adds one of its own (Leviathan, Kalman and Matias
    2023, "Fast Inference from Transformers via Speculative Decoding", equation 1); acceptances are independent.
    """
    if acceptance == 1.0:
        return lookahead + 1.0
    if acceptance == 0.0:
        return 1.0
    return -math.expm1((lookahead + 1) * math.log(acceptance)) / (1.0 - acceptance)


def break_even_acceptance(round_s: float, plain_s: float, lookahead: int) -> float | None:
    """The acceptance from which rounds beat `plain_s` a token; None where not even certain acceptance does."""
    needed = round_s / plain_s
    if needed > lookahead + 1.0:
        return None
    low, high = 0.0, 1.0
    while high - low > 1e-12:
        middle = 0.5 * (low + high)
        low, high = (middle, high) if expected_tokens(middle, lookahead) < needed else (low, middle)
    return high
