"""Which tests stand for which file, for `mutants.py`; and the faults that change nothing.

Of the tests that run a file's lines those that take a second or a few, quickest and broadest first: a mutant is dead at
the first that fails. Left out are `plot.py` and `report.py` of `calibration/fit`, which draw and print.
"""

# fmt: off
GUARDS: dict[str, tuple[str, ...]] = {
    "calibration/fit/anneal.py": ("anneal_by_hand", "anneal"),
    "calibration/fit/few_rows.py": ("few_rows_by_hand", "few_rows"),
    "calibration/fit/fit.py": ("fit_by_hand", "fit"),
    "calibration/fit/kernels.py": ("kernels_by_hand", "kernels"),
    "calibration/fit/make.py": ("make_by_hand", "outcome_by_hand", "observations"),
    "calibration/fit/objective.py": ("objective_by_hand", "fit_by_hand"),
    "calibration/fit/outcome.py": ("outcome_by_hand",),
    "calibration/fit/residual.py": ("residual_by_hand",),
    "calibration/fit/setup.py": ("start_by_hand", "kernels_by_hand", "float8"),
    "calibration/fit/start.py": ("start_by_hand",),
    "calibration/measure/cases.py": ("cases_by_hand", "plan_by_hand"),
    "calibration/measure/plan.py": ("plan_by_hand", "plan"),
    "calibration/measure/reference.py": ("samples_by_hand",),
    "calibration/measure/rounds.py": ("rounds_by_hand",),
    "calibration/measure/samples.py": ("samples_by_hand", "rounds_by_hand"),
    "calibration/measure/session.py": ("session_by_hand", "session"),
    "calibration/measure/shapes.py": ("shapes_by_hand",),
    "calibration/measure/simulated.py": ("simulated_by_hand",),
    "calibration/measure/summary.py": ("summary_by_hand", "measure"),
    "latmodel/device/card_law.py": ("cards_by_hand", "sibling", "uncalibrated"),
    "latmodel/device/chips.py": ("cards_by_hand", "sibling"),
    "latmodel/device/coefficient.py": ("merged_boards_by_hand", "profile"),
    "latmodel/device/hosts.py": ("hosts_by_hand", "hosts"),
    "latmodel/device/machine.py": ("hosts_by_hand",),
    "latmodel/device/merge.py": ("merged_boards_by_hand", "profile_merge"),
    "latmodel/device/power.py": ("cards_by_hand", "power"),
    "latmodel/device/prior.py": ("sibling",),
    "latmodel/device/room.py": ("cards_by_hand", "room"),
    "latmodel/laws/attention.py": (
        "attention_by_hand", "sibling", "roofline", "attention_paths", "quantization", "windows", "explain", "kernels",
        "properties",
    ),
    "latmodel/laws/cells.py": ("correction_by_hand", "correction", "sibling", "attention_paths", "kernels", "explain"),
    "latmodel/laws/coefficients.py": (
        "pointwise_by_hand", "ggml_by_hand", "cpu_by_hand", "float8", "power", "llama_cpp", "intervals", "kernels",
        "explain",
    ),
    "latmodel/laws/correction.py": (
        "correction_by_hand", "sibling", "correction", "quantization", "windows", "kernels", "explain",
    ),
    "latmodel/laws/correction_part.py": (
        "correction_limits", "sibling", "attention_paths", "correction", "quantization",
    ),
    "latmodel/laws/corrector.py": ("correction_by_hand", "correction", "sibling", "quantization", "windows"),
    "latmodel/laws/cpu.py": ("cpu_by_hand", "cpu_law", "verify", "plan", "unknown_intervals", "calibrate_decoder"),
    "latmodel/laws/dispatch.py": (
        "pointwise_by_hand", "attention_by_hand", "attention_paths", "cpu_law", "float8", "extrapolation", "toy_layer",
        "energy",
    ),
    "latmodel/laws/float8.py": ("pointwise_by_hand", "priors", "intervals", "float8", "explain", "weight_kernels"),
    "latmodel/laws/gemm.py": (
        "gemm_by_hand", "roofline", "toy_layer", "forward", "kernels", "llama_kernels", "properties",
    ),
    "latmodel/laws/ggml.py": ("ggml_by_hand", "power", "llama_cpp", "explain", "step"),
    "latmodel/laws/pointwise.py": (
        "pointwise_by_hand", "attention_paths", "toy_layer", "energy", "forward", "step", "generation", "roofline",
        "properties",
    ),
    "latmodel/laws/priors.py": ("priors", "cpu_law", "toy_layer", "observations", "fit"),
    "latmodel/laws/quantised.py": ("pointwise_by_hand", "extrapolation", "hosts", "energy", "weight_kernels"),
    "latmodel/laws/splitting.py": ("splitting_by_hand", "per_layer"),
    "latmodel/laws/terms.py": (
        "attention_by_hand", "sibling", "roofline", "attention_paths", "quantization", "windows", "explain", "kernels",
        "properties",
    ),
    "latmodel/model/alignment.py": ("formats_by_hand", "extrapolation", "roofline", "toy_layer", "room", "llama_cpp"),
    "latmodel/model/architecture.py": (
        "models_by_hand", "toy_layer", "quantization", "configs", "memory", "generation",
    ),
    "latmodel/model/config.py": (
        "formats_by_hand", "toy_runtime", "gguf_formats", "float8", "power", "verify", "observations",
    ),
    "latmodel/model/defaults.py": ("formats_by_hand", "toy_runtime", "room", "float8", "unknown_intervals"),
    "latmodel/model/formats.py": (
        "formats_by_hand", "quantization", "extrapolation", "intervals", "toy_layer", "gguf_formats", "power",
    ),
    "latmodel/model/gguf.py": ("formats_by_hand", "gguf_formats", "gguf"),
    "latmodel/model/implementation.py": (
        "runtimes_by_hand", "extrapolation", "attention_paths", "power", "toy_runtime", "quantization", "explain",
    ),
    "latmodel/model/kernels.py": ("runtimes_by_hand", "extrapolation", "toy_runtime", "quantization", "intervals"),
    "latmodel/model/layers/alternating_updates.py": ("recurrent_layers_by_hand", "layers_by_hand", "new_layers"),
    "latmodel/model/layers/attention.py": (
        "attention_layers_by_hand", "attention_paths", "new_layers", "quantization", "plan", "explain", "energy",
    ),
    "latmodel/model/layers/compressed_attention.py": ("latent_layers_by_hand", "new_layers", "formats"),
    "latmodel/model/layers/embedding.py": ("blocks_by_hand", "toy_layer", "configs", "memory", "explain", "step"),
    "latmodel/model/layers/experts.py": (
        "blocks_by_hand", "extrapolation", "quantization", "configs", "explain", "calibrate_decoder",
    ),
    "latmodel/model/layers/feed_forward.py": (
        "operators_by_hand", "layers_by_hand", "new_layers", "toy_layer", "memory", "sibling",
    ),
    "latmodel/model/layers/gated_delta.py": (
        "recurrent_layers_by_hand", "layers_by_hand", "explain", "new_layers", "calibrate_decoder", "formats",
        "recurrent",
    ),
    "latmodel/model/layers/gated_recurrence.py": (
        "recurrent_layers_by_hand", "layers_by_hand", "new_layers", "formats",
    ),
    "latmodel/model/layers/hyper_connections.py": ("recurrent_layers_by_hand", "layers_by_hand", "new_layers"),
    "latmodel/model/layers/indexed_attention.py": (
        "latent_layers_by_hand", "operators_by_hand", "new_layers", "configs", "formats",
    ),
    "latmodel/model/layers/joined_input.py": ("layers_by_hand", "generation"),
    "latmodel/model/layers/kimi_delta.py": (
        "recurrent_layers_by_hand", "layers_by_hand", "new_layers", "formats", "recurrent",
    ),
    "latmodel/model/layers/kv_cache.py": (
        "attention_layers_by_hand", "operators_by_hand", "new_layers", "forward", "memory", "sibling",
    ),
    "latmodel/model/layers/latent_attention.py": (
        "latent_layers_by_hand", "operators_by_hand", "new_layers", "configs", "explain", "calibrate_decoder",
    ),
    "latmodel/model/layers/layer.py": (
        "attention_layers_by_hand", "layers_by_hand", "attention_paths", "new_layers", "memory", "sibling", "rows",
    ),
    "latmodel/model/layers/lightning_attention.py": (
        "recurrent_layers_by_hand", "layers_by_hand", "new_layers", "formats",
    ),
    "latmodel/model/layers/mamba.py": (
        "recurrent_layers_by_hand", "layers_by_hand", "new_layers", "formats", "recurrent",
    ),
    "latmodel/model/layers/mamba2.py": ("recurrent_layers_by_hand", "explain", "formats", "recurrent"),
    "latmodel/model/layers/norm.py": ("attention_layers_by_hand", "new_layers", "toy_layer", "memory", "sibling"),
    "latmodel/model/layers/per_layer_input.py": ("recurrent_layers_by_hand", "layers_by_hand", "new_layers"),
    "latmodel/model/layers/recurrent.py": (
        "recurrent_layers_by_hand", "layers_by_hand", "new_layers", "explain", "calibrate_decoder",
    ),
    "latmodel/model/layers/shared_attention.py": ("attention_layers_by_hand", "operators_by_hand", "new_layers"),
    "latmodel/model/layers/short_convolution.py": (
        "recurrent_layers_by_hand", "layers_by_hand", "new_layers", "extrapolation", "formats",
    ),
    "latmodel/model/layers/unpacking.py": (
        "runtimes_by_hand", "extrapolation", "weight_kernels", "intervals", "float8", "properties",
    ),
    "latmodel/model/memory.py": (
        "models_by_hand", "power", "attention_paths", "llama_cpp", "quantization", "memory", "plan", "properties",
    ),
    "latmodel/model/ops.py": (
        "models_by_hand", "operators_by_hand", "cpu_law", "new_layers", "toy_layer", "attention_paths",
    ),
    "latmodel/model/step.py": (
        "runtimes_by_hand", "new_layers", "attention_paths", "roofline", "forward", "plan", "energy",
    ),
    "latmodel/model/totals.py": (
        "models_by_hand", "extrapolation", "gguf_formats", "quantization", "power", "energy", "llama_cpp",
    ),
    "latmodel/model/transformer.py": (
        "blocks_by_hand", "toy_layer", "attention_paths", "quantization", "llama_cpp", "extrapolation", "transformer",
    ),
    "latmodel/predict/acceptance.py": (
        "self_drafts_by_hand", "predictions_by_hand", "ways_by_hand", "energy", "generation", "drafted",
    ),
    "latmodel/predict/bounds.py": (
        "timelines_by_hand", "operators_by_hand", "toy_layer", "memory", "sibling", "attention_paths",
    ),
    "latmodel/predict/breakdown.py": (
        "explained_by_hand", "toy_layer", "float8", "explain", "rows", "operators_by_hand",
    ),
    "latmodel/predict/capacity.py": ("columns_by_hand", "formats", "room", "generation"),
    "latmodel/predict/chunks.py": ("ways_by_hand", "generation", "energy", "drafted"),
    "latmodel/predict/columns.py": ("columns_by_hand", "extrapolation", "llama_cpp", "room", "float8", "hosts"),
    "latmodel/predict/ends.py": (
        "ends_by_hand", "predictions_by_hand", "memory", "sibling", "attention_paths", "extrapolation",
    ),
    "latmodel/predict/energy.py": ("ends_by_hand", "energy", "rows"),
    "latmodel/predict/extrapolation.py": (
        "columns_by_hand", "extrapolation", "power", "toy_runtime", "energy", "step", "quantization",
    ),
    "latmodel/predict/forward.py": (
        "timelines_by_hand", "passes_by_hand", "forward", "quantization", "power", "windows", "explain", "llama_cpp",
        "properties", "roofline",
    ),
    "latmodel/predict/generation.py": ("ways_by_hand", "predictions_by_hand", "energy", "generation", "drafted"),
    "latmodel/predict/inputs.py": ("columns_by_hand", "energy", "step", "generation", "toy_layer"),
    "latmodel/predict/intervals.py": (
        "widths_by_hand", "ends_by_hand", "sibling", "hosts", "intervals", "energy", "goals",
    ),
    "latmodel/predict/notes.py": (
        "explained_by_hand", "predictions_by_hand", "llama_cpp", "intervals", "float8", "extrapolation", "explain",
        "weight_kernels",
    ),
    "latmodel/predict/passes.py": ("timelines_by_hand", "passes_by_hand", "energy", "step", "generation"),
    "latmodel/predict/prediction.py": (
        "ends_by_hand", "room", "extrapolation", "intervals", "hosts", "properties", "energy",
    ),
    "latmodel/predict/predictor.py": (
        "ends_by_hand", "predictions_by_hand", "explained_by_hand", "extrapolation", "hosts", "energy", "llama_cpp",
        "verify", "step",
    ),
    "latmodel/predict/self_drafts.py": ("self_drafts_by_hand", "generation", "energy"),
    "latmodel/predict/step_prediction.py": ("ends_by_hand", "energy", "step", "generation"),
    "latmodel/predict/target.py": (
        "passes_by_hand", "predictions_by_hand", "memory", "sibling", "plan", "attention_paths", "energy", "generation",
    ),
    "latmodel/predict/tensor_parallel.py": ("ends_by_hand", "tensor_parallel", "properties"),
    "latmodel/predict/timeline.py": ("timelines_by_hand", "toy_layer", "forward", "memory", "sibling", "timeline"),
    "latmodel/predict/training.py": ("worth_by_hand", "predictions_by_hand", "training"),
    "latmodel/predict/waterfall.py": ("explained_by_hand", "explain", "rows"),
    "latmodel/quality/compare.py": ("scores_by_hand", "quality"),
    "latmodel/quality/constants.py": ("scores_by_hand", "quality_laws"),
    "latmodel/quality/effective.py": ("scores_by_hand", "quality"),
    "latmodel/quality/laws.py": ("scores_by_hand", "quality_laws"),
    "latmodel/quality/scores.py": ("scores_by_hand", "quality"),
    "latmodel/quality/shapes.py": ("scores_by_hand", "quality"),
    "latmodel/search/archive.py": ("fronts_by_hand", "llama_cpp", "room", "goals", "energy"),
    "latmodel/search/branch_and_bound.py": ("boxes_by_hand", "llama_cpp", "room", "hosts", "energy", "search", "goals"),
    "latmodel/search/charged.py": ("boxes_by_hand", "energy", "goals"),
    "latmodel/search/dominance.py": ("fronts_by_hand", "dominance", "search", "goals"),
    "latmodel/search/drafted/break_even.py": ("chosen_drafts_by_hand", "drafted"),
    "latmodel/search/drafted/check.py": ("chosen_drafts_by_hand", "drafted"),
    "latmodel/search/drafted/drafts.py": ("chosen_drafts_by_hand", "drafted"),
    "latmodel/search/drafted/envelope.py": ("chosen_drafts_by_hand", "drafted"),
    "latmodel/search/drafted/frontier.py": ("chosen_drafts_by_hand",),
    "latmodel/search/drafted/search.py": ("chosen_drafts_by_hand", "drafted"),
    "latmodel/search/frontier.py": ("worth_by_hand", "predictions_by_hand", "room", "energy", "rows", "training"),
    "latmodel/search/goals.py": ("goals_by_hand", "boxes_by_hand", "goals"),
    "latmodel/search/job.py": ("goals_by_hand", "boxes_by_hand", "goals"),
    "latmodel/search/per_layer/branching.py": ("branching_by_hand", "layer_sums_by_hand"),
    "latmodel/search/per_layer/costs.py": ("layer_sums_by_hand",),
    "latmodel/search/per_layer/layers.py": ("layer_sums_by_hand",),
    "latmodel/search/per_layer/program.py": ("layer_sums_by_hand",),
    "latmodel/search/per_layer/swaps.py": ("branching_by_hand", "layer_sums_by_hand"),
    "latmodel/search/run.py": ("goals_by_hand", "goals"),
    "latmodel/search/scored.py": ("goals_by_hand", "spaces_by_hand"),
    "latmodel/search/space.py": ("spaces_by_hand", "goals_by_hand", "search"),
    "latmodel/search/steps.py": ("explained_by_hand", "worth_by_hand", "predictions_by_hand", "explain", "rows"),
    "latmodel/search/tabled.py": ("boxes_by_hand", "splitting_by_hand", "search"),
    "latmodel/search/tables.py": ("boxes_by_hand", "llama_cpp", "room", "energy", "hosts", "search"),
}
# fmt: on

# "file:old text → new text", where a file has only one such: why the fault changes nothing that anyone could notice.
EQUIVALENT: dict[str, str] = {
    "calibration/fit/anneal.py:500 → 501": "evaluations of the last descent: it ends far sooner, or fails with as many",
    "calibration/measure/shapes.py:30 → 31": "rounds of a recurrence that has converged to the last digit before",
    "latmodel/laws/cpu.py:(op.m >= c.repack_rows) * 1.0 → (op.m >= c.repack_rows) / 1.0": "true or false as 1 or 0",
    "latmodel/model/config.py:1024 → 1025": "how many architectures are kept: one that is not is made anew, the same",
    "latmodel/model/layers/attention.py:0.0 * batch → 0.0 / batch": "zero in the shape of the batch",
    "latmodel/laws/corrector.py:24 → 25": "how many grids are kept: one that is not is made anew, the same",
    "latmodel/laws/corrector.py:4096 → 4097": "the same of single shapes",
    "latmodel/laws/gemm.py:4096 → 4097": "how many numbers of rows are kept: what is not is worked out anew, the same",
    "latmodel/laws/gemm.py:len(self._rows) < MAX_ROWS → len(self._rows) >= MAX_ROWS": "the same: none is kept",
    "latmodel/predict/self_drafts.py:40 → 41": "how much of a wrong name a message shows",
    "latmodel/predict/predictor.py:16384 → 16385": "rows at a time: each is priced as it would be alone",
    "latmodel/search/branch_and_bound.py:32768 → 32769": "when what was found is merged: the front is the same",
    "latmodel/search/dominance.py:64 → 65": "staircases tried for their lengths: which goal is first, never the answer",
    "latmodel/search/dominance.py:1024 → 1025": "rows tried for it",
    "latmodel/search/dominance.py:16384 → 16385": "how many staircases: a yes stays sure",
    "latmodel/search/dominance.py:262144 → 262145": "cells of the first goal: likewise",
    "latmodel/search/tables.py:250000 → 250001": "how a space is cut: the answer is the same",
    "latmodel/search/branch_and_bound.py:8 → 9": "when boxes are priced shape by shape: the answer is the same",
    "latmodel/predict/capacity.py:min(2 * high, limit) → max(2 * high, limit)": "bisection from the other end",
    "latmodel/predict/columns.py:24 → 25": "bytes that are allocated and let go, for the allocator alone",
    "latmodel/search/steps.py:here['num_key_value_heads'] + step → here['num_key_value_heads'] - step": "the same two",
    "latmodel/predict/training.py:40 → 41": "how much of a wrong name a message shows",
    "latmodel/quality/constants.py:0.0555 + b_error → 0.0555 - b_error": "errors of both signs are taken",
    "latmodel/quality/constants.py:5.039 + a_error → 5.039 - a_error": "likewise",
    "latmodel/quality/constants.py:4096 → 4097": "points of a curve that is interpolated, exact to 1e-4",
}
