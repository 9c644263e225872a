"""What a part of the package may load, asked of fresh interpreters: import-linter sees the source, not what it runs."""

from __future__ import annotations

import ast
import os
import pkgutil
import re
import subprocess
import sys
from pathlib import Path

import pytest

import napari_diffseg

WINDOW = {"napari", "qtpy", "magicgui", "superqt", "vispy", "PyQt5", "PyQt6", "PySide2", "PySide6"}
NETWORK = {"torch", "safetensors"}
SLOW_TO_LOAD = WINDOW | NETWORK | {"scipy", "nibabel", "skimage", "matplotlib"}

TORCH_LIVES_IN = ("checkpoint", "diffusion", "encode", "networks", "segmenting", "training")
MANIFEST = Path(napari_diffseg.__file__).parent / "plugin" / "napari.yaml"


def run_python(*arguments: str) -> subprocess.CompletedProcess[str]:
    """Run a fresh interpreter that sees the package under test, installed or not."""
    env = {**os.environ, "PYTHONPATH": str(Path(napari_diffseg.__file__).parents[1])}
    return subprocess.run(
        [sys.executable, *arguments], capture_output=True, encoding="utf-8", timeout=120, check=False, env=env
    )


def loaded_by(statements: str) -> set[str]:
    """Top-level names of every module that a fresh interpreter holds after the statements."""
    report = "import sys; print(); print(*{name.partition('.')[0] for name in sys.modules})"
    done = run_python("-c", f"{statements}\n{report}")
    assert done.returncode == 0, done.stderr
    return set(done.stdout.splitlines()[-1].split())


def modules(*, inside: tuple[str, ...] = (), outside: tuple[str, ...] = ()) -> list[str]:
    """Names of our modules, all or those inside the named parts, less those of the parts outside."""
    found = []
    for module in pkgutil.walk_packages(napari_diffseg.__path__, "napari_diffseg."):
        part = module.name.split(".")[1]
        if part != "__main__" and part not in outside and (not inside or part in inside):
            found.append(module.name)
    return found


def importing(names: list[str]) -> str:
    return "\n".join(f"import {name}" for name in names)


def manifest_modules(kind: str) -> set[str]:
    """Modules that the napari manifest names for its readers or writers."""
    from npe2 import PluginManifest

    manifest = PluginManifest.from_file(MANIFEST)
    wanted = {contribution.command for contribution in getattr(manifest.contributions, kind)}
    return {
        command.python_name.partition(":")[0]
        for command in manifest.contributions.commands
        if command.id in wanted and command.python_name
    }


def test_a_loaded_module_is_reported():
    assert "json" in loaded_by("import json.decoder")
    assert "json" not in loaded_by("import sys")


def test_help_loads_nothing_slow():
    help_text = """
import runpy, sys
sys.argv = ["napari-diffseg", "--help"]
try:
    runpy.run_module("napari_diffseg", run_name="__main__")
except SystemExit as end:
    assert not end.code, end.code
"""
    assert loaded_by(help_text) & SLOW_TO_LOAD == set()


def test_help_lists_the_verbs():
    done = run_python("-m", "napari_diffseg", "--help")
    assert done.returncode == 0, done.stderr
    assert {"demo", "predict", "info"} <= set(done.stdout.split())


@pytest.mark.parametrize("kind", ["readers", "writers"])
def test_napari_learns_of_our_files_without_loading_anything_slow(kind):
    names = manifest_modules(kind)
    assert names
    assert loaded_by(importing(sorted(names))) & SLOW_TO_LOAD == set()


def test_refusing_a_file_of_another_kind_loads_nothing_slow(tmp_path):
    (tmp_path / "notes.txt").write_text("no image")
    (module,) = manifest_modules("readers")
    asking = f"from {module} import get_reader\nassert get_reader({str(tmp_path / 'notes.txt')!r}) is None"
    assert loaded_by(asking) & SLOW_TO_LOAD == set()


def test_a_file_of_ours_is_known_by_its_name_without_numpy_and_without_compiling_what_names_say():
    (module,) = manifest_modules("readers")
    asking = f"""
from {module} import get_reader
from napari_diffseg.imaging.names.sequence_words import PROCESSING
assert get_reader("case_t1.nii.gz") is not None
assert "compiled" not in vars(PROCESSING)
assert PROCESSING.fullmatch("bet")
"""
    assert loaded_by(asking) & {*SLOW_TO_LOAD, "numpy"} == set()


def test_everything_outside_the_plugin_runs_without_a_window_toolkit():
    names = modules(outside=("plugin",))
    assert "napari_diffseg.segmenting.segmenter" in names
    assert loaded_by(importing(names)) & WINDOW == set()


def test_torch_is_loaded_only_where_it_lives():
    names = modules(outside=(*TORCH_LIVES_IN, "plugin"))
    assert "napari_diffseg.events" in names
    assert loaded_by(importing(names)) & NETWORK == set()


def test_the_plugin_starts_without_torch():
    names = modules(inside=("plugin",))
    assert "napari_diffseg.plugin.panel.panel" in names
    assert loaded_by(importing(names)) & NETWORK == set()


BUILDS_COMMANDS = {
    "cohorts/here.py",
    "cohorts/slurm.py",
    "plugin/session/command_line.py",
    "remote/computer.py",
    "reporting/page.py",
    "runs/command_words.py",
}
"""Modules that write out a command line, which is what options are for."""


def option_words(path: Path) -> set[str]:
    """Texts of a module, docstrings left out, that name an option of the command line."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    docstrings = {
        id(node.body[0].value)
        for node in ast.walk(tree)
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef)
        and node.body
        and isinstance(node.body[0], ast.Expr)
    }
    texts = [n for n in ast.walk(tree) if isinstance(n, ast.Constant) and isinstance(n.value, str)]
    return {n.value for n in texts if id(n) not in docstrings and re.search(r"(?<![\w-])--[a-z]", n.value)}


def test_no_message_below_the_command_line_names_its_options():
    root = Path(napari_diffseg.__file__).parent
    modules = {path.relative_to(root).as_posix(): path for path in root.rglob("*.py")}
    named = {name for name, path in modules.items() if not name.startswith("cli/") and option_words(path)}
    assert named <= BUILDS_COMMANDS
