"""Weight formats of published runs, those that latmodel does not offer included."""

from latmodel.model.formats import ENGINE_FORMATS, WeightFormat
from latmodel.model.gguf import GGUF_FORMATS, TENSOR_TYPES, stored_type

# Formats that others published and latmodel does not offer: mean bits a weight, and of the LM head. From the sizes of
# the blocks in ggml; the unsloth mixtures ("ud") and Bonsai's from the sizes of the files that the table's notes state.
OTHER_BITS = {
    "q3_k_s": (3.44, 6.56), "q4_k_s": (4.55, 6.56), "q4_1": (5.0, 6.56), "q5_0": (5.5, 6.56), "q5_k_s": (5.5, 6.56),
    "ud-q4_k_xl": (4.85, 6.56), "ud-q8_k_xl": (9.8, 9.8), "q1_0": (1.125, 1.125), "q2_0": (2.125, 2.125),
}  # fmt: skip


def format_of(weights: str) -> WeightFormat | None:
    """Bytes of a format that was published or is measured here; None if they are unknown."""
    for known in (GGUF_FORMATS, ENGINE_FORMATS):
        if weights in known:
            return known[weights]
    if weights in OTHER_BITS:
        bits, head = OTHER_BITS[weights]
        return WeightFormat(weights, bits, None, None, 0.0, head_bits=head)
    return None


# Mixtures by the type of most of their tensors, whose kernels multiply them: they differ in bytes alone.
MOSTLY = {
    "q4_k_m": "q4_k", "q4_k_s": "q4_k", "ud-q4_k_xl": "q4_k", "q5_k_m": "q5_k", "q5_k_s": "q5_k", "q3_k_s": "q3_k",
    "ud-q8_k_xl": "q8_0",
}  # fmt: skip


def kernels_of(weights: str, hidden: int) -> str:
    """The type of most of a format's tensors; a mixture of its own where blocks do not divide the model's width.

    Then products of that width are of one type, those of others of another, and the LM head of a third: a Gemma 3 1B in
    Q4_K_M is 40 % Q8_0 and 39 % Q5_0 by bytes. Such a row speaks for the kernels of none.
    """
    name = MOSTLY.get(weights, weights)
    if name not in TENSOR_TYPES or stored_type(name, hidden) == name:
        return name
    return f"{name}, not divided"
