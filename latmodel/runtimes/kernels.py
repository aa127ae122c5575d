"""Kernels of quantised weights, one record each: which runtime takes which stands in the runtime's own file.

Figures without a source are counts or assumptions; `latmodel` then says that none was measured.
"""

from ..model.kernels import UNPACKED, Way, WeightKernel

A100 = "nvidia-a100-sxm4-80gb"
QWEN = "fitted to QwenLM/Qwen3@a912d239 (Qwen2.5 0.5B to 32B, one A100, batch 1)"

# Dequantised in registers and read at the rate of 16-bit weights, which is what published times at batch 1 show.
FUSED = WeightKernel(
    name="fused", way=Way.FUSED, row_step=1.0,
    source="a count: stored bytes at the rate of 16-bit weights; casper-hansen/AutoAWQ#76 and #365 are compared",
    gpus=("nvidia-geforce-rtx-3090", "nvidia-geforce-rtx-4090"),
)  # fmt: skip
FUSED_UNTIMED = FUSED._replace(source="", gpus=())  # of formats of which no time is at hand
# 8-bit floats are multiplied as such where the device was measured with them, else dequantised in registers.
FLOAT8 = WeightKernel(name="fp8", way=Way.FLOAT8, beyond=FUSED_UNTIMED, source="vLLM's kernels, timed one by one")
FLOAT8_BLOCKS = FLOAT8._replace(name="fp8 by blocks", source=f"{FLOAT8.source}, with one scale a tensor")
# A module that quantises its input first launches once more.
FLOAT8_MODULE = FLOAT8._replace(launches=2.0)
FLOAT8_BLOCKS_MODULE = FLOAT8_BLOCKS._replace(launches=2.0)
# Of torchao, ExLlamaV2, AWQ's fused modules. LLM.int8 has no fused form: the same bytes as int8 weights alone.
FUSED_FORMATS = (
    ("int4-gptq", FUSED), ("int4-awq", FUSED),
    ("int8-gptq", FUSED_UNTIMED), ("int8-awq", FUSED_UNTIMED), ("int8", FUSED_UNTIMED), ("nf4", FUSED_UNTIMED),
    ("mxfp4", FUSED_UNTIMED), ("nvfp4", FUSED_UNTIMED),
    ("fp8", FLOAT8), ("fp8-block", FLOAT8_BLOCKS),
)  # fmt: skip

# vLLM's: Marlin, in registers. A pass takes a constant longer than with 16-bit weights, whatever the model.
MARLIN = WeightKernel(name="Marlin", way=Way.FUSED, step_s=0.8e-3, source=f"{QWEN}, vLLM 0.6.3", gpus=(A100,))
MARLIN_UNTIMED = MARLIN._replace(source="", gpus=())
MARLIN_FORMATS = (
    ("int4-gptq", MARLIN), ("int4-awq", MARLIN), ("int8-gptq", MARLIN), ("int8-awq", MARLIN_UNTIMED),
    ("int8", MARLIN_UNTIMED), ("nf4", MARLIN_UNTIMED), ("mxfp4", MARLIN_UNTIMED), ("nvfp4", MARLIN_UNTIMED),
    ("fp8", FLOAT8), ("fp8-block", FLOAT8_BLOCKS),
)  # fmt: skip

# Transformers': a Python module around each product.
# ExLlamaV2's kernel up to 50 rows (MAX_Q_GEMM_ROWS of AutoGPTQ's q_gemm.cu), then an unpacked matrix.
EXLLAMA_MODULE = WeightKernel(
    name="ExLlamaV2's in AutoGPTQ", way=Way.FUSED, launches=0.42, floors=14.0, instructions=1.8,
    rows=51.0, beyond=UNPACKED, holds_workspace=True, source=f"{QWEN}, Transformers 4.46", gpus=(A100,),
)  # fmt: skip
# AutoAWQ's GEMM kernel below 1024 rows (FP16_MATMUL_HEURISTIC_CONDITION of awq/modules/linear/gemm.py).
AWQ_MODULE = WeightKernel(
    name="AWQ's GEMM", way=Way.FUSED, launches=2.97, floors=10.0, instructions=1.35, rows=1024.0, beyond=UNPACKED,
    source=f"{QWEN}, Transformers 4.46", gpus=(A100,),
)  # fmt: skip
# GPTQ's 8-bit kernel below 128 rows (kernel_switch_threshold of AutoGPTQ's qlinear_cuda).
GPTQ_8BIT_MODULE = WeightKernel(
    name="GPTQ in 8 bits", way=Way.FUSED, launches=3.07, floors=14.5, instructions=1.7, rows=128.0, beyond=UNPACKED,
    source=f"{QWEN}, Transformers 4.46", gpus=(A100,),
)  # fmt: skip
# bitsandbytes. LLM.int8: inputs are searched for outliers (the host waits for their number), quantised, multiplied,
# dequantised, and the outliers' product is added. Not fitted to it: an H100 took 28 launches (quartiles 24 and 33) with
# bitsandbytes 0.50, its times 0.98 of the predicted in the median, beside NF4's.
LLM_INT8 = WeightKernel(
    name="LLM.int8", way=Way.FUSED, launches=41.0,
    source="fitted to bitsandbytes#347 (RTX 3090) and huggingface/optimum-quanto#62 (A10G), 6 and 7B, hosts unknown",
    gpus=("nvidia-geforce-rtx-3090", "nvidia-a10g"),
)  # fmt: skip
# A kernel of its own for up to 4 rows (`_GEMM_4BIT_CUSTOM_FLOOR_M` of bitsandbytes 0.50), then an unpacked matrix; on
# some cards and sizes up to 512. What the module and its custom operator cost the host is all that was told apart.
NF4_ON_H100 = (
    "measured by this project beside 16 bits: bitsandbytes 0.50, Transformers 5.17, one H100 on a noisy host; "
    "quartiles of launches 5 to 11, and 8 to 15 unpacked (benchmarks/boards/nvidia-h100-80gb-hbm3-quantised.jsonl)"
)
NF4_MODULE = WeightKernel(
    name="nf4", way=Way.FUSED, launches=8.0, rows=5.0, source=NF4_ON_H100, gpus=("nvidia-h100-80gb-hbm3",),
    beyond=UNPACKED._replace(launches=13.0),
)  # fmt: skip
# Modules that nobody timed: no slower than 16 bits until somebody does, but perhaps as costly to the host as NF4's.
MODULE_UNTIMED = FUSED_UNTIMED._replace(most_launches=13.0)
# Where the device was not measured with products of 8-bit floats: few rows in registers, many unpacked, as by GPTQ's
# module; an assumption.
FEW_ROWS = MODULE_UNTIMED._replace(rows=128.0, beyond=UNPACKED)
FLOAT8_UNPACKED = FLOAT8_MODULE._replace(beyond=FEW_ROWS)
FLOAT8_BLOCKS_UNPACKED = FLOAT8_BLOCKS_MODULE._replace(beyond=FEW_ROWS)
