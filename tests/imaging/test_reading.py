"""What a good file gives, in all the forms in which good files come."""

import gzip
import hashlib
import itertools

import nibabel as nib
import numpy as np
import pytest
from phantoms import LPS, OBLIQUE, nifti_bytes, ramp, write_image

from napari_diffseg.errors import BadImage
from napari_diffseg.imaging.formats.nifti import count_channels, read_channels, read_grid, read_mask, read_volume
from napari_diffseg.imaging.volume import describe_grid


@pytest.mark.parametrize("name", ["a.nii", "a.nii.gz"])
@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize("dtype", ["u1", "i1", "i2", "u2", "i4", "u4", "i8", "u8"])
def test_integers_come_as_they_are_stored_in_native_byte_order(tmp_path, name, order, dtype):
    data = ramp(dtype=dtype)
    volume = read_volume(write_image(tmp_path / name, data, OBLIQUE, order=order))
    assert volume.data.dtype == np.dtype(dtype)
    np.testing.assert_array_equal(volume.data, data)
    np.testing.assert_array_equal(volume.affine, OBLIQUE.astype(np.float32).astype(np.float64))
    assert volume.notes == ()


@pytest.mark.parametrize("dtype", ["f4", "f8"])
def test_floats_become_float32(tmp_path, dtype):
    volume = read_volume(write_image(tmp_path / "a.nii", ramp(dtype=dtype) / 8))
    assert volume.data.dtype == np.float32
    np.testing.assert_array_equal(volume.data, ramp() / 8)


def test_slope_and_intercept_are_applied(tmp_path):
    volume = read_volume(write_image(tmp_path / "a.nii", ramp(), scl_slope=0.5, scl_inter=-1))
    assert volume.data.dtype == np.float32
    np.testing.assert_array_equal(volume.data, ramp() / 2 - 1)


@pytest.mark.parametrize("slope", [0, np.nan])
def test_a_slope_that_says_not_set_leaves_integers_alone(tmp_path, slope):
    volume = read_volume(write_image(tmp_path / "a.nii", ramp(), scl_slope=slope, scl_inter=7))
    np.testing.assert_array_equal(volume.data, ramp())


@pytest.mark.parametrize("kind", [nib.Nifti1Image, nib.Nifti2Image, nib.Nifti1Pair, nib.MGHImage])
@pytest.mark.parametrize("compressed", [False, True])
def test_every_format_gives_the_array_and_the_affine(tmp_path, kind, compressed):
    suffix = {nib.Nifti1Pair: ".hdr", nib.MGHImage: ".mgh"}.get(kind, ".nii")
    path = tmp_path / f"a{suffix}{'.gz' if compressed and suffix != '.mgh' else ''}"
    path = path.with_suffix(".mgz") if compressed and suffix == ".mgh" else path
    nib.save(kind(ramp(), OBLIQUE), path)
    volume = read_volume(path)
    np.testing.assert_array_equal(volume.data, ramp())
    np.testing.assert_allclose(volume.affine, OBLIQUE, atol=1e-5)


def test_content_decides_and_not_the_name(tmp_path):
    content = nifti_bytes(ramp())
    (tmp_path / "zipped.nii").write_bytes(gzip.compress(content))
    (tmp_path / "plain.nii.gz").write_bytes(content)
    for name in ("zipped.nii", "plain.nii.gz"):
        np.testing.assert_array_equal(read_volume(tmp_path / name).data, ramp())


def test_a_gzip_of_several_members_is_one_file(tmp_path):
    content = nifti_bytes(ramp((40, 30, 20)))
    cuts = [0, 100, 101, 5000, len(content)]
    members = [gzip.compress(content[a:b]) for a, b in itertools.pairwise(cuts)]
    (tmp_path / "a.nii.gz").write_bytes(b"".join(members))
    np.testing.assert_array_equal(read_volume(tmp_path / "a.nii.gz").data, ramp((40, 30, 20)))


def test_bytes_after_the_compressed_image_are_ignored_and_noted_but_padding_is_not_worth_a_note(tmp_path):
    compressed = gzip.compress(nifti_bytes(ramp()))
    (tmp_path / "padded.nii.gz").write_bytes(compressed + bytes(512))
    (tmp_path / "more.nii.gz").write_bytes(compressed + b"more")
    assert read_volume(tmp_path / "padded.nii.gz").notes == ()
    assert read_volume(tmp_path / "more.nii.gz").notes == ("4 bytes after the end of the image were ignored",)


def test_extensions_are_skipped(tmp_path):
    image = nib.Nifti1Image(ramp(), LPS)
    image.header.extensions.append(nib.nifti1.Nifti1Extension(6, b"free text " * 100))
    nib.save(image, tmp_path / "a.nii")
    volume = read_volume(tmp_path / "a.nii")
    np.testing.assert_array_equal(volume.data, ramp())
    assert len(volume.header.extensions) == 0


@pytest.mark.parametrize("shape", [(5, 4), (5, 4, 1), (5, 4, 1, 1), (5, 4, 1, 1, 1)])
def test_one_slice_in_any_number_of_dimensions_is_a_volume_of_one_slice(tmp_path, shape):
    volume = read_volume(write_image(tmp_path / "a.nii", ramp(shape)))
    np.testing.assert_array_equal(volume.data, ramp((5, 4, 1)))


def test_a_slice_without_thickness_has_one_of_a_millimetre(tmp_path):
    fields = {"qform_code": 1, "sform_code": 0, "pixdim": {1: 2, 2: 2, 3: 0}}
    assert read_volume(write_image(tmp_path / "a.nii", ramp((5, 4)), **fields)).spacing_mm == (2, 2, 1)


def test_one_channel_of_a_four_dimensional_file(tmp_path):
    path = write_image(tmp_path / "a.nii", ramp((4, 3, 2, 3)))
    assert count_channels(path) == 3
    np.testing.assert_array_equal(read_volume(path, channel=2).data, ramp((4, 3, 2, 3))[..., 2])
    first, second, third = read_channels(path)
    np.testing.assert_array_equal(second.data, ramp((4, 3, 2, 3))[..., 1])
    assert len({first.digest, second.digest, third.digest}) == 3


def test_an_empty_channel_does_not_matter_when_others_are_wanted(tmp_path):
    data = ramp((4, 3, 2, 3))
    data[..., 1] = 0
    path = write_image(tmp_path / "a.nii", data)
    assert [v.data.max() for v in read_channels(path, only=[2, 0])] == [72, 24]
    with pytest.raises(BadImage, match="0 in every voxel"):
        read_channels(path)


def test_a_three_dimensional_file_has_one_channel(tmp_path):
    path = write_image(tmp_path / "a.nii", ramp())
    assert count_channels(path) == 1
    np.testing.assert_array_equal(read_channels(path)[0].data, ramp())


def test_voxels_that_are_not_finite_are_zero_and_counted(tmp_path):
    data = ramp(dtype="f8")
    data[0, 0, 0], data[1, 0, 0], data[2, 0, 0] = np.nan, -np.inf, 1e300
    volume = read_volume(write_image(tmp_path / "a.nii", data))
    assert volume.notes == ("3 voxels were not finite and are 0 now",)
    assert volume.data[:4, 0, 0].tolist() == [0, 0, 0, 4]


def test_no_stated_orientation_is_noted_and_nibabels_guess_is_taken(tmp_path):
    path = write_image(tmp_path / "a.nii", ramp(), sform_code=0, qform_code=0)
    volume = read_volume(path)
    assert volume.notes == ("left/right unknown: its header states no orientation",)
    np.testing.assert_array_equal(volume.affine, nib.load(path).affine)


def test_a_freesurfer_file_that_states_no_orientation_is_noted(tmp_path):
    content = bytearray(nib.MGHImage(ramp(), OBLIQUE).to_bytes())
    content[28:30] = bytes(2)
    (tmp_path / "a.mgh").write_bytes(content)
    volume = read_volume(tmp_path / "a.mgh")
    assert volume.notes == ("left/right unknown: its header states no orientation",)
    assert volume.axis_codes == ("L", "I", "A")


def test_two_orientations_that_differ_are_noted_and_the_sform_is_taken(tmp_path):
    image = nib.Nifti1Image(ramp(), OBLIQUE)
    image.set_qform(LPS, 1)
    nib.save(image, tmp_path / "a.nii")
    volume = read_volume(tmp_path / "a.nii")
    assert volume.notes == ("its header states two orientations (qform and sform); the sform is used",)
    np.testing.assert_allclose(volume.affine, OBLIQUE, atol=1e-5)


def test_two_orientations_that_agree_are_not_worth_a_note(tmp_path):
    image = nib.Nifti1Image(ramp(), OBLIQUE)
    image.set_qform(OBLIQUE, 1)
    nib.save(image, tmp_path / "a.nii")
    assert read_volume(tmp_path / "a.nii").notes == ()


@pytest.mark.parametrize(("unit", "code"), [(1000.0, 1), (0.001, 3)])
def test_lengths_in_another_unit_become_millimetres(tmp_path, unit, code):
    path = write_image(tmp_path / "a.nii", ramp(), np.diag([0.5 / unit, 0.5 / unit, 2 / unit, 1]), xyzt_units=code)
    volume = read_volume(path)
    np.testing.assert_allclose(volume.spacing_mm, (0.5, 0.5, 2), rtol=1e-6)
    assert volume.notes == ("its header states lengths in another unit than mm",)


def test_the_digest_of_a_volume_is_that_of_its_file(tmp_path):
    path = write_image(tmp_path / "a.nii.gz", ramp())
    assert read_volume(path).digest == hashlib.sha256(path.read_bytes()).hexdigest()


def test_a_grid_in_words(tmp_path):
    volume = read_volume(write_image(tmp_path / "a.nii", ramp(), np.diag([-1.0, -1.0, 2.5, 1.0])))
    assert describe_grid(volume) == "4 x 3 x 2 voxels of 1.00 x 1.00 x 2.50 mm, LPS"


def test_a_mask_may_be_empty(tmp_path):
    mask = read_mask(write_image(tmp_path / "a.nii", np.zeros((3, 3, 3), np.uint8)))
    assert mask.data.dtype == np.uint8
    assert not mask.data.any()


@pytest.mark.parametrize(("values", "dtype"), [([0, 1, 4], "u1"), ([0, -1, 300], "i2"), ([0, 1, 70000], "i4")])
def test_a_mask_of_floats_becomes_the_smallest_integers_that_hold_it(tmp_path, values, dtype):
    data = np.array(values, "f4").reshape(3, 1, 1)
    mask = read_mask(write_image(tmp_path / "a.nii", data))
    assert mask.data.dtype == np.dtype(dtype)
    assert mask.data.ravel().tolist() == values


@pytest.mark.parametrize(("value", "text"), [(0.5, "fractions"), (1e12, "values from 0 to 1e\\+12")])
def test_a_mask_of_anything_but_labels_is_refused(tmp_path, value, text):
    data = np.array([0, 1, value], "f4").reshape(3, 1, 1)
    with pytest.raises(BadImage, match=text):
        read_mask(write_image(tmp_path / "a.nii", data))


@pytest.mark.cases
@pytest.mark.parametrize("case", ["case_006", "case_103", "case_201", "case_301"])
def test_real_cases_are_read_as_nibabel_reads_them(cases_folder, case):
    for path in sorted((cases_folder / case).glob("*_t1*.nii.gz")):
        expected, volume = nib.load(path), read_volume(path)
        np.testing.assert_array_equal(volume.data, np.asanyarray(expected.dataobj))
        np.testing.assert_array_equal(volume.affine, expected.affine)
        assert volume.notes == ()


def scaled_mask(tmp_path, values, **fields):
    """A mask of these values, repeated."""
    data = np.resize(np.asarray(values), (4, 3, 2))
    return data, read_mask(write_image(tmp_path / "a.nii", data, **fields))


@pytest.mark.parametrize("values", [[0, 0.99999994], [0, 1.0004, 2, 3.9996], [0.0004, 1, 2], [-0.9995, 0, 4]])
def test_a_mask_within_a_thousandth_of_whole_numbers_is_rounded_with_a_note(tmp_path, values):
    data, mask = scaled_mask(tmp_path, np.array(values, "f4"))
    np.testing.assert_array_equal(mask.data, np.rint(data))
    assert mask.data.dtype.kind in "iu"
    [note] = mask.notes
    assert f"{(data != np.rint(data)).sum()} voxels were rounded" in note


@pytest.mark.parametrize(
    ("values", "fields"),
    [
        (np.array([0, 14.245], "f4"), {}),
        (np.array([0, 0.5], "f4"), {}),
        (np.array([0, 3e-5], "f4"), {}),
        (np.array([0, 1], "u1"), {"scl_slope": 1 / 255}),
        (np.array([0, 255], "u1"), {"scl_slope": 1.3 / 255}),
        (np.array([0, 32767], "i2"), {"scl_slope": 0.7 / 32767}),
    ],
)
def test_0_and_one_other_value_are_0_and_1_with_a_note(tmp_path, values, fields):
    data, mask = scaled_mask(tmp_path, values, **fields)
    np.testing.assert_array_equal(mask.data, data != 0)
    [note] = mask.notes
    assert "count as 0 and 1" in note


@pytest.mark.parametrize("stored", [1, 255, 32767, 7])
def test_a_mask_stored_with_the_slope_that_makes_it_1_is_a_mask(tmp_path, stored):
    _, mask = scaled_mask(tmp_path, np.array([0, stored], "i4"), scl_slope=np.float32(1 / stored))
    assert set(np.unique(mask.data)) == {0, 1}


@pytest.mark.parametrize("values", [[0, 0.3, 0.7], [0, 0.0004, 0.0009], [-0.5, 0], [0.2, 0.8], [0, 1, 1.002]])
def test_what_is_further_from_whole_numbers_is_no_mask(tmp_path, values):
    with pytest.raises(BadImage, match="holds fractions and is no label mask"):
        scaled_mask(tmp_path, np.array(values, "f4"))


@pytest.mark.parametrize(
    "fields",
    [
        {"pixdim": {0: 0}},
        {"pixdim": {0: 2}},
        {"pixdim": {0: np.nan}},
        {"quatern_b": np.sqrt(1.0000002)},
        {"quatern_b": np.sqrt(1.0000005)},
        {"quatern_b": np.sqrt(1 + 4e-7)},
        {"quatern_b": 5},
        {"quatern_b": np.nan},
        {"qoffset_x": np.inf},
        {"qoffset_x": 3e38},
        {"pixdim": {1: np.nan}},
        {"pixdim": {1: -1}},
        {"pixdim": {2: 0}},
    ],
    ids=str,
)
def test_an_unused_qform_never_stands_in_the_way_of_a_good_sform(tmp_path, fields):
    volume = read_volume(write_image(tmp_path / "a.nii", ramp(), OBLIQUE, qform_code=1, **fields))
    np.testing.assert_array_equal(volume.affine, OBLIQUE.astype(np.float32))
    assert any("orientation" in note for note in volume.notes)
    written = nib.Nifti1Header(volume.header.binaryblock)
    assert written["qform_code"] == 0 or np.isfinite(written.get_qform()).all()  # as results carry it


def test_a_bad_sform_does_not_stand_in_the_way_of_a_good_qform(tmp_path):
    model = nib.Nifti1Header()
    model.set_qform(OBLIQUE, 1)
    names = ("quatern_b", "quatern_c", "quatern_d", "qoffset_x", "qoffset_y", "qoffset_z")
    fields = {name: float(model[name]) for name in names} | {"pixdim": dict(enumerate(model["pixdim"][:4]))}
    for row in ({0: np.nan}, [0, 0, 0, 0]):
        path = write_image(tmp_path / "a.nii", ramp(), qform_code=1, srow_x=row, **fields)
        volume = read_volume(path)
        np.testing.assert_allclose(volume.affine, OBLIQUE, atol=1e-5)
        assert "(sform) is damaged" in volume.notes[0]


@pytest.mark.parametrize(("factor", "sign"), [(0, 1), (1, 1), (2, 1), (np.nan, 1), (-1, -1), (-3, -1)])
def test_a_qforms_factor_counts_as_1_unless_it_is_negative(tmp_path, factor, sign):
    fields = {"sform_code": 0, "qform_code": 1, "quatern_d": 1, "pixdim": {0: factor, 3: 2}}
    volume = read_volume(write_image(tmp_path / "a.nii", ramp(), **fields))
    np.testing.assert_allclose(volume.affine, np.diag([-1.0, -1.0, 2.0 * sign, 1.0]))
    assert volume.header["pixdim"][0] == sign


def test_a_quaternion_a_little_too_long_is_half_a_turn(tmp_path):
    fields = {"sform_code": 0, "qform_code": 1, "quatern_d": np.sqrt(1.0000005)}
    volume = read_volume(write_image(tmp_path / "a.nii", ramp(), **fields))
    np.testing.assert_allclose(volume.affine, np.diag([-1.0, -1.0, 1.0, 1.0]), atol=1e-6)


@pytest.mark.parametrize(
    "wrong",
    [{"datatype": 128, "bitpix": 24}, {"datatype": 77}, {"bitpix": 8}, {"scl_slope": np.inf}, {"vox_offset": 3}],
    ids=str,
)
def test_a_grid_is_read_whatever_the_voxels_hold(tmp_path, wrong):
    path = write_image(tmp_path / "a.nii.gz", ramp((4, 3, 2, 5)), OBLIQUE, **wrong)
    grid = read_grid(path)
    assert grid.shape == (4, 3, 2)
    np.testing.assert_array_equal(grid.affine, OBLIQUE.astype(np.float32))


def test_a_grid_needs_no_voxels_but_0_and_not_even_those(tmp_path):
    path = write_image(tmp_path / "a.nii", np.zeros((4, 3, 2), np.uint8), OBLIQUE)
    assert not read_grid(path).data.any()
    path.write_bytes(path.read_bytes()[:352])
    assert read_grid(path).shape == (4, 3, 2)
    (tmp_path / "b.nii").write_bytes(b"no image")
    with pytest.raises(BadImage, match="something else"):
        read_grid(tmp_path / "b.nii")
