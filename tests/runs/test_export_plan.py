"""No result takes another's name: what would collide is refused before the first file is written."""

import json

import pytest

from napari_diffseg.cli import main
from napari_diffseg.runs.layout import RECORD, Names, Style, bids_entities, bids_word
from napari_diffseg.runs.result_names import channel_tails
from stored_runs import write_run


def make_runs(root, *cases, **changes):
    """A run of each case, each of images of its own."""
    for n, case in enumerate(cases):
        folder = root / f"run{n}"
        write_run(folder)
        record = json.loads((folder / RECORD).read_text("utf-8"))
        (folder / RECORD).write_text(json.dumps(record | {"case": case, "inputs": {"t1": f"{n}" * 8}} | changes))
    return root


def export(root, out, *more):
    return main(["export", str(root), "--out", str(out), "--what", "mask", *more])


@pytest.mark.parametrize("cases", [("p-11", "p-1_1"), ("sub-1_x", "sub-1_y"), ("Anna", "anna")])
@pytest.mark.parametrize("more", [(), ("--overwrite",)])
def test_two_cases_of_one_bids_name_are_refused_and_named(tmp_path, capsys, cases, more):
    runs = make_runs(tmp_path / "runs", *cases)
    assert export(runs, tmp_path / "out", "--names", "bids", *more) == 2
    said = capsys.readouterr().err
    assert all(f"{case} ({runs / name})" in said for case, name in zip(cases, ("run0", "run1"), strict=True))
    assert "Nothing was written" in said
    assert "(--out or --names pattern)" in said
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    "cases",
    [
        ("sub-01_acq-a", "sub-01_acq-b"),
        ("sub-01_run-1", "sub-01_run-2"),
        ("sub-01_ses-1_space-T1w", "sub-01_ses-1_space-MNI"),
        ("sub-01_rec-a_ce-x", "sub-01_rec-a_ce-y"),
        ("患者一", "患者二"),
        ("sub-患者一", "sub-患者二"),
        ("Ялта", "Орёл"),
    ],
)
def test_what_tells_cases_apart_stays_in_their_bids_names(tmp_path, cases):
    assert export(make_runs(tmp_path / "runs", *cases), tmp_path / "out", "--names", "bids") == 0
    assert len(list((tmp_path / "out").rglob("*_mask.nii.gz"))) == 2


def test_a_pattern_without_the_case_is_refused_for_several_runs(tmp_path, capsys):
    runs = make_runs(tmp_path / "runs", *(f"case_{n}" for n in range(8)))
    assert export(runs, tmp_path / "out", "--pattern", "{what}", "--overwrite") == 2
    assert "--pattern {case}_{what}" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()
    assert main(["export", str(runs / "run0"), "--out", str(tmp_path / "out"), "--pattern", "{what}"]) == 0
    assert (tmp_path / "out" / "mask.nii.gz").exists()


def test_a_run_that_is_named_twice_is_exported_once(tmp_path):
    runs = make_runs(tmp_path / "runs", "a")
    assert main(["export", str(runs), str(runs / "run0"), "--out", str(tmp_path / "out"), "--what", "mask"]) == 0


def test_an_export_of_other_images_is_never_replaced(tmp_path, capsys):
    first = make_runs(tmp_path / "first", "p-11")
    assert export(first, tmp_path / "out", "--names", "bids") == 0
    mask = next((tmp_path / "out").rglob("*_mask.nii.gz"))
    before = mask.read_bytes()
    other = make_runs(tmp_path / "other", "p-1_1", inputs={"t1": "ffffffff"})
    assert export(other, tmp_path / "out", "--names", "bids", "--overwrite") == 2
    assert "is of other images (case p-11)" in capsys.readouterr().err
    assert mask.read_bytes() == before
    assert export(first, tmp_path / "out", "--names", "bids", "--overwrite") == 0


def test_entities_that_all_sources_share_stay():
    both = ["sub-01_ses-2_acq-3d_run-1_T1w.nii.gz", "sub-01_ses-2_acq-3d_run-2_FLAIR.nii.gz"]
    assert bids_entities("sub-01_ses-2", both) == "sub-01_ses-2_acq-3d"
    assert bids_entities("sub-02", both) == "sub-02"
    assert bids_entities("sub-01_run-2_acq-x_ses-1") == "sub-01_ses-1_acq-x_run-2"
    assert bids_entities("case 7") == "sub-case7"


def test_names_of_other_scripts_stay_apart_and_plain_ones_as_they_are():
    assert bids_word("case_1") == "case1"
    words = [bids_word(name) for name in ("患者一", "患者二", "José", "Jose")]
    assert len(set(words)) == 4
    assert all(word.isascii() and word.isalnum() for word in words)
    assert words[2].startswith("Jose")


@pytest.mark.parametrize(
    "labels", [("腫瘍", "浮腫"), ("T-1", "T1"), ("a b", "a-b", "a-b-1"), ("+", "-"), ("core", "Core", "core-2")]
)
def test_mask_channels_never_share_a_name(labels):
    assert len(set(channel_tails(labels))) == len(labels)
    for style in Style:
        assert len(set(Names("x", labels, style).of("mask"))) == len(labels)


@pytest.mark.parametrize(("case", "name"), [(" ", "case"), ("..x", "__x"), (".", "_"), (" x", "x"), ("a/b", "a_b")])
def test_an_export_is_hidden_by_no_name_of_a_case(case, name):
    assert str(Names(case, ["lesion"]).of("mask")[0]) == f"{name}_mask"
