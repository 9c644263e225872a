import pickle
import shutil

import numpy as np
import pytest
from phantoms import LPS, ramp, write_image

from napari_diffseg.errors import BadCase, BadImage, GridMismatch
from napari_diffseg.imaging.case import Case, read_case
from napari_diffseg.imaging.volume import Volume, same_grid

FOUR = ("t1", "t1ce", "t2", "flair")


@pytest.fixture
def folder(tmp_path):
    """Four modalities, told apart by their first voxel, and a reference."""
    case = tmp_path / "case_7"
    case.mkdir()
    for n, name in enumerate(FOUR):
        write_image(case / f"case_7_{name}.nii.gz", ramp() + 100 * n)
    write_image(case / "case_7_seg.nii.gz", (ramp() > 5).astype(np.uint8))
    return case


def first_voxels(case):
    return {name: int(volume.data[0, 0, 0]) for name, volume in case.volumes.items()}


def test_a_folder_is_a_case_with_its_reference(folder):
    case = read_case(folder)
    assert case.id == "case_7"
    assert first_voxels(case) == {"t1": 1, "t1ce": 101, "t2": 201, "flair": 301}
    assert list(case.volumes) == list(FOUR)
    assert case.reference.data.sum() == (ramp() > 5).sum()
    assert case.shape == (4, 3, 2)
    np.testing.assert_array_equal(case.affine, LPS)


def test_modalities_come_in_the_order_wanted_and_others_are_not_read(folder):
    (folder / "case_7_t2.nii.gz").write_bytes(b"not an image")
    case = read_case(str(folder), modalities=["flair", "t1"])
    assert list(case.volumes) == ["flair", "t1"]
    assert case.grid_volume is case.volumes["flair"]
    with pytest.raises(BadImage, match="case_7_t2"):
        read_case(folder)


def test_files_may_be_named_one_by_one_in_any_order(folder):
    case = read_case([folder / "case_7_flair.nii.gz", str(folder / "case_7_t1.nii.gz")])
    assert first_voxels(case) == {"t1": 1, "flair": 301}
    assert case.reference is None


def test_a_single_modality_is_a_case(folder):
    assert first_voxels(read_case(folder / "case_7_flair.nii.gz")) == {"flair": 301}
    assert first_voxels(read_case(folder, modalities=["flair"])) == {"flair": 301}


def test_a_mapping_says_what_names_do_not(tmp_path):
    write_image(tmp_path / "pat1_mprage.nii", ramp())
    write_image(tmp_path / "pat1_dark.nii", ramp() + 300)
    write_image(tmp_path / "pat1_drawn.nii", np.zeros((4, 3, 2), np.uint8))
    files = {
        "flair": tmp_path / "pat1_dark.nii",
        "t1": tmp_path / "pat1_mprage.nii",
        "seg": tmp_path / "pat1_drawn.nii",
    }
    case = read_case(files)
    assert first_voxels(case) == {"flair": 301, "t1": 1}
    assert case.id == "pat1"
    assert not case.reference.data.any()


def test_the_original_authors_slices_are_a_case_of_one_slice(tmp_path):
    for name in FOUR:
        write_image(tmp_path / f"brats_train_001_{name}_080_w.nii.gz", ramp((6, 5), "f8"), np.eye(4), sform_code=2)
    case = read_case(tmp_path)
    assert case.id == "brats_train_001_080_w"
    assert case.shape == (6, 5, 1)


@pytest.fixture
def four_dimensional(tmp_path):
    data = np.stack([ramp() + 100 * n for n in (3, 0, 1, 2)], axis=-1)
    return write_image(tmp_path / "BRATS_001.nii.gz", data)


def test_channels_of_one_file_are_what_the_user_says(four_dimensional):
    case = read_case(four_dimensional, channels=["flair", "t1", "t1ce", "t2"], modalities=FOUR)
    assert case.id == "BRATS_001"
    assert first_voxels(case) == {"t1": 1, "t1ce": 101, "t2": 201, "flair": 301}


@pytest.mark.parametrize(
    ("channels", "text"),
    [
        (None, "has 4 channels and does not say what they are: name them in the file's order"),
        (["t1", "t2"], "has 4 channels, but 2 are named \\(t1, t2\\)"),
        (["t1", "t1", "t2", "flair"], "but 4 are named .*: name each once"),
    ],
)
def test_channels_are_never_guessed(four_dimensional, channels, text):
    with pytest.raises(BadCase, match=text):
        read_case(four_dimensional, channels=channels)


def test_channels_and_the_grid_are_named_in_any_spelling_and_others_are_not_read(four_dimensional):
    case = read_case(four_dimensional, channels=["FLAIR", "T1", "t1gd", "T2"], modalities=FOUR, resample_to="T1c")
    assert first_voxels(case) == {"t1": 1, "t1ce": 101, "t2": 201, "flair": 301}
    case = read_case(four_dimensional, channels=["FLAIR", "other", "other", "T2"], modalities=FOUR, may_miss=True)
    assert first_voxels(case) == {"t2": 201, "flair": 301}


def test_a_channel_that_is_misspelt_never_drops_a_modality(four_dimensional):
    with pytest.raises(BadCase, match=r"did you mean t1ce\?"):
        read_case(four_dimensional, channels=["flair", "t1", "tlce", "t2"], modalities=FOUR, may_miss=True)


def test_a_file_whose_name_says_nothing_is_what_the_user_says(tmp_path):
    path = write_image(tmp_path / "scan.nii", ramp())
    assert list(read_case(path, channels=["flair"]).volumes) == ["flair"]
    with pytest.raises(BadCase, match=r"scan\.nii: the name states no modality, or not clearly: rename"):
        read_case(path)


def test_channels_belong_to_one_file(folder):
    files = sorted(folder.glob("*_t*.nii.gz"))
    with pytest.raises(BadCase, match="3 files are given"):
        read_case(files, channels=["t1", "t1ce", "t2"])
    with pytest.raises(BadCase, match="case_7 is a folder"):
        read_case(folder, channels=["t1"])


def test_a_missing_modality_is_named_with_those_that_are_there(folder):
    (folder / "case_7_t1ce.nii.gz").unlink()
    with pytest.raises(BadCase, match=r"Case case_7: no t1ce among its images \(t1, t2, flair\)"):
        read_case(folder, modalities=FOUR)


def test_what_may_be_missing_is_left_out_as_long_as_something_is_there(folder):
    (folder / "case_7_t1.nii.gz").unlink()
    case = read_case(folder, modalities=FOUR, may_miss=True)
    assert first_voxels(case) == {"t1ce": 101, "t2": 201, "flair": 301}
    with pytest.raises(BadCase, match=r"no pet, t1 among its images \(t1ce, t2, flair\)"):
        read_case(folder, modalities=("pet", "t1"), may_miss=True)


def test_an_image_that_is_no_modality_by_its_name_is_told_where_one_is_missing(folder, caplog):
    write_image(folder / "notes.nii.gz", ramp())
    read_case(folder, modalities=FOUR, may_miss=True)
    assert caplog.text == ""
    (folder / "case_7_t1ce.nii.gz").rename(folder / "case_7_contrasted.nii.gz")
    read_case(folder, modalities=FOUR, may_miss=True)
    assert "no t1ce, and case_7_contrasted.nii.gz, notes.nii.gz is not used" in caplog.text


def test_two_cases_and_a_modality_given_twice_are_refused(folder):
    other = shutil.copy(folder / "case_7_t1.nii.gz", folder.parent / "case_8_t2.nii.gz")
    with pytest.raises(BadCase, match="2 cases \\(case_7, case_8\\)"):
        read_case([folder / "case_7_t1.nii.gz", other])
    twin = shutil.copy(folder / "case_7_t1.nii.gz", folder.parent / "case_7_t1n.nii.gz")
    with pytest.raises(BadCase, match=r"case_7_t1.nii.gz and case_7_t1n.nii.gz both say t1"):
        read_case([folder / "case_7_t1.nii.gz", twin])


def test_nothing_is_no_case(tmp_path):
    for source in (tmp_path, [], {}):
        with pytest.raises(BadCase):
            read_case(source)
    with pytest.raises(BadCase):
        read_case({"seg": write_image(tmp_path / "m.nii", ramp())})
    with pytest.raises(BadImage, match="does not exist"):
        read_case(tmp_path / "absent")


def test_grids_that_differ_are_both_printed_with_what_to_do(folder):
    write_image(folder / "case_7_flair.nii.gz", ramp((8, 3, 2)), np.diag([-0.5, -1.0, 1.0, 1.0]))
    with pytest.raises(GridMismatch) as caught:
        read_case(folder)
    assert str(caught.value) == (
        "Case case_7: flair is 8 x 3 x 2 voxels of 0.50 x 1.00 x 1.00 mm, LPS, but t1 is 4 x 3 x 2 voxels of "
        "1.00 x 1.00 x 1.00 mm, LPS. The modalities of a case must share one grid: resample them to t1."
    )


def test_the_same_shape_at_another_place_is_another_grid(folder):
    moved = LPS.copy()
    moved[0, 3] = 0.5
    write_image(folder / "case_7_flair.nii.gz", ramp(), moved)
    with pytest.raises(GridMismatch, match="LPS, elsewhere in space"):
        read_case(folder)


MASKS_OF_NO_USE = {
    "fractions": (np.linspace(0, 0.9, 24, dtype="f4").reshape(4, 3, 2), {}),
    "colours": (ramp(dtype=np.uint8), {"datatype": 128, "bitpix": 24}),
    "4-D": (np.ones((4, 3, 2, 3), np.uint8), {}),
    "another shape": (np.ones((9, 3, 2), np.uint8), {}),
    "another place": (np.ones((4, 3, 2), np.uint8), {"srow_x": [-1, 0, 0, 0.3]}),
    "no orientation": (np.ones((4, 3, 2), np.uint8), {"srow_x": [0, 0, 0, 0]}),
}


@pytest.mark.parametrize("wrong", MASKS_OF_NO_USE)
def test_a_mask_that_cannot_be_used_is_left_out_with_the_reason(folder, wrong):
    data, fields = MASKS_OF_NO_USE[wrong]
    write_image(folder / "case_7_seg.nii.gz", data, **fields)
    case = read_case(folder)
    assert (list(case.volumes), case.reference) == (list(FOUR), None)
    [note] = case.notes
    assert note.startswith("the mask beside the images is not used: case_7_seg.nii.gz")
    assert pickle.loads(pickle.dumps(case)).notes == case.notes


@pytest.mark.parametrize("names", [("seg", "mask"), ("flair_seg_label1", "t1ce_seg_label2")])
def test_of_several_masks_none_is_used_and_that_is_said(folder, names):
    (folder / "case_7_seg.nii.gz").unlink()
    for name in names:
        write_image(folder / f"case_7_{name}.nii.gz", np.ones((4, 3, 2), np.uint8))
    case = read_case(folder)
    assert case.reference is None
    [note] = case.notes
    assert "of several masks beside the images" in note
    assert all(f"case_7_{name}.nii.gz" in note for name in names)


@pytest.mark.parametrize("flips", [(1, 0, 0), (0, 1, 1), (1, 1, 1)])
def test_images_and_masks_whose_voxels_are_stored_in_another_order_are_reordered(folder, flips):
    moved = LPS.copy()
    axes = [axis for axis, flip in enumerate(flips) if flip]
    for axis in axes:
        moved[:3, 3] += LPS[:3, axis] * (ramp().shape[axis] - 1)
        moved[:3, axis] = -LPS[:3, axis]
    write_image(folder / "case_7_t2.nii.gz", np.flip(ramp() + 200, axes), moved)
    write_image(folder / "case_7_seg.nii.gz", np.flip((ramp() > 5).astype(np.uint8), axes), moved)
    case = read_case(folder)
    np.testing.assert_array_equal(case.volumes["t2"].data, ramp() + 200)
    np.testing.assert_array_equal(case.reference.data, ramp() > 5)
    np.testing.assert_array_equal(case.volumes["t2"].affine, LPS)
    assert case.volumes["t2"].notes[0].startswith("reordered to the grid of t1")


def test_a_damaged_mask_is_left_out_too(folder):
    (folder / "case_7_seg.nii.gz").write_bytes(b"<html>")
    assert "a web page" in read_case(folder).notes[0]


def test_a_reference_on_another_grid_makes_no_case(folder):
    case = read_case(folder)
    other = Volume(np.ones((9, 3, 2), np.uint8), LPS, None, None, ())
    with pytest.raises(GridMismatch, match="the reference mask is 9 x 3 x 2"):
        Case("case_7", case.volumes, other)


def test_resampling_brings_all_to_the_grid_that_is_named(folder):
    shifted = LPS.copy()
    shifted[0, 3] = -0.5  # half a voxel: along the first axis the ramp rises by 1
    write_image(folder / "case_7_t2.nii.gz", ramp(), shifted)
    turned = np.diag([1.0, -1.0, 1.0, 1.0])
    turned[0, 3] = -3
    write_image(folder / "case_7_seg.nii.gz", (ramp() > 5).astype(np.uint8)[::-1], turned)
    case = read_case(folder, resample_to="t1")
    assert all(same_grid(v, case.volumes["t1"]) for v in case.volumes.values())
    np.testing.assert_allclose(case.volumes["t2"].data[1:], ramp()[1:] - 0.5)
    np.testing.assert_array_equal(case.reference.data, ramp() > 5)
    assert case.volumes["t1"].notes == ()
    (note,) = case.volumes["t2"].notes
    assert note == "resampled to the grid of t1: it was 4 x 3 x 2 voxels of 1.00 x 1.00 x 1.00 mm, LPS"
    assert case.volumes["t2"].digest != read_case(folder / "case_7_t2.nii.gz").volumes["t2"].digest


def test_resampling_what_shares_a_grid_changes_nothing(folder):
    plain, asked = read_case(folder), read_case(folder, resample_to="flair")
    assert {m: v.digest for m, v in plain.volumes.items()} == {m: v.digest for m, v in asked.volumes.items()}


def test_resampling_to_what_is_not_there_is_refused(folder):
    with pytest.raises(BadCase, match="there is no pd to resample to: choose among t1, t1ce, t2, flair"):
        read_case(folder, resample_to="pd")


def test_a_case_crosses_a_pickle_and_cannot_be_changed(folder):
    case = read_case(folder)
    again = pickle.loads(pickle.dumps(case))
    assert first_voxels(again) == first_voxels(case)
    assert again.volumes["t1"].digest == case.volumes["t1"].digest
    with pytest.raises(TypeError):
        case.volumes["t1"] = case.volumes["t2"]


def test_a_case_without_images_or_with_two_grids_cannot_be_made():
    small, large = (Volume(ramp(shape), LPS, None, None, ()) for shape in ((4, 3, 2), (5, 3, 2)))
    with pytest.raises(BadCase, match="Case x: it has no image"):
        Case("x", {}, None)
    with pytest.raises(GridMismatch, match="Case x: t2 is 5 x 3 x 2"):
        Case("x", {"t1": small, "t2": large}, None)


@pytest.mark.cases
@pytest.mark.parametrize(("name", "labelled"), [("case_006", True), ("case_103", False), ("case_301", True)])
def test_real_cases_are_cases(cases_folder, name, labelled):
    case = read_case(cases_folder / name)
    assert case.id == name
    assert list(case.volumes) == list(FOUR)
    assert (case.reference is not None) is labelled


def test_a_path_that_cannot_be_looked_at_is_one_sentence():
    with pytest.raises(BadCase, match="cannot be looked at"):
        read_case("x" * 300)
