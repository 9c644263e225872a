"""Regions in every file of a run: nested, and in one label map with the values of the year that is asked for."""

import csv
import json
from pathlib import Path
from tempfile import TemporaryDirectory

import nibabel as nib
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from builders import write_tiny_checkpoint
from kept_runs import keep, load, make_folder
from napari_diffseg.checkpoint import load_checkpoint
from napari_diffseg.ensemble.summary import Rule, Summary
from napari_diffseg.errors import BadRequest, OutputExists
from napari_diffseg.regions import Region, compose_label_map, nest, regions_named, split_label_map, with_values_of
from napari_diffseg.runs.edited_mask import EditedMask, EditRecord, export_edited
from napari_diffseg.runs.export import ExportChoice, export_run
from napari_diffseg.runs.label_map import LabelWords
from napari_diffseg.runs.layout import Style
from napari_diffseg.runs.stored_run import read_run
from stored_runs import SLICES, write_run

BRATS = regions_named("brats2021")
RECIPE = {"labels": [r.name for r in BRATS], "label_values": [r.values for r in BRATS]}
TAILS = ("whole-tumour", "tumour-core", "enhancing-tumour")
SOME = nest(np.random.default_rng(1).random((3, 3, len(SLICES), 6, 4)).transpose(1, 0, 2, 3, 4) > 0.55, BRATS)


def check_nested(folder, pattern):
    """Every file of the regions in a folder is nested, but for uncertainty; how many of each there were."""
    found = sorted(path for path in folder.glob(pattern) if "uncertainty" not in path.name)
    for outer in found:
        core, inner = (Path(str(outer).replace(TAILS[0], tail)) for tail in TAILS[1:])
        whole, core, enhancing = (load(path) for path in (outer, core, inner))
        assert (whole >= core).all(), outer
        assert (core >= enhancing).all(), outer
    return len(found)


def test_the_description_for_nnunet_has_every_value_of_the_map():
    tissues = (
        Region(name="whole", values=(1, 2, 4)),
        Region(name="oedema", values=(2,)),
        Region(name="core", values=(1, 4)),
    )
    said = LabelWords(tissues).description
    assert said["labels"] == {"background": 0, "whole": [1, 2, 3, 4], "core": [1, 4], "oedema": 2}
    assert said["regions_class_order"] == [3, 1, 2]
    masks = np.array([[True, True, True], [False, True, False], [False, False, True]])
    assert compose_label_map(masks, tissues).tolist() == [3, 2, 1]


@settings(max_examples=8)
@given(st.integers(0, 999), st.sampled_from([0.0, 1.5]), st.sampled_from(list(Rule)), st.floats(0.1, 0.9))
def test_regions_nest_in_every_file(seed, smoothing_mm, rule, threshold):
    random = np.random.default_rng(seed).random((4, 3, len(SLICES), 6, 4))
    masks, expected = [nest(member > threshold, BRATS) for member in random[:3]], nest(random[3], BRATS)
    with TemporaryDirectory() as folder:
        run, out = Path(folder) / "run", Path(folder) / "out"
        more = {"smoothing_mm": smoothing_mm, "rule": "probability"} if smoothing_mm else {}
        write_run(run, masks=masks, one_step=expected.astype(np.float32), **RECIPE, **more)
        assert check_nested(run, "*whole*.nii.gz") == (4 if smoothing_mm else 3)
        assert check_nested(run / "members", "*whole*.nii.gz") == 3
        masks = np.stack([load(run / f"mask_{tail}.nii.gz") for tail in TAILS]).astype(bool)
        np.testing.assert_array_equal(split_label_map(load(run / "label-map.nii.gz"), BRATS), masks)

        choice = ExportChoice(summary=Summary(rule, 0.3, smoothing_mm=1.0), label_values="brats2023")
        list(export_run(read_run(run), out, choice))
        assert check_nested(out, "*whole*.nii.gz") == 7
        masks = np.stack([load(out / f"case_1_mask_{tail}.nii.gz") for tail in TAILS]).astype(bool)
        labels = load(out / "case_1_label-map.nii.gz")
        np.testing.assert_array_equal(split_label_map(labels, with_values_of(BRATS, "brats2023")), masks)


@pytest.fixture(scope="module")
def three_regions(tmp_path_factory):
    """A checkpoint of random weights, for three nested regions."""
    path = tmp_path_factory.mktemp("checkpoint") / "tiny.safetensors"
    return load_checkpoint(write_tiny_checkpoint(path, **RECIPE))


def test_a_run_that_goes_on_with_more_members_is_nested_and_as_one_that_never_stopped(
    tiny_case, three_regions, tmp_path
):
    keep(make_folder(tmp_path / "run", tiny_case, three_regions, members=2), three_regions)
    keep(make_folder(tmp_path / "run", tiny_case, three_regions, members=4), three_regions, resume=True)
    keep(make_folder(tmp_path / "whole", tiny_case, three_regions, members=4), three_regions)
    assert check_nested(tmp_path / "run", "*whole*.nii.gz") == 3
    assert check_nested(tmp_path / "run" / "members", "*whole*.nii.gz") == 4
    assert load(tmp_path / "run" / "label-map.nii.gz").max() == 4
    np.testing.assert_array_equal(
        load(tmp_path / "run" / "label-map.nii.gz"), load(tmp_path / "whole" / "label-map.nii.gz")
    )


def test_the_record_names_the_values_and_another_year_is_written_anew(tiny_case, three_regions, tmp_path):
    folder = make_folder(tmp_path / "run", tiny_case, three_regions)
    keep(folder, three_regions)
    before = load(tmp_path / "run" / "label-map.nii.gz")
    record = json.loads((tmp_path / "run" / "run.json").read_text())
    assert record["label_map"]["4"] == "enhancing tumour"
    folder.label_values = "brats2023"
    assert not folder.is_complete()
    keep(folder, three_regions, resume=True)
    assert folder.is_complete()
    after = load(tmp_path / "run" / "label-map.nii.gz")
    np.testing.assert_array_equal(after, np.where(before == 4, 3, before))
    record = json.loads((tmp_path / "run" / "run.json").read_text())
    assert record["label_map"]["3"] == "enhancing tumour"
    assert "4" not in record["label_map"]


@pytest.mark.parametrize(("word", "enhancing"), [(None, 4), ("brats2020", 4), ("brats2023", 3), ("nnunet", 3)])
def test_a_label_map_has_the_values_asked_for_and_a_table_beside_it(tmp_path, word, enhancing):
    write_run(tmp_path / "run", masks=list(SOME), **RECIPE)
    out = tmp_path / "out"
    list(export_run(read_run(tmp_path / "run"), out, ExportChoice(what=("label-map", "mask"), label_values=word)))
    labels = load(out / "case_1_label-map.nii.gz")
    np.testing.assert_array_equal(labels == enhancing, load(out / "case_1_mask_enhancing-tumour.nii.gz"))
    with (out / "case_1_label-map.tsv").open() as file:
        table = {int(row["index"]): row["name"] for row in csv.DictReader(file, delimiter="\t")}
    assert table[enhancing] == "enhancing tumour"
    assert set(np.unique(labels)) <= set(table)


def test_for_nnunet_there_is_the_label_map_alone_and_what_says_how_its_regions_are_made(tmp_path):
    write_run(tmp_path / "run", masks=list(SOME), **RECIPE)
    run, out = read_run(tmp_path / "run"), tmp_path / "out"
    list(export_run(run, out, ExportChoice(style=Style.NNUNET)))
    assert sorted(path.name for path in out.iterdir()) == ["case_1.nii.gz", "case_1_run.json", "dataset.json"]
    said = json.loads((out / "dataset.json").read_text())
    assert said["labels"] == {
        "background": 0, "whole tumour": [1, 2, 3], "tumour core": [2, 3], "enhancing tumour": 3,
    }  # fmt: skip
    assert said["regions_class_order"] == [1, 2, 3]
    list(export_run(run, out, ExportChoice(style=Style.NNUNET, overwrite=True)))
    with pytest.raises(OutputExists, match="other meanings"):
        list(export_run(run, out, ExportChoice(style=Style.NNUNET, label_values="brats2021")))
    assert load(out / "case_1.nii.gz").max() <= 3


def test_values_that_the_regions_cannot_have_are_refused_before_anything_is_written(tmp_path):
    write_run(tmp_path / "run", masks=[m[:1] for m in SOME])
    with pytest.raises(BadRequest, match="no label for 'lesion'"):
        list(
            export_run(
                read_run(tmp_path / "run"), tmp_path / "out", ExportChoice(("label-map",), label_values="brats2021")
            )
        )
    assert not (tmp_path / "out").exists()


def test_a_run_of_one_region_has_a_label_map_where_its_value_is_chosen(tmp_path):
    write_run(tmp_path / "run", masks=[m[:1] for m in SOME], labels=["lesion"], label_values=[[300]])
    out = tmp_path / "out"
    list(export_run(read_run(tmp_path / "run"), out, ExportChoice(label_values="nnunet")))
    np.testing.assert_array_equal(load(out / "case_1_label-map.nii.gz"), load(out / "case_1_mask.nii.gz"))
    with pytest.raises(BadRequest, match=r"^Label values are of a label map"):
        ExportChoice(("mask",), label_values="nnunet")


def test_a_run_of_one_region_has_no_label_map_unless_that_alone_is_asked_for(tmp_path):
    write_run(tmp_path / "run", masks=[m[:1] for m in SOME])
    run = read_run(tmp_path / "run")
    assert not (tmp_path / "run" / "label-map.nii.gz").exists()
    list(export_run(run, tmp_path / "all", ExportChoice()))
    assert not list((tmp_path / "all").glob("*label*"))
    list(export_run(run, tmp_path / "one", ExportChoice(("label-map",), pattern="{case}")))
    np.testing.assert_array_equal(load(tmp_path / "one" / "case_1.nii.gz"), load(tmp_path / "run" / "mask.nii.gz"))


def test_the_bids_derivative_has_it_as_dseg_with_its_table(tmp_path):
    write_run(tmp_path / "run", masks=list(SOME), **RECIPE)
    list(export_run(read_run(tmp_path / "run"), tmp_path / "out", ExportChoice(("mask", "label-map"), Style.BIDS)))
    anat = tmp_path / "out" / "sub-case1" / "anat"
    found = {path.name for path in anat.glob("*Labels*")}
    stem = "sub-case1_desc-diffsegLabels_dseg"
    assert found == {f"{stem}.nii.gz", f"{stem}.json", f"{stem}.tsv"}


def test_a_corrected_mask_is_nested_when_it_is_exported(tmp_path):
    write_run(tmp_path / "run", masks=list(SOME), **RECIPE)
    run = read_run(tmp_path / "run")
    painted = np.zeros(run.grid.shape, np.uint8)
    painted[0, 0, 0], painted[1, 1, 1], painted[2, 2, 2] = 1, 2, 3
    list(export_edited(run, tmp_path, ExportChoice(("mask",)), EditedMask(1, painted, painted, EditRecord())))
    assert [int(load(tmp_path / f"case_1_edited_{tail}.nii.gz").sum()) for tail in TAILS] == [3, 2, 1]


def test_values_beyond_a_byte_are_written_whole(tmp_path):
    write_run(tmp_path / "run", masks=[m[:1] for m in SOME], labels=["lesion"], label_values=[[300]])
    list(export_run(read_run(tmp_path / "run"), tmp_path, ExportChoice(("label-map",))))
    image = nib.load(tmp_path / "case_1_label-map.nii.gz")
    assert image.get_data_dtype() == np.uint16
    assert set(np.unique(image.dataobj)) == {0, 300}
