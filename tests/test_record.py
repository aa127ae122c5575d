"""Fixed records against frozen data classes of the same fields: what is made, compared, shown, copied and refused."""

import copy
import pickle
from dataclasses import dataclass, field

import pytest

from latmodel.model.record import FixedRecord, Record


class Ours(FixedRecord):
    """A record of its own kind."""

    first: float
    second: str = "b"
    third: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True)
class Theirs(Record):
    """The same as the standard library makes it."""

    first: float
    second: str = "b"
    third: tuple[int, ...] = ()


class Derived(FixedRecord):
    """One with a slot that is worked out."""

    parts: tuple[int, ...]
    total: int = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "total", sum(self.parts))


@pytest.mark.parametrize(
    ("values", "named"),
    [((1.0,), {}), ((1.0, "x", (1, 2)), {}), ((), {"third": (3,), "first": 2.0}), ((1.0,), {"second": "y"})],
)
def test_a_record_is_as_a_data_class(values: tuple[object, ...], named: dict[str, object]) -> None:
    ours, theirs = Ours(*values, **named), Theirs(*values, **named)  # type: ignore[arg-type]
    assert ours._asdict() == theirs._asdict()
    assert list(ours._asdict()) == list(theirs._asdict())
    assert repr(ours).removeprefix("Ours") == repr(theirs).removeprefix("Theirs")
    assert hash(ours) == hash(theirs)
    assert ours == Ours(*values, **named)  # type: ignore[arg-type]
    assert ours != ours._replace(second="other")
    assert ours != theirs
    assert ours._replace(first=9.0)._asdict() == theirs._replace(first=9.0)._asdict()


@pytest.mark.parametrize(
    ("values", "named"),
    [((), {}), ((), {"second": "x"}), ((1.0, "x", (), 4), {}), ((1.0,), {"first": 2.0}), ((1.0,), {"fourth": 2.0})],
)
def test_what_a_data_class_refuses_a_record_refuses(values: tuple[object, ...], named: dict[str, object]) -> None:
    for kind in (Ours, Theirs):
        with pytest.raises(TypeError):
            kind(*values, **named)  # type: ignore[arg-type]


def test_a_record_stays_as_it_was_made() -> None:
    record = Ours(1.0)
    with pytest.raises(AttributeError):
        record.first = 2.0  # type: ignore[misc]
    with pytest.raises(AttributeError):
        del record.first
    with pytest.raises(AttributeError):
        record.fourth = 2.0  # type: ignore[attr-defined]
    assert not hasattr(record, "__dict__")
    assert Ours.__match_args__ == Theirs.__match_args__


def test_copies_are_equal() -> None:
    record = Ours(1.0, "x", (1, 2))
    assert record == pickle.loads(pickle.dumps(record)) == copy.deepcopy(record) == copy.copy(record)


def test_a_slot_that_is_no_field_is_worked_out_and_not_compared() -> None:
    record = Derived((1, 2))
    assert (record.total, record._asdict()) == (3, {"parts": (1, 2)})
    assert record._replace(parts=(4,)).total == 4
    with pytest.raises(TypeError):
        Derived((1,), total=3)  # type: ignore[call-arg]
