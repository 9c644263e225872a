"""A result lies where its image lies, bit for bit, and says nothing else about the patient."""

import gzip

import nibabel as nib
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from phantoms import LPS, OBLIQUE, ORIENTATIONS, oriented, ramp, write_image

from napari_diffseg.errors import BadImage, GridMismatch, OutputExists, OutputFailed
from napari_diffseg.imaging.formats.nifti import read_mask, read_volume
from napari_diffseg.imaging.save import write_nifti
from napari_diffseg.imaging.volume import Volume

GEOMETRY = (
    *("qform_code", "sform_code", "quatern_b", "quatern_c", "quatern_d", "qoffset_x", "qoffset_y", "qoffset_z"),
    *("srow_x", "srow_y", "srow_z", "xyzt_units"),
)


def header(path):
    with nib.openers.Opener(path) as file:
        return nib.Nifti1Header.from_fileobj(file, check=False)


def assert_same_geometry(path, source):
    mine, theirs = header(path), header(source)
    for name in GEOMETRY:
        np.testing.assert_array_equal(mine[name], theirs[name], err_msg=name)
    np.testing.assert_array_equal(mine["pixdim"][:4], theirs["pixdim"][:4])


@pytest.mark.parametrize("codes", [(0, 1), (1, 0), (1, 1), (2, 1), (1, 4), (0, 2), (0, 0)])
@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize(
    "affine", [LPS, OBLIQUE, oriented(("S", "L", "A"), tilt=0.3)], ids=["lps", "oblique", "permuted"]
)
def test_affines_codes_and_units_of_the_source_survive_bit_for_bit(tmp_path, codes, order, affine):
    qform, sform = codes
    model = nib.Nifti1Header()
    model.set_qform(affine, 1)
    quaternion = {n: float(model[n]) for n in GEOMETRY[2:8]}
    pixdim = {i: float(model["pixdim"][i]) for i in range(4)}
    source = write_image(
        *(tmp_path / "source.nii.gz", ramp(), affine),
        **{"order": order, "qform_code": qform, "sform_code": sform, "pixdim": pixdim, "xyzt_units": 10, **quaternion},
    )
    like = read_volume(source)
    write_nifti(tmp_path / "mask.nii.gz", ramp() > 5, like)
    assert_same_geometry(tmp_path / "mask.nii.gz", source)
    np.testing.assert_array_equal(read_mask(tmp_path / "mask.nii.gz").affine, like.affine)
    np.testing.assert_array_equal(nib.load(tmp_path / "mask.nii.gz").affine, nib.load(source).affine)


@given(codes=st.sampled_from(ORIENTATIONS), tilt=st.floats(-0.7, 0.7), shape=st.tuples(*[st.integers(1, 6)] * 3))
def test_a_mask_lies_on_its_image_in_any_orientation(tmp_path_factory, codes, tilt, shape):
    folder = tmp_path_factory.mktemp("orientation")
    data = ramp((*shape[:2], shape[2] + 1))
    like = read_volume(write_image(folder / "a.nii", data, oriented(codes, tilt=tilt)))
    write_nifti(folder / "mask.nii", data % 3 == 0, like)
    mask = read_mask(folder / "mask.nii")
    np.testing.assert_array_equal(mask.data, data % 3 == 0)
    np.testing.assert_array_equal(mask.affine, like.affine)


@pytest.mark.parametrize(("dtype", "stored"), [(bool, "u1"), ("u1", "u1"), ("f4", "f4"), (">f4", "f4")])
def test_masks_are_bytes_and_maps_are_floats_without_scaling(tmp_path, dtype, stored):
    like = Volume(ramp(), LPS, None, None, ())
    array = (ramp() % 2).astype(dtype)
    write_nifti(tmp_path / "a.nii", array, like)
    saved = nib.load(tmp_path / "a.nii", mmap=False)
    assert saved.get_data_dtype() == np.dtype(stored)
    assert (saved.dataobj.slope, saved.dataobj.inter) == (1, 0)
    np.testing.assert_array_equal(np.asarray(saved.dataobj), array.astype(stored))


@pytest.mark.parametrize("dtype", ["i8", "f8", "i2", "c8"])
def test_other_types_are_refused(tmp_path, dtype):
    with pytest.raises(BadImage, match="is not written: give bool, uint8 or uint16"):
        write_nifti(tmp_path / "a.nii", ramp(dtype=dtype), Volume(ramp(), LPS, None, None, ()))
    assert not (tmp_path / "a.nii").exists()


def test_another_shape_is_refused_with_both(tmp_path):
    with pytest.raises(GridMismatch, match=r"array of 3 x 4 x 2 voxels .* grid of 4 x 3 x 2 voxels of 1\.00"):
        write_nifti(tmp_path / "a.nii", ramp((3, 4, 2)) > 0, Volume(ramp(), LPS, None, None, ()))


@pytest.mark.parametrize("name", ["a", "a.gz", "a.img", "a.nii.gz.txt"])
def test_a_name_that_no_reader_would_know_is_refused(tmp_path, name):
    with pytest.raises(OutputFailed, match=r"end in \.nii\.gz or \.nii"):
        write_nifti(tmp_path / name, ramp() > 0, Volume(ramp(), LPS, None, None, ()))


def test_no_text_of_the_source_is_copied(tmp_path):
    fields = {"descrip": b"Mueller, Anna", "aux_file": b"ANNA", "db_name": b"ANNA", "intent_name": b"ANNA"}
    source = write_image(tmp_path / "source.nii", ramp(), **fields)
    write_nifti(tmp_path / "mask.nii", ramp() > 5, read_volume(source))
    content = (tmp_path / "mask.nii").read_bytes().upper()
    assert b"ANNA" in source.read_bytes().upper()
    assert b"ANNA" not in content
    assert str(tmp_path).encode().upper() not in content


def test_the_same_array_gives_the_same_bytes_whatever_the_name_and_the_time(tmp_path, monkeypatch):
    like = Volume(ramp(), LPS, None, None, ())
    write_nifti(tmp_path / "a.nii.gz", ramp() > 5, like)
    monkeypatch.setattr(gzip.time, "time", lambda: 2e9)
    write_nifti(tmp_path / "b.nii.gz", np.ascontiguousarray(ramp() > 5), like)
    assert (tmp_path / "a.nii.gz").read_bytes() == (tmp_path / "b.nii.gz").read_bytes()


def test_nothing_is_overwritten_unasked(tmp_path):
    like = Volume(ramp(), LPS, None, None, ())
    write_nifti(tmp_path / "a.nii", ramp() > 5, like)
    with pytest.raises(OutputExists):
        write_nifti(tmp_path / "a.nii", ramp() > 6, like)
    assert read_mask(tmp_path / "a.nii").data.sum() == (ramp() > 5).sum()
    write_nifti(tmp_path / "a.nii", ramp() > 6, like, overwrite=True)
    assert read_mask(tmp_path / "a.nii").data.sum() == (ramp() > 6).sum()


@pytest.mark.parametrize("affine", [LPS, OBLIQUE], ids=["lps", "oblique"])
def test_an_image_that_is_not_nifti_gives_its_affine(tmp_path, affine):
    nib.save(nib.MGHImage(ramp(), affine), tmp_path / "a.mgz")
    like = read_volume(tmp_path / "a.mgz")
    write_nifti(tmp_path / "mask.nii", ramp() > 5, like)
    saved = header(tmp_path / "mask.nii")
    assert (int(saved["sform_code"]), int(saved["qform_code"]), int(saved["xyzt_units"])) == (1, 1, 2)
    np.testing.assert_allclose(saved.get_sform(), like.affine, atol=1e-5)
    np.testing.assert_allclose(saved.get_qform(), like.affine, atol=1e-4)


def test_shear_which_a_quaternion_cannot_express_is_kept_by_the_sform_alone(tmp_path):
    sheared = LPS.copy()
    sheared[0, 1] = 0.3
    write_nifti(tmp_path / "mask.nii", ramp() > 5, Volume(ramp(), sheared, None, None, ()))
    saved = read_mask(tmp_path / "mask.nii")
    np.testing.assert_allclose(saved.affine, sheared, atol=1e-6)
    assert int(saved.header["qform_code"]) == 0
    assert saved.notes == ()


def test_an_axis_too_long_for_nifti_1_and_a_source_of_nifti_2_give_nifti_2(tmp_path):
    long = np.zeros((32768, 1, 1), np.uint8)
    write_nifti(tmp_path / "long.nii", long, Volume(long, LPS, None, None, ()))
    assert isinstance(nib.load(tmp_path / "long.nii", mmap=False), nib.Nifti2Image)
    assert read_mask(tmp_path / "long.nii").shape == long.shape
    nib.save(nib.Nifti2Image(ramp(), OBLIQUE), tmp_path / "second.nii")
    like = read_volume(tmp_path / "second.nii")
    write_nifti(tmp_path / "mask.nii", ramp() > 5, like)
    np.testing.assert_array_equal(read_mask(tmp_path / "mask.nii").affine, OBLIQUE)


def test_a_single_slice_of_two_dimensions_gives_a_volume_that_can_be_read(tmp_path):
    source = write_image(tmp_path / "slice.nii", ramp((5, 4)), pixdim={3: 0})
    like = read_volume(source)
    write_nifti(tmp_path / "mask.nii", like.data > 5, like)
    assert read_mask(tmp_path / "mask.nii").shape == (5, 4, 1)


@pytest.mark.cases
def test_a_mask_of_a_real_case_lies_on_it(cases_folder, tmp_path):
    source = cases_folder / "case_201" / "case_201_flair.nii.gz"
    like = read_volume(source)
    write_nifti(tmp_path / "mask.nii.gz", like.data > 100, like)
    assert_same_geometry(tmp_path / "mask.nii.gz", source)
