"""How many configurations are read exactly: `python benchmarks/families.py [NAME…]`.

Every class that the installed Transformers registers for causal language models, from its default configuration and
from one varied at random, built on the meta device; then every configuration that `aiconfigurator-core` carries. Each
is exact (parameters equal to the last one), extrapolated (read with an assumption that is stated), refused with the
field named, or wrong: read without a word and not equal. Encoders and encoder-decoders are to be refused.
"""

import json
import random
import sys
import warnings
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

from latmodel.configs.huggingface import read_decoder
from latmodel.errors import UsageError
from latmodel.model.totals import num_parameters
from latmodel.report.text import table

# Registered for causal language models, but encoders, encoder-decoders or parts of them.
OTHERS = frozenset(
    [
        "bart",
        "bert",
        "bert-generation",
        "big_bird",
        "bigbird_pegasus",
        "blenderbot",
        "blenderbot-small",
        "camembert",
        "data2vec-text",
        "electra",
        "ernie",
        "marian",
        "mbart",
        "megatron-bert",
        "musicgen",
        "musicgen_melody",
        "mvp",
        "pegasus",
        "plbart",
        "prophetnet",
        "reformer",
        "rembert",
        "roberta",
        "roberta-prelayernorm",
        "roc_bert",
        "roformer",
        "trocr",
        "whisper",
        "xlm",
        "xlm-roberta",
        "xlm-roberta-xl",
        "xlnet",
        "xmod",
        "git",
    ]
)
# Fields of which a varied configuration changes some, where the class takes the change.
VARIED: dict[str, tuple[Any, ...]] = {
    "vocab_size": (1000, 4096), "intermediate_size": (320, 512), "num_attention_heads": (4, 8),
    "num_key_value_heads": (1, 2, 4), "head_dim": (32, 48), "attention_bias": (True, False), "mlp_bias": (True, False),
    "use_bias": (True, False), "qkv_bias": (True, False), "tie_word_embeddings": (True, False),
    "moe_intermediate_size": (96, 128), "num_experts": (4, 8), "num_local_experts": (4, 8), "n_routed_experts": (4, 8),
    "num_experts_per_tok": (1, 2), "n_shared_experts": (1, 2), "num_shared_experts": (1, 2), "q_lora_rank": (None, 48),
    "kv_lora_rank": (32, 64), "first_k_dense_replace": (0, 1, 2), "use_qk_norm": (True, False), "sliding_window": (16,),
    "qk_layernorm": (True, False), "parallel_attn": (True, False), "multi_query": (True, False),
    "use_parallel_residual": (True, False), "lm_head_bias": (True, False), "shared_intermediate_size": (64, 128),
    "shared_expert_intermediate_size": (64, 128), "attention_out_bias": (True, False), "use_post_norm": (True, False),
    "moe_num_shared_experts": (1, 2), "moe_layer_interval": (1, 2), "interleave_moe_layer_step": (1, 2),
    "num_dense_layers": (0, 1), "mamba_proj_bias": (True, False), "use_conv_bias": (True, False),
    "conv_bias": (True, False), "attention_k_eq_v": (True, False), "num_kv_shared_layers": (0, 2),
    "use_double_wide_mlp": (True, False), "hidden_size_per_layer_input": (0, 32), "mamba_rms_norm": (True, False),
    "index_n_heads": (4,), "index_head_dim": (32,), "laurel_rank": (8,), "state_size": (8, 16), "lru_width": (128, 256),
    "moe_latent_size": (None, 64), "enable_moe_block": (True, False), "gating": (True, False),
    "norm_bias": (True, False),
}  # fmt: skip
SHRUNK = {"hidden_size": 256, "num_hidden_layers": 4, "num_attention_heads": 4, "num_key_value_heads": 4}
NAMES = {"hidden_size": ("n_embd", "d_model"), "num_hidden_layers": ("n_layer", "num_layers", "n_layers"),
         "num_attention_heads": ("n_head", "n_heads", "num_heads"), "num_key_value_heads": ()}  # fmt: skip
SEED = 1


class Verdict(NamedTuple):
    """What became of one configuration."""

    name: str
    outcome: str  # exact, extrapolated, refused, wrong, or not built
    detail: str = ""


def judged(name: str, config: Any, parameters: int | None) -> Verdict:
    """The reading of a configuration against the parameters that were counted; None where there is no count."""
    try:
        decoder = read_decoder(config)
    except UsageError as error:
        return Verdict(name, "refused", str(error))
    read = num_parameters(decoder.architecture)
    if decoder.assumed:
        return Verdict(name, "extrapolated", decoder.assumed[0])
    if parameters is None:
        return Verdict(name, "read, no count", f"{read:.0f}")
    return Verdict(name, "exact" if read == parameters else "wrong", f"{read:.0f} read, {parameters} counted")


# Arguments without which a class's default cannot be built.
NEEDED: dict[str, dict[str, Any]] = {
    "ministral": {"head_dim": 128}, "hunyuan_v1_dense": {"head_dim": 128}, "hunyuan_v1_moe": {"head_dim": 128},
    "nemotron": {"num_key_value_heads": 48}, "lfm2_moe": {"layer_types": ["conv", "full_attention"] * 16},
    "dots1": {"n_routed_experts": 128, "n_shared_experts": 2, "num_experts_per_tok": 6},
}  # fmt: skip


def counted(config: Any) -> int:
    """Parameters of the class's text decoder, built on the meta device."""
    import torch
    from transformers import AutoModelForCausalLM

    with torch.device("meta"):
        module = AutoModelForCausalLM.from_config(config)  # type: ignore[no-untyped-call]
    return sum(one.numel() for one in module.parameters())


def built(kind: str, changes: dict[str, Any]) -> Any:
    """The class's configuration with changes; its text part if it has one."""
    from transformers import CONFIG_MAPPING

    config = CONFIG_MAPPING[kind](**{**NEEDED.get(kind, {}), **changes})
    text = config.get_text_config(decoder=True)
    return config if text is config or text.model_type not in CONFIG_MAPPING else text


def varied(kind: str, seed: int) -> dict[str, Any]:
    """Changes, drawn at random, that the class takes: each one is tried by building the model."""
    from transformers import CONFIG_MAPPING

    rng = random.Random(f"{kind} {seed}")
    try:
        given = CONFIG_MAPPING[kind]().to_dict()
    except Exception:  # a class without a default that it takes
        return {}
    changes: dict[str, Any] = {}
    small = {
        name: value for field, value in SHRUNK.items() for name in (field, *NAMES[field]) if given.get(name) is not None
    }
    changes |= _taken(kind, changes, small) or _taken(kind, changes, dict(list(small.items())[:2]))
    for field, values in VARIED.items():
        if field in given and rng.random() < 0.7:
            changes |= _taken(kind, changes, {field: rng.choice(values)})
    return changes


def _taken(kind: str, changes: dict[str, Any], more: dict[str, Any]) -> dict[str, Any]:
    """`more` if the class builds with it and the sizes go together; some classes build what they could not run."""
    try:
        config = built(kind, {**changes, **more})
        counted(config)
    except Exception:  # whatever a class raises
        return {}
    sizes = config.to_dict()
    for whole, part in (("num_attention_heads", "num_key_value_heads"), ("hidden_size", "num_attention_heads")):
        alone = part == "num_key_value_heads" or not sizes.get("head_dim")
        if sizes.get(whole) and sizes.get(part) and alone and sizes[whole] % sizes[part]:
            return {}
    counts = [sizes[one] for one in ("num_experts", "num_local_experts", "n_routed_experts") if sizes.get(one)]
    chosen = sizes.get("num_experts_per_tok") or sizes.get("num_experts_per_token") or 1
    return more if not counts or chosen <= counts[0] else {}


def registered(chosen: list[str]) -> Iterator[tuple[Verdict, Verdict]]:
    """The verdicts on every registered class: by default, and varied."""
    from transformers.models.auto.modeling_auto import MODEL_FOR_CAUSAL_LM_MAPPING_NAMES as NAMED

    for kind in chosen or sorted(NAMED):
        try:
            plain = counted(built(kind, {}))
        except Exception:
            plain = None
        changes = {} if kind in OTHERS else varied(kind, SEED)
        one = Verdict(kind, "not built") if plain is None else judged(kind, built(kind, {}), plain)
        if not changes:
            yield one, Verdict(kind, "not varied")
        else:
            config = built(kind, changes)
            two = judged(kind, config, counted(config))
            yield one, two._replace(detail=f"{two.detail[:120]} {changes}")


def show(title: str, verdicts: list[Verdict]) -> None:
    """The counts, and every verdict but the exact ones."""
    counts = Counter(one.outcome for one in verdicts)
    print(f"\n{title}: " + ", ".join(f"{count} {outcome}" for outcome, count in counts.most_common()))
    print(table(["outcome", "model", "why"], [
        [one.outcome, one.name, one.detail[:300]]
        for one in sorted(verdicts, key=lambda one: one.outcome) if one.outcome not in ("exact", "not varied")
    ]))  # fmt: skip


def main(chosen: list[str]) -> int:
    """Print; 1 if a configuration is silently wrong."""
    import transformers

    warnings.simplefilter("ignore")
    transformers.logging.set_verbosity_error()  # type: ignore[no-untyped-call]
    both: list[tuple[Verdict, ...]] = list(registered(chosen))
    decoders = [pair for pair in both if pair[0].name not in OTHERS]
    show("decoders, default", [one for one, _ in decoders])
    show("decoders, varied", [two for _, two in decoders])
    if not chosen:
        show("encoders and encoder-decoders", [one for one, _ in both if one.name in OTHERS])
        more = list(carried())
        show("aiconfigurator-core", more)
        both.append((*more,))
    return int(any(one.outcome == "wrong" for pair in both for one in pair))


# Names under which Transformers does not register what is one of its classes: the makers' own code reuses them.
SAME_CLASS = {
    "kimi_k2": "deepseek_v3", "deepseek_ref": "deepseek_v4", "minimax_m3": "minimax_m3_vl_text", "mimo": "qwen2",
}  # fmt: skip
# Configurations of classes that Transformers does not have → parameters as their makers state them.
STATED = {"nvidia--Llama-3_3-Nemotron-Super-49B-v1": 49.9e9}  # model card: 49.9B
NOT_A_SIZE = frozenset(["quantization_config", "auto_map", "torch_dtype", "dtype", "architectures", "model_type"])


def carried() -> Iterator[Verdict]:
    """The verdicts on the configurations that `aiconfigurator-core` carries: each against a count on the meta device,
    or within 1 % of what its maker states."""
    from importlib.util import find_spec

    found = find_spec("aiconfigurator_core")
    folder = Path(found.submodule_search_locations[0]) if found and found.submodule_search_locations else Path()
    for path in sorted((folder / "model_configs").glob("*_config.json")):
        if path.name.endswith("hf_quant_config.json"):
            continue
        name = path.name.removesuffix("_config.json")
        verdict = judged(name, str(path), None)
        if verdict.outcome != "refused":
            verdict = compared(verdict, path)
        yield verdict


def compared(verdict: Verdict, path: Path) -> Verdict:
    """A verdict without a count, against the count on the meta device or what the maker states."""
    read, count = num_parameters(read_decoder(str(path)).architecture), None
    if verdict.name not in STATED:
        count = carried_count(json.loads(path.read_text()))
    wanted = STATED[verdict.name] if count is None else count
    detail = f"{read:.0f} read, {wanted:.0f} {'stated' if count is None else 'counted'}: {read / wanted - 1.0:+.3%}"
    if verdict.outcome == "extrapolated":
        return verdict._replace(detail=f"{detail}; {verdict.detail[:60]} …")
    near = "within 1 %" if abs(read / wanted - 1.0) <= 0.01 and count is None else "wrong"
    return verdict._replace(outcome="exact" if read == count else near, detail=detail)


def carried_count(data: dict[str, Any]) -> int:
    """Parameters of the text decoder of a configuration, its LM head included, by the class that it names."""
    import torch
    from transformers import CONFIG_MAPPING, AutoModel

    nested = data.get("text_config")
    # A part that names its class is built alone, any other with what is around it.
    text = nested if isinstance(nested, dict) and "model_type" in nested and "hidden_size" not in data else data
    fields = {name: value for name, value in text.items() if name not in NOT_A_SIZE}
    kind: str = text["model_type"]
    config = CONFIG_MAPPING[SAME_CLASS.get(kind, kind)](**fields)
    with torch.device("meta"):
        try:
            return counted(config)
        except ValueError:  # its class for text has no LM head, or is a part of one that sees too
            body: Any = AutoModel.from_config(config)  # type: ignore[no-untyped-call]
    body, sizes = getattr(body, "language_model", body), config.get_text_config(decoder=True)
    tied = data.get("tie_word_embeddings", text.get("tie_word_embeddings"))
    head = 0 if tied else sizes.vocab_size * sizes.hidden_size
    return int(head + sum(one.numel() for one in body.parameters()))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
