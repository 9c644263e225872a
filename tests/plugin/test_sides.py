"""Which side is left is a choice of the view: letters say it, the camera turns, and no voxel moves."""

import nibabel as nib
import numpy as np
import pytest
from qtpy.QtCore import Qt
from qtpy.QtWidgets import QWidget

from napari_diffseg.appearance import Convention, direction_of
from napari_diffseg.plugin.background.worker import launch
from napari_diffseg.plugin.canvas.sides import MARKS
from napari_diffseg.plugin.panel.panel import DiffsegPanel
from napari_diffseg.plugin.panel.remembered import Remembered
from napari_diffseg.plugin.session.session import Session
from napari_diffseg.plugin.session.task import Phase
from plugin_fakes import LPS, SHAPE, FakeLoader, fake_member, write_images

NEUROLOGICAL, RADIOLOGICAL = Convention.NEUROLOGICAL, Convention.RADIOLOGICAL


@pytest.fixture
def make_panel(viewer, segmenter, tmp_path):
    sessions = []

    def make():
        sessions.append(Session(launch=launch, load_engine=FakeLoader(segmenter), runs_folder=tmp_path / "runs"))
        made = DiffsegPanel(viewer, session=sessions[-1])
        made.dock = viewer.window.add_dock_widget(made, name="Diffusion ensemble", area="right")
        return made

    yield make
    for session in sessions:
        session.close()


@pytest.fixture
def panel(make_panel, case_folder, qtbot):
    made = make_panel()
    made.case.opened.emit([str(case_folder)])
    wait_idle(made, qtbot)
    return made


def find(panel, name):
    return panel.findChild(QWidget, f"diffseg_{name}")


def wait_idle(panel, qtbot):
    qtbot.waitUntil(lambda: panel.session.phase is Phase.IDLE, timeout=90_000)


def choose(panel, convention):
    """Choose in the combo box, as a user does."""
    combo = find(panel, "convention")
    place = next(n for n in range(combo.count()) if convention.value in combo.itemText(n))
    combo.setCurrentIndex(place)
    combo.activated.emit(place)


def marks(viewer):
    """The letters in sight, by where they are on the canvas."""
    overlays = viewer.canvas.overlays
    return {MARKS[name].split("_")[0 if "center" in MARKS[name] else 1]: overlays[name].text for name in MARKS
            if name in overlays and overlays[name].visible}  # fmt: skip


def brightest_column(viewer):
    """Of the canvas as it is drawn, the column of the brightest pixel, from 0 to 1; letters are left out."""
    for name in MARKS:
        if name in viewer.canvas.overlays:
            viewer.canvas.overlays[name].visible = False
    picture = viewer.screenshot(canvas_only=True, flash=False)[..., 0].astype(float)
    return float(np.argmax(picture.max(axis=0)) / picture.shape[1])


def bright_on_the_left(folder):
    """An image that is dark but for a spot on the patient's left."""
    data = np.ones((40, 40, 3), np.int16)
    data[30:34, 18:22] = 1000  # in LPS the first axis runs to the patient's left
    nib.save(nib.Nifti1Image(data, LPS), folder / "spot_t1.nii.gz")
    return str(folder / "spot_t1.nii.gz")


@pytest.mark.slow
def test_axial_slices_are_radiological_at_first_and_say_so(panel, viewer):
    assert marks(viewer) == {"left": "R", "right": "L"}
    assert viewer.scene.camera.orientation2d == ("down", "right")
    assert find(panel, "convention").currentText() == "right (radiological)"


def test_the_choice_turns_the_picture_and_the_letters(make_panel, viewer, tmp_path, qtbot):
    panel = make_panel()
    panel.case.opened.emit([bright_on_the_left(tmp_path)])
    wait_idle(panel, qtbot)
    assert brightest_column(viewer) > 0.5
    choose(panel, NEUROLOGICAL)
    assert marks(viewer) == {"left": "L", "right": "R"}
    assert brightest_column(viewer) < 0.5
    choose(panel, RADIOLOGICAL)
    assert marks(viewer) == {"left": "R", "right": "L"}
    assert brightest_column(viewer) > 0.5


@pytest.mark.slow
def test_nothing_that_is_computed_or_written_changes(panel, viewer, qtbot, case_folder):
    qtbot.mouseClick(find(panel, "checkpoint_demo"), Qt.MouseButton.LeftButton)
    wait_idle(panel, qtbot)
    panel.settings.controls["members"].set_value(2)
    before = [(layer.data.copy(), layer.affine.affine_matrix, layer.scale, layer.translate) for layer in viewer.layers]
    choose(panel, NEUROLOGICAL)
    for layer, (data, affine, scale, translate) in zip(viewer.layers, before, strict=True):
        np.testing.assert_array_equal(layer.data, data)
        np.testing.assert_array_equal(layer.affine.affine_matrix, affine)
        np.testing.assert_array_equal([layer.scale, layer.translate], [scale, translate])
    qtbot.mouseClick(find(panel, "run"), Qt.MouseButton.LeftButton)
    wait_idle(panel, qtbot)
    mask = nib.load(panel.session.runs.records[-1].plan.folder / "mask.nii.gz")
    known = np.mean([fake_member(SHAPE, k) for k in range(2)], axis=0) > 0.5
    np.testing.assert_array_equal(np.asanyarray(mask.dataobj), known)
    np.testing.assert_array_equal(mask.affine, nib.load(case_folder / "case_1_t1.nii.gz").affine)


def test_a_sagittal_slice_and_three_dimensions_are_never_mirrored(panel, viewer):
    choose(panel, NEUROLOGICAL)
    viewer.dims.order = (2, 0, 1)
    assert viewer.scene.camera.orientation2d == ("down", "right")
    assert marks(viewer) == {}
    viewer.dims.order = (1, 0, 2)
    assert viewer.scene.camera.orientation2d == ("down", "left")
    assert marks(viewer) == {"left": "L", "right": "R"}
    viewer.dims.ndisplay = 3
    assert viewer.scene.camera.orientation2d == ("down", "right")
    assert marks(viewer) == {}


def test_a_plane_that_lies_on_its_side_has_its_letters_above_and_below(panel, viewer):
    viewer.dims.order = (1, 2, 0)
    assert marks(viewer) == {"top": "R", "bottom": "L"}


def test_the_letters_are_true_when_somebody_else_turns_the_camera(panel, viewer):
    viewer.scene.camera.orientation2d = ("down", "left")
    assert marks(viewer) == {"left": "L", "right": "R"}


def test_where_the_sides_are_unknown_the_letters_are_in_doubt(make_panel, viewer, tmp_path, qtbot):
    image = nib.Nifti1Image(np.arange(60, dtype=np.int16).reshape(5, 4, 3), None)
    nib.save(image, tmp_path / "x_t1.nii")
    panel = make_panel()
    panel.case.opened.emit([str(tmp_path / "x_t1.nii")])
    wait_idle(panel, qtbot)
    assert marks(viewer) == {"left": "R?", "right": "L?"}


def test_images_of_other_plugins_are_left_as_they_are(make_panel, viewer):
    panel = make_panel()
    viewer.add_image(np.zeros((3, 4, 5)))
    choose(panel, NEUROLOGICAL)
    assert viewer.scene.camera.orientation2d == ("down", "right")
    assert marks(viewer) == {}


def test_letters_go_with_the_last_image_that_has_sides(panel, viewer):
    viewer.layers.clear()
    assert marks(viewer) == {}


@pytest.mark.slow
def test_the_choice_is_remembered_and_a_closed_panel_leaves_the_viewer_as_it_was(
    panel, make_panel, viewer, case_folder
):
    choose(panel, NEUROLOGICAL)
    viewer.window.remove_dock_widget(panel.dock)
    assert viewer.scene.camera.orientation2d == ("down", "right")
    assert marks(viewer) == {}
    later = make_panel()
    assert viewer.scene.camera.orientation2d == ("down", "left")
    assert marks(viewer) == {"left": "L", "right": "R"}
    assert find(later, "convention").currentText() == "left (neurological)"


@pytest.mark.slow
def test_members_side_by_side_are_turned_with_the_canvas(panel, viewer, qtbot):
    qtbot.mouseClick(find(panel, "checkpoint_demo"), Qt.MouseButton.LeftButton)
    wait_idle(panel, qtbot)
    panel.settings.controls["members"].set_value(1)
    qtbot.mouseClick(find(panel, "run"), Qt.MouseButton.LeftButton)
    wait_idle(panel, qtbot)
    shown = []
    panel.exploring.box.wall.set_tiles = lambda tiles, **_: shown.append(tiles[0])
    panel.exploring.wall.draw()
    choose(panel, NEUROLOGICAL)
    panel.exploring.wall.draw()
    np.testing.assert_array_equal(shown[-1], shown[0][:, ::-1])
    assert not np.array_equal(shown[-1], shown[0])


@pytest.mark.parametrize(
    ("label", "convention", "direction"),
    [
        ("L", RADIOLOGICAL, "right"),
        ("L", NEUROLOGICAL, "left"),
        ("R", RADIOLOGICAL, "left"),
        ("R", NEUROLOGICAL, "right"),
    ],
)
def test_an_axis_points_where_the_convention_wants_its_end(label, convention, direction):
    assert direction_of(label, convention) == direction


def test_a_convention_that_is_no_such_thing_counts_as_never_chosen(tmp_path):
    path = tmp_path / "panel.ini"
    Remembered(path).remember_convention(NEUROLOGICAL)
    assert Remembered(path).convention is NEUROLOGICAL
    path.write_text('[General]\nconvention="\\"upside down\\""\n')
    assert Remembered(path).convention is None


def test_a_case_in_another_voxel_order_is_shown_alike(make_panel, viewer, tmp_path, qtbot):
    panel = make_panel()
    panel.case.opened.emit([str(write_images(tmp_path / "ras", affine=np.eye(4)))])
    wait_idle(panel, qtbot)
    assert marks(viewer) == {"left": "R", "right": "L"}
