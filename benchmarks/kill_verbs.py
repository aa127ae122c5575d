"""SIGKILL at any moment of the lives of fit, verify and a frontier with workers. Run by `kill_resume.py --verbs`.

After each kill no process and no lock may be left; a file that was to be written is as it was before or as an
undisturbed run writes it; a frontier goes on from its checkpoint to the same answer.
"""

import random
import signal
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

from killing import check_left, environment

from calibration.observations.record import read_observations
from latmodel.device.profile_file import read_profile
from latmodel.model.config import ModelConfig, Workload
from latmodel.predict.predictor import Predictor

# One of five kills is followed by a run to the end, and so is the last.
ENDED = 0.2
COLUMNS = "gpu,runtime,phase,timing,seconds,num_hidden_layers,hidden_size,prompt_tokens,new_tokens,intermediate_size,"
COLUMNS += "num_attention_heads,num_key_value_heads,head_dim,vocab_size"
SMALL = ["--layers", "2", "--hidden", "128", "--vocab", "256", "--prompt", "16", "--generate", "4"]
VERIFY = ["verify", "--device", "cpu", "--profile", "cpu.json", *SMALL, "--tolerance", "1e9", "--limit", "0.05s"]


@dataclass(frozen=True)
class Verb:
    """A command, the files that it replaces, and its share of the kills of its verb."""

    arguments: list[str]
    share: float = 1.0
    writes: tuple[str, ...] = ()
    adds_to: str = ""  # a file whose whole lines stay
    answers: bool = True  # it prints the same every time


VERBS = {
    "fit": Verb(["fit", "--gpu", "3090", "--observations", "rows.csv", "--out", "fit.json"], writes=("fit.json",)),
    "verify": Verb(VERIFY, share=0.8, answers=False),
    "verify --update": Verb(
        [*VERIFY, "--update"], share=0.2, writes=("cpu.json", "cpu.observations.jsonl"), answers=False
    ),
    "frontier --workers": Verb(
        ["frontier", "--budget", "5s", "--rows", "5", "--workers", "2", "--checkpoint", "parts.jsonl"],
        adds_to="parts.jsonl",
    ),
}  # fmt: skip


@dataclass
class Series:
    """Kills of one verb in a folder that holds `kept`: what it reads, and what was there before it writes."""

    verb: Verb
    folder: Path
    kept: dict[str, bytes]
    runs: int = 0
    answer: str = ""
    seconds: float = 0.0

    def begin_anew(self) -> None:
        """The folder as it was."""
        for path in self.folder.iterdir():
            if path.is_file():
                path.unlink()
        for name, data in self.kept.items():
            (self.folder / name).write_bytes(data)

    def start(self) -> "subprocess.Popen[str]":
        """The verb in a process with a mark of its own."""
        self.runs += 1
        return subprocess.Popen(
            [sys.executable, "-m", "latmodel", *self.verb.arguments], cwd=self.folder, text=True,
            stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=environment(self.folder, self.mark),
        )  # fmt: skip

    @property
    def mark(self) -> str:
        """Of the last run."""
        return f"{self.folder.name}-{self.runs}"

    def finish(self) -> str:
        """Run it to its end; what it printed."""
        with self.start() as process:
            out, told = process.communicate()
        assert process.returncode == 0, f"{self.verb.arguments[0]}: {told[-300:]}"
        return out if self.verb.answers else ""

    def learn(self) -> None:
        """What an undisturbed run prints, and how long it takes."""
        self.begin_anew()
        begun = time.monotonic()
        self.answer = self.finish()
        self.seconds = time.monotonic() - begun

    def kill(self, delay_s: float) -> bool:
        """Kill it after so long and look at all that it leaves; whether it still ran."""
        before, begun = self._lines(), time.monotonic()
        with self.start() as process:
            try:
                process.wait(delay_s)
                self.seconds = time.monotonic() - begun  # the machine is quicker than it was
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
            check_left(self.folder, self.mark)  # before its pipes are closed: a worker that lived on would hold them
        for name in self.verb.writes:
            self._check_whole(name)
        assert self._lines()[: len(before)] == before, f"{self.verb.adds_to} lost lines"
        return process.returncode == -signal.SIGKILL

    def _lines(self) -> list[bytes]:
        path = self.folder / (self.verb.adds_to or "none")
        return path.read_bytes().split(b"\n")[:-1] if path.exists() else []

    def _check_whole(self, name: str) -> None:
        path = self.folder / name
        if path.read_bytes() == self.kept[name]:
            return
        if path.suffix == ".json":
            read_profile(path)  # every field is checked
        else:
            assert len(read_observations(path)) > self.kept[name].count(b"\n"), f"{name} lost rows"

    def run(self, kills: int, rng: random.Random) -> str:
        """Kill, check, go on; a line that says how often it was done."""
        self.learn()
        self.begin_anew()
        first, killed, ended = self.seconds, 0, 0
        while killed < kills:
            killed += self.kill(rng.uniform(0.0, self.seconds))
            if rng.random() < ENDED or killed == kills:
                assert self.finish() == self.answer, f"{self.verb.arguments[0]}: another answer"
                parts = [path.name for path in self.folder.glob(".*.part")]
                assert not parts, f"left behind: {parts}"
                ended += 1
                self.begin_anew()
        return f"{killed} kills in lives of {self.seconds:.1f} to {first:.1f} s, {ended} of them then run to the end"


def rows() -> bytes:
    """Rows to fit on: what the packaged profile predicts, 3 % slower."""
    predictor = Predictor.load("3090")
    lines = [COLUMNS]
    for layers, hidden in ((8, 512), (16, 1024), (24, 2048)):
        config = ModelConfig(num_hidden_layers=layers, hidden_size=hidden)
        found = predictor.predict(config, Workload())
        sizes = (config.intermediate_size, config.num_attention_heads, config.num_key_value_heads, config.head_dim)
        shape = (layers, hidden, 512, 100, *sizes, config.vocab_size)
        for phase, clock, seconds in (
            ("prefill", "wall", found.prefill_s), ("decode", "loop", found.decode_s_per_token),
        ):  # fmt: skip
            lines.append(",".join(map(str, ("3090", "transformers-eager", phase, clock, 1.03 * seconds, *shape))))
    return ("\n".join(lines) + "\n").encode()


def series_of(folder: Path, calibrated: Path, kills: int, seed: int) -> None:
    """So many kills of each verb; `calibrated` is a CPU's profile with its observations beside it."""
    kept = {
        "rows.csv": rows(), "fit.json": calibrated.read_bytes(), "cpu.json": calibrated.read_bytes(),
        "cpu.observations.jsonl": calibrated.with_suffix(".observations.jsonl").read_bytes(),
    }  # fmt: skip
    for number, (name, verb) in enumerate(VERBS.items()):
        own = folder / f"verb-{number}"
        own.mkdir()
        told = Series(verb, own, kept).run(round(kills * verb.share), random.Random(f"{seed}/{name}"))
        print(f"{name}: {told}: nothing lost or corrupt, no process or lock left", flush=True)
