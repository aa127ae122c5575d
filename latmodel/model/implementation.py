"""What a runtime does between the matrix products: the record that each file of `latmodel.runtimes` fills in.

Kernels are launches of one operator; `moves` are the values read and written per element, in units of the model's
own dtype (a float32 intermediate counts twice).
"""

from dataclasses import field

from ..arrays import Array, indicator, is_array, maximum
from ..errors import UsageError
from .formats import WeightFormat
from .kernels import UNPACKED, Way, WeightKernel
from .ops import POINTWISE, OpCost, pointwise
from .record import FixedRecord
from .step import Step


class AttentionPath(FixedRecord):
    """One of a runtime's ways to attend (`--attention`); always built by keyword."""

    name: str
    kernels: float = 1.0  # launches of the attention itself
    splits: bool = False  # a long context is split in decode also where no heads share keys and values
    expand_kernels: float = 0.0  # launches that write grouped keys and values out once a query head; 0: shared as kept
    score_kernels: float = 0.0  # launches between the two products of attention that writes its scores
    score_moves: float = 0.0  # values moved for each score, by those kernels and by the products; 0: never written
    float32_logits: bool = False  # of all positions of a prompt, and copied to float32 (Transformers before 4.45 or so)
    mask_expand_kernels: float = 0.0  # as `expand_kernels`, where several tokens behind a cache need a mask

    @property
    def keeps_on_chip(self) -> bool:
        """Whether neither scores nor repeated keys and values are written out, by a prompt or a new token."""
        return not (self.expand_kernels or self.score_moves)

    def expanded(self, step: Step, kv_heads: Array) -> Array:
        """1 where grouped keys and values are written out once a query head in such a pass, 0 where shared as kept.

        For a mask, keys of a single head are repeated as a view.
        """
        if self.expand_kernels:
            return 1.0
        masked = step.needs_mask if self.mask_expand_kernels else 0.0
        return masked * indicator(kv_heads > 1.0, kv_heads) if is_array(masked) or masked else 0.0


class Implementation(FixedRecord):
    """Kernels and traffic of the operators between the matrix products of one block; always built by keyword."""

    name: str
    # Norms: RMSNorm (LayerNorm is one kernel everywhere).
    norm_kernels: float
    norm_moves: float
    # Rotary embedding, of queries and keys together.
    rope_kernels: float
    rope_moves: float
    # SiLU and the product with the gate.
    activation_kernels: float
    activation_moves: float
    residual_kernels: float  # one residual sum
    # KV cache.
    cache_kernels: float  # append keys and values
    cache_copies: float  # times the whole cache is read and written to grow it by a token
    # Attention: the ways that the runtime has, its default first, and the one that is taken.
    attentions: tuple[AttentionPath, ...]
    padding_kernels: float  # more launches where head_dim is no multiple of 8
    # Mixtures of experts.
    routing_kernels: float  # from the router's logits to rows sorted by expert, and back
    expert_kernels: float  # launches for each touched expert beside its products; 0: experts are grouped in one
    # Latent attention and recurrent layers.
    absorbs_latents: bool  # latent attention decodes on the latents themselves, without expanding them
    fuses_scans: bool  # recurrent layers have kernels of their own
    # Quantised weights: the kernel of each format (name → kernel), and that of any other.
    kernels: tuple[tuple[str, WeightKernel], ...] = ()
    other_kernel: WeightKernel = UNPACKED
    unpack_moves: float = 2.0  # values moved for each weight that is unpacked: written out once, read back once
    # What most runtimes do not do.
    strided: bool = False  # rotary embedding, and what writes keys and values to their place, on transposed views
    fuses_projections: bool = False  # queries, keys and values in one product, gate and up in another
    multiplies_float8: bool = False  # fp8 weights are multiplied as such: the device has products of 8-bit floats
    micro_batch: float | None = None  # tokens that one pass computes at once; None: all of them
    cut_of_last_block: float = 0.0  # share of it that a prompt leaves out where only the last logits are wanted
    mixes_requests: bool = False  # a pass takes a prompt's tokens and other sequences' next ones together
    group_kernels: float = 0.0  # launches an expert of a grouped product that loops over all; 0: it is one
    runs_classes: bool = False  # it runs the classes of Transformers as they are written
    attention: AttentionPath = field(init=False, repr=False, compare=False)  # the way that is taken: the first

    def __post_init__(self) -> None:
        object.__setattr__(self, "attention", self.attentions[0])

    def prompt_share(self, depth: Array, tokens: Array, logits_all: bool) -> Array:
        """Share of `depth` blocks' work on so many tokens that is done where the last token's logits are wanted:
        1 − cut_of_last_block · (1 − 1 / tokens) / depth."""
        if logits_all or not self.cut_of_last_block:
            return 1.0
        return 1.0 - self.cut_of_last_block * (1.0 - 1.0 / tokens) / maximum(depth, 1.0)

    def with_attention(self, name: str) -> "Implementation":
        """The same with another of its ways to attend.

        Raises:
            UsageError: it has none of that name.
        """
        for one in self.attentions:
            if one.name == name:
                return self._replace(attentions=(one,))
        known = ", ".join(one.name for one in self.attentions)
        raise UsageError(f"--attention {name}: this runtime has {known}")

    def kernel(self, form: WeightFormat) -> WeightKernel:
        """What multiplies by weights of a format; products of 8-bit floats only where the device has them."""
        for name, one in self.kernels:
            if name == form.name:
                return one if self.multiplies_float8 or one.way is not Way.FLOAT8 else one.beyond or UNPACKED
        return self.other_kernel

    def measured_on(self, form: WeightFormat, gpu: str) -> bool:
        """Whether times of such weights on a device are behind their price: its own products of 8-bit floats, or the
        kernel's figures."""
        kernel = self.kernel(form)
        return kernel.way is Way.FLOAT8 or gpu in kernel.gpus

    def with_overhead(self, form: WeightFormat, share: float) -> "Implementation":
        """The same where the kernel of a format has `share` of what it costs beyond reading the stored bytes."""
        own = ((form.name, self.kernel(form).with_overhead(share)),)
        return self._replace(kernels=own + tuple(one for one in self.kernels if one[0] != form.name))

    def format_step_s(self, form: WeightFormat | None) -> float:
        """Seconds by which a pass takes longer because its weights are quantised, whatever the model."""
        return 0.0 if form is None else self.kernel(form).step_s

    def rope(self, queries: Array, keys: Array, rows: Array, bytes_each: float) -> OpCost:
        """Rotary embedding of so many values of queries and of keys a row; half of the kernels are for each."""
        values, moves, kernels = (queries + keys) * rows, self.rope_moves, self.rope_kernels
        if not self.strided:
            return pointwise("rope", values, moves=moves, kernels=kernels, bytes_each=bytes_each)
        moved = values * (moves * bytes_each)
        return OpCost("rope", POINTWISE, 0.0, 0.0, 0.0, moved, kernels, rows, queries, keys, 1.0, moves, None, True)
