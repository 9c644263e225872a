"""Files that must be refused, each with its name, what is wrong, and what to do."""

import gzip
import os
import time
import tracemalloc

import nibabel as nib
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from phantoms import LPS, nifti_bytes, ramp, write_image

from napari_diffseg.errors import BadImage
from napari_diffseg.imaging.formats import nifti
from napari_diffseg.imaging.formats.nifti import count_channels, read_channels, read_mask, read_volume

NOISE = np.random.default_rng(0).integers(1, 999, (20, 20, 20)).astype(np.int16)


def refused(path, text):
    with pytest.raises(BadImage, match=text) as caught:
        read_volume(path)
    message = str(caught.value)
    assert message.startswith(path.name)
    assert "\n" not in message
    assert ": " in message  # what is wrong: what to do
    assert message.endswith(".")


HEADERS = {
    "no dimension": ({"dim": {0: 0}}, "claims 0 dimensions"),
    "eight dimensions": ({"dim": {0: 8}}, "claims 8 dimensions"),
    "a dimension of zero": ({"dim": {2: 0}}, "claims 20 x 0 x 20 voxels"),
    "a negative dimension": ({"dim": {3: -5}}, "claims 20 x 20 x -5 voxels"),
    "one dimension": ({"dim": {0: 1}}, "single dimension"),
    "28 TB": ({"dim": {1: 32767, 2: 32767, 3: 32767}, "datatype": 4}, "cut short or its header is false"),
    "offset not a number": ({"vox_offset": np.nan}, "begin at byte nan"),
    "offset infinite": ({"vox_offset": np.inf}, "begin at byte inf"),
    "offset negative": ({"vox_offset": -352}, "begin at byte -352"),
    "offset in the header": ({"vox_offset": 100}, "begin at byte 100"),
    "offset huge": ({"vox_offset": 1e30}, "cut short or its header is false"),
    "offset one too large": ({"vox_offset": 353}, "cut short or its header is false"),
    "complex": ({"datatype": 32, "bitpix": 64}, "complex numbers"),
    "colours": ({"datatype": 128, "bitpix": 24}, "colours"),
    "colours with opacity": ({"datatype": 2304, "bitpix": 32}, "colours"),
    "128 bits": ({"datatype": 1536, "bitpix": 128}, "128-bit"),
    "unknown type": ({"datatype": 77}, "unknown type 77"),
    "wrong bits": ({"bitpix": 8}, "claims 8 bits for values of 16"),
    "slope infinite": ({"scl_slope": np.inf}, "scales its values by inf"),
    "intercept not a number": ({"scl_slope": 1, "scl_inter": np.nan}, "adds nan"),
    "slope beyond all numbers": ({"scl_slope": 3e38}, "no finite value"),
    "affine not a number": ({"srow_x": {0: np.nan}}, "not a number"),
    "affine infinite": ({"srow_z": {3: np.inf}}, "not a number"),
    "affine zero": ({"srow_x": 0, "srow_y": 0, "srow_z": 0}, "voxels of 0 x 0 x 0 mm"),
    "affine flat": ({"srow_x": [1, 0, 0, 0], "srow_y": [0, 1, 1, 0], "srow_z": [0, 0, 1e-4, 0]}, "lie in one plane"),
    "voxels too small": ({"srow_x": [1e-30, 0, 0, 0]}, "voxels of 1e-30"),
    "voxels too large": ({"srow_x": [1e30, 0, 0, 0]}, "voxels or a position of 1e\\+30 mm"),
    "position too far": ({"srow_y": [0, -1, 0, -3e38]}, "position of 3e\\+38 mm"),
    "quaternion too long": ({"sform_code": 0, "qform_code": 1, "quatern_b": 5}, "damaged orientation"),
    "quaternion not a number": ({"sform_code": 0, "qform_code": 1, "quatern_b": np.nan}, "not a number"),
    "both orientations": ({"srow_x": 0, "srow_y": 0, "srow_z": 0, "qform_code": 1, "quatern_b": 5}, "0 x 0 x 0 mm"),
    "pixdim not a number": ({"sform_code": 0, "qform_code": 1, "pixdim": {1: np.nan}}, "not a number"),
    "pixdim negative": ({"sform_code": 0, "qform_code": 1, "pixdim": {1: -1}}, "damaged orientation"),
    "no codes and no sizes": ({"sform_code": 0, "pixdim": {1: 0}}, "voxels of 0 x 1 x 1 mm"),
    "header length": ({"sizeof_hdr": 0}, "impossible length"),
}


@pytest.mark.parametrize("name", ["a.nii", "a.nii.gz"])
@pytest.mark.parametrize("wrong", HEADERS)
def test_an_impossible_header_is_refused(tmp_path, name, wrong):
    fields, text = HEADERS[wrong]
    if wrong == "offset one too large":  # one byte of it; what is compressed tells when it is read
        text = "cut short"
    path = write_image(tmp_path / name, NOISE + 9, **fields)
    refused(path, text)


def test_five_dimensions_are_refused_with_the_shape(tmp_path):
    refused(write_image(tmp_path / "a.nii", ramp((3, 3, 3, 2, 2))), "5 dimensions \\(3 x 3 x 3 x 2 x 2\\)")


def test_four_dimensions_are_refused_with_their_number_unless_one_is_named(tmp_path):
    path = write_image(tmp_path / "a.nii", ramp((3, 3, 3, 4)))
    refused(path, "holds 4 volumes")
    with pytest.raises(BadImage, match="no channel 4: count from 0"):
        read_volume(path, channel=4)
    with pytest.raises(BadImage, match="no channel -1"):
        read_channels(path, only=[-1])


@pytest.mark.parametrize(
    ("data", "text"),
    [
        (np.zeros((4, 4, 4), "i2"), "is 0 in every voxel"),
        (np.full((4, 4, 4), 7, "f4"), "is 7 in every voxel"),
        (np.full((1, 1, 1), 3, "u1"), "is 3 in every voxel"),
        (np.full((4, 4, 4), np.nan, "f4"), "no finite value"),
        (np.full((4, 4, 4), -np.inf, "f8"), "no finite value"),
    ],
    ids=["all zero", "constant", "one voxel", "all NaN", "all infinite"],
)
def test_an_image_without_contrast_is_refused(tmp_path, data, text):
    refused(write_image(tmp_path / "a.nii.gz", data), text)


@pytest.mark.parametrize("share", [0.0, 0.01, 0.5, 0.9, 0.999])
@pytest.mark.parametrize("name", ["a.nii", "a.nii.gz"])
def test_a_file_cut_short_is_refused(tmp_path, name, share):
    path = write_image(tmp_path / name, NOISE)
    path.write_bytes(path.read_bytes()[: int(share * path.stat().st_size)])
    refused(path, "is cut short|an empty file|the start of one")


def test_a_compressed_file_without_its_last_byte_is_refused(tmp_path):
    path = write_image(tmp_path / "a.nii.gz", NOISE)
    path.write_bytes(path.read_bytes()[:-1])
    refused(path, "is cut short in its compressed data")


@pytest.mark.parametrize("place", [0.2, 0.5, 0.8])
def test_a_flipped_bit_in_compressed_data_is_refused(tmp_path, place):
    path = write_image(tmp_path / "a.nii.gz", NOISE)
    content = bytearray(path.read_bytes())
    content[int(place * len(content))] ^= 8
    path.write_bytes(content)
    refused(path, "is damaged|is cut short|something else")


@pytest.mark.parametrize("at", [-8, -4], ids=["checksum", "length"])
def test_a_wrong_checksum_or_length_is_refused(tmp_path, at):
    path = write_image(tmp_path / "a.nii.gz", NOISE)
    content = bytearray(path.read_bytes())
    content[at] ^= 1
    path.write_bytes(content)
    refused(path, "is damaged, its compressed data do not check")


@pytest.mark.parametrize("name", ["a.nii", "a.nii.gz"])
def test_nine_gigabytes_claimed_by_a_small_file_cost_no_memory_and_no_time(tmp_path, name):
    path = write_image(tmp_path / name, NOISE, dim={1: 2000, 2: 1500, 3: 1500})
    tracemalloc.start()
    start = time.perf_counter()
    refused(path, "cut short or its header is false, 2000 x 1500 x 1500 voxels need 9000000000 bytes")
    assert time.perf_counter() - start < 0.5
    assert tracemalloc.get_traced_memory()[1] < 4e6
    tracemalloc.stop()


def test_an_image_beyond_the_memory_is_refused_with_both_numbers(tmp_path, monkeypatch):
    path = write_image(tmp_path / "a.nii", NOISE)
    monkeypatch.setattr(nifti, "memory_budget", lambda: 1000)
    refused(path, "need 0.0 GB of memory, and 0.0 GB may be used: crop it")


def test_content_behind_the_declared_voxels_is_not_inflated(tmp_path):
    path = tmp_path / "a.nii.gz"
    path.write_bytes(gzip.compress(nifti_bytes(NOISE) + bytes(30_000_000)))
    refused(path, "holds more than its header declares")


@pytest.mark.parametrize(
    ("content", "text"),
    [
        (b"", "an empty file"),
        (b"<!DOCTYPE html><html><body>404</body></html>" * 20, "a web page"),
        (b"version https://git-lfs.github.com/spec/v1\n" * 20, "a Git LFS pointer"),
        (bytes(1000), "something else"),
        (gzip.compress(gzip.compress(nifti_bytes(NOISE))), "a file that was compressed twice"),
        (nifti_bytes(NOISE, magic=b""), "of the Analyze format"),
    ],
    ids=["empty", "html", "lfs", "zeros", "twice compressed", "analyze"],
)
def test_what_is_no_image_is_called_what_it_is(tmp_path, content, text):
    path = tmp_path / "a.nii.gz"
    path.write_bytes(content)
    refused(path, f"is no image but {text}")


def test_a_file_that_only_begins_as_dicom_is_damaged(tmp_path):
    (tmp_path / "a.nii.gz").write_bytes(bytes(128) + b"DICM" + bytes(1000))
    refused(tmp_path / "a.nii.gz", r"a.nii.gz cannot be read \([^:)]+\): copy it again")


def test_a_folder_is_refused(tmp_path):
    folder = tmp_path / "a.nii"
    folder.mkdir()
    refused(folder, "is a folder")


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="needs pipes")
def test_a_pipe_is_refused_and_not_waited_for(tmp_path):
    os.mkfifo(tmp_path / "a.nii")
    refused(tmp_path / "a.nii", "no regular file but a pipe")


def test_a_file_that_is_not_there_and_a_link_to_nothing_are_told_apart(tmp_path):
    (tmp_path / "link.nii").symlink_to(tmp_path / "nothing.nii")
    refused(tmp_path / "link.nii", "is a link to nothing")
    refused(tmp_path / "absent.nii", "does not exist")


def test_a_name_that_cannot_be_is_refused():
    with pytest.raises(BadImage, match="cannot be opened"):
        read_volume("a\0b.nii")


def test_control_characters_of_a_name_do_not_reach_the_message(tmp_path):
    with pytest.raises(BadImage) as caught:
        read_volume(tmp_path / "a\n\x1b[31mb.nii")
    assert "a??[31mb.nii does not exist" in str(caught.value)


def test_a_header_without_its_image_is_refused(tmp_path):
    path = tmp_path / "a.hdr"
    path.write_bytes(nifti_bytes(NOISE, magic=b"ni1", vox_offset=0)[:348])
    refused(path, "header of a pair, but a.img is not beside it")


@pytest.mark.parametrize(
    ("place", "value", "text"),
    [
        (20, b"\0\0\0\5", "values of the type 5"),
        (4, b"\0\0\x7f\xff", "cut short or its header is false"),
        (30, b"\x7f\x80\0\0", "not a number"),
        (30, b"\x7f\x7f\0\0", "voxels or a position|not a number"),
        (42, bytes(12), "voxels of 0 x"),
    ],
    ids=["type", "size", "infinite", "huge", "flat"],
)
def test_an_impossible_freesurfer_header_is_refused(tmp_path, place, value, text):
    content = bytearray(nib.MGHImage(ramp(), LPS).to_bytes())
    content[place : place + len(value)] = value
    (tmp_path / "a.mgh").write_bytes(content)
    refused(tmp_path / "a.mgh", text)


def test_a_signalling_nan_is_refused_without_a_warning_of_numpys(tmp_path):
    content = bytearray(nifti_bytes(ramp()))
    content[280:284] = b"\1\0\x80\x7f"
    (tmp_path / "a.nii").write_bytes(content)
    refused(tmp_path / "a.nii", "orientation that is not a number")


@pytest.mark.parametrize("read", [read_volume, read_mask, read_channels, count_channels])
def test_every_way_of_reading_refuses_alike(tmp_path, read):
    (tmp_path / "a.nii").write_bytes(b"<html>")
    with pytest.raises(BadImage, match="a web page"):
        read(tmp_path / "a.nii")


@pytest.mark.skipif(not os.path.isdir("/dev/fd"), reason="needs /dev/fd")
def test_no_descriptor_is_left_open_by_refusals(tmp_path):
    path = write_image(tmp_path / "a.nii.gz", NOISE, dim={0: 9})
    before = len(os.listdir("/dev/fd"))
    for _ in range(5):
        refused(path, "claims 9 dimensions")
        refused(tmp_path, "is a folder")
    assert len(os.listdir("/dev/fd")) == before


@pytest.fixture(scope="module")
def scratch(tmp_path_factory):
    return tmp_path_factory.mktemp("damaged")


@given(
    damage=st.lists(st.tuples(st.integers(0, 10**6), st.integers(0, 255)), min_size=1, max_size=8),
    cut=st.floats(0, 1),
    compressed=st.booleans(),
    affine=st.sampled_from([LPS, 2 * LPS]),
)
def test_a_damaged_file_is_read_or_refused_and_nothing_else(scratch, damage, cut, compressed, affine):
    content = bytearray(nifti_bytes(ramp(), affine))
    if compressed:
        content = bytearray(gzip.compress(content))
    for place, value in damage:
        content[place % len(content)] = value
    path = scratch / "a.nii"
    path.write_bytes(content if cut > 0.3 else content[: int(cut / 0.3 * len(content))])
    try:
        volume = read_volume(path)
    except BadImage as err:
        assert str(err).startswith("a.nii ")  # noqa: PT017
        return
    assert np.isfinite(volume.data).all()
    assert np.isfinite(volume.affine).all()
