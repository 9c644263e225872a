"""What the README shows works as it stands there."""

import re
from pathlib import Path

import nibabel as nib

from builders import write_case, write_tiny_checkpoint

README = (Path(__file__).parents[1] / "README.md").read_text("utf-8")


def test_the_python_lines_segment_a_case_and_save_it(tmp_path, monkeypatch):
    code = re.search(r"```python\n(.+?)```", README, re.DOTALL).group(1)
    write_case(tmp_path / "case_006")
    write_tiny_checkpoint(tmp_path / "model.safetensors")
    monkeypatch.chdir(tmp_path)
    exec(compile(code, "README.md", "exec"), {})
    assert nib.load("mask.nii.gz").shape == nib.load("uncertainty.nii.gz").shape == (14, 12, 5)


def test_every_verb_and_every_option_that_it_names_exists(capsys):
    from napari_diffseg.cli import main

    for verb in ("predict", "export", "info", "convert", "evaluate", "phantom", "demo"):
        assert main([verb, "--help"]) == 0
        text = capsys.readouterr().out
        line = re.search(rf"napari-diffseg {verb} .*?(?=\nnapari-diffseg|\n```|`)", README, re.DOTALL)
        for option in re.findall(r"--[a-z-]+", line.group(0) if line else ""):
            assert option in text, f"{verb} {option}"
