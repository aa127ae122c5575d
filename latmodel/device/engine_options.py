"""How an engine that runs whole models is set up: what its times depend on beside the model and its format."""

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field

EngineCache = Literal["q8_0", "q4_0"]
FlashAttention = Literal["auto", "on", "off"]


class EngineOptions(BaseModel):
    """Options of an engine under which it is measured; None leaves the engine's own default.

    What was measured under some options says nothing of others: a profile keeps those that it was calibrated with.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)

    threads: Annotated[int, Field(ge=1, le=4096)] = 1
    micro_batch: Annotated[int, Field(ge=1, le=1 << 16)] | None = None  # tokens that one pass computes at once
    flash_attention: FlashAttention | None = None
    kv_cache: EngineCache | None = None  # None: 16 bits, or the engine's own

    def text(self) -> str:
        """In words, defaults left out: "1 thread(s), micro-batches of 128"."""
        parts = [f"{self.threads} thread(s)"]
        if self.micro_batch is not None:
            parts.append(f"micro-batches of {self.micro_batch}")
        if self.flash_attention is not None:
            parts.append(f"flash attention {self.flash_attention}")
        if self.kv_cache is not None:
            parts.append(f"{self.kv_cache} cache")
        return ", ".join(parts)
