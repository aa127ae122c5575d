"""Tests that notice: small faults are planted one at a time, and the tests that stand for a file must fail on each.

    python benchmarks/mutants.py --seed 0 --each 12            # a dozen of every file, some minutes a file
    python benchmarks/mutants.py latmodel/laws/gemm.py --each 40
    python benchmarks/mutants.py --sample 15 --least 80        # what CI runs: a few of all files

A mutant changes one operator, comparison, constant, maximum or minimum, or drops a `not` (as mutmut and Cosmic Ray do).
Each runs in a copy of the tree, so that the checkout stays as it is; a mutant that hangs counts as killed. Survivors
are printed with their line: either a test is missing, or the fault changes nothing ("equivalent"), and is then listed
in `EQUIVALENT` with the reason.
"""

import argparse
import ast
import os
import random
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).parent.parent
COPIED = ("latmodel", "calibration", "tests", "benchmarks", "profiles", "pyproject.toml", "docs", "README.md")
LIMIT_S = 300.0
# File → the tests that stand for it, quickest first: a mutant is dead at the first that fails.
GUARDS = {
    "latmodel/laws/gemm.py": ("roofline", "llama_kernels", "kernels", "properties"),
    "latmodel/laws/attention.py": ("roofline", "kernels", "properties"),
    "latmodel/laws/cpu.py": ("cpu_law", "calibrate_simulated"),
    "latmodel/laws/pointwise.py": ("roofline", "properties"),
    "latmodel/predict/timeline.py": ("timeline", "forward"),
    "latmodel/predict/forward.py": ("forward", "properties", "roofline"),
    "latmodel/predict/intervals.py": ("intervals", "cli"),
    "latmodel/model/memory.py": ("memory", "properties"),
    "latmodel/model/transformer.py": ("transformer", "families"),
    "latmodel/search/tables.py": ("search", "frontier"),
    "latmodel/search/dominance.py": ("dominance", "frontier"),
    "calibration/fit/objective.py": ("fit", "anneal"),
    "calibration/fit/anneal.py": ("anneal",),
    "calibration/fit/fit.py": ("fit", "anneal"),
    "calibration/fit/make.py": ("fit", "observations", "few_rows", "published"),
    "calibration/fit/few_rows.py": ("few_rows",),
    "calibration/measure/samples.py": ("measure",),
    "calibration/measure/rounds.py": ("measure", "calibrate_simulated"),
    "calibration/measure/reference.py": ("measure", "calibrate_simulated"),
    "calibration/measure/summary.py": ("measure", "calibrate_simulated"),
}
# "file:old text → new text": why the fault changes nothing that anyone could notice.
EQUIVALENT: dict[str, str] = {}
OPERATORS: dict[type[ast.AST], type[ast.AST]] = {
    ast.Add: ast.Sub, ast.Sub: ast.Add, ast.Mult: ast.Div, ast.Div: ast.Mult, ast.FloorDiv: ast.Mult,
    ast.Lt: ast.GtE, ast.LtE: ast.Gt, ast.Gt: ast.LtE, ast.GtE: ast.Lt, ast.Eq: ast.NotEq, ast.NotEq: ast.Eq,
    ast.And: ast.Or, ast.Or: ast.And, ast.In: ast.NotIn, ast.NotIn: ast.In, ast.Is: ast.IsNot, ast.IsNot: ast.Is,
}  # fmt: skip
CALLS = {"maximum": "minimum", "minimum": "maximum", "max": "min", "min": "max", "any": "all", "all": "any"}


class Mutant(NamedTuple):
    """One fault: where, what the line was and becomes, and the whole file with it."""

    path: str
    line: int
    before: str
    after: str
    text: str

    @property
    def label(self) -> str:
        """For `EQUIVALENT`."""
        return f"{self.path}:{self.before} → {self.after}"


def mutants(path: str) -> Iterator[Mutant]:
    """Every fault that the rules make in a file, in the order of its nodes. Annotations and asserts are left alone."""
    source = (ROOT / path).read_text(encoding="utf-8")
    count = sum(1 for _ in _places(ast.parse(source)))
    for number in range(count):
        tree = ast.parse(source)
        node, change = list(_places(tree))[number]
        before = ast.unparse(node)
        change()
        after = ast.unparse(node)
        if after != before:
            yield Mutant(path, getattr(node, "lineno", 0), before, after, ast.unparse(tree))


def _places(tree: ast.AST) -> Iterator[tuple[ast.AST, "Change"]]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Assert | ast.AnnAssign):
            continue
        if isinstance(node, ast.BinOp | ast.BoolOp) and type(node.op) in OPERATORS:
            yield node, Change(node, "op", OPERATORS[type(node.op)]())
        elif isinstance(node, ast.Compare) and type(node.ops[0]) in OPERATORS:
            yield node, Change(node, "ops", [OPERATORS[type(node.ops[0])](), *node.ops[1:]])
        elif isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id in CALLS:
            yield node, Change(node.func, "id", CALLS[node.func.id])
        elif isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.Not):
            yield node, Change(node, "op", ast.UAdd())
        elif (
            isinstance(node, ast.Constant) and isinstance(node.value, int | float) and not isinstance(node.value, bool)
        ):
            yield node, Change(node, "value", node.value + 1 if isinstance(node.value, int) else 1.5 * node.value + 0.1)


class Change:
    """One attribute of a node to be set: nothing happens until it is called."""

    def __init__(self, node: ast.AST, name: str, value: object) -> None:
        self._node, self._name, self._value = node, name, value

    def __call__(self) -> None:
        setattr(self._node, self._name, self._value)


def copy_tree(folder: Path) -> None:
    """What the tests read, without caches."""
    for name in COPIED:
        source = ROOT / name
        if source.is_dir():
            shutil.copytree(source, folder / name, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            shutil.copy(source, folder / name)


def killed_by(folder: Path, mutant: Mutant) -> str | None:
    """The tests that failed on it (or took too long); None if it survives."""
    target = folder / mutant.path
    kept = target.read_text(encoding="utf-8")
    target.write_text(mutant.text, encoding="utf-8")
    variables = {**os.environ, "PYTHONPATH": str(folder), "OMP_NUM_THREADS": "1", "PYTHONDONTWRITEBYTECODE": "1"}
    try:
        for name in GUARDS[mutant.path]:
            command = [sys.executable, "-m", "pytest", "-q", "-x", "-p", "no:cacheprovider", f"tests/test_{name}.py"]
            try:
                run = subprocess.run(
                    command, cwd=folder, env=variables, capture_output=True, timeout=LIMIT_S, check=False
                )
            except subprocess.TimeoutExpired:
                return f"{name} (took too long)"
            if run.returncode != 0:
                return name
        return None
    finally:
        target.write_text(kept, encoding="utf-8")


def chosen(paths: Sequence[str], each: int, sample: int | None, seed: int) -> list[Mutant]:
    """Seeded: so many of each file, or of all files together."""
    generator = random.Random(seed)
    by_file = [[one for one in mutants(path) if one.label not in EQUIVALENT] for path in paths]
    if sample is not None:
        everything = [one for some in by_file for one in some]
        return generator.sample(everything, min(sample, len(everything)))
    return [one for some in by_file for one in generator.sample(some, min(each, len(some)))]


def main(arguments: Sequence[str] | None = None) -> int:
    """Plant, run, count by file; 1 if fewer than `--least` percent were killed."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("files", nargs="*", default=list(GUARDS))
    parser.add_argument("--each", type=int, default=12, help="mutants of each file")
    parser.add_argument("--sample", type=int, help="mutants of all files together, instead")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--least", type=float, default=0.0, help="percent that must be killed")
    options = parser.parse_args(arguments)
    tally: dict[str, list[bool]] = {}
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        copy_tree(folder)
        for mutant in chosen(options.files, options.each, options.sample, options.seed):
            tests = killed_by(folder, mutant)
            tally.setdefault(mutant.path, []).append(tests is not None)
            if tests is None:
                print(f"SURVIVED {mutant.path}:{mutant.line}: {mutant.before} → {mutant.after}", flush=True)
    for path, dead in tally.items():
        print(f"{path:40s} {sum(dead):3d} of {len(dead):3d} killed")
    every = [one for dead in tally.values() for one in dead]
    percent = 100.0 * sum(every) / max(len(every), 1)
    print(f"{sum(every)} of {len(every)} killed: {percent:.0f} %")
    return 0 if percent >= options.least else 1


if __name__ == "__main__":
    sys.exit(main())
