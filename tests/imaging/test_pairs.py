"""An image in two files is one image, whichever of them is named."""

import nibabel as nib
import numpy as np
import pytest
from phantoms import OBLIQUE, ramp, write_pair

from napari_diffseg.errors import BadImage
from napari_diffseg.imaging.case import read_case
from napari_diffseg.imaging.case_files import find_case_files
from napari_diffseg.imaging.formats.nifti import count_channels, read_channels, read_mask, read_volume
from napari_diffseg.imaging.names.naming import is_image_name, may_be_given, modality_of
from napari_diffseg.imaging.names.pairs import each_pair_once, header_of, other_half, stem_of, voxels_of


@pytest.mark.parametrize("suffix", [".hdr", ".hdr.gz"])
@pytest.mark.parametrize("kind", [nib.Nifti1Pair, nib.Nifti2Pair])
def test_a_pair_is_the_same_image_by_either_name(tmp_path, kind, suffix):
    header = write_pair(tmp_path, kind=kind, affine=OBLIQUE, suffix=suffix)
    voxels = header.with_name(header.name.replace(".hdr", ".img"))
    by_header, by_voxels = read_volume(header), read_volume(voxels)
    for volume in (by_header, by_voxels):
        np.testing.assert_array_equal(volume.data, ramp())
        np.testing.assert_allclose(volume.affine, OBLIQUE, atol=1e-5)
        assert volume.path == header
    assert by_header.digest == by_voxels.digest


def test_every_way_of_reading_takes_the_voxels_name(tmp_path):
    voxels = write_pair(tmp_path).with_suffix(".img")
    assert count_channels(voxels) == 1
    np.testing.assert_array_equal(read_mask(voxels).data, ramp())
    np.testing.assert_array_equal(read_channels(voxels)[0].data, ramp())


def test_both_files_of_every_modality_are_one_case(tmp_path):
    files = []
    for modality in ("t1", "flair"):
        header = write_pair(tmp_path, f"c_7_{modality}")
        files += [header.with_suffix(".img"), header]
    assert list(read_case(files).volumes) == ["t1", "flair"]
    assert list(read_case([f for f in files if f.suffix == ".img"]).volumes) == ["t1", "flair"]
    assert find_case_files(tmp_path) == {m: tmp_path / f"c_7_{m}.hdr" for m in ("t1", "flair")}


@pytest.mark.parametrize("name", ["a.img", "a.img.gz", "A.IMG"])
def test_voxels_without_their_header_are_refused_in_one_sentence(tmp_path, name):
    (tmp_path / name).write_bytes(bytes(range(1, 241)) * 4)
    with pytest.raises(BadImage) as caught:
        read_volume(tmp_path / name)
    stem = name.split(".")[0]
    assert str(caught.value) == (
        f"{name} holds the voxels of a pair, but {stem}.hdr is not beside it: copy both files into one folder."
    )


def test_an_analyze_pair_is_read_as_nibabel_reads_it_and_its_side_is_noted(tmp_path):
    header = write_pair(tmp_path, kind=nib.AnalyzeImage, affine=np.diag([-2.0, 3, 4, 1]))
    volume = read_volume(header.with_suffix(".img"))
    np.testing.assert_array_equal(volume.data, ramp())
    np.testing.assert_allclose(volume.affine, nib.load(header).affine)
    assert volume.axis_codes == ("L", "A", "S")
    assert volume.spacing_mm == (2, 3, 4)
    assert volume.notes == ("left/right unknown: its header states no orientation",)


def test_the_origin_of_an_spm_pair_is_kept(tmp_path):
    header = nib.Spm99AnalyzeHeader()
    header.set_data_shape((4, 3, 2))
    header.set_data_dtype(np.int16)
    header.set_zooms((2, 2, 2))
    header["origin"][:3] = 3, 2, 1  # counted from one
    (tmp_path / "a.hdr").write_bytes(header.binaryblock)
    (tmp_path / "a.img").write_bytes(ramp().astype("<i2").tobytes(order="F"))
    np.testing.assert_array_equal(read_volume(tmp_path / "a.hdr").affine[:3, 3], [4, -2, 0])


def test_an_analyze_header_of_the_other_byte_order_is_read(tmp_path):
    header = nib.AnalyzeHeader(endianness=">")
    header.set_data_shape((4, 3, 2))
    header.set_data_dtype(np.int16)
    header.set_zooms((1, 1, 2))
    (tmp_path / "a.hdr").write_bytes(header.binaryblock)
    (tmp_path / "a.img").write_bytes(ramp().astype(">i2").tobytes(order="F"))
    np.testing.assert_array_equal(read_volume(tmp_path / "a.hdr").data, ramp())


def test_a_header_that_is_neither_is_refused(tmp_path):
    (tmp_path / "a.hdr").write_bytes(b"ENVI\ndescription = {x}\n" * 40)
    (tmp_path / "a.img").write_bytes(bytes(1000))
    with pytest.raises(BadImage, match=r"a\.hdr is no image but something else"):
        read_volume(tmp_path / "a.img")


def test_an_analyze_header_that_claims_the_impossible_is_refused(tmp_path):
    header = write_pair(tmp_path, kind=nib.AnalyzeImage)
    content = bytearray(header.read_bytes())
    content[42:44] = b"\xff\x7f"
    header.write_bytes(content)
    with pytest.raises(BadImage, match=r"a\.img is cut short or its header is false"):
        read_volume(header)


def test_a_pair_is_named_once_and_other_files_are_left_alone(tmp_path):
    header = write_pair(tmp_path)
    voxels, alone = header.with_suffix(".img"), tmp_path / "b.img"
    assert each_pair_once([voxels, tmp_path / "t1.nii", header, alone]) == [header, tmp_path / "t1.nii", alone]
    assert (header_of(voxels), voxels_of(header)) == (header, voxels)
    assert (other_half(header), other_half(voxels), other_half(alone)) == (voxels, header, None)
    assert other_half(tmp_path / "t1.nii") is None


def test_dots_in_a_name_belong_to_the_name(tmp_path):
    header = write_pair(tmp_path, "scan.v1.2")
    assert stem_of(header) == tmp_path / "scan.v1.2"
    assert voxels_of(header) == tmp_path / "scan.v1.2.img"
    assert stem_of(tmp_path / "scan.v1.2.img.gz") == tmp_path / "scan.v1.2"


@pytest.mark.parametrize("name", ["c_7_t1.img", "c_7_t1.img.gz", "c_7_T1.IMG", "c_7_t1.hdr.gz"])
def test_a_name_of_a_pair_states_its_modality_and_may_be_given(name):
    assert modality_of(name) == "t1"
    assert may_be_given(name)
    assert not may_be_given("." + name)


def test_a_folder_counts_a_pair_by_its_header():
    assert is_image_name("a.hdr")
    assert not is_image_name("a.img")
