"""Cases on disk: every layout that BraTS had, slices, 4-D files, readers, and what is refused."""

import nibabel as nib
import numpy as np
import pytest

from napari_diffseg.errors import BadCase
from napari_diffseg.recipe import Recipe
from napari_diffseg.training.config import DataSettings
from napari_diffseg.training.folders import FolderSource, find_cases
from napari_diffseg.training.pool import build_pool, open_pool
from napari_diffseg.training.split import Split

RECIPE = Recipe(modalities=("t1", "flair"), size=(16, 16))


def source(folder, **data):
    return FolderSource(find_cases(folder), RECIPE, DataSettings(**data), seed=0)


def test_cases_are_found_at_any_depth_by_their_own_names(tmp_path, write_labelled):
    for place, case in (
        ("HGG/a", "Brats18_A_1"),
        ("LGG/deep/b", "Brats18_B_1"),
        ("BraTS2021_00001", "BraTS2021_00001"),
    ):
        write_labelled(tmp_path / place, case)
    found = find_cases(tmp_path)
    assert list(found) == ["BraTS2021_00001", "Brats18_A_1", "Brats18_B_1"]
    assert found["Brats18_A_1"] == tmp_path / "HGG" / "a"


def test_linked_cases_are_found_and_links_in_a_circle_end(tmp_path, write_labelled):
    write_labelled(tmp_path / "store" / "p1", "p1")
    (tmp_path / "study").mkdir()
    (tmp_path / "study" / "p1").symlink_to(tmp_path / "store" / "p1")
    (tmp_path / "study" / "again").symlink_to(tmp_path / "study")
    assert find_cases(tmp_path / "study") == {"p1": tmp_path / "study" / "p1"}


def test_the_names_of_2023_are_read(tmp_path, write_labelled):
    folder = tmp_path / "BraTS-GLI-00001-000"
    write_labelled(folder, "x", modalities=("t1n", "t2f"))
    for path in list(folder.iterdir()):
        path.rename(folder / path.name.replace("x_", "BraTS-GLI-00001-000-"))
    labelled = source(tmp_path).read("BraTS-GLI-00001-000")
    assert list(labelled.case.volumes) == ["t1", "flair"]
    assert labelled.readers.sum() == 4 * 4 * 3


def test_the_originals_slice_folders_are_cases_of_one_patient(tmp_path):
    for z in (80, 81):
        folder = tmp_path / f"slice{z}"
        folder.mkdir()
        for name in ("t1", "flair", "seg"):
            data = np.zeros((24, 20))
            data[4:20, 3:17] = 0.5
            data[6:9, 5:8] = 1
            if name == "seg":
                data = (data == 1) * 4.0
            nib.save(nib.Nifti1Image(data, np.eye(4)), folder / f"brats_train_001_{name}_{z:03d}_w.nii.gz")
    cases = source(tmp_path)
    assert len(cases.places) == 2
    slices = cases.slices(next(iter(cases.places)))
    assert slices.images.shape == (1, 2, 16, 16)
    # rows run to posterior, columns to left, as they are stored: nothing is transposed
    np.testing.assert_array_equal(np.argwhere(slices.masks[0, 0, 0])[[0, -1]], [[2, 3], [4, 5]])


def test_4d_files_have_their_masks_in_the_folder_of_labels(tmp_path):
    for name in ("imagesTr", "labelsTr"):
        (tmp_path / name).mkdir()
    image = np.zeros((12, 10, 4, 2), np.float32)
    image[2:10, 2:8, :, 0], image[2:10, 2:8, :, 1] = 5, 9
    mask = np.zeros((12, 10, 4), np.uint8)
    mask[3:5, 3:5, 1] = 3
    nib.save(nib.Nifti1Image(image, np.eye(4)), tmp_path / "imagesTr" / "BRATS_001.nii.gz")
    nib.save(nib.Nifti1Image(mask, np.eye(4)), tmp_path / "labelsTr" / "BRATS_001.nii.gz")
    labelled = source(tmp_path, channels=("flair", "t1")).read("BRATS_001")
    assert labelled.case.volumes["t1"].data.max() == 9
    assert labelled.readers.sum() == 4
    with pytest.raises(BadCase, match="nothing says what they are"):
        source(tmp_path).check("BRATS_001")


def test_nnunets_files_for_each_channel_are_one_case_with_its_label(tmp_path):
    for name in ("imagesTr", "labelsTr", "imagesTs"):
        (tmp_path / name).mkdir()
    (tmp_path / "dataset.json").write_text('{"channel_names": {"0": "FLAIR", "1": "T1w"}}')
    mask = np.zeros((12, 10, 4), np.uint8)
    mask[3:5, 3:5, 1] = 3
    for case in ("A_1", "A_2"):
        for number in range(2):
            image = nib.Nifti1Image(np.pad(np.full((8, 6, 4), 5.0 + number), ((2, 2), (2, 2), (0, 0))), np.eye(4))
            nib.save(image, tmp_path / "imagesTr" / f"{case}_{number:04d}.nii.gz")
            nib.save(image, tmp_path / "imagesTs" / f"B_{number:04d}.nii.gz")
        nib.save(nib.Nifti1Image(mask, np.eye(4)), tmp_path / "labelsTr" / f"{case}.nii.gz")
    cases = source(tmp_path)
    assert list(cases.places) == ["A_1", "A_2"]
    labelled = cases.read("A_2")
    assert labelled.case.id == "A_2"
    assert [volume.data.max() for volume in labelled.case.volumes.values()] == [6, 5]
    assert labelled.readers.sum() == 4


def test_several_readers_masks_are_all_read_and_one_pool_holds_different_numbers(tmp_path, write_labelled):
    write_labelled(tmp_path / "in" / "p1", "p1", readers=3)
    write_labelled(tmp_path / "in" / "p2", "p2")
    build_pool(tmp_path / "pool", source(tmp_path / "in"), Split(("p1", "p2"), ()), told=lambda done, total: None)
    pool, split = open_pool(tmp_path / "pool")
    assert np.diff(pool.first).tolist() == [3, 3, 3, 3, 1, 1, 1, 1]
    assert pool.has_lesion().tolist() == [False, True, True, True] * 2
    assert split.train == ("p1", "p2")
    np.testing.assert_array_equal(pool.images[:4], source(tmp_path / "in").slices("p1").images)


def test_labels_that_do_not_count_are_background(tmp_path, write_labelled):
    write_labelled(tmp_path / "p1", "p1")  # its lesion has label 2
    assert source(tmp_path, lesion_labels=(1, 4)).read("p1").readers.sum() == 0
    assert source(tmp_path, lesion_labels=(2,)).read("p1").readers.sum() == 48


def test_only_slices_in_the_range_are_trained_on(tmp_path, write_labelled):
    write_labelled(tmp_path / "p1", "p1")
    assert len(source(tmp_path, slices="1:3").slices("p1").images) == 2
    with pytest.raises(BadCase, match="80:129 hold none of its 5 slices"):
        source(tmp_path, slices="80:129").slices("p1")


def test_a_case_without_mask_is_named(tmp_path, write_labelled):
    write_labelled(tmp_path / "p1", "p1", seg=False)
    with pytest.raises(BadCase, match=r"Case p1: there is no mask p1_seg\.nii\.gz"):
        source(tmp_path).read("p1")
    with pytest.raises(BadCase, match=r"no mask \{case\}_expert"):
        source(tmp_path, reader_pattern="{case}_expert*").read("p1")


def test_a_folder_without_cases_and_no_folder_are_one_sentence_each(tmp_path):
    with pytest.raises(BadCase, match="holds no case"):
        find_cases(tmp_path)
    with pytest.raises(BadCase, match="is no folder"):
        find_cases(tmp_path / "nothing")


def test_two_cases_of_one_name_are_told_apart_by_their_folders(tmp_path, write_labelled):
    write_labelled(tmp_path / "a", "p1")
    write_labelled(tmp_path / "b", "p1")
    assert set(find_cases(tmp_path)) == {"a_p1", "b_p1"}


def test_an_interrupted_encoding_leaves_no_pool(tmp_path, write_labelled):
    write_labelled(tmp_path / "in" / "p1", "p1")
    write_labelled(tmp_path / "in" / "p2", "p2", seg=False)
    with pytest.raises(BadCase, match="p2"):
        build_pool(tmp_path / "pool", source(tmp_path / "in"), Split(("p1", "p2"), ()), told=lambda done, total: None)
    assert not (tmp_path / "pool").exists()


def test_a_full_disk_is_one_sentence_and_leaves_no_pool(tmp_path, write_labelled, monkeypatch):
    from napari_diffseg.errors import OutputFailed

    def full(*arguments):
        raise OSError(28, "No space left on device")

    write_labelled(tmp_path / "in" / "p1", "p1")
    monkeypatch.setattr("napari_diffseg.training.pool._Part.append", full)
    with pytest.raises(OutputFailed, match="No space left on device: make room"):
        build_pool(tmp_path / "pool", source(tmp_path / "in"), Split(("p1",), ()), told=lambda done, total: None)
    assert not (tmp_path / "pool").exists()
