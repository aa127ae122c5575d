"""What is loaded when: predicting needs numpy and little else, and never the package that measures."""

import ast
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parent.parent / "latmodel"
HEAVY = {"torch", "scipy", "sklearn", "pandas", "matplotlib", "transformers", "calibration"}
# `latmodel.torch` is for those who have torch already, and is loaded by nobody else (below).
MODULES = sorted(path for path in PACKAGE.rglob("*.py") if path != PACKAGE / "torch.py")


def loaded_by(code: str) -> set[str]:
    """Top-level packages that a fresh process has after `code`."""
    shown = f"{code}\nimport sys; print(*sorted({{name.split('.')[0] for name in sys.modules}}))"
    run = subprocess.run([sys.executable, "-c", shown], capture_output=True, text=True, check=True)
    return set(run.stdout.splitlines()[-1].split())


@pytest.mark.parametrize(
    "code",
    [
        "import latmodel",
        "import latmodel.cli",
        "from latmodel import *",
        "from latmodel import ModelConfig, Predictor; Predictor.load('3090').predict(ModelConfig(num_hidden_layers=1, "
        "hidden_size=64, intermediate_size=64, num_attention_heads=1, vocab_size=64))",
        "from latmodel.cli import group; group.main(['predict', '--layers', '2', '--hidden', '64'], "
        "standalone_mode=False)",
    ],
    ids=["package", "cli", "public names", "predict", "verb"],
)
def test_nothing_heavy_is_loaded(code: str) -> None:
    assert loaded_by(code) & HEAVY == set()


def test_help_loads_neither_numpy_nor_pydantic() -> None:
    code = "from latmodel.cli import group; group.main(['--help'], standalone_mode=False)"
    assert loaded_by(code) & (HEAVY | {"numpy", "pydantic"}) == set()


# Verb → packages and modules that it has no use for, and that would make it slower to start.
EVERYWHERE = (
    "subprocess", "multiprocessing", "asyncio", "scipy", "numpy.ma", "rich", "latmodel.pruning", "latmodel.quality.user",
    "latmodel.quality.check", "latmodel.device.llama_cpp", "latmodel.device.uncalibrated", "latmodel.device.card_law",
    "latmodel.device.format_support", "latmodel.predict.training", "latmodel.predict.energy", "latmodel.predict.generation",
    "latmodel.predict.passes", "latmodel.predict.capacity", "latmodel.report.generated", "latmodel.configs.families",
    "latmodel.configs.gguf", "latmodel.model.layers.experts", "latmodel.model.layers.mamba", "latmodel.model.layers.mamba2",
    "latmodel.model.layers.gated_delta", "latmodel.model.layers.latent_attention", "latmodel.search.drafted",
    "latmodel.search.per_layer",
)  # fmt: skip
UNUSED = {
    "--help": ("latmodel.report", "latmodel.model", "latmodel.device", "latmodel.units", *EVERYWHERE),
    "predict 80x576": ("latmodel.search", "latmodel.predict.breakdown", "latmodel.cli.search_options", *EVERYWHERE),
    "predict 80x576 --format json": ("latmodel.quality", "latmodel.search", *EVERYWHERE),
    "frontier --budget 5.5s": ("latmodel.search.trained", "latmodel.predict.breakdown", *EVERYWHERE),
    "frontier --budget 5.5s --format json": ("latmodel.search.trained", *EVERYWHERE),
    "explain 80x576": EVERYWHERE,
    "compare 80x576 48x768": EVERYWHERE,
}


@pytest.mark.parametrize("command", UNUSED)
def test_a_verb_loads_nothing_that_it_has_no_use_for(command: str) -> None:
    # What numpy loads by itself, as early releases load `numpy.ma`, no verb can help.
    code = f"from latmodel.cli import group; group.main({command.split()!r}, standalone_mode=False)"
    own = "" if command == "--help" else "import numpy; own = set(sys.modules) - {'numpy'}\n"
    shown = f"import sys; own = set()\n{own}{code}\nprint(*set(sys.modules) - own)"
    run = subprocess.run([sys.executable, "-c", shown], capture_output=True, text=True, check=True)
    loaded = set(run.stdout.splitlines()[-1].split())
    assert "click" in loaded
    assert sorted(loaded & set(UNUSED[command])) == []


# Verb → data classes of ours that it may load, each of which compiles source: what is made once is a `FixedRecord`.
DATA_CLASSES = {"predict 80x576": 23, "frontier --budget 5.5s": 36}


@pytest.mark.parametrize("command", DATA_CLASSES)
def test_a_verb_compiles_few_classes(command: str) -> None:
    code = (
        f"from latmodel.cli import group; group.main({command.split()!r}, standalone_mode=False)\n"
        "import dataclasses, sys\n"
        "modules = [module for name, module in list(sys.modules.items()) if name.startswith('latmodel.')]\n"
        "print(*{kind.__qualname__ for module in modules for kind in vars(module).values()\n"
        "        if isinstance(kind, type) and '__dataclass_fields__' in vars(kind)})"
    )
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    found = run.stdout.splitlines()[-1].split()
    assert "OpCost" in found
    assert len(found) <= DATA_CLASSES[command]


def test_modules_that_are_named_as_unused_exist() -> None:
    ours = {name for names in UNUSED.values() for name in names if name.startswith("latmodel")}
    assert [name for name in sorted(ours) if find_spec(name) is None] == []


def imports_at_module_level(path: Path) -> set[str]:
    """Top-level packages that importing the module imports: functions do not count, nor `if TYPE_CHECKING`."""
    found: set[str] = set()
    waiting: list[ast.AST] = [ast.parse(path.read_text())]
    while waiting:
        node = waiting.pop()
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef, ast.Lambda)):
            continue
        if isinstance(node, ast.If) and ast.unparse(node.test).endswith("TYPE_CHECKING"):
            waiting += node.orelse
            continue
        if isinstance(node, ast.Import):
            found |= {alias.name.split(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.level == 0:
            found.add(str(node.module).split(".")[0])
        waiting += ast.iter_child_nodes(node)
    return found


@pytest.mark.parametrize("path", MODULES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_no_module_imports_what_measures(path: Path) -> None:
    assert imports_at_module_level(path) & HEAVY == set()


def test_nothing_of_ours_loads_the_torch_module() -> None:
    for path in MODULES:
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.ImportFrom) and node.level:
                assert "torch" not in (node.module or "", *(alias.name for alias in node.names)), path


def test_the_check_itself_sees_an_import(tmp_path: Path) -> None:
    (tmp_path / "bad.py").write_text("try:\n    import torch.nn\nexcept ImportError:\n    from calibration import x\n")
    assert imports_at_module_level(tmp_path / "bad.py") == {"torch", "calibration"}
