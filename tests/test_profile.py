"""Profiles as hostile input: every bad file is one line that names the key; good ones come back as they went."""

import contextlib
import json
import math
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from search_toy import toy_predictor

from latmodel import __version__
from latmodel.device.profile import Profile
from latmodel.device.profile_file import MAX_PROFILE_BYTES, read_profile, write_profile
from latmodel.device.store import list_profiles, load_profile, profile_folders
from latmodel.errors import ProfileError
from latmodel.laws.priors import DEVICE_PRIORS, RUNTIME_PRIORS

GOOD: dict[str, Any] = json.loads(toy_predictor().profile.model_dump_json())


def changed(path: str, value: Any) -> str:
    """The good profile's text with one value replaced (or, with `...`, removed)."""
    data = json.loads(json.dumps(GOOD))
    spot = data
    *way, last = path.split("/")
    for key in way:
        spot = spot[key]
    if value is ...:
        del spot[last]
    else:
        spot[last] = value
    return json.dumps(data)


COEFFICIENTS = "device/coefficients/bfloat16"
RUNTIME = "runtimes/eager"
BAD: dict[str, tuple[str, str]] = {
    "empty": ("", "JSON"),
    "truncated": (json.dumps(GOOD)[:-100], "JSON"),
    "not an object": ("[1, 2]", "schema_version"),
    "a number": ("3", "schema_version"),
    "null": ("null", "schema_version"),
    "NaN": (changed(f"{COEFFICIENTS}/gemm.floor_s/value", math.nan), "NaN"),
    "infinity": (changed("device/sheet/bandwidth_bytes_per_s", math.inf), "Infinity"),
    "overflow": (changed("device/sheet/bandwidth_bytes_per_s", 1).replace('bytes_per_s": 1,', 'bytes_per_s": 1e999,'),
                 "bandwidth_bytes_per_s"),
    "duplicate key": ('{"schema_version": 1, ' + json.dumps(GOOD)[1:], "schema_version"),
    "old version": (changed("schema_version", 0), "schema_version is 0"),
    "later version": (changed("schema_version", 3), "schema_version is 3"),
    "version as text": (changed("schema_version", "1"), "schema_version"),
    "no version": (changed("schema_version", ...), "schema_version"),
    "unknown key": (changed("colour", "red"), "colour"),
    "unknown key inside": (changed("device/sheet/colour", "red"), "colour"),
    "unknown coefficient": (changed(f"{COEFFICIENTS}/gemm.magic", {"value": 1.0}), "gemm.magic"),
    "missing coefficient": (changed(f"{COEFFICIENTS}/gemm.floor_s", ...), "gemm.floor_s"),
    "missing runtime coefficient": (changed(f"{RUNTIME}/coefficients/gap_s", ...), "gap_s"),
    "negative": (changed(f"{COEFFICIENTS}/gemm.floor_s/value", -1e-6), "value"),
    "absurd": (changed(f"{COEFFICIENTS}/gemm.floor_s/value", 5.0), "gemm.floor_s"),
    "absurd efficiency": (changed(f"{COEFFICIENTS}/gemm.bandwidth_efficiency/value", 40.0), "bandwidth_efficiency"),
    "no bandwidth": (changed("device/sheet/bandwidth_bytes_per_s", 0), "bandwidth_bytes_per_s"),
    "absurd bandwidth": (changed("device/sheet/bandwidth_bytes_per_s", 1e30), "bandwidth_bytes_per_s"),
    "text for a number": (changed("device/sheet/sm_count", "82"), "sm_count"),
    "truth for a number": (changed("device/sheet/sm_count", True), "sm_count"),
    "null for a number": (changed("device/sheet/sm_count", None), "sm_count"),
    "list for an object": (changed("device", []), "device"),
    "unknown implementation": (changed(f"{RUNTIME}/implementation", "magic"), "implementation"),
    "unknown phase": (changed(f"{RUNTIME}/conformal_scores", {"lunch": [0.1]}), "lunch"),
    "too many scores": (changed(f"{RUNTIME}/conformal_scores", {"decode": [0.1] * 501}), "decode"),
    "unknown range": (changed(f"{RUNTIME}/ranges", {"colour": [0, 1]}), "colour"),
    "range of one": (changed(f"{RUNTIME}/ranges", {"hidden_size": [0]}), "hidden_size"),
    "long text": (changed("title", "x" * 3000), "title"),
    "name is a path": (changed("name", "../../etc/passwd"), "name"),
    "name with a newline": (changed("name", "toy\n"), "name"),
    "no runtimes": (changed("runtimes", {}), "runtime"),
    "deep nesting": ("[" * 100_000, "JSON"),
    "deep objects": ('{"a":' * 100_000, "JSON"),
    "long number": (changed("schema_version", 1).replace(": 1,", ": " + "9" * 5000 + ",", 1), ""),
}  # fmt: skip


@pytest.mark.parametrize("name", BAD)
def test_a_bad_file_is_one_line_that_names_what_is_wrong(name: str, tmp_path: Path) -> None:
    text, named = BAD[name]
    path = tmp_path / "bad.json"
    path.write_text(text)
    with pytest.raises(ProfileError) as caught:
        load_profile(path).runtime(None)
    message = str(caught.value)
    assert named in message
    assert "\n" not in message
    assert len(message) < 600
    assert caught.value.exit_code == 6


def test_a_huge_file_is_refused_without_reading_it(tmp_path: Path) -> None:
    path = tmp_path / "huge.json"
    with path.open("wb") as file:
        file.truncate(100_000_000)
    with pytest.raises(ProfileError, match=f"larger than {MAX_PROFILE_BYTES}"):
        read_profile(path)


def test_bytes_that_are_no_text_and_folders_are_refused(tmp_path: Path) -> None:
    (tmp_path / "bytes.json").write_bytes(b"\xff\xfe\x00\x80")
    (tmp_path / "folder.json").mkdir()
    for name in ("bytes.json", "folder.json", "none.json"):
        with pytest.raises(ProfileError, match=name):
            read_profile(tmp_path / name)


@pytest.mark.parametrize(
    "name", ["../../etc/passwd", "/etc/passwd", "..", ".", "", "a/b", "~/x", "x" * 65, "a\0b", "nul\n", "-x", ".hidden"]
)
def test_names_that_are_paths_or_nonsense_open_no_profile(name: str) -> None:
    with pytest.raises(ProfileError) as caught:
        load_profile(name)
    assert "\n" not in str(caught.value)


words = st.text(max_size=9)
any_json = st.recursive(
    st.none() | st.booleans() | st.floats() | words,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(words, inner, max_size=3),
    max_leaves=9,
)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(any_json, st.sampled_from(["device", "runtimes", "quality", "provenance", "name"]))
def test_any_json_is_read_or_refused(tmp_path: Path, value: Any, key: str) -> None:
    path = tmp_path / "any.json"
    path.write_text(json.dumps({**GOOD, key: value}))
    with contextlib.suppress(ProfileError):
        assert read_profile(path).schema_version == 2


def test_a_profile_of_the_first_schema_is_read(tmp_path: Path) -> None:
    old = json.loads(json.dumps(GOOD))
    old["schema_version"] = 1
    for part in old["runtimes"].values():
        del part["machine"]  # what the second schema brought
    path = tmp_path / "old.json"
    path.write_text(json.dumps(old))
    assert read_profile(path) == toy_predictor().profile


def test_a_profile_comes_back_as_it_went(tmp_path: Path) -> None:
    profile = toy_predictor().profile
    write_profile(profile, tmp_path / "new" / "toy.json")
    assert read_profile(tmp_path / "new" / "toy.json") == profile
    assert load_profile(os.fspath(tmp_path / "new" / "toy.json")) == profile


def test_whole_numbers_may_stand_for_real_ones(tmp_path: Path) -> None:
    (tmp_path / "toy.json").write_text(changed("device/sheet/sm_count", 82))
    assert read_profile(tmp_path / "toy.json").device.sheet.sm_count == 82.0


def test_writing_is_whole_or_not_at_all(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "toy.json"
    path.write_text("what was there")

    def full_disk(_: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.fsync", full_disk)
    with pytest.raises(ProfileError, match="No space left"):
        write_profile(toy_predictor().profile, path)
    assert path.read_text() == "what was there"
    assert [item.name for item in tmp_path.iterdir()] == ["toy.json"]


def test_a_path_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    for path in (tmp_path / "file" / "toy.json", tmp_path):
        with pytest.raises(ProfileError, match="cannot write"):
            write_profile(toy_predictor().profile, path)


def test_the_search_order(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """./profiles, then the user's data directory, then the packaged ones."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "data"))
    profile = toy_predictor().profile.model_copy(update={"name": "nvidia-geforce-rtx-3090"})
    assert load_profile("3090").title != "Toy"
    write_profile(
        profile.model_copy(update={"title": "data"}), tmp_path / "data/latmodel/profiles" / f"{profile.name}.json"
    )
    assert load_profile("3090").title == "data"
    write_profile(profile.model_copy(update={"title": "here"}), tmp_path / "profiles" / f"{profile.name}.json")
    assert load_profile("3090").title == "here"
    assert list_profiles()[profile.name] == Path("profiles") / f"{profile.name}.json"


def test_where_the_systems_folder_is_another_that_of_version_0_1_is_still_found(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """On macOS and Windows data is kept elsewhere than in ~/.local/share, which 0.1 took everywhere."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.delenv("XDG_DATA_HOME", raising=False)
    monkeypatch.setattr("platformdirs.user_data_path", lambda name, appauthor: tmp_path / "Library" / name)
    older, newer = tmp_path / ".local/share/latmodel/profiles", tmp_path / "Library/latmodel/profiles"
    assert list(profile_folders())[:3] == [Path("profiles"), newer, older]
    for folder, title in ((older, "older"), (newer, "newer")):
        profile = toy_predictor().profile.model_copy(update={"name": "mine", "title": title})
        write_profile(profile, folder / "mine.json")
        assert list_profiles()["mine"].parent == folder


def test_packaged_profiles_are_valid_and_named_after_their_files() -> None:
    names = {path: read_profile(path).name for path in sorted(Path(__file__).parent.parent.glob("profiles/*.json"))}
    assert names
    for path, name in names.items():
        assert path.stem == name
        assert path.stat().st_size <= MAX_PROFILE_BYTES


@pytest.mark.parametrize("table", [DEVICE_PRIORS, RUNTIME_PRIORS], ids=["device", "runtime"])
def test_priors_lie_within_their_bounds_and_say_what_they_mean(table: dict[str, Any]) -> None:
    for name, prior in table.items():
        assert 0 < prior.low <= prior.value <= prior.high, name
        assert prior.meaning


CHOICES: list[Callable[[Profile], Any]] = [lambda p: p.runtime("magic"), lambda p: p.sheet("int4")]


@pytest.mark.parametrize("choose", CHOICES)
def test_what_a_profile_lacks_is_told_with_what_it_has(choose: Callable[[Profile], Any]) -> None:
    with pytest.raises(ProfileError, match=r"eager|bfloat16"):
        choose(toy_predictor().profile)


def test_a_profile_names_the_latmodel_that_made_it(tmp_path: Path) -> None:
    path = tmp_path / "mine.json"
    write_profile(toy_predictor().profile, path)
    assert read_profile(path).provenance.latmodel_version == __version__
    path.write_text(changed("provenance/latmodel_version", ...))
    assert read_profile(path).provenance.latmodel_version == ""  # written before 0.2: not ours to claim
