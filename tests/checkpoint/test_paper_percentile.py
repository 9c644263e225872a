"""The upper percentile of the paper's weights: what its example slices show, and what a converted file keeps."""

import nibabel as nib
import numpy as np
import pytest

from napari_diffseg.checkpoint import describe, load_checkpoint, save_checkpoint
from napari_diffseg.checkpoint.convert import convert_checkpoint
from napari_diffseg.recipe import PAPER, Recipe
from napari_diffseg.training.presets import preset

MODALITIES = ("t1", "t1ce", "t2", "flair")


def test_bare_weights_and_the_papers_preset_are_cut_at_the_99th_percentile(save_state):
    checkpoint = load_checkpoint(save_state())
    assert checkpoint.recipe.percentile == PAPER.percentile == preset("paper").recipe.percentile == 99
    assert dict(describe(checkpoint))["normalisation"] == "percentile, upper percentile 99 of the brain"
    [guess] = [line for line in checkpoint.guesses if line.startswith("percentile")]
    assert guess.startswith("percentile = 99 (")
    assert "99.5 before" in guess


def test_a_file_converted_before_keeps_its_percentile_and_says_that_another_is_guessed_now(tmp_path, state, config):
    old = PAPER.model_copy(update={"percentile": 99.5, "size": (16, 16)})
    guess = "percentile = 99.5 (fits the original's example data)"
    save_checkpoint(tmp_path / "old.safetensors", state, recipe=old, config=config, guesses=(guess,))
    loaded = load_checkpoint(tmp_path / "old.safetensors")
    assert loaded.recipe.percentile == 99.5
    assert "fit 99" in dict(describe(loaded))["note"]
    again = convert_checkpoint(tmp_path / "old.safetensors", tmp_path / "new.safetensors", percentile=99)
    assert again.recipe.percentile == 99
    assert "note" not in dict(describe(again))


def test_a_recipe_without_a_percentile_means_what_it_meant_when_it_was_written():
    assert Recipe(modalities=MODALITIES).percentile == 99.5


@pytest.mark.cases
def test_the_example_slices_are_saturated_as_the_99th_percentile_of_a_brain_saturates_them(cases_folder):
    def saturated(name, q):
        shares = []
        for modality in MODALITIES:
            data = np.asarray(nib.load(cases_folder / name / f"{name}_{modality}.nii.gz").dataobj)
            top = data.max() if q is None else np.percentile(data[data != 0], q)
            slices = data if q is None else data[..., 80:86]
            shares.append(np.count_nonzero(slices >= top) / np.count_nonzero(slices))
        return np.mean(shares)

    example = saturated("case_301", None)
    others = ("case_012", "case_015", "case_018")
    by = {q: np.mean([saturated(name, q) for name in others]) for q in (99, 99.5)}
    assert abs(example - by[99]) < 0.5 * abs(example - by[99.5])
