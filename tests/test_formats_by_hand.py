"""Number formats in bytes, dimensions that were left out, and what a configuration takes: by hand and by brute force."""

import math

import numpy as np
import pytest

from latmodel import ModelConfig, Workload
from latmodel.errors import UsageError
from latmodel.model.alignment import all_aligned, misfit, oddness
from latmodel.model.config import DTYPE_BYTES, MAX_DIMENSION
from latmodel.model.defaults import fill_dimensions
from latmodel.model.formats import CACHE_BYTES, ENGINE_FORMATS, FORMATS, Numbers, WeightFormat
from latmodel.model.gguf import FILE_TYPES, GGUF_FORMATS, GGUF_PARTS, MIXED, more_bits

# --- Bytes ----------------------------------------------------------------------------------------

WEIGHTS = 200 * 96  # inputs · outputs: no multiple of a group of 128, 64, 32 or 16
# Format → bytes of that matrix, bytes read for each weight. What groups share is read with them, what a whole dimension does not.
BYTES = {
    "fp8": (WEIGHTS + 4, 1),  # one float32 scale
    "int8": (WEIGHTS + 96 * 4, 1),  # one an output
    "int4-gptq": (WEIGHTS / 2 + 2 * 96 * (2 + 0.5) + 200 * 4, 0.5 + 2.5 / 128),  # 16-bit scale, 4-bit zero, int32 an input
    "int4-awq": (WEIGHTS / 2 + 2 * 96 * (2 + 0.5), 0.5 + 2.5 / 128),
    "int8-gptq": (WEIGHTS + 2 * 96 * (2 + 1) + 200 * 4, 1 + 3 / 128),
    "nf4": (WEIGHTS / 2 + 300 * 4 + 64, 0.5 + 4 / 64),  # blocks of 64 run on from row to row; 16 levels of 4 bytes
    "mxfp4": (WEIGHTS / 2 + 7 * 96, 0.5 + 1 / 32),
    "nvfp4": (WEIGHTS / 2 + 13 * 96 + 4, 0.5 + 1 / 16),
    "fp8-block": (WEIGHTS + 2 * 1 * 4, 1 + 4 / 128**2),
    "int4": (WEIGHTS / 2 + 7 * 96 * 4, 0.5 + 4 / 32),
}  # fmt: skip


@pytest.mark.parametrize("name", FORMATS)
def test_a_matrix_in_every_format(name: str) -> None:
    stored, read = BYTES[name]
    assert FORMATS[name].linear_bytes(200.0, 96.0) == stored
    assert FORMATS[name].bytes_each == pytest.approx(read)
    many = FORMATS[name].linear_bytes(np.array([200.0, 400.0]), 96.0)
    assert many[0] == stored


def test_what_engines_keep_beside_the_products() -> None:
    """ONNX Runtime: heads of 4 bits and a float32 scale for 32 of them, everything else in float32."""
    int4, plain = ENGINE_FORMATS["int4"], ENGINE_FORMATS["float32"]
    assert (int4.head_bits, int4.vector_bytes, int4.table_bytes, int4.multiple) == (8 * (0.5 + 4 / 32), 4.0, 4.0, 32)
    assert (plain.linear_bytes(200.0, 96.0), plain.bytes_each, plain.head_bits) == (4 * WEIGHTS, 4.0, 32.0)
    assert {form.runtime for form in (int4, plain)} == {"onnxruntime"}
    # ExLlamaV2's float32 output of 8 · 2048 rows, and nobody else's.
    assert {name: form.workspace_bytes for name, form in FORMATS.items() if form.workspace_bytes} == {
        "int4-gptq": 65536.0
    }
    assert (FORMATS["fp8"].multiple, FORMATS["fp8"].flat, FORMATS["fp8"].shipped) == (1, False, False)


def test_a_cache_element() -> None:
    """A byte; in llama.cpp's blocks of 32 with a 16-bit scale, 34 and 18 bytes."""
    assert CACHE_BYTES == {"fp8": 1.0, "int8": 1.0, "q8_0": 34 / 32, "q4_0": 18 / 32}
    assert DTYPE_BYTES == {"bfloat16": 2.0, "float16": 2.0, "float32": 4.0}


def test_numbers_of_products_that_differ_from_the_rest() -> None:
    wide, narrow = WeightFormat("w", 8.0, None, None, 0.0), WeightFormat("n", 4.0, None, None, 0.0)
    plain, given = Numbers(2.0, 2.0, 2.0), Numbers(0.5, 2.0, 2.0, narrow)
    parts = (("a", wide), ("b", None))
    assert (plain.head_bytes, given.head_bytes) == (2.0, 2.0)
    assert given._replace(format=narrow._replace(head_bits=6.0)).head_bytes == 0.75
    mixed = given._replace(parts=parts)
    assert [mixed.product_bytes(name, 64.0) for name in "abc"] == [1.0, 2.0, 0.5]
    blocks = narrow._replace(misfits=((64.0, 0.25), (8.0, 1.0)), head_bits=6.0, head_misfits=((16.0, 0.125),))
    stored = given._replace(format=blocks)
    assert [stored.product_bytes("c", inputs) for inputs in (128.0, 72.0, 68.0)] == [0.5, 0.75, 1.75]
    assert stored.product_bytes("c", np.array([128.0, 68.0])).tolist() == [0.5, 1.75]
    assert [stored.head_bytes_at(inputs) for inputs in (32.0, 24.0)] == [0.75, 0.875]
    assert (plain.head_bytes_at(24.0), given.head_bytes_at(24.0)) == (2.0, 2.0)
    assert [mixed.format_of(name) for name in "abc"] == [wide, None, narrow]
    assert mixed.of(wide) == Numbers(1.0, 2.0, 2.0, wide)
    # A checkpoint's own formats count where it is run as shipped.
    assert given.within(parts) == given and plain.within(parts) == plain
    shipped = given._replace(format=narrow._replace(shipped=True))
    assert shipped.within(parts).parts == parts and shipped.within(()) == shipped


# --- GGUF -----------------------------------------------------------------------------------------

BITS = {
    "f16": 16.0,
    "bf16": 16.0,
    "q8_0": 34 / 4,
    "q6_k": 210 / 32,
    "q5_k_m": 176 / 32,
    "q4_k_m": 144 / 32,
    "q4_0": 18 / 4,
}


@pytest.mark.parametrize("name", FILE_TYPES)
def test_files_of_llama_cpp(name: str) -> None:
    form = GGUF_FORMATS[name]
    head = BITS["q6_k"] if name.startswith(("q4", "q5", "q6")) else BITS[name]
    assert (form.bits, form.head_bits, form.vector_bytes, form.runtime) == (BITS[name], head, 4.0, "llama.cpp")
    assert form.linear_bytes(256.0, 10.0) == 2560 * BITS[name] / 8
    assert form.bytes_each == BITS[name] / 8
    # A mixture keeps half of the down projections, and half of the values', in 6 bits.
    # Any format of blocks has products whose bytes hang on their inputs.
    more = BITS["q6_k"] if name.endswith("_m") else BITS[name]
    mixed = {} if BITS[name] == 16.0 else {
        product: BITS[name] + share * (more - BITS[name]) for product, share in (("down_proj", 0.5), ("kv_proj", 0.25))
    }  # fmt: skip
    assert {product: part.bits for product, part in GGUF_PARTS[name] if part is not None} == pytest.approx(mixed)
    assert set(MIXED) == {"down_proj", "kv_proj"}
    numbers = Workload(weights=name).numbers()
    assert (numbers.weight_bytes, numbers.parts) == (BITS[name] / 8, GGUF_PARTS[name])


@pytest.mark.parametrize("layers", [1, 7, 8, 9, 16, 30, 32, 80])
def test_blocks_that_get_more_bits(layers: int) -> None:
    """`use_more_bits`: i < n / 8, i >= 7 n / 8, or (i - n / 8) % 3 == 2, in C's whole numbers."""
    first, last = int(layers / 8), int(7 * layers / 8)
    expected = [i for i in range(layers) if i < first or i >= last or (i - first) % 3 == 2]
    assert [i for i in range(layers) if more_bits(i, layers)] == expected


# --- Dimensions -----------------------------------------------------------------------------------


@pytest.mark.parametrize("hidden", [64, 128, 192, 256, 320, 384, 576, 704, 768, 1088, 4096])
def test_dimensions_that_are_left_out(hidden: int) -> None:
    """8/3 of the width up to a multiple of 64; heads of 64 in groups of 4, 3, 2 or 1."""
    heads = hidden // 64
    group = next(size for size in (4, 3, 2, 1) if heads % size == 0)
    inner = 64 * math.ceil(8 * hidden / 3 / 64)
    expected = {
        "hidden_size": hidden, "vocab_size": 65536, "tie_word_embeddings": True, "intermediate_size": inner, "head_dim": 64,
        "num_attention_heads": heads, "num_key_value_heads": heads // group,
    }  # fmt: skip
    assert fill_dimensions({"hidden_size": hidden, "head_dim": None}) == expected
    many = fill_dimensions({"hidden_size": np.array([hidden, 1024])})
    assert {name: np.ravel(value)[0] for name, value in many.items()} == expected
    given = ModelConfig(num_hidden_layers=3, hidden_size=hidden)
    assert (given.intermediate_size, given.num_key_value_heads, given.head_dim) == (inner, heads // group, 64)


def test_heads_that_are_given_have_keys_of_their_own() -> None:
    filled = fill_dimensions({"hidden_size": 960, "num_attention_heads": 12})
    assert (filled["num_key_value_heads"], filled["head_dim"]) == (12, 80)
    wide = fill_dimensions({"hidden_size": 960, "num_attention_heads": 12, "head_dim": 128, "num_key_value_heads": 3})
    assert (wide["num_key_value_heads"], wide["head_dim"]) == (3, 128)
    narrow = fill_dimensions({"hidden_size": 960, "head_dim": 96})
    assert (narrow["num_attention_heads"], narrow["num_key_value_heads"]) == (10, 5)
    assert fill_dimensions({"intermediate_size": 7}) == {
        "intermediate_size": 7,
        "vocab_size": 65536,
        "tie_word_embeddings": True,
    }


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"hidden_size": 100}, "^hidden_size 100 is not divisible by head_dim 64; give num_attention_heads .--heads. or head_dim$"),
        ({"hidden_size": 100, "num_attention_heads": 3}, "^hidden_size 100 is not divisible by num_attention_heads 3; give head_dim"),
        ({"hidden_size": np.array([64, 128, 200, 72])}, "^row 2: hidden_size 200 is not divisible by head_dim 64"),
        ({"hidden_size": 128, "head_dim": np.array([64, 48])}, "^row 1: hidden_size 128 is not divisible by head_dim 48"),
    ],
)  # fmt: skip
def test_widths_that_do_not_divide_are_named(given: dict[str, object], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        fill_dimensions(given)


# --- What is given --------------------------------------------------------------------------------

SHAPE = {"num_hidden_layers": 2, "hidden_size": 256}


@pytest.mark.parametrize("field", ["num_hidden_layers", "intermediate_size", "vocab_size"])
def test_dimensions_reach_from_one_to_ten_million(field: str) -> None:
    for value in (1, 10_000_000):
        assert getattr(ModelConfig(**{**SHAPE, field: value}), field) == value
    for value in (0, 10_000_001, -1, 2.0, "3", True):
        with pytest.raises(UsageError, match=field):
            ModelConfig(**{**SHAPE, field: value})
    assert MAX_DIMENSION == 10_000_000


def test_a_workload_and_its_ends() -> None:
    plain = Workload()
    assert (plain.prompt_tokens, plain.new_tokens, plain.batch_size, plain.cached_tokens) == (512, 100, 1, 0)
    for field, least in (("prompt_tokens", 1), ("new_tokens", 0), ("batch_size", 1), ("cached_tokens", 0)):
        for value in (least, 10_000_000):
            assert getattr(Workload(**{field: value}), field) == value
        for value in (least - 1, 10_000_001, 1.5):
            with pytest.raises(UsageError, match=field):
                Workload(**{field: value})
    assert plain.numbers() == Numbers(2.0, 2.0, 2.0)
    assert Workload(dtype="float32", kv_cache="q4_0").numbers() == Numbers(4.0, 4.0, 18 / 32)
    assert Workload(weights="int8").numbers() == Numbers(1.0, 2.0, 2.0, FORMATS["int8"])
    assert Workload(weights=FORMATS["int8"], kv_cache="fp8").numbers_name == "bfloat16, int8 weights, fp8 cache"
    assert plain.numbers_name == "bfloat16"
    with pytest.raises(UsageError, match="no such format; choose from fp8, int8"):
        Workload(weights="int3")


@pytest.mark.parametrize(
    ("changes", "aligned"),
    [({}, True), ({"vocab_size": 1004}, False), ({"intermediate_size": 100}, False), ({"head_dim": 4, "num_attention_heads": 4}, False),
     ({"hidden_size": 260, "head_dim": 64, "num_attention_heads": 4}, False)],
)  # fmt: skip
def test_a_shape_knows_whether_all_its_widths_are_multiples_of_8(changes: dict[str, int], aligned: bool) -> None:
    assert ModelConfig(**{**SHAPE, **changes}).architecture().aligned is aligned


def test_a_value_that_is_none_is_told_of_by_its_own_field() -> None:
    assert ModelConfig(num_hidden_layers=1, hidden_size=1, num_attention_heads=1).head_dim == 1
    for changes, field in (({"head_dim": 0}, "head_dim"), ({"hidden_size": "wide"}, "hidden_size"), ({"num_attention_heads": 0}, "num_attention_heads")):  # fmt: skip
        with pytest.raises(UsageError, match=f"^{field}: Input should be"):
            ModelConfig(**{**SHAPE, **changes})


def test_refusals_are_one_line_with_what_was_given() -> None:
    with pytest.raises(
        UsageError, match="^ModelConfig: num_attention_heads 4 is not divisible by num_key_value_heads 3$"
    ):
        ModelConfig(**SHAPE, num_attention_heads=4, num_key_value_heads=3)
    with pytest.raises(UsageError) as long:
        Workload(weights="x" * 100)
    assert str(long.value).endswith(f"(got {'x' * 40!r})")
    with pytest.raises(UsageError, match=r"^hidden_size: .* \(got '0'\)$"):
        ModelConfig(num_hidden_layers=2, hidden_size=0)


def test_sizes_that_tensor_cores_like() -> None:
    for size in range(1, 34):
        assert misfit(float(size)) == (size % 8 != 0)
        assert oddness(float(size)) == size % 2
    sizes = np.arange(1.0, 34.0)
    assert misfit(sizes).tolist() == [float(size % 8 != 0) for size in range(1, 34)]
    assert all_aligned(8.0, np.array([16.0, 64.0]), 24.0) and all_aligned()
    assert not all_aligned(8.0, np.array([16.0, 63.0])) and not all_aligned(8.0, 12.0) and not all_aligned(1.0, 8.0)
