"""Readers of published kernels: shapes, caveats, what is left out and counted, errors that name file and column."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from calibration.sources import aiconfigurator, aiconfigurator_csv, llmservingsim, small_tables, vidur
from calibration.sources.tables import read_table, rounding_noise
from latmodel.device.datasheets import datasheet
from latmodel.errors import UsageError

A100 = datasheet("a100")


def table(folder: Path, name: str, *lines: str) -> Path:
    (folder / "operators").mkdir(exist_ok=True)
    path = folder / "operators" / name
    path.write_text("\n".join(lines) + "\n")
    return folder


VIDUR_HEAD = (
    "gpu,model,tp,tokens,hidden_size,ffn_size,n_heads,n_kv_heads,gated_mlp,vocab_size,emb_us,input_layernorm_us,"
    "attn_pre_proj_us,attn_rope_us,attn_post_proj_us,post_attention_layernorm_us,mlp_up_proj_us,mlp_act_us,"
    "mlp_down_proj_us,add_us,head_dim,qkv_out_rank,ffn_rank"
)


def test_vidur_rows_are_the_shard_that_ran(tmp_path: Path) -> None:
    row = "A100,llama,2,16,4096,11008,32,32,True,32000,3,8,50,12,20,8,80,19,40,2,128,6144,5504"
    other = row.replace("A100", "A40")
    found = vidur.read(table(tmp_path, "vidur_dense_ops_fp16.csv", VIDUR_HEAD, row, other), A100)
    rows, dropped, source = found["gemm"]
    # qkv 4096 → 6144; output of the rank's 16 heads × 128 back to 4096; gate and up in one, 2 × 5504; down.
    assert [(r.m, r.n, r.k) for r in rows] == [(16, 6144, 4096), (16, 4096, 2048), (16, 11008, 4096), (16, 4096, 5504)]
    assert [r.seconds for r in rows] == pytest.approx([50e-6, 20e-6, 80e-6, 40e-6])
    assert not any(r.hot for r in rows)
    assert dropped == {}
    assert "7d47513" in source
    assert found["pointwise"][0][0].moved_bytes == 2 * 16 * 3 * 4096  # a sum reads two values and writes one


def test_vidur_counts_rows_without_a_time_and_doubts_whole_microseconds(tmp_path: Path) -> None:
    row = "A100,llama,1,1,4096,11008,32,32,False,32000,3,8,0,12,20,8,80,19,40,2,128,12288,11008"
    found = vidur.read(table(tmp_path, "vidur_dense_ops_fp16.csv", VIDUR_HEAD, row), A100)
    assert len(found["gemm"][0]) == 3
    assert found["gemm"][1] == {"no time given": 1}
    assert found["gemm"][0][1].n == 11008  # no gate: one product
    assert rounding_noise(2e-6, 1e-6) == pytest.approx(0.156, abs=0.002)  # 1 / (√12 · 2) = 0.144, and 0.06
    assert rounding_noise(1e-3, 1e-6) == pytest.approx(0.06, rel=1e-3)


def test_a_missing_file_or_column_is_named(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="vidur_dense_ops_fp16.csv"):
        vidur.read(tmp_path, A100)
    path = tmp_path / "one.csv"
    path.write_text("a,b\n1,2\n")
    with pytest.raises(UsageError, match="'c'"):
        read_table(path, ("a", "c"))
    with pytest.raises(UsageError, match="T4"):
        vidur.read(tmp_path, datasheet("t4"))


def test_llmservingsim_takes_pure_steps_and_counts_mixed_ones(tmp_path: Path) -> None:
    tail = "RTX4090,llama,1,bf16,4096,14336,32,8,128,128256"
    names = "gpu,model,tp,dtype,hidden_size,ffn_size,n_heads,n_kv_heads,head_dim,vocab_size"
    table(tmp_path, "llmservingsim_v1_dense_bf16_rtx4090.csv", f"layer,tokens,time_us,{names}",
          f"qkv_proj,16,70,{tail}", f"act_fn,16,3,{tail}", f"embedding,16,3,{tail}")  # fmt: skip
    table(tmp_path, "llmservingsim_v1_per_sequence_bf16_rtx4090.csv", f"layer,sequences,time_us,{names}",
          f"lm_head,4,1100,{tail}", f"sampler,4,50,{tail}")  # fmt: skip
    table(tmp_path, "llmservingsim_v1_attention_bf16_rtx4090.csv",
          f"prefill_chunk,kv_prefill,n_decode,kv_decode,time_us,{names}",
          f"128,64,0,0,20,{tail}", f"0,0,8,256,15,{tail}", f"128,0,8,256,30,{tail}")  # fmt: skip
    found = llmservingsim.read(tmp_path, datasheet("4090"))
    assert [(r.m, r.n, r.k) for r in found["gemm"][0]] == [(16, 6144, 4096), (4, 128256, 4096)]
    assert [(r.m, r.tokens, r.context) for r in found["prefill"][0]] == [(1, 128, 192)]
    assert [(r.m, r.tokens, r.context) for r in found["decode"][0]] == [(8, 1, 257)]
    assert found["pointwise"][0][0].moved_bytes == 2 * 16 * 3 * 14336
    assert sum(dropped.get("attention of mixed steps", 0) for _, dropped, _ in found.values()) == 1


def test_small_tables_leave_out_what_is_launch_or_another_dtype(tmp_path: Path) -> None:
    table(tmp_path, "mli_ops.csv", "gpu,op,dtype,m_tokens,n_out,k_in,tflops,time_us,gb_per_s",
          "RTX 3090 Ti,gemm,fp16,2048,2048,2048,71.5,240.26,", "RTX 3090 Ti,gemm,fp32(tf32 allowed),64,64,64,1,10,",
          "A100-80GB,gemm,fp16,8192,8192,8192,230,4780,")  # fmt: skip
    rows, dropped, _ = small_tables.mli(tmp_path, datasheet("3090 ti"))["gemm"]
    assert [(r.m, r.dtype) for r in rows] == [(2048, "float16")]
    assert sum(dropped.values()) == 1
    table(tmp_path, "neusight_memory_bound_ops_fp32_a100.csv", "gpu,op,split,dtype,rows,cols,time_us,bytes_moved,gb_per_s",
          "NVIDIA A100-PCIE-40GB,ln,test,fp32,32768,1600,388.58,419430400,1079",
          "NVIDIA A100-PCIE-40GB,ln,test,fp32,8,16,7,1024,1")  # fmt: skip
    rows, dropped, _ = small_tables.neusight(tmp_path, datasheet("a100 pcie 40gb"))["pointwise"]
    assert [r.moved_bytes for r in rows] == [419430400.0]
    assert list(dropped.values()) == [1]
    table(tmp_path, "llmcompass_ops_a100_fp16.csv", "gpu,op,dtype,m_tokens,n_out,k_in,time_us,gelem_per_s",
          "A100-SXM4-80GB,gemm,fp16,64,12288,12288.0,190.0,", "A100-SXM4-80GB,gelu,fp16,64,12288,,,5")  # fmt: skip
    rows, dropped, _ = small_tables.llmcompass(tmp_path, A100)["gemm"]
    assert [(r.m, r.n, r.k) for r in rows] == [(64, 12288, 12288)]
    assert sum(dropped.values()) == 1


def test_empty_kernels_are_launches(tmp_path: Path) -> None:
    table(tmp_path, "launch_overhead_rtx3090.csv", "source,gpu,what,us",
          'x,RTX 3090,"225 empty kernels, regular launches (C++), per launch",1.54',
          'x,RTX 3090,"225 empty kernels in CUDA graph, per kernel",0.83', "x,RTX 3090,torch.mm back to back,8.1")  # fmt: skip
    found = small_tables.launches(tmp_path, datasheet("3090"))
    times = {op: rows[0].seconds for op, (rows, _, _) in found.items()}
    assert times == pytest.approx({"launch": 1.54e-6, "replay": 0.83e-6})
    assert sum(sum(dropped.values()) for _, dropped, _ in found.values()) == 1


def test_rows_faster_than_the_data_sheet_are_implausible() -> None:
    # 1024³ · 2 FLOPs in 1 us would be 2147 TFLOP/s, seven times an A100; in 100 us it is 21.
    columns = {name: np.array([1024.0, 1024.0]) for name in "mnk"} | {"seconds": np.array([1e-6, 1e-4])}
    assert aiconfigurator.implausible(A100, "gemm", columns).tolist() == [True, False]
    # 1 × 16384 × 16384 reads 537 MB: 263 us at 2.039 TB/s; 8 MB (2048²) in 1 us is a cache at work.
    sizes = {"m": np.array([1.0, 1.0]), "n": np.array([16384.0, 2048.0]), "k": np.array([16384.0, 2048.0])}
    assert aiconfigurator.implausible(A100, "gemm", sizes | {"seconds": np.array([2e-4, 1e-6])}).tolist() == [
        True,
        False,
    ]


def test_rows_in_fp8_are_held_against_the_rate_for_8_bits() -> None:
    # 1024³ · 2 FLOPs in 1.5 us are 1432 TFLOP/s: above an H100's 989 in bfloat16, below its 1979 in fp8.
    columns = {name: np.array([1024.0]) for name in "mnk"} | {"seconds": np.array([1.5e-6])}
    card = datasheet("h100")
    assert aiconfigurator.implausible(card, "gemm", columns).tolist() == [True]
    assert aiconfigurator.implausible(card, "gemm8", columns).tolist() == [False]
    # A byte a weight, two for each input and output.
    assert aiconfigurator.floor_work("gemm8", {"m": 2.0, "n": 3.0, "k": 5.0}) == (60.0, 2 * (6 + 10) + 15)


def test_attention_work_is_counted_by_hand() -> None:
    columns: dict[str, Any] = {"batch_size": 2.0, "num_heads": 8.0, "num_key_value_heads": 2.0, "head_dim": 64.0,
                               "window_size": np.array([0.0, 256.0]), "isl": 1024.0, "step": 1023.0}  # fmt: skip
    flops, _ = aiconfigurator.floor_work("prefill", columns)
    pairs = [1024 * 1025 / 2, 256 * 257 / 2 + 768 * 256]
    assert np.asarray(flops).tolist() == [4 * 2 * 8 * 64 * p for p in pairs]
    flops, moved = aiconfigurator.floor_work("decode", columns)
    assert np.asarray(flops).tolist() == [4 * 2 * 8 * 64 * 1024, 4 * 2 * 8 * 64 * 256]
    assert np.asarray(moved).tolist() == [2 * 2 * 2 * 2 * 64 * 1024, 2 * 2 * 2 * 2 * 64 * 256]


def test_the_package_is_asked_for_by_name_if_it_is_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(UsageError, match=r"latmodel\[published\]"):
        aiconfigurator.read("a100", "gemm")


def test_the_installed_package_is_read() -> None:
    pytest.importorskip("aiconfigurator_core")
    pytest.importorskip("pyarrow")
    found = aiconfigurator.read("a100", "gemm")
    assert len(found.rows) > 5000
    assert len({(r.m, r.n, r.k) for r in found.rows}) == len(found.rows)  # repeats are merged
    assert all(r.hot and 1e-6 < r.seconds < 1.0 for r in found.rows)
    windows = aiconfigurator.read("l40s", "decode").rows
    assert any(r.window for r in windows)
    assert all(r.tokens == 1 for r in windows)
    assert aiconfigurator.read("l40s", "gemm").dropped["implausible: faster than the data sheet"] > 0
    with pytest.raises(UsageError, match="no timings of"):
        aiconfigurator.read("t4", "gemm")


def test_rows_in_fp8_are_read_apart() -> None:
    pytest.importorskip("aiconfigurator_core")
    pytest.importorskip("pyarrow")
    eight, sixteen = aiconfigurator.read("h100", "gemm8").rows, aiconfigurator.read("h100", "gemm").rows
    assert {(r.op, r.dtype) for r in eight} == {("gemm", "float8")}
    assert {r.dtype for r in sixteen} == {"bfloat16"}
    times = {(r.m, r.n, r.k): r.seconds for r in sixteen}
    large = [r for r in eight if r.m == 8192 and r.n >= 8192 and r.k >= 8192 and (r.m, r.n, r.k) in times]
    faster = [times[r.m, r.n, r.k] / r.seconds for r in large]
    assert len(large) > 10
    assert 1.3 < np.median(faster) < 2.0  # twice the rate, less what quantising the input takes


def test_the_csv_tables_give_the_same_kind_of_rows(tmp_path: Path) -> None:
    gpu = "NVIDIA A100-SXM4-80GB,vllm"
    table(
        tmp_path, "aiconfigurator_gemm_bf16.csv", "gpu,framework,m_tokens,n_out,k_in,time_us", f"{gpu},16,4096,4096,20"
    )
    head = "gpu,framework,batch,n_heads,n_kv_heads,head_dim,window_size,seq_len,context_len,time_us"
    table(
        tmp_path,
        "aiconfigurator_attention_context_bf16.csv",
        head,
        f"{gpu},1,8,1,128,0,1,1,12",
        f"{gpu},1,8,1,128,0,64,64,12",
    )
    table(tmp_path, "aiconfigurator_attention_generation_bf16.csv", head, f"{gpu},4,8,1,128,0,1,256,17")
    found = aiconfigurator_csv.read(tmp_path, A100)
    assert [(r.m, r.n, r.k) for r in found["gemm"][0]] == [(16, 4096, 4096)]
    assert [r.tokens for r in found["prefill"][0]] == [64]
    assert [(r.m, r.context) for r in found["decode"][0]] == [(4, 256)]
    assert found["gemm"][1] == {"prefill: single tokens or head_dim above 256": 1}
