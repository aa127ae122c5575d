"""Pruned shapes: what each way keeps, that targets are met, and that the host's share is told."""

import json
import re
from pathlib import Path

import pytest
from click.testing import CliRunner

from latmodel import Predictor, Workload
from latmodel.cli import group
from latmodel.configs.huggingface import read_config
from latmodel.errors import UsageError
from latmodel.model.architecture import Architecture
from latmodel.model.totals import num_parameters
from latmodel.pruning.prune import Pruning, aligned, parse_target, prune
from latmodel.pruning.ways import WAYS, fewer_blocks, fewer_heads, narrower_ffn, narrower_stream, shares
from latmodel.report.prune_report import notes
from latmodel.report.prune_report import notes as prune_notes

LLAMA = read_config("llama-7b")
# Shortened LLaMA (arXiv 2402.02834), table 2 and text: 12 prompt tokens, 128 new ones.
PAPER = Workload(prompt_tokens=12, new_tokens=128, dtype="float16")


@pytest.fixture(scope="module")
def found() -> Pruning:
    return prune(Predictor.load("3090"), LLAMA, parse_target("1.5x"), PAPER)


def test_depth_keeps_whole_blocks_by_hand() -> None:
    """LLaMA-7B of 21 blocks: a block has 202,383,360 parameters, the rest 262,148,096."""
    shape = fewer_blocks(LLAMA, 21 / 32)
    assert shape.num_hidden_layers == 21
    assert num_parameters(shape) == 21 * 202_383_360 + 262_148_096


def test_depth_keeps_kinds_in_proportion() -> None:
    """Gemma 3 12B has 40 layers with a window and 8 without: half of it 20 and 4."""
    assert sorted(g.count for g in fewer_blocks(read_config("gemma-3-12b"), 0.5).groups) == [4.0, 20.0]


def test_heads_go_in_whole_groups() -> None:
    attention = fewer_heads(read_config("llama-3-8b"), 0.5).groups[0].block.attention
    assert (attention.heads, attention.kv_heads, attention.head_dim) == (16.0, 4.0, 128.0)  # type: ignore[union-attr]


def test_widths_are_multiples_of_the_step() -> None:
    assert narrower_ffn(LLAMA, 0.65, 64).groups[0].block.feed_forward.intermediate_size == 7168.0  # type: ignore[union-attr]
    assert narrower_stream(LLAMA, 0.65, 64).hidden_size == 2688.0


@pytest.mark.parametrize("name", ["llama-7b", "mixtral-8x7b", "deepseek-v3", "nemotron-h-8b", "qwen3-next-80b-a3b"])
@pytest.mark.parametrize("way", WAYS, ids=lambda way: way.name)
def test_every_way_shrinks_every_kind_of_model_step_by_step(way: object, name: str) -> None:
    model = read_config(name)
    sizes = [num_parameters(way.shape(model, share, 64)) for share in shares(model, way)]  # type: ignore[attr-defined,arg-type]
    assert sizes[0] == num_parameters(model)
    assert sizes == sorted(sizes, reverse=True)
    assert sizes[-1] > 0


def test_the_best_of_a_way_meets_the_target_and_one_step_less_pruned_does_not(found: Pruning) -> None:
    limit = found.original.prediction.decode_s_per_token / 1.5
    for curve in found.curves:
        if curve.best is None:
            assert all(point.prediction.decode_s_per_token > limit for point in curve.points)
            continue
        assert curve.best.prediction.decode_s_per_token <= limit
        larger = [point for point in curve.points if point.kept > curve.best.kept]
        assert all(point.prediction.decode_s_per_token > limit for point in larger)


def test_what_the_paper_found_depth_speeds_up_and_width_does_not(found: Pruning) -> None:
    """Eager, batch 1: depth pruning gains in proportion, width pruning at most a little (its tables 2 and 3)."""
    by_way = {curve.way.name: curve for curve in found.curves}
    assert by_way["depth"].best is not None
    assert by_way["depth"].best.kept > 0.6
    for way in ("heads", "ffn", "width"):
        assert by_way[way].best is None
        assert max(point.speedup for point in by_way[way].points) < 1.1
        assert "host" in by_way[way].note


def test_a_time_is_a_target_too() -> None:
    found = prune(Predictor.load("3090"), LLAMA, parse_target("15ms"), PAPER)
    depth = found.curves[0]
    assert depth.best is not None
    assert depth.best.prediction.decode_s_per_token <= 0.015


def test_odd_sizes_are_named_where_they_cost() -> None:
    """2048 prompt tokens are bound by compute, where an odd feed-forward layer falls off the fast path."""
    work = Workload(prompt_tokens=2048, new_tokens=1)
    found = prune(Predictor.load("3090"), LLAMA, parse_target("1.5x", "prefill"), work)
    notes = {curve.way.name: curve.note for curve in found.curves}
    assert "multiples of 8" in notes["ffn"]


def test_alignment_is_told_by_every_width() -> None:
    assert aligned(LLAMA)
    odd: Architecture = narrower_ffn(LLAMA, 7155 / 11008, 1)
    assert odd.groups[0].block.feed_forward.intermediate_size == 7155.0  # type: ignore[union-attr]
    assert not aligned(odd)


@pytest.mark.parametrize("text", ["", "x", "0.9x", "1x", "nanx", "1.5", "20", "-1x", "20parsec", "1e9x"])
def test_what_is_no_target_is_refused(text: str) -> None:
    if text in ("1.5", "20"):
        assert parse_target(text).seconds == float(text)  # bare numbers are seconds, as everywhere
        return
    with pytest.raises(UsageError):
        parse_target(text)


def test_a_number_of_parameters_is_kept_by_every_way() -> None:
    found = prune(Predictor.load("3090"), LLAMA, parse_target("5B"), PAPER)
    assert {curve.way.name for curve in found.curves if curve.best} >= {
        "depth",
        "heads",
        "ffn",
        "width",
        "hidden",
        "mixed",
    }
    for curve in found.curves:
        assert curve.shown.prediction.num_parameters <= 5e9
        larger = [p for p in curve.points if p.kept > curve.shown.kept]
        assert all(p.prediction.num_parameters > 5e9 for p in larger)
    assert any("depth (whole blocks) is the quickest" in line for line in prune_notes(found))


def test_a_size_is_no_time() -> None:
    with pytest.raises(UsageError, match="6.74B parameters and meets"):
        prune(Predictor.load("3090"), LLAMA, parse_target("14B"), PAPER)
    done = CliRunner().invoke(group, ["prune", "llama-7b", "--target", "5B", "--metric", "decode"])
    assert "leave out --metric" in str(done.exception)


def test_a_target_that_is_met_already_is_refused() -> None:
    with pytest.raises(UsageError, match="meets the target"):
        prune(Predictor.load("3090"), LLAMA, parse_target("10s"), PAPER)


def test_the_verb_prints_a_table_json_and_a_picture(tmp_path: Path) -> None:
    run = CliRunner()
    base = ["prune", "--config", "llama-7b", "--gpu", "3090", "--target", "1.5x"]
    done = run.invoke(group, [*base, "--plot", str(tmp_path / "ways.png")])
    assert done.exit_code == 0
    assert len(re.findall("the host launches", " ".join(done.output.split()))) == 1
    assert "reached" in done.output
    assert "nothing is gained by heads (in whole groups), ffn" in done.output
    assert (tmp_path / "ways.png").read_bytes().startswith(b"\x89PNG")
    rows = json.loads(run.invoke(group, [*base, "--format", "json"]).stdout)
    assert [row["way"] for row in rows] == ["original", "depth", "heads", "ffn", "width", "hidden", "mixed"]
    assert rows[1]["reached"]
    assert rows[1]["decode_s_per_token"] <= rows[0]["decode_s_per_token"] / 1.5


def test_what_a_checkpoint_costs_beyond_its_shape_is_said_where_the_host_launches_modules(found: Pruning) -> None:
    assert "1.2 to 1.5 times the host time" in " ".join(notes(found))
    graph = prune(Predictor.load("3090", "cuda-graph"), LLAMA, parse_target("1.5x"), PAPER)
    assert "host time" not in " ".join(notes(graph))
