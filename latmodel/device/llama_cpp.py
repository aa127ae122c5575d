"""llama.cpp on devices where others ran it, and on those of the same generation: a runtime for their profiles.

`llama_cpp.json` (made by `python -m calibration.published.llama_cpp.make`) holds the coefficients of every device by
weight format, and the errors that devices left out had, by backend: of devices that nobody measured ("unseen"), and of
those with one row of their own ("own").
"""

import json
import pkgutil
from collections.abc import Mapping
from functools import cache
from typing import Any

from ..errors import ProfileError
from ..model.config import MAX_DIMENSION
from ..runtimes.llama_cpp import LLAMA_CPP
from .datasheets import short_names
from .profile import Profile, RuntimePart

# Coefficients of the law that depend on the format, in the order in which the file keeps them.
BY_FORMAT = ("bandwidth_efficiency", "vector_flops_per_s", "product_flops_per_s", "cache_efficiency")
DTYPES = ("float16", "bfloat16", "float32")
UNSOURCED = "from memory"  # how the file marks a data-sheet figure that nobody looked up
NO_CACHE_BYTES, NO_MEMORY_BYTES = 1e6, 16.0 * 2**30  # the law needs no cache size; a memory that nobody states


@cache
def _published() -> dict[str, Any]:
    raw = pkgutil.get_data("latmodel.device", "llama_cpp.json")
    if raw is None:  # only a loader that cannot read data gives None
        raise ProfileError("latmodel/device/llama_cpp.json is missing: reinstall latmodel")
    found: dict[str, Any] = json.loads(raw)
    return found


def published_names() -> dict[str, int]:
    """Devices with llama.cpp's coefficients, and how many published rows each has (0: its generation's stand in)."""
    return {name: entry["rows"] for name, entry in _published()["devices"].items()}


@cache
def _index() -> dict[str, str]:
    """Names people use → device: without the maker's words, or any of the first words, or what stands in brackets."""
    index: dict[str, str] = {}
    shorter: dict[str, set[str]] = {}
    for name, entry in _published()["devices"].items():
        for form in (name, entry["title"]):
            for short in short_names(form):
                index.setdefault(short, name)
        title, _, remark = entry["title"].rstrip(")").partition(" (")
        words = title.split()
        for form in (remark, *(" ".join(words[start:]) for start in range(len(words)))):
            if any(letter.isdigit() for letter in form):
                for short in short_names(form):
                    shorter.setdefault(short, set()).add(name)
    for short, names in shorter.items():
        if len(names) == 1:  # else it says nothing
            index.setdefault(short, *names)
    return index


def find_published(name: str) -> str | None:
    """The device of that name in the table of published speeds, if it is there."""
    if name in _published()["devices"]:
        return name
    return next((_index()[short] for short in sorted(short_names(name)) if short in _index()), None)


def with_llama_cpp(profile: Profile) -> Profile:
    """The profile with llama.cpp as a runtime more.

    Raises:
        ProfileError: nothing is published of the device or of its generation.
    """
    found = find_published(profile.gpu)
    if found is None:
        raise ProfileError(
            f"no published llama.cpp speeds of {profile.title} or its generation: "
            "run llama-bench there and `latmodel fit --from llama-bench`, or choose another --runtime"
        )
    return profile.model_copy(update={"runtimes": {**profile.runtimes, LLAMA_CPP.name: runtime_part(found)}})


def published_profile(name: str) -> Profile:
    """The profile of a device that has no data sheet here: llama.cpp alone."""
    made, entry = _published(), _published()["devices"][name]
    rate = max(table[2] for table in entry["formats"].values())  # of the products; the law does not use it
    sheet = {
        "peak_flops_per_s": dict.fromkeys(DTYPES, rate),
        "bandwidth_bytes_per_s": entry["bandwidth_bytes_per_s"],
        "memory_bytes": entry["memory_bytes"] or NO_MEMORY_BYTES,
        "sm_count": entry["cores"],
        "cache_bytes": NO_CACHE_BYTES,
        "source": f"bandwidth: {entry['sheet_source']}; peak: fastest products of llama.cpp"
        + ("" if entry["memory_bytes"] else "; memory not stated, 16 GiB taken"),
    }
    return Profile.model_validate_json(
        json.dumps(
            {
                "schema_version": 2,
                "name": name[:64],
                "gpu": name,
                "title": entry["title"],
                "device": {"sheet": sheet, "coefficients": {"float16": _law(entry, "f16")}},
                "runtimes": {LLAMA_CPP.name: runtime_part(name).model_dump(mode="json")},
                "quality": {"kind": "published"},
                "provenance": {
                    "source": made["source"],
                    "date": made["date"],
                    "rows": f"{entry['rows']} rows: {'; '.join(entry['sources'])}"[:2000],
                    "made_by": made["made_by"],
                },
            }
        )
    )


def runtime_part(name: str) -> RuntimePart:
    """llama.cpp on a device of the table."""
    made, entry = _published(), _published()["devices"][name]
    # The law holds all but the time of a pass; its terms add, so that nothing overlaps.
    values = {"launch_s": 0.0, "block_s": 0.0, "prefill_block_s": 0.0, "token_s": 0.0, "gap_s": 0.0}
    values |= {"pass_s": entry["pass_s"], "overlap_loss": 1.0}
    coefficients = {key: {"value": value, "status": "fixed"} for key, value in values.items()}
    return RuntimePart.model_validate_json(
        json.dumps(
            {
                "implementation": LLAMA_CPP.name,
                "host": "the publishers' own",
                "note": _note(entry),
                "coefficients": coefficients,
                "formats": {form: _law(entry, form) for form in entry["formats"]},
                "builds": entry.get("builds"),
                "conformal_scores": made["scores"][entry["backend"]]["own" if entry["rows"] else "unseen"],
                "ranges": {"prompt_tokens": [1, 65536], "batch_size": [1, 1], **_widths(made, entry)},
            }
        )
    )


def _widths(made: Mapping[str, Any], entry: Mapping[str, Any]) -> dict[str, list[float]]:
    """The range of widths that a device of so many cores counts as measured for; none for a CPU."""
    least = made["narrowest"].get(entry["backend"])
    return {} if least is None else {"hidden_size": [float(int(least * entry["cores"])), float(MAX_DIMENSION)]}


def own_scores(name: str) -> dict[str, list[float]] | None:
    """|log ratio| by phase of devices that had one row of their own, under this device's backend."""
    found = find_published(name)
    if found is None:
        return None
    made = _published()
    scores: dict[str, list[float]] = made["scores"][made["devices"][found]["backend"]]["own"]
    return scores


def _law(entry: dict[str, Any], form: str) -> dict[str, dict[str, Any]]:
    values = {**entry["shared"], **dict(zip(BY_FORMAT, entry["formats"][form], strict=True))}
    return {f"ggml.{key}": {"value": value, "status": "fitted"} for key, value in values.items()}


def _note(entry: dict[str, Any]) -> str:
    backend, rows, generation = entry["backend"], entry["rows"], entry["generation"]
    told = (
        f"{rows} published rows of this device and its neighbours' ({'; '.join(entry['sources'])})"
        if rows
        else f"nobody published a run on this device: what {generation} devices do, at its bandwidth and core count"
    )
    marked = f"; its bandwidth is recalled, not looked up ({entry['sheet_source']})"
    return f"llama.cpp with {backend}: {told}{marked if UNSOURCED in entry['sheet_source'] else ''}"[:2000]
