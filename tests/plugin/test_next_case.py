"""The next case of a session: nothing mixes its images with another patient's but a person, who is then told so."""

import nibabel as nib
import numpy as np
import pytest
from napari.layers import Image, Layer
from panel_clicks import click, find, wait_idle
from qtpy.QtWidgets import QLabel

from napari_diffseg.plugin.files.reader import read_layers
from napari_diffseg.plugin.session.run_store import RunStore
from napari_diffseg.plugin.widgets.case_box import CaseBox
from plugin_fakes import MODALITIES, write_images

WITHOUT_T2 = ("t1", "t1ce", "flair")


@pytest.fixture
def box(qtbot, tmp_path):
    made = CaseBox(RunStore(tmp_path / "runs"))
    qtbot.addWidget(made)
    made.set_modalities(MODALITIES, may_miss=True)
    return made


def read(*paths):
    return [Layer.create(*data) for data in read_layers([str(path) for path in paths])]


def files(folder, *names):
    """Images of these names, all on one grid, in a folder."""
    made = write_images(folder, modalities=list(map(str, range(len(names)))), case_id="made")
    return [(made / f"made_{n}.nii.gz").rename(made / f"{name}.nii.gz") for n, name in enumerate(names)]


def come(box, layers):
    """Layers come into the viewer, one after the other."""
    for layer in layers:
        box.set_layers([*box.candidates, layer])
        box.guess(box.candidates)
    return layers


def open_(box, layers):
    box.choose_case(come(box, layers))
    box.set_layers(box.candidates)  # whatever happens to a layer
    box.guess(box.candidates)
    return layers


def case(tmp_path, name, modalities=MODALITIES):
    return read(write_images(tmp_path / name, case_id=name, modalities=modalities))


def chosen(box):
    return {name: layer.name for name, combo in box.combos.items() if (layer := combo.layer()) is not None}


def note(box):
    return box.findChild(QLabel, "diffseg_case_notes").text().replace("\u200b", "")


def test_what_the_next_case_lacks_is_not_taken_from_the_one_before(box, tmp_path):
    open_(box, case(tmp_path, "alice"))
    open_(box, case(tmp_path, "bob", WITHOUT_T2))
    assert chosen(box) == {name: f"bob {name}" for name in WITHOUT_T2}
    assert not box.combos["t2"].is_left_out  # who is at the screen decides


def test_neither_is_it_where_names_do_not_tell_the_cases(box, tmp_path):
    open_(box, read(*files(tmp_path / "alice", "T1_brain", "T1ce_brain", "T2_brain", "FLAIR_brain")))
    bob = open_(box, read(*files(tmp_path / "bob", "T1_brain", "T1ce_brain", "FLAIR_brain")))
    assert [combo.layer() for combo in box.combos.values()] == [bob[0], bob[1], None, bob[2]]


def test_nor_is_an_image_without_a_case_in_its_name_taken_from_another_folder(box, tmp_path):
    come(box, case(tmp_path, "alice", ("t1", "flair")))
    come(box, read(*files(tmp_path / "bob", "t2")))
    assert chosen(box) == {"t1": "alice t1", "flair": "alice flair"}
    come(box, read(*files(tmp_path / "alice", "t1ce")))
    assert chosen(box)["t1ce"] == "t1ce"


def test_nor_from_a_layer_of_no_file(box, tmp_path, layers):
    box.set_layers([Image(layers["t2"].data, name="t2")])
    box.guess(box.candidates)
    open_(box, case(tmp_path, "bob", WITHOUT_T2))
    assert list(chosen(box)) == list(WITHOUT_T2)


def test_what_a_case_lacks_is_not_taken_from_another_that_comes_without_being_asked_for(box, tmp_path):
    come(box, case(tmp_path, "alice", WITHOUT_T2))
    come(box, case(tmp_path, "bob"))
    assert list(chosen(box)) == list(WITHOUT_T2)
    come(box, read(*files(tmp_path / "alice", "alice_T2_reg")))
    assert chosen(box)["t2"] == "alice t2 reg"


def test_once_a_case_is_closed_another_that_is_open_is_chosen(box, tmp_path):
    alice = open_(box, case(tmp_path, "alice"))
    open_(box, case(tmp_path, "bob", WITHOUT_T2))
    box.set_layers(alice)
    box.guess(alice)
    assert chosen(box) == {name: f"alice {name}" for name in MODALITIES}


@pytest.mark.parametrize(
    "names",
    [("alice_t1", "alice_flair"), ("T1", "FLAIR"), ("alice_t1", "alice_flair_reg"), ("alice_t1", "flair")],
)
def test_files_of_one_folder_that_are_opened_one_by_one_are_one_case(box, tmp_path, names):
    box.combos["t2"].setCurrentText("(left out)")
    for path in files(tmp_path / "alice", *names):
        open_(box, read(path))
    assert list(chosen(box)) == ["t1", "flair"]
    assert box.combos["t2"].is_left_out
    assert note(box) == ""


def test_so_are_files_of_one_name_in_a_folder_for_each_modality(box, tmp_path):
    for name in ("t1", "flair"):
        open_(box, read(*files(tmp_path / name, f"alice_{name}")))
    assert list(chosen(box)) == ["t1", "flair"]


def test_what_was_left_out_of_one_case_is_asked_for_in_the_next(box, tmp_path):
    open_(box, case(tmp_path, "alice"))
    box.combos["t2"].setCurrentText("(left out)")
    open_(box, case(tmp_path, "bob", WITHOUT_T2))
    assert box.combos["t2"].currentText() == "(choose)"


def test_a_reference_that_is_opened_changes_no_image(box, tmp_path):
    open_(box, case(tmp_path, "alice"))
    open_(box, read(*files(tmp_path / "bob", "bob_seg")))
    assert chosen(box) == {name: f"alice {name}" for name in MODALITIES}


def test_images_of_two_cases_are_said_to_be_so(box, tmp_path):
    alice = open_(box, case(tmp_path, "alice"))
    open_(box, case(tmp_path, "bob", WITHOUT_T2))
    assert note(box) == ""
    box.combos["t2"].choose(alice[2])
    assert note(box) == "By their names these are images of 2 cases: t1, t1ce, flair of bob; t2 of alice."
    box.combos["t2"].choose(None)
    assert note(box) == ""


@pytest.mark.parametrize(
    "names",
    [
        ("T1", "FLAIR"),
        ("t1", "alice_flair"),
        ("alice_t1", "alice_flair_reg"),
        ("sub-01_ses-1_T1w", "sub-01_ses-1_FLAIR"),
        ("sub-01_ses-1_acq-mprage_T1w", "sub-01_ses-1_acq-space_run-2_FLAIR"),
    ],
)
def test_names_of_one_case_may_differ_in_how_its_images_were_made(box, tmp_path, names):
    open_(box, read(*files(tmp_path / "alice", *names)))
    assert list(chosen(box)) == ["t1", "flair"]
    assert note(box) == ""


@pytest.mark.parametrize(
    "names", [("BRATS_1_t1", "BRATS_10_flair"), ("sub-1_ses-1_T1w", "sub-1_ses-2_FLAIR"), ("sub-1_T1w", "sub-12_FLAIR")]
)
def test_numbers_tell_cases_apart(box, tmp_path, names):
    open_(box, read(*files(tmp_path / "all", *names)))
    assert note(box).startswith("By their names these are images of 2 cases: t1 of ")


@pytest.mark.slow
def test_the_panel_asks_for_what_the_next_case_lacks(panel, tmp_path, qtbot):
    click(panel, "checkpoint_demo", qtbot)
    for name, modalities in (("alice", MODALITIES), ("bob", WITHOUT_T2)):
        panel.case.opened.emit([str(write_images(tmp_path / name, case_id=name, modalities=modalities))])
        wait_idle(panel, qtbot)
    assert find(panel, "reason").text().replace("\u200b", "") == "Choose an image for t2."
    panel.viewer.layers[0].name = "renamed"
    assert panel.session.why_not_run() == "Choose an image for t2."


def test_a_scanners_protocols_are_assigned_by_all_words_of_their_names(box, tmp_path):
    names = ("3_t1_mprage_sag", "9_t1_mprage_sag_KM", "4_t2_tse_tra", "5_t2_tirm_tra_dark-fluid")
    opened = open_(box, read(*files(tmp_path / "anna", *names)))
    assert [combo.layer() for combo in box.combos.values()] == opened
    assert note(box) == ""


def test_of_two_images_that_may_be_one_modality_none_is_chosen_and_both_are_named(box, tmp_path):
    names = ("p_t1", "p_t1_bias", "p_t1ce", "p_t2", "p_flair")
    _, second, *others = open_(box, read(*files(tmp_path / "p", *names)))
    assert [combo.layer() for combo in box.combos.values()] == [None, *others]
    assert "t1: p t1 and p t1 bias may be it: choose one" in note(box).casefold()
    box.combos["t1"].choose(second)
    assert "t1: p t1 may be it, too" in note(box).casefold()


def test_a_folder_with_two_images_of_one_modality_opens_all_of_them(box, tmp_path):
    files(tmp_path / "p", "p_t1", "p_t1_bias", "p_t2")
    assert [layer.name for layer in read(tmp_path / "p")] == ["p t1", "p t1 bias", "p t2"]


def test_time_points_that_are_called_like_a_modality_open_as_what_they_show(box, tmp_path):
    files(tmp_path / "P1", "P1_T1_FLAIR", "P1_T1_T1", "P1_T1_T2")
    open_(box, read(tmp_path / "P1"))
    assert list(chosen(box)) == ["t1", "t2", "flair"]


def test_a_description_beside_a_4d_file_names_its_channels(box, tmp_path):
    folder = tmp_path / "imagesTr"
    folder.mkdir()
    (tmp_path / "dataset.json").write_text('{"modality": {"0": "FLAIR", "1": "T1w", "2": "t1gd", "3": "T2w"}}')
    nib.save(nib.Nifti1Image(np.random.default_rng(0).random((6, 5, 4, 4)), np.eye(4)), folder / "BR_001.nii.gz")
    opened = open_(box, read(folder / "BR_001.nii.gz"))
    assert [layer.name for layer in opened] == ["BR_001 flair", "BR_001 t1", "BR_001 t1ce", "BR_001 t2"]
    assert set(chosen(box)) == set(MODALITIES)


def test_a_description_beside_numbered_files_says_what_each_shows(box, tmp_path):
    (tmp_path / "dataset.json").write_text('{"channel_names": {"0": "FLAIR", "1": "T1"}}')
    opened = read(*files(tmp_path / "imagesTr", "A_0000", "A_0001"))
    assert [layer.name for layer in opened] == ["A flair", "A t1"]
