"""MetaImage, NRRD and DICOM series: the voxels and the place that nibabel gives the same image as NIfTI."""

import contextlib
import shutil

import nibabel as nib
import numpy as np
import pytest
import SimpleITK as sitk
from dicom_series import TILTED, write_series
from phantoms import ORIENTATIONS, oriented

from napari_diffseg.errors import BadCase, BadImage
from napari_diffseg.imaging.case import read_case
from napari_diffseg.imaging.case_files import case_of_images, find_case_sources
from napari_diffseg.imaging.formats import itk_process, nifti
from napari_diffseg.imaging.formats.nifti import count_channels, read_channels, read_grid, read_mask, read_volume
from napari_diffseg.imaging.save import write_nifti
from napari_diffseg.imaging.volume import shear_notes

TO_LPS = np.diag([-1.0, -1.0, 1.0])
SUFFIXES = (".mha", ".mhd", ".nrrd", ".nhdr")
NOISE = np.random.default_rng(0).integers(0, 4000, (7, 6, 5)).astype(np.int16)


def itk_image(data, affine):
    image = sitk.GetImageFromArray(np.ascontiguousarray(data.T))
    spacing = np.sqrt((affine[:3, :3] ** 2).sum(axis=0))
    image.SetSpacing(spacing.tolist())
    image.SetDirection((TO_LPS @ affine[:3, :3] / spacing).ravel().tolist())
    image.SetOrigin((TO_LPS @ affine[:3, 3]).tolist())
    return image


def written(path, data, affine=TILTED, *, compressed=False):
    sitk.WriteImage(itk_image(data, affine), str(path), useCompression=compressed)
    return path


@pytest.mark.parametrize("suffix", SUFFIXES)
@pytest.mark.parametrize("compressed", [False, True])
@pytest.mark.parametrize("dtype", ["u1", "i2", "f8"])
def test_a_file_gives_what_nibabel_gives_of_the_same_image(tmp_path, suffix, compressed, dtype):
    data = NOISE.astype(dtype)
    volume = read_volume(written(tmp_path / f"t1{suffix}", data, compressed=compressed))
    nib.save(nib.Nifti1Image(data, TILTED), tmp_path / "t1.nii")
    expected = nib.load(tmp_path / "t1.nii")
    np.testing.assert_array_equal(volume.data, np.asarray(expected.dataobj))
    np.testing.assert_allclose(volume.affine, expected.affine, atol=1e-5)
    assert volume.data.dtype == (np.float32 if dtype == "f8" else np.dtype(dtype))
    assert volume.notes == ()


@pytest.mark.parametrize("codes", ORIENTATIONS, ids="".join)
def test_every_orientation_lies_where_nibabel_says(tmp_path, codes):
    affine = oriented(codes, tilt=0.2)
    sitk.WriteImage(itk_image(NOISE, affine), str(tmp_path / "a.nii"))
    expected = nib.load(tmp_path / "a.nii")
    for suffix in (".mha", ".nrrd"):
        volume = read_volume(written(tmp_path / f"a{suffix}", NOISE, affine))
        np.testing.assert_allclose(volume.affine, expected.affine, atol=1e-5)
        np.testing.assert_array_equal(volume.data, np.asarray(expected.dataobj))


@pytest.mark.parametrize("suffix", [".mha", ".nrrd"])
def test_a_sheared_image_stays_sheared(tmp_path, suffix):
    sheared = TILTED @ np.array([[1, 0.3, 0, 0], [0, 1, 0, 0], [0, 0, 1, 0], [0, 0, 0, 1.0]])
    volume = read_volume(written(tmp_path / f"a{suffix}", NOISE, sheared))
    np.testing.assert_allclose(volume.affine, sheared, atol=1e-6)
    assert shear_notes(volume)


@pytest.mark.parametrize("suffix", [".mha", ".nrrd"])
@pytest.mark.parametrize("components", [False, True])
def test_channels_are_read_however_they_are_stored(tmp_path, suffix, components):
    channels = [NOISE, NOISE + 1, NOISE + 2]
    images = [itk_image(data, TILTED) for data in channels]
    image = sitk.Compose(images) if components else sitk.JoinSeries(images)
    sitk.WriteImage(image, str(tmp_path / f"a{suffix}"))
    assert count_channels(tmp_path / f"a{suffix}") == 3
    for volume, data in zip(read_channels(tmp_path / f"a{suffix}"), channels, strict=True):
        np.testing.assert_array_equal(volume.data, data)
        np.testing.assert_allclose(volume.affine, TILTED, atol=1e-6)
    with pytest.raises(BadImage, match="3 volumes in one file"):
        read_volume(tmp_path / f"a{suffix}")


def test_one_slice_is_a_volume_of_one(tmp_path):
    sitk.WriteImage(sitk.GetImageFromArray(NOISE[:, :, 0].T), str(tmp_path / "a.mha"))
    np.testing.assert_array_equal(read_volume(tmp_path / "a.mha").data, NOISE[:, :, :1])


def test_where_no_direction_is_stated_it_is_said(tmp_path):
    raw = NOISE.tobytes(order="F")
    (tmp_path / "a.nrrd").write_bytes(
        b"NRRD0004\ntype: short\ndimension: 3\nsizes: 7 6 5\nspacings: 1 2 3\nendian: little\nencoding: raw\n\n" + raw
    )
    (tmp_path / "a.mha").write_bytes(
        b"NDims = 3\nDimSize = 7 6 5\nElementSpacing = 1 2 3\nElementType = MET_SHORT\nElementDataFile = LOCAL\n" + raw
    )
    for name in ("a.nrrd", "a.mha"):
        volume = read_volume(tmp_path / name)
        np.testing.assert_array_equal(volume.data, NOISE)
        assert volume.notes == ("left/right unknown: its header states no orientation",)


def test_a_mask_and_a_grid_are_read_as_of_nifti(tmp_path):
    path = written(tmp_path / "seg.nrrd", (NOISE > 2000).astype(np.uint8))
    np.testing.assert_array_equal(read_mask(path).data, NOISE > 2000)
    written(path, np.zeros(NOISE.shape, np.uint8))
    np.testing.assert_allclose(read_grid(path).affine, TILTED, atol=1e-6)


def test_a_result_lies_on_the_same_voxels(tmp_path):
    volume = read_volume(written(tmp_path / "t1.mha", NOISE))
    write_nifti(tmp_path / "mask.nii.gz", (NOISE > 2000).astype(np.uint8), volume)
    theirs = sitk.ReadImage(str(tmp_path / "mask.nii.gz"))
    ours = sitk.ReadImage(str(tmp_path / "t1.mha"))
    np.testing.assert_allclose(theirs.GetDirection(), ours.GetDirection(), atol=1e-5)
    np.testing.assert_allclose(theirs.GetOrigin(), ours.GetOrigin(), atol=1e-4)
    np.testing.assert_array_equal(sitk.GetArrayFromImage(theirs), sitk.GetArrayFromImage(ours) > 2000)


@pytest.mark.parametrize("suffix", SUFFIXES)
@pytest.mark.parametrize("compressed", [False, True])
def test_what_is_cut_short_is_refused_in_a_sentence(tmp_path, suffix, compressed, capfd):
    path = written(tmp_path / f"a{suffix}", NOISE, compressed=compressed)
    of_voxels = next((p for p in tmp_path.iterdir() if p != path), path)
    of_voxels.write_bytes(of_voxels.read_bytes()[:-40])
    with pytest.raises(BadImage, match=rf"^a{suffix} .*: copy it again"):
        read_volume(path)
    of_voxels.unlink()
    with pytest.raises(BadImage, match=r"a\."):
        read_volume(path)
    capfd.readouterr()


def test_what_would_not_fit_in_memory_is_refused_before_it_is_read(tmp_path, monkeypatch):
    monkeypatch.setattr(nifti, "memory_budget", lambda: 1000)
    with pytest.raises(BadImage, match=r"a.nrrd has 7 x 6 x 5 voxels, which need 0.0 GB of memory"):
        read_volume(written(tmp_path / "a.nrrd", NOISE))


def test_without_simpleitk_it_is_said_what_to_install(tmp_path, monkeypatch):
    path = written(tmp_path / "t1.mha", NOISE)
    monkeypatch.setattr("napari_diffseg.extras.find_spec", lambda _name: None)
    with pytest.raises(BadImage, match=r"t1.mha: .*SimpleITK.*napari-diffseg\[formats\]"):
        read_volume(path)


def test_digests_tell_voxels_in_a_file_of_their_own_apart(tmp_path):
    first, second = (written(tmp_path / f"{n}.mhd", NOISE + n) for n in (0, 1))
    assert first.read_bytes().replace(b"0.raw", b"1.raw") == second.read_bytes()
    one = read_volume(first).digest
    shutil.copy(tmp_path / "1.raw", tmp_path / "0.raw")
    assert read_volume(first).digest != one


@pytest.mark.parametrize("codes", ["LPS", "PIR", "RSA", "ASL", "LIA"])
@pytest.mark.parametrize("tilt", [0.0, 0.2])
def test_a_series_gives_the_voxels_and_the_place_that_were_written(tmp_path, codes, tilt):
    affine = oriented(codes, tilt=tilt)
    volume = read_volume(write_series(tmp_path / "t1", NOISE, affine))
    data, expected = NOISE, affine
    rows, columns = (TO_LPS @ affine[:3, axis] for axis in (0, 1))
    if (TO_LPS @ np.cross(rows, columns)) @ affine[:3, 2] < 0:  # slices are ordered along the normal of their plane
        data, expected = NOISE[..., ::-1], affine @ nib.affines.from_matvec(np.diag([1, 1, -1]), [0, 0, 4])
    np.testing.assert_array_equal(volume.data, data)
    np.testing.assert_allclose(volume.affine, expected, atol=1e-4)
    assert volume.notes == ("a DICOM series of 5 slices, in the order of their positions",)


def test_files_may_be_called_anything_and_come_in_any_order(tmp_path):
    straight = read_volume(write_series(tmp_path / "a", NOISE))
    names = ["zz", "I10", "I9.IMA", "b c.dcm", "0001"]
    folder = write_series(tmp_path / "b", NOISE, names=names)
    (folder / "DICOMDIR").write_bytes(bytes(128) + b"DICM" + bytes(99))
    (folder / "notes.txt").write_text("not an image")
    shutil.copy(folder / "zz", folder / "copy of zz")
    for path in (folder, folder / "I10"):
        mixed = read_volume(path)
        np.testing.assert_array_equal(mixed.data, straight.data)
        np.testing.assert_allclose(mixed.affine, straight.affine)
    assert count_channels(folder) == 1


def test_a_sheared_series_keeps_its_shear_which_simpleitk_takes_away(tmp_path):
    sheared = TILTED @ np.array([[1, 0, 0, 0], [0, 1, 0.8, 0], [0, 0, 1, 0], [0, 0, 0, 1.0]])
    volume = read_volume(write_series(tmp_path / "a", NOISE, sheared))
    np.testing.assert_allclose(volume.affine, sheared, atol=1e-4)
    assert shear_notes(volume)
    theirs = sitk.ReadImage(sitk.ImageSeriesReader.GetGDCMSeriesFileNames(str(tmp_path / "a")))
    assert abs(theirs.GetSpacing()[2] - volume.spacing_mm[2]) < 1e-3
    assert abs(np.prod(theirs.GetSpacing()) - volume.voxel_mm3) > 0.01


@pytest.mark.parametrize(("gone", "count"), [([2], 1), ([1, 2, 3], 3), ([3], 1)])
def test_missing_slices_are_said_with_their_place(tmp_path, gone, count):
    data = np.concatenate([NOISE, NOISE], axis=2)
    names = [None if k in gone else f"IM{k:03d}.dcm" for k in range(10)]
    folder = write_series(tmp_path / "a", data, names=names)
    below, above = f"IM{min(gone) - 1:03d}.dcm", f"IM{max(gone) + 1:03d}.dcm"
    with pytest.raises(BadImage, match=f"{count} slices are missing: between {below} and {above} are .*whole series"):
        read_volume(folder)


def _without_position(folder):
    path = folder / "IM002.dcm"
    content = path.read_bytes()
    assert content.count(b"\x20\x00\x32\x00") == 1
    path.write_bytes(content.replace(b"\x20\x00\x32\x00", b"\x20\x00\x33\x00"))


REFUSED = {
    "several series": (lambda f: write_series(f, NOISE, uid="1.9", names=list("abcde")), "2 DICOM series"),
    "echoes": (lambda f: write_series(f, NOISE[..., :1], names=["echo"], instance="7.7.7"), "several images of one"),
    "a localizer": (
        lambda f: write_series(f, NOISE[..., :1], oriented("PIR"), names=["other"], instance="7.7"),
        "several directions",
    ),
    "a mosaic": (lambda f: write_series(f, NOISE, kind="ORIGINAL\\PRIMARY\\M\\MOSAIC"), "dcm2niix"),
    "no position": (_without_position, "IM002.dcm does not state where its slice lies"),
    "damaged": (lambda f: (f / "IM002.dcm").write_bytes(bytes(128) + b"DICM" + bytes(500)), "IM002.dcm"),
}


@pytest.mark.parametrize("wrong", REFUSED)
def test_what_is_no_stack_of_slices_is_refused_in_a_sentence(tmp_path, wrong, capfd):
    spoil, text = REFUSED[wrong]
    spoil(write_series(tmp_path / "t1", NOISE))
    with pytest.raises(BadImage, match=text):
        read_volume(tmp_path / "t1")
    capfd.readouterr()


def test_one_of_several_series_is_meant_by_one_of_its_files(tmp_path):
    write_series(tmp_path / "t1", NOISE)
    write_series(tmp_path / "t1", NOISE + 5, uid="1.9", names=list("abcde"))
    np.testing.assert_array_equal(read_volume(tmp_path / "t1" / "c").data, NOISE + 5)


def test_a_folder_without_images_is_no_series(tmp_path):
    with pytest.raises(BadImage, match="is a folder"):
        read_volume(tmp_path)


def test_images_of_all_formats_are_one_case(tmp_path):
    nib.save(nib.Nifti1Image(NOISE, TILTED), tmp_path / "t1.nii.gz")
    files = {
        "t1": tmp_path / "t1.nii.gz",
        "t1ce": written(tmp_path / "t1ce.mha", NOISE + 1),
        "t2": written(tmp_path / "t2.nrrd", NOISE + 2),
        "flair": write_series(tmp_path / "flair", NOISE + 3),
        "seg": written(tmp_path / "seg.nrrd", (NOISE > 2000).astype(np.uint8)),
    }
    case = read_case(files)
    assert [int(v.data[0, 0, 0] - NOISE[0, 0, 0]) for v in case.volumes.values()] == [0, 1, 2, 3]
    np.testing.assert_array_equal(case.reference.data, NOISE > 2000)


def test_a_folder_of_all_formats_is_a_case_and_so_are_folders_of_series(tmp_path):
    for case in ("a", "b"):
        written_to = tmp_path / case
        written_to.mkdir()
        written(written_to / f"{case}_t1.mha", NOISE)
        written(written_to / f"{case}_t1ce.nrrd", NOISE)
        write_series(written_to / f"{case}_t2", NOISE)
        write_series(written_to / f"{case}_T2_FLAIR", NOISE)
    cases = find_case_sources(tmp_path)
    assert [one.name for one in cases] == ["a", "b"]
    for one in cases:
        assert list(read_case(one.source).volumes) == ["t1", "t1ce", "t2", "flair"]
    [alone] = find_case_sources(tmp_path / "a" / "a_t2")
    assert list(read_case(alone.source).volumes) == ["t2"]
    assert list(read_case(tmp_path / "a" / "a_t2").volumes) == ["t2"]


def test_folders_of_series_named_by_modality_alone_are_a_case_called_by_its_folder(tmp_path):
    for modality in ("T1_MPRAGE", "T2_FLAIR"):
        write_series(tmp_path / "patient7" / modality, NOISE)
    [case] = find_case_sources(tmp_path)
    assert (case.name, list(read_case(case.source).volumes)) == ("patient7", ["t1", "flair"])


def test_a_series_whose_folder_does_not_say_what_it_is_is_refused_with_what_to_do(tmp_path):
    write_series(tmp_path / "scan", NOISE)
    with pytest.raises(BadCase, match=r"no image that is read, but IM000.dcm.*: put a DICOM series into a folder"):
        read_case(tmp_path / "scan")
    named = case_of_images([f"flair={tmp_path / 'scan'}"])
    np.testing.assert_array_equal(read_case(named.source).volumes["flair"].data, NOISE)


@pytest.mark.parametrize(
    ("content", "text"),
    [
        (b"version https://git-lfs.github.com/spec/v1\n", "a Git LFS pointer.*git lfs pull"),
        (b"/annex/objects/MD5E-s1--0.nii.gz\n", "a pointer of git-annex.*datalad get"),
    ],
)
def test_a_placeholder_is_named_as_what_it_is(tmp_path, content, text):
    (tmp_path / "t1.nii.gz").write_bytes(content)
    with pytest.raises(BadImage, match=text):
        read_volume(tmp_path / "t1.nii.gz")
    (tmp_path / "t2.nii.gz").symlink_to(".git/annex/objects/x/y/MD5E-s1--0.nii.gz")
    with pytest.raises(BadImage, match="a link of git-annex, whose content was not fetched: fetch it with"):
        read_volume(tmp_path / "t2.nii.gz")


def test_a_file_that_ends_the_process_that_reads_it_is_refused_and_the_next_is_read(tmp_path):
    path = written(tmp_path / "a.nrrd", NOISE)
    with itk_process.ItkProcess(path) as process:
        process._child.kill()
        with pytest.raises(BadImage, match=r"a.nrrd is damaged, so that it cannot be read at all: copy it again"):
            process.headers([path])
    np.testing.assert_array_equal(read_volume(path).data, NOISE)


@pytest.mark.parametrize("suffix", [".mha", ".nrrd"])
def test_damaged_headers_give_nothing_but_a_volume_or_a_sentence(tmp_path, suffix):
    whole = written(tmp_path / f"a{suffix}", NOISE, compressed=True).read_bytes()
    chosen = np.random.default_rng(5)
    for _ in range(40):
        content = bytearray(whole)
        for place in chosen.integers(0, 300, 3):
            content[place] = chosen.choice(list(b"0123456789-. =\n\xff"))
        (tmp_path / f"a{suffix}").write_bytes(bytes(content))
        with contextlib.suppress(BadImage):
            assert read_volume(tmp_path / f"a{suffix}").data.ndim == 3
