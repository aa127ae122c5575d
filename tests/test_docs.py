"""The documents speak of what is there, in short sentences: paths exist, public names, verbs and notes are documented."""

import ast
import contextlib
import importlib
import re
import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent.parent / "benchmarks"))

from doc_verbs import reference

import latmodel
from latmodel import Predictor, Workload, errors
from latmodel.cli.verbs import VERBS
from latmodel.device.store import list_profiles, list_uncalibrated, load_profile

ROOT = Path(__file__).parent.parent
PAGES = sorted([*ROOT.glob("docs/**/*.md"), ROOT / "README.md", ROOT / "CONTRIBUTING.md"])
TEXT = {str(page.relative_to(ROOT)): page.read_text(encoding="utf-8") for page in PAGES}
# Paths that are a user's own, by way of example.
EXAMPLES = {"config.json", "profiles/NAME.json", "front.png", "module.py"}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_paths_exist(page: Path) -> None:
    named = (
        set(re.findall(r"`((?:\w+/)+[\w.]*(?:/\w+)*|\w+\.(?:py|md))`", TEXT[str(page.relative_to(ROOT))])) - EXAMPLES
    )
    links = set(re.findall(r"\]\(([^)#:]+)(?:#[^)]*)?\)", TEXT[str(page.relative_to(ROOT))]))
    assert {path for path in named if not (ROOT / path).exists()} == set()
    assert {path for path in links if not (page.parent / path).exists()} == set()


def test_every_public_name_is_documented_and_loads() -> None:
    section = TEXT["docs/api.md"].split("## Names of `latmodel`")[1].split("\n## ")[0]
    names = set(re.findall(r"^\| `(\w+)` \|", section, re.MULTILINE))
    assert names == set(latmodel.__all__)
    for name in latmodel.__all__:
        public = getattr(latmodel, name)
        assert name == "__version__" or public.__doc__, name


def test_public_names_are_known_to_type_checkers() -> None:
    tree = ast.parse((ROOT / "latmodel" / "__init__.py").read_text(encoding="utf-8"))
    imported = {alias.asname for node in ast.walk(tree) if isinstance(node, ast.ImportFrom) for alias in node.names}
    assert set(latmodel.__all__) <= imported


def test_public_modules_load() -> None:
    for name in ("latmodel.torch", "latmodel.errors"):
        assert f"`{name}`" in TEXT["docs/api.md"]
    pytest.importorskip("torch")
    module = importlib.import_module("latmodel.torch")
    for name in re.findall(r"`latmodel\.torch\.(\w+)`", TEXT["docs/api.md"]):
        assert callable(getattr(module, name))


def test_the_readme_shows_every_verb() -> None:
    shown = set(re.findall(r"latmodel (\w+)", TEXT["README.md"]))
    assert set(VERBS) - shown == set()


def test_the_reference_holds_every_verb_and_option() -> None:
    text = reference()
    for name in VERBS:
        assert f"\n## {name}\n" in f"\n{text}"
    for option in ("--memory-margin SIZE", "--over NAME=VALUES", "--host-only", "--params 300M", "--gap FLOAT RANGE"):
        assert f"<code>{option}" in text, option
    assert "Sentinel" not in text
    assert "[default: 512]" in text


def test_one_version_is_told_everywhere() -> None:
    version = latmodel.__version__
    assert f"\nversion: {version}\n" in (ROOT / "CITATION.cff").read_text(encoding="utf-8")
    assert re.search(r"^## (\S+)", (ROOT / "CHANGELOG.md").read_text(encoding="utf-8"), re.MULTILINE)[1] == version  # type: ignore[index]
    assert f"latmodel=={version}" in TEXT["docs/howto/ci.md"]


def test_the_readme_is_short() -> None:
    assert TEXT["README.md"].count("\n") <= 150


# --- Reading ease ---------------------------------------------------------------------------------

LONGEST = 35  # words of a sentence
START = re.compile(r"^\s*(?:[-*]|\d+\.)\s+")  # of an item of a list


def paragraphs(text: str) -> list[str]:
    """Running text, items of lists and cells of tables; code, headings and comments apart."""
    text = re.sub(r"^```.*?^```$", "\n", text, flags=re.DOTALL | re.MULTILINE)
    text = re.sub(r"<!--.*?-->|^(?:    |\t)\S.*$", "\n", text, flags=re.DOTALL | re.MULTILINE)
    parts: list[str] = []
    for line in text.splitlines():
        if line.startswith("|"):
            parts += ["", *line.strip("|").split("|"), ""]
        elif not line.strip() or START.match(line) or line.startswith(("#", ":::")):
            parts += ["", "" if line.startswith(("#", ":::")) else START.sub("", line)]
        else:
            parts[-1:] = [f"{parts[-1]} {line}"] if parts else [line]
    return [part for part in parts if part.strip()]


def sentences(text: str) -> list[str]:
    """Sentences, in which a span of code or a link is what it shows; code counts as one word."""
    plain = (re.sub(r"`[^`]*`", "code", re.sub(r"!?\[([^\]]*)\]\([^)]*\)", r"\1", part)) for part in paragraphs(text))
    return [one for part in plain for one in re.split(r"(?<=[.!?])[\"”)*_]*\s+(?=\S)", part.replace("**", "")) if one]


def words(sentence: str) -> int:
    """Words with a letter in them."""
    return sum(bool(re.search(r"[^\W\d_]", word)) for word in sentence.split())


def test_the_count_of_words_by_hand() -> None:
    text = "# A heading\nOne two `a b c` [four five](x.md), 6. Next\none: here.\n\n- an item\n- another\n  one\n\n| a cell | two |\n"
    assert [words(one) for one in sentences(text)] == [5, 3, 2, 2, 2, 1]


@pytest.mark.parametrize("page", [*PAGES, ROOT / "CHANGELOG.md"], ids=lambda page: str(page.relative_to(ROOT)))
def test_no_sentence_is_long(page: Path) -> None:
    text = page.read_text(encoding="utf-8")
    assert [one for one in sentences(text) if words(one) > LONGEST] == []


# --- Troubleshooting ------------------------------------------------------------------------------

HELP = TEXT["docs/troubleshooting.md"]


def test_every_exit_code_is_explained() -> None:
    codes = {
        kind.exit_code
        for kind in vars(errors).values()
        if isinstance(kind, type) and issubclass(kind, errors.LatmodelError)
    }
    listed = {
        int(code)
        for code in re.findall(r"^\| (\d+) \|", HELP.split("## Exit codes")[1].split("\n## ")[0], re.MULTILINE)
    }
    assert listed == codes | {0, 130}


def phrases() -> list[str]:
    """The words by which the rows of the table of notes know a note."""
    rows = HELP.split("## Notes")[1].split("\n## ")[0].splitlines()
    return [phrase for row in rows if row.startswith("| `") for phrase in re.findall(r"`([^`]+)`", row.split("|")[1])]


def notes_of_every_device() -> set[str]:
    """Notes of every packaged profile and runtime, of devices known from data sheets alone, and of number formats."""
    found: set[str] = set()
    for name in [*list_profiles(), *(sheet.name for sheet in list_uncalibrated())]:
        profile = load_profile(name)
        for runtime in profile.runtimes:
            predictor = Predictor(profile, runtime)
            found.update(predictor.notes)
            for weights in ("fp8", "int4-awq", "mxfp4"):
                with contextlib.suppress(errors.LatmodelError):  # a format that the runtime does not run
                    found.update(predictor.number_notes(Workload(weights=weights)))
    for name in ("m2", "3090", "rtx 4070 laptop", "snapdragon 8 gen 3"):
        with contextlib.suppress(errors.LatmodelError):
            found.update(Predictor.load(name, "llama.cpp").notes)
    return found


def test_every_note_is_explained() -> None:
    known, notes = phrases(), notes_of_every_device()
    assert len(notes) > 100
    assert {note for note in notes if not any(phrase in note for phrase in known)} == set()
