"""DICOM segmentations: on the right voxels of the right patient, read by others, or not written."""

from dataclasses import replace

import nibabel as nib
import numpy as np
import pydicom
import pytest
import SimpleITK as sitk
from dicom_series import write_series

from napari_diffseg import extras
from napari_diffseg.ensemble.summary import Rule, Summary
from napari_diffseg.errors import BadImage, BadRequest, OutputExists
from napari_diffseg.imaging.formats.nifti import read_volume
from napari_diffseg.imaging.geometry.regrid import NEAREST, regrid
from napari_diffseg.runs.dicom_seg import SegChoice
from napari_diffseg.runs.edited_mask import EditedMask, EditRecord
from napari_diffseg.runs.export import ExportChoice, count_files, export_run
from napari_diffseg.runs.layout import Style
from napari_diffseg.runs.stored_run import StoredRun
from stored_runs import make_record

SHAPE = (6, 5, 4)
VALUES = np.random.default_rng(0).integers(1, 900, SHAPE)
STACK = np.random.default_rng(1).random((3, 2, *SHAPE)) > 0.6
STACK[..., :2] = False  # of slices 0 and 1, readers must not lose the place
AS_IS = np.eye(4)
FLIPPED = np.diag([1.0, 1, -1, 1])
FLIPPED[2, 3] = SHAPE[2] - 1
SHEARED = np.eye(4)
SHEARED[1, 2] = 0.4


def series(folder, *, turn=AS_IS, names=None, values=VALUES, **tags):
    """A series of one patient; `turn` acts on voxels, such as one that stores the slices from the top down."""
    fields = {"frame": "1.2.3.9", "patient": "P01", "name": "Doe^Jane"} | tags
    return write_series(folder, values, np.asarray(dicom_affine() @ turn), names=names, **fields)


def dicom_affine():
    turned = nib.eulerangles.euler2mat(0.1, -0.2, 0.3) @ np.diag([0.9, 1.1, 4.0])
    return nib.affines.from_matvec(turned, [-31.7, 22.3, 8.9])


def run_of(volume, folder, *, labels=("whole tumour", "tumour core"), known=True):
    """A run on the voxels of an image, which was read for it where it is known."""
    folder.mkdir()
    (folder / "run.json").write_text("{}")
    record = make_record(
        recipe={"labels": labels},
        slices=(0, 1, 2, 3),
        inputs={"t1": volume.digest if known else "another"},
        checkpoint={"file": "a.pt"},
        checkpoint_digest="ab" * 32,
        request={"seed": 7},
        sampler="ddim",
        timesteps=20,
    )
    return StoredRun(folder, record, replace(volume, path=None), dict(enumerate(STACK[:, : len(labels)])))


def export(run, out, place, *, images=(), edited=None, **choice):
    chosen = ExportChoice(**({"what": ("dicom",), "seg": SegChoice(place, images)} | choice))
    told = list(export_run(run, out, chosen, edited))
    assert len(told) == count_files(run, chosen, edited)
    return {path.name.removesuffix(".dcm").rpartition("_")[2]: path for path in told if path.suffix == ".dcm"}


def placed(path, segment):
    """Every voxel above 0 of a segment, by where its own frame says that it lies (LPS mm), and its value."""
    ds = pydicom.dcmread(path)
    assert ds.Modality == "SEG"
    pixels = ds.pixel_array
    found = {}
    shared = ds.SharedFunctionalGroupsSequence[0]
    for frame, groups in zip(pixels, ds.PerFrameFunctionalGroupsSequence, strict=True):
        which = groups if "SegmentIdentificationSequence" in groups else shared
        if which.SegmentIdentificationSequence[0].ReferencedSegmentNumber != segment:
            continue
        position = np.array(groups.PlanePositionSequence[0].ImagePositionPatient, float)
        axes = np.array(shared.PlaneOrientationSequence[0].ImageOrientationPatient, float).reshape(2, 3)
        down, along = map(float, shared.PixelMeasuresSequence[0].PixelSpacing)
        for row, column in np.argwhere(frame > 0):
            point = position + axes[0] * along * column + axes[1] * down * row
            found[tuple(np.round(point, 2) + 0.0)] = int(frame[row, column])
    return found


def expected(values, volume):
    """The same of an array on the voxels of an image."""
    places = np.argwhere(values > 0)
    points = (np.diag([-1, -1, 1, 1]) @ volume.affine @ np.c_[places, np.ones(len(places))].T).T[:, :3]
    return {tuple(np.round(p, 2) + 0.0): v for p, v in zip(points, values[values > 0], strict=True)}


def near(found, wanted):
    """The values in one order of places, which are the same to within rounding."""
    assert len(found) == len(wanted) > 0
    a, b = np.array(sorted(found)), np.array(sorted(wanted))
    order = [int(np.abs(b - p).sum(axis=1).argmin()) for p in a]
    assert sorted(order) == list(range(len(b)))
    np.testing.assert_allclose(a, b[order], atol=0.02)
    return [found[tuple(p)] for p in a], [wanted[tuple(b[k])] for k in order]


@pytest.mark.parametrize(
    ("turn", "names"),
    [
        (AS_IS, None),
        (FLIPPED, None),
        (AS_IS, ["d.dcm", "a.dcm", "c.dcm", "b.dcm"]),
        (SHEARED, None),
    ],
    ids=["oblique", "from the top down", "names in another order", "sheared"],
)
def test_every_voxel_lies_where_the_run_has_it(tmp_path, turn, names):
    place = series(tmp_path / "series", turn=turn, names=names)
    volume = read_volume(place)
    run = run_of(volume, tmp_path / "run")
    files = export(run, tmp_path / "out", place, summary=Summary(Rule.MAJORITY))
    mask, mean = STACK.mean(0) > 0.5, STACK.mean(0)
    for c in (0, 1):
        near(placed(files["mask"], c + 1), expected(mask[c], volume))
        levels, wanted = near(placed(files["probability"], c + 1), expected(mean[c], volume))
        np.testing.assert_allclose(np.array(levels) / 255, wanted, atol=0.5 / 255 + 1e-6)


def test_a_run_on_the_same_voxels_in_another_order_is_written_on_the_right_ones(tmp_path):
    place = series(tmp_path / "series")
    volume = read_volume(place)
    turned = nib.Nifti1Image(volume.data, volume.affine).as_reoriented([[1, -1], [2, 1], [0, -1]])
    other = replace(volume, data=np.asarray(turned.dataobj), affine=turned.affine, path=None)
    moved = np.stack([[regrid(c, volume, other, order=NEAREST) for c in member] for member in STACK])
    run = replace(run_of(other, tmp_path / "run"), members=dict(enumerate(moved)))
    files = export(run, tmp_path / "out", place, images=(other,), summary=Summary(Rule.MAJORITY))
    near(placed(files["mask"], 1), expected(STACK.mean(0)[0] > 0.5, volume))


def test_another_reader_finds_all_slices_and_what_the_file_is_of(tmp_path):
    place = series(tmp_path / "series")
    run = run_of(read_volume(place), tmp_path / "run")
    files = export(run, tmp_path / "out", place, summary=Summary(Rule.MAJORITY))
    ds = pydicom.dcmread(files["mask"])
    source = pydicom.dcmread(place / "IM000.dcm")
    for name in ("PatientID", "PatientName", "StudyInstanceUID", "FrameOfReferenceUID"):
        assert ds[name].value == source[name].value
    assert ds.NumberOfFrames == 2 * SHAPE[2]
    assert [s.SegmentLabel for s in ds.SegmentSequence] == ["whole tumour", "tumour core"]
    said = ds.SegmentSequence[0].SegmentationAlgorithmIdentificationSequence[0].AlgorithmParameters
    assert {"checkpoint_sha256=" + "ab" * 32, "seed=7", "members=3"} <= set(said.split(","))
    assert ds.ContentDescription == "mask: majority of the members, 3 members"
    referred = {str(i.ReferencedSOPInstanceUID) for i in ds.ReferencedSeriesSequence[0].ReferencedInstanceSequence}
    assert referred == {f"1.2.3.4.{k + 1}" for k in range(SHAPE[2])}
    probability = pydicom.dcmread(files["probability"])
    assert (probability.SegmentationType, probability.SegmentationFractionalType) == ("FRACTIONAL", "PROBABILITY")
    measures = ds.SharedFunctionalGroupsSequence[0].PixelMeasuresSequence[0]
    assert float(measures.SpacingBetweenSlices) == pytest.approx(4.0)  # the series itself says 1
    assert list(map(float, measures.PixelSpacing)) == pytest.approx([1.1, 0.9])
    image = sitk.ReadImage(files["probability"])
    assert image.GetSize()[2] == 2 * SHAPE[2]


def test_the_corrected_mask_is_a_file_of_its_own(tmp_path):
    place = series(tmp_path / "series")
    volume = read_volume(place)
    run = run_of(volume, tmp_path / "run", labels=("lesion",))
    painted = np.zeros(SHAPE, np.uint8)
    painted[2, 3, 1] = 1
    edited = EditedMask(1, painted, np.zeros_like(painted), EditRecord(began_from="majority"))
    files = export(run, tmp_path / "out", place, edited=edited, summary=Summary(Rule.MAJORITY))
    near(placed(files["edited"], 1), expected(painted, volume))
    assert pydicom.dcmread(files["edited"]).SegmentSequence[0].SegmentAlgorithmType == "SEMIAUTOMATIC"
    np.testing.assert_array_equal(np.unique(painted), [0, 1])


def test_one_member_and_an_empty_mask_keep_every_slice(tmp_path):
    place = series(tmp_path / "series")
    run = run_of(read_volume(place), tmp_path / "run", labels=("lesion",))
    run = replace(run, members={0: np.zeros((1, *SHAPE), np.bool_)})
    files = export(run, tmp_path / "out", place)
    for path in files.values():
        ds = pydicom.dcmread(path)
        assert (ds.NumberOfFrames, int(ds.pixel_array.max())) == (SHAPE[2], 0)


def test_another_patient_on_the_same_voxels_is_refused(tmp_path):
    own = read_volume(series(tmp_path / "own"))
    other = series(tmp_path / "other", values=np.random.default_rng(5).integers(1, 900, SHAPE), patient="P02")
    run = run_of(own, tmp_path / "run")
    with pytest.raises(BadImage, match="nothing tells whether"):
        export(run, tmp_path / "out", other)
    with pytest.raises(BadImage, match="something else"):
        export(run, tmp_path / "out", other, images=(own,))
    with pytest.raises(BadImage, match="nothing tells whether"):  # an image that the run does not know of
        export(run, tmp_path / "out", other, images=(read_volume(other),))
    assert not (tmp_path / "out").exists()


def test_a_skull_stripped_image_of_the_run_tells_that_the_series_is_its_own(tmp_path):
    place = series(tmp_path / "series")
    volume = read_volume(place)
    stripped = np.where(np.arange(SHAPE[0])[:, None, None] > 1, volume.data * 0.5, 0).astype(np.float32)
    image = replace(volume, data=stripped, path=None)
    run = run_of(image, tmp_path / "run")
    assert export(run, tmp_path / "out", place, images=(image,))


def test_a_series_on_other_voxels_is_refused(tmp_path):
    place = series(tmp_path / "series")
    moved = series(tmp_path / "moved", turn=nib.affines.from_matvec(np.eye(3), [0, 0, 1]))
    run = run_of(read_volume(place), tmp_path / "run")
    with pytest.raises(BadImage, match="but the run is"):
        export(run, tmp_path / "out", moved)


def test_what_is_no_series_or_of_several_patients_is_refused(tmp_path):
    place = series(tmp_path / "series")
    run = run_of(read_volume(place), tmp_path / "run")
    image = tmp_path / "image.nii.gz"
    nib.save(nib.Nifti1Image(VALUES.astype(np.int16), np.eye(4)), image)
    with pytest.raises(BadImage, match="no DICOM series"):
        export(run, tmp_path / "out", image)
    first = pydicom.dcmread(place / "IM001.dcm")
    first.PatientID = "P02"
    first.save_as(place / "IM001.dcm")
    with pytest.raises(BadImage, match="several PatientID"):
        export(run, tmp_path / "out", place)
    with pytest.raises(BadRequest, match="belongs to a series"):
        ExportChoice(what=("dicom",))


def test_a_series_that_was_anonymised_is_written_to(tmp_path):
    place = series(tmp_path / "series")
    for path in place.iterdir():
        ds = pydicom.dcmread(path)
        for name in ("PatientBirthDate", "AccessionNumber", "StudyID", "PatientName", "StudyDate"):
            del ds[name]
        ds.save_as(path)
    run = run_of(read_volume(place), tmp_path / "run")
    assert pydicom.dcmread(export(run, tmp_path / "out", place)["mask"]).PatientName == ""


def test_nothing_is_replaced_unasked_and_bids_ignores_the_files(tmp_path):
    place = series(tmp_path / "series")
    run = run_of(read_volume(place), tmp_path / "run")
    export(run, tmp_path / "out", place, style=Style.BIDS)
    assert "*.dcm" in (tmp_path / "out" / ".bidsignore").read_text().split()
    (tmp_path / "out" / "sub-case1" / "anat" / "sub-case1_desc-diffseg_run.json").unlink()
    with pytest.raises(OutputExists):
        export(run, tmp_path / "out", place, style=Style.BIDS)


def test_without_the_library_one_sentence_says_what_to_install(tmp_path, monkeypatch):
    place = series(tmp_path / "series")
    run = run_of(read_volume(place), tmp_path / "run")
    monkeypatch.setitem(extras.LIBRARIES, "dicom", ("highdicom_that_is_not_there",))
    with pytest.raises(BadRequest, match=r"napari-diffseg\[dicom\]"):
        export(run, tmp_path / "out", place)


def test_directions_that_differ_by_rounding_are_one(tmp_path):
    place = series(tmp_path / "series")
    ds = pydicom.dcmread(place / "IM002.dcm")
    ds.ImageOrientationPatient = [f"{float(x) + 2e-7:.9f}" for x in ds.ImageOrientationPatient]
    ds.save_as(place / "IM002.dcm")
    run = run_of(read_volume(place), tmp_path / "run")
    assert export(run, tmp_path / "out", place)
