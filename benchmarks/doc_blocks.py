"""Code blocks of the documents, and how their commands are run. With `--write`, shown outputs are made anew:
`python benchmarks/doc_blocks.py --write`.

A block that follows `<!-- long -->`, `<!-- gpu -->`, `<!-- container -->` or another mark is not run here. A `text`
block right after a command shows what it prints at 100 columns; a last line of "…" leaves the rest out.
"""

import argparse
import contextlib
import os
import re
import shlex
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

ROOT = Path(__file__).parent.parent
PAGES = [*sorted(ROOT.glob("docs/**/*.md")), ROOT / "README.md", ROOT / "CONTRIBUTING.md"]
COLUMNS = "100"
REST = "…"
_BLOCK = re.compile(
    r"(?:<!-- (?P<mark>[^\n>]+?) -->\n)?```(?P<language>\w*)\n(?P<body>.*?)^```$"
    r"(?P<after>\n\n```text\n(?P<shown>.*?)^```$)?",
    re.DOTALL | re.MULTILINE,
)
CONFIG = """{"model_type": "llama", "num_hidden_layers": 12, "hidden_size": 768, "intermediate_size": 2048,
"num_attention_heads": 12, "vocab_size": 32000}"""
SHAPES = "id,num_hidden_layers,hidden_size\na,80,576\nb,24,1024\n"
ABLATION = "layers,hidden,parameters,loss,group\n8,512,25000000,2.91,a\n16,384,28000000,2.83,a\n4,768,28000000,2.98,a\n"


class Block(NamedTuple):
    """A fenced block: where it stands, its language, its mark if it has one, its text, and the output shown for it."""

    page: Path
    language: str
    mark: str
    body: str
    shown: str | None

    @property
    def commands(self) -> list[list[str]]:
        """The words of each command of a shell block, comments apart."""
        if self.language not in ("sh", "bash", "console"):
            return []
        lines = self.body.replace("\\\n", " ").splitlines()
        return [words for line in lines if (words := shlex.split(line.removeprefix("$ "), comments=True))]


def blocks(page: Path) -> list[Block]:
    """The blocks of a page, in order."""
    return [
        Block(page, found["language"], found["mark"] or "", found["body"], found["shown"])
        for found in _BLOCK.finditer(page.read_text(encoding="utf-8"))
    ]


@contextlib.contextmanager
def folder() -> Iterator[Path]:
    """An empty folder with the files that the documents speak of, as the working directory, at `COLUMNS` columns."""
    from latmodel import Predictor

    before, columns = Path.cwd(), os.environ.get("COLUMNS")
    profile = Predictor.load("3090").profile.model_dump_json()
    files = {"config.json": CONFIG, "shapes.csv": SHAPES, "ablation.csv": ABLATION}
    files |= dict.fromkeys(("mine.json", "first.json", "second.json"), profile)
    with tempfile.TemporaryDirectory() as name:
        for path, text in files.items():
            Path(name, path).write_text(text, encoding="utf-8")
        shutil.copytree(ROOT / "examples", Path(name, "examples"))
        os.chdir(name)
        os.environ["COLUMNS"] = COLUMNS
        try:
            yield Path(name)
        finally:
            os.chdir(before)
            if columns is None:
                del os.environ["COLUMNS"]
            else:
                os.environ["COLUMNS"] = columns


def run(words: list[str]) -> Any:
    """A command of latmodel, run in this process; click's result."""
    from click.testing import CliRunner

    from latmodel.cli import group

    return CliRunner().invoke(group, words[1:], catch_exceptions=False)


def shortened(printed: str, shown: str) -> str:
    """What is printed, as far as it is shown."""
    lines, wanted = [line.rstrip() for line in printed.splitlines()], shown.splitlines()
    if wanted and wanted[-1] == REST:
        lines = [*lines[: len(wanted) - 1], REST]
    return "\n".join(lines) + "\n"


def write(page: Path) -> bool:
    """Make the outputs that a page shows anew; whether any changed."""
    text = before = page.read_text(encoding="utf-8")
    with folder():
        for block in blocks(page):
            if block.shown is not None and not block.mark and len(block.commands) == 1:
                new = shortened(run(block.commands[0]).stdout, block.shown)
                text = text.replace(f"```text\n{block.shown}```", f"```text\n{new}```", 1)
    page.write_text(text, encoding="utf-8")
    return text != before


def main() -> None:
    """List the commands, or with `--write` make the outputs anew."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--write", action="store_true")
    options = parser.parse_args()
    for page in PAGES:
        if options.write:
            print(f"{page.relative_to(ROOT)}: {'changed' if write(page) else 'as it was'}")
            continue
        for block in blocks(page):
            for words in block.commands:
                print(f"{page.relative_to(ROOT)} {block.mark or 'run'}: {shlex.join(words)}")


if __name__ == "__main__":
    main()
