"""Files to layers and back, without a viewer: names, geometry, and what is refused."""

from itertools import permutations, product
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
import SimpleITK as sitk
from dicom_series import write_series
from napari.layers import Layer

from napari_diffseg.errors import BadCase, BadImage, OutputExists
from napari_diffseg.imaging.demo_case import demo_case_folder
from napari_diffseg.plugin.files.reader import get_reader, layer_name, read_layers
from napari_diffseg.plugin.files.writer import write_image, write_labels
from napari_diffseg.plugin.grid.frame import METADATA_KEY, with_member_axis
from napari_diffseg.plugin.samples import open_sample
from plugin_fakes import LPS, MODALITIES, SHAPE, write_images

ORIENTATIONS = [
    nib.orientations.ornt2axcodes(np.array(list(zip(axes, flips, strict=True)), float))
    for axes in permutations(range(3))
    for flips in product((1, -1), repeat=3)
]


def affine_of(codes, *, tilt_degrees=0.0):
    ornt = nib.orientations.axcodes2ornt(codes)
    affine = nib.orientations.inv_ornt_aff(ornt, SHAPE) @ np.diag([0.9, 1.1, 3.0, 1.0])
    affine[:3, 3] = (-20, 30, 5)
    t = np.radians(tilt_degrees)
    tilt = np.array([[1, 0, 0], [0, np.cos(t), -np.sin(t)], [0, np.sin(t), np.cos(t)]])
    affine[:3, :3] = tilt @ affine[:3, :3]
    return affine


def write_one(folder, affine):
    return str(write_images(folder, affine=affine, modalities=("t1",)) / "case_1_t1.nii.gz")


@pytest.mark.parametrize("codes", ORIENTATIONS)
@pytest.mark.parametrize("tilt", [0.0, 9.0])
def test_a_mask_drawn_on_a_layer_is_written_on_the_files_own_voxels(tmp_path, codes, tilt):
    source_path = write_one(tmp_path / "in", affine_of(codes, tilt_degrees=tilt))
    [(data, attributes, _)] = read_layers(source_path)
    threshold = np.median(data)
    out = str(tmp_path / "mask.nii.gz")
    assert write_labels(out, (data > threshold).astype(np.int32), attributes) == [out]
    source, mask = nib.load(source_path), nib.load(out)
    np.testing.assert_array_equal(np.asanyarray(mask.dataobj), np.asanyarray(source.dataobj) > threshold)
    assert mask.get_data_dtype() == np.uint8
    for which in ("sform", "qform"):
        expected, code = source.header.__getattribute__(f"get_{which}")(coded=True)
        found, found_code = mask.header.__getattribute__(f"get_{which}")(coded=True)
        np.testing.assert_array_equal(found, expected)
        assert found_code == code


def test_a_map_is_written_as_float32(tmp_path):
    source = write_one(tmp_path / "in", affine_of("RAS"))
    [(data, attributes, _)] = read_layers(source)
    write_image(str(tmp_path / "map.nii"), data / 7, attributes)
    image = nib.load(tmp_path / "map.nii")
    assert image.get_data_dtype() == np.float32
    np.testing.assert_allclose(image.get_fdata(), nib.load(source).get_fdata() / 7, rtol=1e-6)


def test_a_layer_of_another_reader_is_written_where_it_is_shown(tmp_path):
    layer = Layer.create(np.ones((3, 4, 5), np.uint8), {"scale": (3, 2, 1), "translate": (9, 0, 0)}, "labels")
    data, attributes, _ = layer.as_layer_data_tuple()
    write_labels(str(tmp_path / "m.nii"), data, attributes)
    np.testing.assert_array_equal(
        nib.load(tmp_path / "m.nii").affine, [[0, 0, -1, 0], [0, -2, 0, 0], [3, 0, 0, 9], [0, 0, 0, 1]]
    )


@pytest.mark.parametrize("codes", ["LPS", "PIR"])
@pytest.mark.parametrize("tilt", [0.0, 9.0])
def test_members_in_one_layer_are_written_one_file_each_and_none_is_replaced(tmp_path, codes, tilt):
    source = write_one(tmp_path / "in", affine_of(codes, tilt_degrees=tilt))
    [(data, attributes, _)] = read_layers(source)
    members = np.random.default_rng(0).integers(0, 2, (3, *data.shape)).astype(np.uint8)
    placed = {k: v for k, v in with_member_axis(attributes).items() if k not in ("colormap", "contrast_limits")}
    _, placed, _ = Layer.create(members, placed, "labels").as_layer_data_tuple()
    paths = write_labels(str(tmp_path / "m.nii.gz"), members, placed)
    assert [Path(path).name for path in paths] == [f"m_member{k}.nii.gz" for k in (1, 2, 3)]
    for member, path in zip(members, paths, strict=True):
        np.testing.assert_array_equal(nib.load(path).affine, nib.load(source).affine)
        assert nib.load(path).get_data_dtype() == np.uint8
        np.testing.assert_array_equal(read_layers(path)[0][0], member)
    with pytest.raises(OutputExists):
        write_labels(str(tmp_path / "m.nii.gz"), members, placed)


def test_the_image_itself_is_never_written_over(tmp_path):
    source = write_one(tmp_path, affine_of("LPS"))
    [(data, attributes, _)] = read_layers(source)
    with pytest.raises(OutputExists, match="is the image that layer case_1 t1 comes from"):
        write_image(source, data, attributes)


@pytest.mark.parametrize("value", [-1, 256])
def test_a_label_that_eight_bits_cannot_hold_is_refused(tmp_path, value):
    [(data, attributes, _)] = read_layers(write_one(tmp_path, affine_of("LPS")))
    labels = np.zeros(data.shape, np.int32)
    labels[0, 0, 0] = value
    with pytest.raises(BadImage, match="renumber the labels"):
        write_labels(str(tmp_path / "m.nii"), labels, attributes)


def test_a_folder_is_one_layer_a_modality_and_the_last_is_shown(case_folder):
    layers = read_layers(str(case_folder))
    assert [(a["name"], a.get("visible", True)) for _, a, _ in layers] == [
        (f"case_1 {m}", m == "flair") for m in MODALITIES
    ]
    assert {(a["colormap"], kind) for _, a, kind in layers} == {("gray", "image")}


def test_contrast_leaves_the_brightest_voxels_out(case_folder):
    [(data, attributes, _)] = read_layers(str(case_folder / "case_1_t1.nii.gz"))
    low, high = attributes["contrast_limits"]
    assert low == 0
    assert high == pytest.approx(np.percentile(data[data != 0], 99.5))


def test_a_reference_mask_becomes_labels(case_folder):
    nib.save(nib.Nifti1Image(np.zeros(SHAPE, np.uint8), np.eye(4)), case_folder / "case_1_seg.nii.gz")
    assert [kind for _, _, kind in read_layers(str(case_folder))] == ["image"] * 4 + ["labels"]


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("sub-01_desc-lesion_dseg.nii.gz", "labels"),
        ("aseg.nii", "labels"),
        ("aparc.a2009s+aseg.nii", "labels"),
        ("sub-01_dsegmented_T1w.nii.gz", "image"),
        ("baseg.nii", "image"),
    ],
)
def test_files_of_labels_are_known_by_the_names_of_bids_and_freesurfer(tmp_path, name, kind):
    nib.save(
        nib.Nifti1Image(np.arange(2036 - np.prod(SHAPE), 2036).reshape(SHAPE).astype(np.int32), LPS), tmp_path / name
    )
    [(data, _, found)] = read_layers(str(tmp_path / name))
    assert (found, data.max()) == (kind, 2035)


@pytest.mark.parametrize("name", ["sub-01_aparc_thickness.nii.gz", "sub-01_desc-soft_dseg.nii"])
def test_a_file_that_is_only_named_like_labels_and_holds_fractions_is_an_image(tmp_path, name):
    data = np.random.default_rng(0).random(SHAPE).astype(np.float32)
    nib.save(nib.Nifti1Image(data, LPS), tmp_path / name)
    [(shown, _, kind)] = read_layers(str(tmp_path / name))
    assert kind == "image"
    np.testing.assert_array_equal(shown, data.transpose(2, 1, 0))


def test_a_file_that_is_only_named_like_labels_and_holds_channels_is_an_image_for_each(tmp_path):
    data = np.random.default_rng(0).random((*SHAPE, 2)).astype(np.float32)
    nib.save(nib.Nifti1Image(data, LPS), tmp_path / "sub-01_dseg.nii.gz")
    assert [kind for _, _, kind in read_layers(str(tmp_path / "sub-01_dseg.nii.gz"))] == ["image", "image"]


def test_a_damaged_file_that_is_named_like_labels_is_refused_in_a_sentence(tmp_path):
    (tmp_path / "aseg.nii.gz").write_bytes(b"<html>")
    with pytest.raises(BadImage, match=r"aseg\.nii\.gz"):
        read_layers(str(tmp_path / "aseg.nii.gz"))


PROMISES = (
    "case_1_seg",
    "sub-01_label-et_probseg",
    "lesion_probability",
    "pat_seg_softmax",
    "case_mask",
    "p_seg-lst_prob",
)


@pytest.mark.parametrize("name", PROMISES)
def test_a_name_that_promises_a_mask_and_does_not_keep_it_opens_as_an_image(tmp_path, name):
    data = np.random.default_rng(0).random(SHAPE).astype(np.float32)
    nib.save(nib.Nifti1Image(data, LPS), tmp_path / f"{name}.nii.gz")
    [(shown, _, kind)] = read_layers(str(tmp_path / f"{name}.nii.gz"))
    assert kind == "image"
    np.testing.assert_array_equal(shown, data.transpose(2, 1, 0))


def test_an_image_of_one_value_can_be_looked_at(tmp_path):
    nib.save(nib.Nifti1Image(np.full(SHAPE, 0.5, np.float32), LPS), tmp_path / "case_1_mean.nii.gz")
    [(shown, _, kind)] = read_layers(str(tmp_path / "case_1_mean.nii.gz"))
    assert (kind, shown.min()) == ("image", 0.5)


def test_a_folder_opens_although_its_mask_cannot_be_read_and_the_first_image_says_so(case_folder):
    (case_folder / "case_1_seg.nii.gz").write_bytes(b"<html>")
    layers = read_layers(str(case_folder))
    assert [kind for *_, kind in layers] == ["image"] * 4
    assert (
        "a mask beside it is left out: case_1_seg.nii.gz is no image"
        in layers[0][1]["metadata"][METADATA_KEY].volume.notes[0]
    )


def test_a_soft_mask_in_a_folder_opens_hidden_behind_the_last_image(case_folder):
    nib.save(nib.Nifti1Image(np.random.default_rng(0).random(SHAPE), LPS), case_folder / "case_1_seg.nii.gz")
    layers = read_layers(str(case_folder))
    assert [kind for *_, kind in layers] == ["image"] * 5
    assert [a.get("visible", True) for _, a, _ in layers] == [False, False, False, True, False]


def test_a_file_with_channels_becomes_a_layer_for_each(tmp_path):
    data = np.random.default_rng(0).integers(0, 99, (*SHAPE, 3)).astype(np.int16)
    nib.save(nib.Nifti1Image(data, np.diag([-1, -1, 1, 1])), tmp_path / "scan.nii.gz")
    layers = read_layers(str(tmp_path / "scan.nii.gz"))
    assert [a["name"] for _, a, _ in layers] == ["scan channel 1", "scan channel 2", "scan channel 3"]
    np.testing.assert_array_equal(layers[2][0], data[..., 2].transpose(2, 1, 0))


@pytest.mark.parametrize(
    ("name", "expected"),
    [("BraTS_001_T1gd.nii.gz", "BraTS_001 t1ce"), ("flair.nii", "flair"), ("scan_12.nii.gz", "scan_12")],
)
def test_layers_are_named_by_case_and_modality(tmp_path, name, expected):
    assert layer_name(tmp_path / name) == expected


def test_what_is_not_ours_is_left_to_others(tmp_path):
    (tmp_path / "notes.txt").write_text("x")
    (tmp_path / "scan.nii.gz").write_bytes(b"")
    assert get_reader(str(tmp_path)) is None
    assert get_reader(str(tmp_path / "notes.txt")) is None
    assert get_reader([str(tmp_path / "scan.nii.gz"), str(tmp_path / "notes.txt")]) is None
    assert get_reader([]) is None
    assert get_reader(str(tmp_path / "scan.nii.gz")) is read_layers


def test_a_damaged_file_is_refused_in_a_sentence(tmp_path):
    (tmp_path / "t1.nii.gz").write_bytes(b"<html>")
    with pytest.raises(BadImage, match=r"t1\.nii\.gz"):
        read_layers(str(tmp_path / "t1.nii.gz"))


def test_the_sample_is_the_shipped_case(tmp_path, monkeypatch):
    monkeypatch.setattr("napari_diffseg.imaging.demo_case.files", lambda _: tmp_path)
    with pytest.raises(BadCase, match="missing from this installation"):
        demo_case_folder()
    write_images(tmp_path / "data" / "demo_case", case_id="demo")
    assert [a["name"] for _, a, _ in open_sample()] == [f"demo {m}" for m in MODALITIES]


@pytest.fixture
def case_of_formats(tmp_path):
    """A case with an image of each format, all of the same voxels: 1 in t1, 2 in t1ce and so on more."""
    data = np.random.default_rng(0).integers(1, 99, SHAPE).astype(np.int16)
    folder = tmp_path / "case_1"
    folder.mkdir()
    nib.save(nib.Nifti1Image(data, LPS), folder / "t1.nii.gz")
    for n, name in enumerate(("t1ce.mha", "t2.nrrd"), start=1):
        sitk.WriteImage(sitk.GetImageFromArray(np.ascontiguousarray((data + n).T)), str(folder / name))
    write_series(folder / "flair", data + 3, LPS)
    return folder, data


def test_a_folder_of_mixed_formats_is_one_layer_a_modality(case_of_formats):
    folder, data = case_of_formats
    assert get_reader(str(folder)) is read_layers
    layers = read_layers(str(folder))
    assert [a["name"] for _, a, _ in layers] == ["t1", "t1ce", "t2", "flair"]
    for n, (shown, _, kind) in enumerate(layers):
        assert kind == "image"
        np.testing.assert_array_equal(shown, data.transpose(2, 1, 0) + n)


def test_a_series_opens_by_its_folder_and_by_any_of_its_files_once(case_of_formats):
    folder, data = case_of_formats
    files = sorted(map(str, (folder / "flair").iterdir()))
    for given in (str(folder / "flair"), files[2], files[:4]):
        assert get_reader(given) is read_layers
        [(shown, _, _)] = read_layers(given)
        np.testing.assert_array_equal(shown, data.transpose(2, 1, 0) + 3)


def test_several_masks_beside_the_images_of_a_folder_open_as_labels(case_folder):
    for name in ("flair_seg_label1", "t1ce_seg_label2"):
        nib.save(nib.Nifti1Image(np.ones(SHAPE, np.uint8), LPS), case_folder / f"case_1_{name}.nii.gz")
    layers = read_layers(str(case_folder))
    assert [kind for *_, kind in layers] == ["image"] * 4 + ["labels"] * 2
    assert [a.get("visible", True) for _, a, _ in layers] == [False, False, False, True, False, False]
