"""Probabilities for nnU-Net: its channels, its order of axes, its names."""

import pickle

import nibabel as nib
import numpy as np
import pytest
import SimpleITK as sitk

from napari_diffseg.ensemble.summary import Rule, Summary
from napari_diffseg.errors import BadRequest, OutputExists
from napari_diffseg.imaging.save import write_nifti
from napari_diffseg.imaging.volume import Volume
from napari_diffseg.regions import Region, regions_named
from napari_diffseg.runs.export import ExportChoice, count_files, export_run
from napari_diffseg.runs.export_plan import refuse_collisions
from napari_diffseg.runs.layout import Style
from napari_diffseg.runs.nnunet_file import channels_of, properties_of
from napari_diffseg.runs.stored_run import read_run
from stored_runs import write_run

TILTED = nib.affines.from_matvec(nib.eulerangles.euler2mat(0.1, -0.2, 0.3) @ np.diag([-0.9, 1.1, 4.0]), [-31, 22, 8])
EXCLUSIVE = (Region(name="edema", values=(2,)), Region(name="core", values=(1,)))


def export(tmp_path, **choice):
    run = read_run(tmp_path / "run")
    choice = ExportChoice(**({"what": ("npz",)} | choice))
    told = list(export_run(run, tmp_path / "out", choice))
    assert len(told) == count_files(run, choice)
    return run, told


def segmented(channels):
    """What nnU-Net makes of the probabilities of labels."""
    return channels.argmax(axis=0)


@pytest.mark.parametrize("rule", [Rule.MAJORITY, Rule.PROBABILITY])
def test_nnunet_makes_the_same_mask_of_the_file(tmp_path, rule):
    write_run(tmp_path / "run", smoothing_mm=1.0)
    summary = Summary(rule)
    export(tmp_path, what=("mask", "npz"), pattern="{case}", summary=summary)
    assert {p.name for p in (tmp_path / "out").iterdir()} == {
        "case_1.nii.gz", "case_1.npz", "case_1.pkl", "case_1_run.json",
    }  # fmt: skip
    channels = np.load(tmp_path / "out" / "case_1.npz")["probabilities"]
    mask = sitk.GetArrayFromImage(sitk.ReadImage(tmp_path / "out" / "case_1.nii.gz"))
    assert channels.dtype == np.float32
    assert channels.shape == (2, *mask.shape)
    np.testing.assert_allclose(channels.sum(axis=0), 1, atol=1e-6)
    np.testing.assert_array_equal(segmented(channels), mask)
    assert mask.any()


def test_the_image_that_nnunet_writes_lies_where_the_mask_does(tmp_path):
    grid = Volume(np.random.default_rng(0).random((6, 5, 4)).astype("f4"), TILTED, None, None, ())
    write_nifti(tmp_path / "image.nii.gz", grid.data, grid)
    read = sitk.ReadImage(tmp_path / "image.nii.gz")
    said = pickle.loads(pickle.dumps(properties_of(grid), 4))
    ours = sitk.GetImageFromArray(sitk.GetArrayFromImage(read))
    ours.SetSpacing(said["sitk_stuff"]["spacing"])
    ours.SetOrigin(said["sitk_stuff"]["origin"])
    ours.SetDirection(said["sitk_stuff"]["direction"])
    for corner in ((0, 0, 0), (5, 4, 3)):
        np.testing.assert_allclose(
            ours.TransformIndexToPhysicalPoint(corner), read.TransformIndexToPhysicalPoint(corner), atol=1e-4
        )
    np.testing.assert_array_equal(said["nibabel_stuff"]["original_affine"], TILTED)
    np.testing.assert_allclose(said["spacing"], read.GetSpacing()[::-1], rtol=1e-6)


def test_labels_that_exclude_each_other_have_a_background_and_the_order_of_their_values():
    p = np.zeros((2, 1, 2, 3), np.float32)
    p[:, 0, 0, 0] = 0.25, 0.5
    p[:, 0, 1, 2] = 0.75, 0.75  # more than there is
    channels = channels_of(p, EXCLUSIVE)
    assert channels.shape == (3, 3, 2, 1)
    np.testing.assert_array_equal(channels[:, 0, 0, 0], [0.25, 0.5, 0.25])
    np.testing.assert_array_equal(channels[:, 2, 1, 0], [0, 0.5, 0.5])
    np.testing.assert_array_equal(channels[:, 1, 1, 0], [1, 0, 0])


def test_nested_regions_have_a_channel_each_outermost_first():
    whole, core, enhancing = regions_named("brats2021")
    p = np.random.default_rng(0).random((3, 2, 3, 4)).astype(np.float32)
    channels = channels_of(p, (core, whole, enhancing))
    np.testing.assert_array_equal(channels, p[[1, 0, 2]].transpose(0, 3, 2, 1))


def test_regions_of_unknown_values_are_channels_of_their_own():
    p = np.ones((2, 2, 3, 4), np.float32)
    assert channels_of(p, (Region(name="a"), Region(name="b"))).shape == (2, 4, 3, 2)


def test_the_files_are_called_as_nnunets_whatever_the_others_are(tmp_path):
    write_run(tmp_path / "run")
    _, told = export(tmp_path, what=("mask", "npz"), style=Style.BIDS)
    assert {p.relative_to(tmp_path / "out").as_posix() for p in told[1:3]} == {"case_1.npz", "case_1.pkl"}
    assert "*.npz" in (tmp_path / "out" / ".bidsignore").read_text().split()


def test_they_are_on_the_grid_that_is_asked_for(tmp_path):
    write_run(tmp_path / "run")
    like = Volume(np.zeros((3, 7, 2), np.float32), np.diag([2.0, 1, 3, 1]), None, None, ())
    export(tmp_path, like=like)
    assert np.load(tmp_path / "out" / "case_1.npz")["probabilities"].shape == (2, 2, 7, 3)


def test_they_are_not_replaced_unasked_nor_by_another_run(tmp_path):
    write_run(tmp_path / "run")
    write_run(tmp_path / "other")
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "case_1.npz").write_bytes(b"")
    with pytest.raises(OutputExists):
        export(tmp_path)
    choice = ExportChoice(what=("npz",))
    with pytest.raises(BadRequest, match="one name"):
        refuse_collisions([tmp_path / "run", tmp_path / "other"], tmp_path / "new", choice)
