"""The examples run as their first lines say."""

import csv
import runpy
import sys
from pathlib import Path

import pytest
import torch

from builders import write_case, write_tiny_checkpoint
from napari_diffseg import load_checkpoint

EXAMPLES = Path(__file__).parents[1] / "examples"


@pytest.fixture
def run_example(monkeypatch):
    def run(name, *words):
        monkeypatch.setattr(sys, "argv", [name, *map(str, words)])
        runpy.run_path(str(EXAMPLES / name), run_name="__main__")

    return run


def test_a_case_becomes_masks_and_a_cohort_becomes_figures(tmp_path, run_example, capsys):
    write_case(tmp_path / "case_001")
    write_tiny_checkpoint(tmp_path / "tiny.safetensors")
    run_example(
        "case_to_masks.py", tmp_path / "case_001", tmp_path / "runs" / "case_001", tmp_path / "tiny.safetensors"
    )
    assert "5 members in" in capsys.readouterr().out
    assert (tmp_path / "runs" / "case_001" / "mask.nii.gz").is_file()

    run_example("uncertainty_of_a_cohort.py", tmp_path / "runs", tmp_path / "figures.csv")
    with (tmp_path / "figures.csv").open() as file:
        (row,) = csv.DictReader(file)
    assert (row["case"], row["members"]) == ("case_001", "5")
    assert float(row["any_ml"]) >= float(row["mean_ml"])


def test_a_state_dict_becomes_a_checkpoint_with_its_recipe(tmp_path, run_example, capsys):
    tiny = load_checkpoint(write_tiny_checkpoint(tmp_path / "tiny.safetensors"))
    torch.save({name: torch.as_tensor(value) for name, value in tiny.state.items()}, tmp_path / "weights.pt")
    run_example("checkpoint_from_state_dict.py", tmp_path / "weights.pt", tmp_path / "own.safetensors")
    assert "guessed:" in capsys.readouterr().out
    assert load_checkpoint(tmp_path / "own.safetensors").recipe.normalisation == "zscore"
