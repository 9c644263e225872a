"""Which cases a path holds, by names alone; and folders as nnU-Net has them."""

import json
from pathlib import Path

import pytest
from phantoms import ramp, write_image

from napari_diffseg.errors import BadCase, BadRequest
from napari_diffseg.imaging.case_files import case_of_images, find_case_sources, told_apart
from napari_diffseg.imaging.nnunet import nnunet_cases

FOUR = ("t1", "t1ce", "t2", "flair")


def make(folder, *names):
    folder.mkdir(parents=True, exist_ok=True)
    for name in names:
        (folder / name).touch()
    return folder


def make_case(folder, stem, modalities=FOUR):
    return make(folder, *(f"{stem}_{m}.nii.gz" for m in modalities))


def names(path, **words):
    return [case.name for case in find_case_sources(path, **words)]


def test_a_file_and_the_folder_of_a_case_are_that_case(tmp_path):
    folder = make_case(tmp_path / "p", "a")
    (case,) = find_case_sources(folder)
    assert (case.name, case.source) == ("a", folder)
    (case,) = find_case_sources(folder / "a_t1.nii.gz")
    assert (case.name, case.source) == ("a", folder / "a_t1.nii.gz")


def test_a_folder_of_case_folders_is_each_of_them(tmp_path):
    for name in ("b", "a", ".c"):
        make_case(tmp_path / "all" / name, name)
    make(tmp_path / "all" / "notes", "notes.txt")
    cases = find_case_sources(tmp_path / "all")
    assert [(case.name, case.source) for case in cases] == [(n, tmp_path / "all" / n) for n in ("a", "b")]


def test_a_case_folder_that_is_unclear_costs_no_other(tmp_path):
    make_case(tmp_path / "all" / "a", "a")
    make(tmp_path / "all" / "b", "T1_MPRAGE.nii.gz", "T2_TSE.nii.gz")
    assert [(case.name, case.source.name) for case in find_case_sources(tmp_path / "all")] == [("a", "a"), ("b", "b")]


def test_a_flat_folder_of_several_cases_is_told_apart_by_how_names_begin(tmp_path):
    folder = make(make_case(make_case(tmp_path, "a"), "b"), "a_seg.nii.gz", "c_seg.nii.gz")
    a, b = find_case_sources(folder)
    assert (a.name, b.name) == ("a", "b")
    assert dict(a.source) == {m: folder / f"a_{m}.nii.gz" for m in (*FOUR, "seg")}
    assert dict(b.source) == {m: folder / f"b_{m}.nii.gz" for m in FOUR}


@pytest.mark.parametrize(
    "files",
    [
        ("a_t1.nii.gz", "b_t2.nii.gz"),
        ("a_t1.nii.gz", "b_t1.nii.gz"),
        ("t1.nii.gz", "t2.nii.gz", "b_t1.nii.gz", "b_t2.nii.gz"),
    ],
)
def test_sequences_of_one_case_are_never_taken_for_cases(tmp_path, files):
    with pytest.raises(BadCase, match="give each a folder of its own"):
        find_case_sources(make(tmp_path / "p", *files))


def test_for_a_network_of_one_modality_each_image_may_be_a_case(tmp_path):
    folder = make(tmp_path / "p", "a_flair.nii.gz", "b_flair.nii.gz")
    assert names(folder, modalities=("flair",)) == ["a", "b"]


def test_folders_of_one_image_each_are_one_case_as_brats_had_it_until_2016(tmp_path):
    patient = tmp_path / "brats_2013_pat0001_1"
    for number, word in enumerate(("Flair", "T1", "T1c", "T2", "OT"), start=54512):
        name = f"VSD.Brain.XX.O.{'' if word == 'OT' else 'MR_'}{word}.{number}"
        make(patient / name, f"{name}.nii.gz")
    (case,) = find_case_sources(patient)
    assert list(case.source) == list(FOUR)
    assert case.name == "brats_2013_pat0001_1"
    make(tmp_path / "x" / "1", "a_t1.nii.gz")
    make(tmp_path / "x" / "2", "b_t2.nii.gz")
    with pytest.raises(BadCase, match="The folders in x hold one image each"):
        find_case_sources(tmp_path / "x")


def test_a_folder_without_cases_is_left_to_be_refused_when_it_is_read(tmp_path):
    assert [case.source for case in find_case_sources(tmp_path)] == [tmp_path]


def test_cases_are_found_at_any_depth_and_what_is_passed_over_is_told(tmp_path, caplog):
    make_case(tmp_path / "HGG" / "p1", "p1")
    make_case(tmp_path / "LGG" / "site" / "p2", "p2")
    make(tmp_path / "scans", "A_0000.nii.gz")
    make(tmp_path / "notes", "a.txt")
    assert names(tmp_path) == ["p1", "p2"]
    assert "scans is passed over, as no name there states a modality" in caplog.text


def test_a_folder_whose_images_say_nothing_at_any_depth_is_refused_with_where_they_lie(tmp_path):
    make(tmp_path / "all" / "scans", "A.nii.gz")
    with pytest.raises(BadCase, match="holds no case: in scans there are images, and no name says"):
        find_case_sources(tmp_path / "all")


def test_an_image_of_a_flat_folder_that_is_no_modality_by_its_name_is_told_where_one_is_missing(tmp_path, caplog):
    make_case(make_case(tmp_path, "a"), "b", FOUR[:3])
    make(tmp_path, "b_dark.nii.gz")
    find_case_sources(tmp_path)
    assert "there is no flair, and b_dark.nii.gz is not used, whose name" in caplog.text


def test_cases_of_one_name_take_those_of_the_folders_that_tell_them_apart(tmp_path):
    for patient in ("p1", "p2"):
        make_case(tmp_path / patient / "anat", "one")
    make_case(tmp_path / "p3", "other")
    cases = [case for p in ("p1", "p2", "p3") for case in find_case_sources(tmp_path / p)]
    assert [case.name for case in told_apart(cases)] == ["p1_one", "p2_one", "other"]
    assert [case.name for case in told_apart([cases[0], cases[0]])] == ["one", "one"]


def test_images_whose_names_say_nothing_are_what_the_user_says():
    case = case_of_images(["T1c=p7/MPRAGE_post.nii.gz", "flair=p7/a=b.nii.gz"])
    assert (case.name, case.folder) == ("p7", Path("p7"))
    assert case.source == {"t1ce": Path("p7/MPRAGE_post.nii.gz"), "flair": Path("p7/a=b.nii.gz")}
    assert case_of_images(["t1=a.nii"], name="anna").name == "anna"


def test_a_folder_given_as_two_dots_lends_its_own_name(tmp_path, monkeypatch):
    inner = make(tmp_path / "p7" / "sub")
    for n, name in enumerate(FOUR):
        make(tmp_path / "p7" / str(n), f"{name}.nii.gz")
    monkeypatch.chdir(inner)
    assert case_of_images(["t1=../a.nii"]).name == "p7"
    assert names(Path("..")) == ["p7"]


@pytest.mark.parametrize(
    ("words", "name", "text"),
    [
        (["a.nii"], None, "give MODALITY=FILE"),
        (["t1="], None, "give MODALITY=FILE"),
        (["adc=a.nii"], None, "one of t1, t1ce, t2, flair, seg"),
        (["t1=a.nii", "T1w=b.nii"], None, "t1 is named twice"),
        (["t1=a.nii"], "../x", "without separators"),
        (["t1=a.nii"], "..", "without separators"),
    ],
)
def test_an_image_that_is_named_unclearly_is_refused(words, name, text):
    with pytest.raises(BadRequest, match=text):
        case_of_images(words, name=name)


def nnunet(folder, cases=("A", "t2_shift"), channels=4, described=None, where=None):
    make(folder)
    for case in cases:
        for n in range(channels):
            write_image(folder / f"{case}_{n:04d}.nii.gz", ramp())
    if described is not None:
        ((where or folder) / "dataset.json").write_text(json.dumps(described))
    return folder


NEW = {"channel_names": {"0": "FLAIR", "1": "T1", "2": "T1Gd", "3": "T2"}}
OLD = {"modality": {"0": "FLAIR", "1": "T1w", "2": "t1gd", "3": "T2w"}}


@pytest.mark.parametrize("described", [NEW, OLD])
@pytest.mark.parametrize("above", [True, False])
def test_channels_of_nnunet_are_what_its_description_says(tmp_path, described, above):
    folder = nnunet(tmp_path / "imagesTs", described=described, where=tmp_path if above else None)
    cases = find_case_sources(folder)
    assert [case.name for case in cases] == ["A", "t2_shift"]
    for case in cases:
        files = {m: folder / f"{case.name}_{n:04d}.nii.gz" for n, m in enumerate(("flair", "t1", "t1ce", "t2"))}
        assert dict(case.source) == files


def test_channels_of_nnunet_are_what_the_user_says_before_all(tmp_path):
    folder = nnunet(tmp_path / "imagesTs", cases=("A",), described=NEW)
    (case,) = find_case_sources(folder, channels=["T2", "other", "T1c", "T1"])
    assert {m: Path(p).name[2:6] for m, p in case.source.items()} == {"t2": "0000", "t1ce": "0002", "t1": "0003"}


@pytest.mark.parametrize(
    ("words", "text"),
    [
        ({}, r"holds a file for each channel .* no dataset.json .*: name them in the order"),
        ({"channels": ["t1", "t2"]}, "holds channels up to 0003, counted from 0000, but 2 are named"),
        ({"channels": ["t1", "T1w", "t2", "flair"]}, r"named .t1, t1, t2, flair.: name each once"),
        ({"channels": ["t1", "tlce", "t2", "flair"], "modalities": FOUR}, r"did you mean t1ce\?"),
    ],
)
def test_channels_of_nnunet_are_never_guessed(tmp_path, words, text):
    with pytest.raises(BadCase, match=text):
        nnunet_cases(nnunet(tmp_path / "imagesTs", cases=("A",)), **words)


@pytest.mark.parametrize(
    "content", ["{", "[]", '{"channel_names": {"a": "t1"}}', '{"modality": {"1": "T1", "2": "T2"}}']
)
def test_a_description_that_does_not_say_is_named(tmp_path, content):
    folder = nnunet(tmp_path / "imagesTs", cases=("A",), channels=2)
    (tmp_path / "dataset.json").write_text(content)
    with pytest.raises(BadCase, match=r"dataset\.json.*(correct it|take it away)"):
        nnunet_cases(folder)


def test_numbers_that_count_something_else_are_no_channels(tmp_path):
    import numpy as np

    assert nnunet_cases(make(tmp_path / "1", "a_t1_0000.nii.gz", "a_t2_0000.nii.gz")) == {}
    assert nnunet_cases(make(tmp_path / "2", "x_0000.nii.gz", "x_0001.nii.gz"), channels=["flair"]) == {}
    folder = make(tmp_path / "3")
    for n in range(2):
        write_image(folder / f"x_{n:04d}.nii.gz", np.stack([ramp(), ramp()], axis=-1))
    assert nnunet_cases(folder, channels=["t1", "t2"]) == {}
    assert names(folder, channels=["t1", "t2"]) == ["x_0000", "x_0001"]
