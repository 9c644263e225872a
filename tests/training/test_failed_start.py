"""A training that failed before it learned anything: the corrected command works in the same folder."""

import pytest
import torch

from napari_diffseg.cli import main
from napari_diffseg.imaging.folder_lock import alone_in
from napari_diffseg.training import trainer


@pytest.fixture
def four_dimensional(cases, tmp_path):
    """The four cases once more, as 4-D files that need --channels."""
    import nibabel as nib
    import numpy as np

    for name in ("imagesTr", "labelsTr"):
        (tmp_path / "msd" / name).mkdir(parents=True)
    for case in cases.iterdir():
        images = [nib.load(case / f"{case.name}_{m}.nii.gz") for m in ("t1", "flair")]
        stacked = np.stack([np.asarray(image.dataobj) for image in images], axis=-1)
        nib.save(nib.Nifti1Image(stacked, images[0].affine), tmp_path / "msd" / "imagesTr" / f"{case.name}.nii.gz")
        seg = (case / f"{case.name}_seg.nii.gz").read_bytes()
        (tmp_path / "msd" / "labelsTr" / f"{case.name}.nii.gz").write_bytes(seg)
    return tmp_path / "msd"


@pytest.mark.parametrize("words", [(), ("--resume",)])
def test_a_forgotten_option_is_given_in_the_same_folder(train, four_dimensional, tmp_path, capsys, words):
    out = tmp_path / "out"
    assert train(out, data=four_dimensional) == 1
    assert "--channels" in capsys.readouterr().err
    assert train(out, "--channels", "t1,flair", "--stop-after", 1, *words, data=four_dimensional) == 0
    assert (out / "state.pt").exists()


def test_memory_that_ran_out_in_the_first_step_does_not_lock_the_folder(train, tmp_path, monkeypatch):
    def too_large(self, network, batch):
        raise torch.OutOfMemoryError("CUDA out of memory.")

    out = tmp_path / "out"
    monkeypatch.setattr(trainer.TrainingLoss, "__call__", too_large)
    assert train(out) == 1
    monkeypatch.undo()
    assert train(out, "--batch-size", 2, "--stop-after", 1) == 0
    assert train(tmp_path / "clean", "--batch-size", 2, "--stop-after", 1) == 0
    ended = [(folder / "last.safetensors").read_bytes() for folder in (out, tmp_path / "clean")]
    assert ended[0] == ended[1]


def test_slices_of_an_attempt_that_learned_nothing_are_not_taken_for_those_of_other_settings(train, tmp_path):
    out = tmp_path / "out"
    assert train(out, "--stop-after", 1) == 0
    for name in ("state.pt", "best.safetensors", "last.safetensors"):
        (out / name).unlink(missing_ok=True)
    assert train(out, "--resume", "--modalities", "flair", "--stop-after", 1) == 0


def test_what_was_learned_is_safe_though_its_state_is_gone(train, tmp_path, capsys):
    out = tmp_path / "out"
    assert train(out, "--stop-after", 1) == 0
    (out / "state.pt").unlink()
    before = (out / "last.safetensors").read_bytes()
    assert train(out) == 1
    assert "has a training already" in capsys.readouterr().err
    assert (out / "last.safetensors").read_bytes() == before


def test_a_folder_of_somebody_else_keeps_what_is_called_pool(tmp_path, cases, settings, capsys):
    (tmp_path / "out" / "pool").mkdir(parents=True)
    (tmp_path / "out" / "pool" / "mine.txt").write_text("mine")
    assert main([str(w) for w in ("train", "--data", cases, "--config", settings, "--out", tmp_path / "out")]) == 2
    assert (tmp_path / "out" / "pool" / "mine.txt").read_text() == "mine"
    assert main([str(w) for w in ("train", "--data", cases, "--config", settings, "--out", tmp_path / "out")]) == 2
    assert (tmp_path / "out" / "pool" / "mine.txt").exists()


def test_a_second_training_waits_for_none_and_touches_nothing_of_the_first(train, tmp_path, capsys):
    out = tmp_path / "out"
    with alone_in(out):
        assert train(out) == 2
        assert "A training is going on in" in capsys.readouterr().err
        assert [path.name for path in out.iterdir()] == [".lock"]
    assert train(out, "--stop-after", 1) == 0


def test_nothing_is_made_where_there_is_nothing_to_resume(train, tmp_path, capsys):
    assert train(tmp_path / "absent", "--resume") == 2
    assert "no training to resume" in capsys.readouterr().err
    assert not (tmp_path / "absent").exists()
