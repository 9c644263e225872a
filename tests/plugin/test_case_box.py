"""The box that a case is dropped on, and what it says of its images, whoever opened them."""

import numpy as np
import pytest
from napari.layers import Layer
from panel_clicks import status, wait_idle
from qtpy.QtWidgets import QLabel

from napari_diffseg.plugin.files.reader import read_layers
from napari_diffseg.plugin.session.run_store import RunStore
from napari_diffseg.plugin.widgets.case_box import CaseBox
from plugin_fakes import drop, write_images

TILTED = np.array([[-1.0, 0, 0, 0], [0, -0.9, 0.4, 0], [0, 0.4, 0.9, 0], [0, 0, 0, 1]])


@pytest.fixture
def box(qtbot, tmp_path):
    made = CaseBox(RunStore(tmp_path / "runs"))
    qtbot.addWidget(made)
    made.set_modalities(("t1", "t1ce", "t2", "flair"))
    return made


def choose(box, folder):
    layers = [Layer.create(*data) for data in read_layers(str(folder))]
    box.set_layers(layers)
    box.choose_case(layers)
    return box.findChild(QLabel, "diffseg_case_notes")


def test_an_oblique_case_says_so_once_and_a_plain_one_nothing(box, tmp_path):
    notes = choose(box, write_images(tmp_path / "oblique", affine=TILTED))
    assert notes.text().replace("\u200b", "").count("The images lie obliquely") == 1
    assert notes.isVisibleTo(box)
    choose(box, write_images(tmp_path / "plain"))
    assert not notes.isVisibleTo(box)


def test_the_note_goes_with_the_images(box, tmp_path):
    notes = choose(box, write_images(tmp_path / "oblique", affine=TILTED))
    box.set_layers([])
    assert not notes.isVisibleTo(box)


@pytest.mark.parametrize("names", [[""], ["case_1_t1.nii.gz", "case_1_flair.nii.gz"]], ids=["a folder", "files"])
def test_a_dropped_case_is_opened_and_nobody_is_asked_which_reader(box, qtbot, case_folder, names):
    paths = [case_folder / name for name in names]
    with qtbot.waitSignal(box.opened) as told:
        assert drop(box, *paths)
    assert told.args == [[str(path) for path in paths]]


def test_nothing_is_taken_during_a_run(box, case_folder):
    heard = []
    box.opened.connect(heard.append)
    assert not drop(box)
    box.buttons.setEnabled(False)
    assert not drop(box, case_folder)  # the cursor does not promise what would not be done
    assert heard == []


def test_a_file_that_is_no_image_is_told_so(panel, tmp_path, qtbot):
    (tmp_path / "README.md").write_text("Read me.")
    assert drop(panel.case, tmp_path / "README.md")
    wait_idle(panel, qtbot)
    assert status(panel) == "README.md is not an image: open the images of a case (NIfTI), or their folder."
