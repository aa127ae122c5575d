"""Hosts by hand: how far others lie, which are measured, and how a machine is known again."""

import hashlib
import math
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from search_toy import toy_predictor

from latmodel.device import hosts, machine
from latmodel.device.hosts import SAME_HOST, HostFactors, block_launches, host_of, is_guessed, is_measured, other_hosts
from latmodel.device.profile import Profile
from latmodel.device.store import load_profile
from latmodel.errors import UsageError


def test_other_hosts_lie_as_the_known_ones_do(monkeypatch: pytest.MonkeyPatch) -> None:
    """Two hosts of e^0 and e^2 s: mean e^1, s² = 2, and a further one adds half of it: σ² = 3."""
    monkeypatch.setattr(hosts, "KNOWN_HOSTS", {"a": 1.0, "b": math.exp(2.0)})
    assert hosts.typical_host_s() == pytest.approx(math.e) and hosts.host_sigma() == pytest.approx(math.sqrt(3.0))
    reach = 1.645 * math.sqrt(3.0)
    with monkeypatch.context() as three:  # of e^0, e^1 and e^2 s: s² = 1, and a third of it
        three.setattr(hosts, "KNOWN_HOSTS", {"a": 1.0, "b": math.e, "c": math.exp(2.0)})
        assert hosts.host_sigma() == pytest.approx(math.sqrt(4.0 / 3.0))
    assert other_hosts(math.e)[:2] == pytest.approx((math.exp(-reach), math.exp(reach)))
    assert other_hosts(math.exp(9.0))[:2] == pytest.approx((math.exp(-8.0 - reach), 1.0))
    assert other_hosts(math.exp(-9.0))[:2] == pytest.approx((1.0, math.exp(10.0 + reach)))
    # Two norms and two sums, rotary embedding, SiLU and product, cache, attention, seven products.
    assert block_launches() == 2 * (8 + 1) + 10 + 2 + 2 + 1 + 7
    assert HostFactors(1.0, 1.0) == SAME_HOST and not SAME_HOST.hides_engine


def test_known_hosts_are_those_of_the_sources() -> None:
    """Milliseconds of a block: the means and slopes that the table's names tell of."""
    known = list(hosts.KNOWN_HOSTS.items())
    assert all(0.4e-3 <= seconds <= 1.4e-3 for _, seconds in known) and "0.67-0.70 ms" in known[0][0]
    assert 0.67e-3 <= known[0][1] <= 0.70e-3


def part_of(**status: str) -> Any:
    toy = toy_predictor().profile.runtimes["eager"]
    table = {
        name: one.model_copy(update={"status": status.get(name, "fixed")}) for name, one in toy.coefficients.items()
    }
    return toy.model_copy(update={"coefficients": table})


def test_a_host_is_measured_or_guessed_by_its_coefficients() -> None:
    for name in ("launch_s", "block_s", "pass_s"):
        assert is_measured(part_of(**{name: "fitted"}))
    assert not is_measured(part_of(token_s="fitted")) and not is_measured(part_of(launch_s="prior"))
    assert [is_guessed(part_of(launch_s=status)) for status in ("prior", "undetermined", "fitted", "fixed")] == [
        True, True, False, False
    ]  # fmt: skip
    none = part_of(launch_s="prior")
    free = {**none.coefficients, "launch_s": none.coefficients["launch_s"].model_copy(update={"value": 0.0})}
    assert not is_guessed(none.model_copy(update={"coefficients": free})) and not is_guessed(part_of(pass_s="prior"))


def test_whose_host_an_interval_is_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hosts, "machine_key", lambda: "abc")
    toy = toy_predictor().profile

    def profile(part: Any) -> Profile:
        return toy.model_copy(update={"runtimes": {"transformers-eager": part}})

    fitted = part_of(launch_s="fitted")
    seconds = 40 * fitted.coefficients["launch_s"].value + fitted.coefficients["block_s"].value
    name = "transformers-eager"
    assert host_of(profile(fitted), name, None) == ("any", other_hosts(seconds))
    assert host_of(profile(fitted), name, "published") == ("published", SAME_HOST)
    guessed = other_hosts(hosts.typical_host_s())._replace(hides_engine=True)
    assert host_of(profile(part_of(launch_s="prior")), name, "any") == ("any", guessed)
    assert host_of(profile(part_of()), name, "any") == ("any", SAME_HOST)
    here = fitted.model_copy(update={"machine": "abc"})
    assert host_of(profile(here), name, None) == host_of(profile(here), name, "this") == ("this", SAME_HOST)
    assert host_of(profile(here), name, "any") == ("any", other_hosts(seconds))
    for other in (fitted, fitted.model_copy(update={"machine": "abd"})):
        with pytest.raises(UsageError, match="--host-only"):
            host_of(profile(other), name, "this")
    few = here.model_copy(update={"host_range": (0.5, 3.0)})  # as well known as few rows tell
    assert host_of(profile(few), name, None) == ("this", HostFactors(0.5, 3.0))
    assert host_of(profile(few), name, "published") == ("published", HostFactors(0.5, 3.0))
    fastest, slowest, _ = other_hosts(seconds)
    for low, high in ((0.5, 3.0), (0.01 * fastest, 100.0 * slowest)):
        open_ = few.model_copy(update={"host_range": (low, high)})
        assert host_of(profile(open_), name, "any") == ("any", HostFactors(min(fastest, low), max(slowest, high)))
    graph = toy.model_copy(update={"runtimes": {"graph": fitted}})
    assert host_of(graph, "graph", "any") == ("any", other_hosts(hosts.typical_host_s()))


def test_a_machine_is_known_by_a_hash_of_its_id_processor_and_cards(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "id").write_text(" 12ab \n")
    (tmp_path / "empty").write_text("")
    assert machine._first_line((str(tmp_path / "none"), str(tmp_path / "empty"), str(tmp_path / "id"))) == "12ab"
    assert machine._first_line((str(tmp_path / "none"),)) == ""
    monkeypatch.setattr(machine, "IDENTITIES", (str(tmp_path / "id"),))
    monkeypatch.setattr(machine, "cpu_model", lambda: "CPU")
    monkeypatch.setattr(machine, "_card_ids", lambda: ["b", "a"])
    whole = hashlib.sha256(b"12ab\nCPU\na\nb").hexdigest()
    assert machine.machine_key.__wrapped__() == whole[:16]
    monkeypatch.setattr(machine, "IDENTITIES", ())
    monkeypatch.setattr(machine.platform, "node", lambda: "name")
    assert machine.machine_key.__wrapped__() == hashlib.sha256(b"name\nCPU\na\nb").hexdigest()[:16]


def test_processors_and_cards_are_read_where_linux_tells_of_them(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "card").mkdir()
    (tmp_path / "card" / "information").write_text("Model: x\nGPU UUID: \t GPU-1:2\n")
    (tmp_path / "cpuinfo").write_text("vendor_id : y\nmodel name\t: Some: CPU \nmodel name : other\n")
    monkeypatch.setattr(machine, "Path", lambda name: tmp_path / "cpuinfo" if name == "/proc/cpuinfo" else tmp_path)
    assert machine._card_ids() == ["GPU-1:2"] and machine.cpu_model() == "Some: CPU"
    (tmp_path / "cpuinfo").write_text("nothing")
    monkeypatch.setattr(machine.platform, "processor", lambda: "")
    monkeypatch.setattr(machine.platform, "machine", lambda: "arm")
    assert machine.cpu_model() == "arm"
    monkeypatch.setattr(machine.platform, "machine", lambda: "")
    assert machine.cpu_model() == "CPU"
    monkeypatch.setattr(machine.platform, "processor", lambda: "own")
    assert machine.cpu_model() == "own"
    told: list[list[str]] = []

    def run(words: list[str], **_: Any) -> Any:
        told.append(words)
        return SimpleNamespace(stdout="Apple M2 Max\n")

    monkeypatch.setattr("subprocess.run", run)
    monkeypatch.setattr(machine.platform, "system", lambda: "Linux")
    assert machine.cpu_model() == "own" and not told
    monkeypatch.setattr(machine.platform, "system", lambda: "Darwin")
    assert machine.cpu_model() == "Apple M2 Max" and told[0][-1] == "machdep.cpu.brand_string"


def test_a_slower_host_s_profile_may_have_an_engine_of_its_own() -> None:
    profile = load_profile("a100", "vllm")
    own = profile.runtimes["vllm"].coefficients
    for engine, step in ((None, 2.0), (0.0, 0.0), (5.0, 5.0)):
        slower = hosts.with_slower_host(profile, "vllm", 2.0, engine).runtimes["vllm"].coefficients
        assert slower["step_s"].value == pytest.approx(step * own["step_s"].value) and own["step_s"].value > 0.0
        assert slower["launch_s"].value == pytest.approx(2.0 * own["launch_s"].value)
        assert slower["gap_s"] == own["gap_s"] and slower["overlap_loss"] == own["overlap_loss"]
