"""Data sets as people keep them: where cases, modalities and masks lie; each is trained on without being rearranged."""

import json

import nibabel as nib
import numpy as np
import pytest

from napari_diffseg.errors import BadCase
from napari_diffseg.recipe import Recipe
from napari_diffseg.training.config import DataSettings
from napari_diffseg.training.folders import FolderSource, find_cases

RECIPE = Recipe(modalities=("t1", "flair"), size=(16, 16))

LAYOUTS = {
    "a folder a case": ("{p}/{p}_t1", "{p}/{p}_flair", "{p}/{p}_seg"),
    "BraTS 2023": ("BraTS-GLI-0000{n}-000/BraTS-GLI-0000{n}-000-t1n", "BraTS-GLI-0000{n}-000/BraTS-GLI-0000{n}-000-t2f",
                   "BraTS-GLI-0000{n}-000/BraTS-GLI-0000{n}-000-seg"),
    "all cases in one folder": ("{p}_t1", "{p}_flair", "{p}_seg"),
    "groups of patients": ("HGG/{p}/{p}_t1", "HGG/{p}/{p}_flair", "HGG/{p}/{p}_seg"),
    "files called by their modality": ("{p}/T1", "{p}/FLAIR", "{p}/mask"),
    "images and labels": ("images/{p}/{p}_t1", "images/{p}/{p}_flair", "labels/{p}"),
    "masks in a folder of their own": ("data/{p}_t1", "data/{p}_flair", "masks/{p}_mask"),
    "a folder a modality": ("T1/{p}", "FLAIR/{p}", "masks/{p}"),
    "BIDS": ("sub-0{n}/anat/sub-0{n}_T1w", "sub-0{n}/anat/sub-0{n}_FLAIR", "sub-0{n}/anat/sub-0{n}_label-lesion_mask"),
    "BIDS with derivatives": ("sub-0{n}/anat/sub-0{n}_T1w", "sub-0{n}/anat/sub-0{n}_FLAIR",
                              "derivatives/manual/sub-0{n}/anat/sub-0{n}_label-lesion_mask"),
    "nnU-Net": ("imagesTr/{p}_0000", "imagesTr/{p}_0001", "labelsTr/{p}"),
}  # fmt: skip


def arrays(n):
    brain = np.zeros((14, 12, 5), np.int16)
    brain[2:12, 2:10, :4] = 50 + n
    lesion = np.zeros(brain.shape, np.uint8)
    lesion[4 : 5 + n, 5:7, 1:3] = 1
    return brain + 10 * lesion, brain + 60 * lesion, lesion


def write(path, data):
    path.parent.mkdir(parents=True, exist_ok=True)
    nib.save(nib.Nifti1Image(data, np.diag([-1.0, -1.0, 1.0, 1.0])), path)


@pytest.mark.parametrize("layout", LAYOUTS)
def test_a_layout_is_read_with_the_right_mask_of_the_right_patient(layout, tmp_path):
    root = tmp_path / "study"
    for n in (1, 2, 3):
        for pattern, data in zip(LAYOUTS[layout], arrays(n), strict=True):
            write(root / f"{pattern.format(n=n, p=f'case{n}')}.nii.gz", data)
    if layout == "nnU-Net":
        (root / "dataset.json").write_text(json.dumps({"channel_names": {"0": "T1", "1": "FLAIR"}}))
    source = FolderSource(find_cases(root, modalities=RECIPE.modalities), RECIPE, DataSettings(), seed=0)
    assert len(source.places) == 3
    for n, name in enumerate(source.places, start=1):
        source.check(name)
        labelled = source.read(name)
        t1, flair, lesion = arrays(n)
        np.testing.assert_array_equal(labelled.case.volumes["t1"].data, t1)
        np.testing.assert_array_equal(labelled.case.volumes["flair"].data, flair)
        np.testing.assert_array_equal(labelled.readers[0, 0], lesion > 0)
        assert source.marked(name).labels == {1}
        assert source.stamp(name) == source.stamp(name)


def test_what_was_derived_and_what_was_predicted_are_no_cases(tmp_path):
    for pattern in ("{p}/{p}_t1", "{p}/{p}_flair", "{p}/{p}_seg", "derivatives/old/{p}/{p}_t1"):
        for n in (1, 2):
            write(tmp_path / "study" / f"{pattern.format(p=f'case{n}')}.nii.gz", arrays(n)[0])
    assert list(find_cases(tmp_path / "study", modalities=RECIPE.modalities)) == ["case1", "case2"]


def test_a_case_of_which_several_images_fit_is_named_among_those_that_cannot_be_used(tmp_path):
    for n in (1, 2):
        for name, data in zip(("t1", "flair", "seg"), arrays(n), strict=True):
            write(tmp_path / "study" / f"case{n}_{name}.nii.gz", data)
    write(tmp_path / "study" / "case2_t1_bias.nii.gz", arrays(2)[0])
    found = find_cases(tmp_path / "study", modalities=RECIPE.modalities)
    source = FolderSource(found, RECIPE, DataSettings(), seed=0)
    source.check("case1")
    with pytest.raises(BadCase, match="both say t1"):
        source.check("case2")


def test_pick_says_which_of_several_images_is_trained_on(tmp_path):
    for n, name in enumerate(("t1", "t1_bias", "flair", "seg")):
        write(tmp_path / "study" / f"case1_{name}.nii.gz", arrays(1)[0] * (n + 1))
    data = DataSettings(pick=("*_bias*",))
    found = find_cases(tmp_path / "study", modalities=RECIPE.modalities, pick=data.pick)
    source = FolderSource(found, RECIPE, data, seed=0)
    assert source._files("case1").images["t1"].name == "case1_t1_bias.nii.gz"
    alone = tmp_path / "alone"
    (tmp_path / "study").rename(alone)
    in_its_folder = FolderSource({"case1": alone}, RECIPE, data, seed=0)
    assert in_its_folder._files("case1").images["t1"].name == "case1_t1_bias.nii.gz"
