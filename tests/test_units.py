"""Durations, sizes and shapes as people write them; what they must not be taken for."""

import contextlib
from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ByteSize, TypeAdapter, ValidationError

from latmodel.errors import UsageError
from latmodel.units import parse_duration, parse_shape, parse_size, show_bytes, show_count, show_seconds


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("5.5s", 5.5), ("5.5", 5.5), (" 300ms ", 0.3), ("20us", 20e-6), ("20µs", 20e-6), ("2min", 120.0), (".5s", 0.5),
     ("1 s", 1.0), ("1000000", 1e6)],
)  # fmt: skip
def test_durations(text: str, seconds: float) -> None:
    assert parse_duration(text) == pytest.approx(seconds)


BAD_DURATIONS = [
    "", " ", "5,5s", "-3s", "nan", "inf", "9**9s", "1e3s", "0", "0s", "5.5 S", "5h", "s", "1_0s", "1000001", "٥s",
    "9" * 13, "5.5s;", "\n",
]  # fmt: skip


@pytest.mark.parametrize("text", BAD_DURATIONS)
def test_bad_durations_are_refused_in_one_line(text: str) -> None:
    with pytest.raises(UsageError) as caught:
        parse_duration(text)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("text", "size"),
    [
        ("24GB", 24e9),
        ("24GiB", 24 * 2**30),
        ("24gib", 24 * 2**30),
        ("80 GB", 80e9),
        ("1024", 1024.0),
        ("1.5TB", 1.5e12),
    ],
)
def test_sizes(text: str, size: float) -> None:
    assert parse_size(text) == size


@pytest.mark.parametrize("text", ["", "24 G", "-1GB", "nan", "0", "1e9", "2000TB", "24,0GB"])
def test_bad_sizes_are_refused(text: str) -> None:
    with pytest.raises(UsageError, match="memory size"):
        parse_size(text)


def test_shapes() -> None:
    assert parse_shape("80x576") == parse_shape(" 80 × 576 ") == (80, 576)
    for text in ("", "80", "80x", "x576", "80x576x2", "80*576", "-80x576", "80x5.76", "9" * 9 + "x1"):
        with pytest.raises(UsageError, match="shape"):
            parse_shape(text)


@given(st.text(max_size=40))
def test_any_text_is_read_or_refused(text: str) -> None:
    for parser in (parse_duration, parse_size):
        with contextlib.suppress(UsageError):
            assert parser(text) > 0.0
    with contextlib.suppress(UsageError):
        assert min(parse_shape(text)) >= 0


@pytest.mark.parametrize(("text", "theirs"), [("24GB x", 24e9), ("24.GB", 24)])
def test_why_pydantic_does_not_read_sizes(text: str, theirs: float) -> None:
    """Its ByteSize passes over what follows a size, and takes what it half understands for bytes."""
    assert TypeAdapter(ByteSize).validate_python(text) == theirs
    with contextlib.suppress(UsageError):
        assert parse_size(text) == 24e9


@pytest.mark.parametrize("text", ["5.5s", "300ms", "2min"])
def test_why_pydantic_does_not_read_durations(text: str) -> None:
    with pytest.raises(ValidationError):
        TypeAdapter(timedelta).validate_python(text)
    assert parse_duration(text) > 0.0


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(5.512, "5.51 s"), (0.0533, "53.3 ms"), (840e-6, "840 µs"), (1e-6, "1.00 µs"), (1.0, "1.00 s")],
)
def test_times_are_shown_in_three_figures(seconds: float, text: str) -> None:
    assert show_seconds(seconds) == text


def test_counts_and_bytes_are_shown_in_three_figures() -> None:
    assert show_count(11_300_000_000) == "11.3B"
    assert show_count(320_956_992) == "321M"
    assert show_count(17) == "17"
    assert show_bytes(21.4 * 2**30) == "21.4 GiB"
    assert show_bytes(12) == "12 B"


@given(st.floats(1e-6, 1e5))
def test_shown_times_read_back_within_their_figures(seconds: float) -> None:
    assert parse_duration(show_seconds(seconds)) == pytest.approx(seconds, rel=0.006)
