"""What the README and the pages about the command line and Python show works as it stands there."""

import re
from pathlib import Path

import nibabel as nib
import pytest

from builders import write_case, write_tiny_checkpoint
from napari_diffseg import demo_case_folder

ROOT = Path(__file__).parents[1]
COMMAND_LINE = (ROOT / "docs" / "command_line.md").read_text("utf-8")


def run_first_python_of(page, folder, monkeypatch):
    code = re.search(r"```python\n(.+?)```", (ROOT / page).read_text("utf-8"), re.DOTALL).group(1)
    monkeypatch.chdir(folder)
    exec(compile(code, page, "exec"), {})


def test_the_readmes_python_lines_segment_the_shipped_case(tmp_path, monkeypatch):
    run_first_python_of("README.md", tmp_path, monkeypatch)
    source = nib.load(next(demo_case_folder().glob("*_flair.nii.gz")))
    mask = nib.load(tmp_path / "majority.nii.gz")
    assert mask.shape == source.shape
    assert mask.get_fdata().sum() > 0
    for name in ("variance", "probability"):
        assert nib.load(tmp_path / f"{name}.nii.gz").shape == source.shape


def test_the_python_pages_lines_segment_a_case_and_save_it(tmp_path, monkeypatch):
    write_case(tmp_path / "case_006")
    write_tiny_checkpoint(tmp_path / "model.safetensors")
    run_first_python_of("docs/python.md", tmp_path, monkeypatch)
    assert nib.load("mask.nii.gz").shape == nib.load("uncertainty.nii.gz").shape == (14, 12, 5)


VERBS = ("predict", "status", "export", "info", "convert", "evaluate", "train", "phantom", "prepare", "demo", "engine")


@pytest.mark.parametrize("verb", VERBS)
def test_the_command_line_page_names_the_options_that_a_verb_has(verb, capsys):
    from napari_diffseg.cli import main

    assert main([verb, "--help"]) == 0
    text = capsys.readouterr().out
    synopsis = re.search(rf"^napari-diffseg {verb} .*?(?=^napari-diffseg|^```)", COMMAND_LINE, re.DOTALL | re.MULTILINE)
    named = set(re.findall(r"--[a-z-]+", synopsis.group(0)))
    own = text.split("What the checkpoint is (replaces")[0]
    assert named <= set(re.findall(r"--[a-z-]+", text))
    assert set(re.findall(r"^│ (?:\*  | {3})?(--[a-z-]+)", own, re.MULTILINE)) <= named
