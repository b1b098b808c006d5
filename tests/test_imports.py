"""Imports go one way, and things live where their noun lives: the arrows of the design, walked."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PACKAGES = ("store", "ecgprep", "ecgtrain", "ecgeval", "pipelines")

PIPELINES = ("pipelines.recipe", "pipelines.workspace", "pipelines.command_line")
ALLOWED = {
    "store": (),
    "ecgprep": ("store", *PIPELINES),
    # representations, and the preparation of a raw recording for `predict`
    "ecgtrain": (
        "store",
        "ecgprep.representations",
        "ecgprep.recording",
        "ecgprep.beats",
        *PIPELINES,
    ),
    "ecgeval": PIPELINES,
    "pipelines": (),
}
VAGUE = {"utils", "util", "helpers", "helper", "common", "misc"}


def sources() -> list[Path]:
    return [path for package in PACKAGES for path in sorted((ROOT / package).rglob("*.py"))]


def imported(path: Path) -> Iterator[tuple[str, int]]:
    """Yield each module that a file imports, wherever in it, with the line."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from ((alias.name, node.lineno) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}, line {node.lineno}: a relative import hides where it goes"
            assert node.module is not None
            inside = (ROOT / Path(*node.module.split("."))).is_dir()
            names = [f"{node.module}.{alias.name}" for alias in node.names] if inside else [node.module]
            yield from ((name, node.lineno) for name in names)


def is_within(module: str, allowed: tuple[str, ...]) -> bool:
    return any(module == name or module.startswith(f"{name}.") for name in allowed)


@pytest.mark.parametrize("package", PACKAGES)
def test_imports_go_along_the_arrows(package: str) -> None:
    files = sorted((ROOT / package).rglob("*.py"))
    assert files
    wrong = [
        f"{path.relative_to(ROOT)}, line {line}: imports {module}"
        for path in files
        for module, line in imported(path)
        if module.split(".")[0] in PACKAGES
        and not is_within(module, (package, *ALLOWED[package]))
        and module != "store"
    ]
    assert not wrong, "\n".join(wrong)


@pytest.mark.parametrize("package", PACKAGES)
def test_packages_import_no_tests_or_benchmarks(package: str) -> None:
    for path in (ROOT / package).rglob("*.py"):
        assert not {module.split(".")[0] for module, _ in imported(path)} & {"tests", "bench", "docs"}, path


def test_no_module_has_a_name_that_says_nothing() -> None:
    assert not [path for path in sources() if path.stem in VAGUE or path.parent.name in VAGUE]


def test_words_of_the_field_are_spelled_in_the_vocabulary_alone() -> None:
    """A tuple or list of all leads, classes or superclasses anywhere else is a second vocabulary."""
    from store.vocabulary import AAMI_CLASSES, STANDARD_LEADS, SUPERCLASSES

    lists = {frozenset(STANDARD_LEADS), frozenset(AAMI_CLASSES), frozenset(SUPERCLASSES)}
    found = []
    for path in sources():
        if path == ROOT / "store/vocabulary.py" or path.is_relative_to(ROOT / "ecgprep/synth"):
            continue
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Tuple | ast.List | ast.Set):
                values = {element.value for element in node.elts if isinstance(element, ast.Constant)}
                if any(words <= values for words in lists):
                    found.append(f"{path.relative_to(ROOT)}, line {node.lineno}")
    assert not found


def test_every_package_is_in_the_wheel() -> None:
    text = (ROOT / "pyproject.toml").read_text(encoding="utf-8")
    for package in PACKAGES:
        assert f'"{package}*"' in text
