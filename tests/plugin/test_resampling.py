"""Images on different grids: resampling is offered, and one click makes a case that can run."""

import json
from dataclasses import replace

import nibabel as nib
import numpy as np
import pytest
from qtpy.QtCore import Qt
from qtpy.QtWidgets import QWidget

from napari_diffseg.errors import BadRequest
from napari_diffseg.imaging.case import read_case
from napari_diffseg.imaging.volume import same_grid
from napari_diffseg.plugin.background.worker import launch
from napari_diffseg.plugin.grid.layer_notes import notes_of
from napari_diffseg.plugin.grid.layer_volume import frame_of_layer
from napari_diffseg.plugin.panel.panel import DiffsegPanel
from napari_diffseg.plugin.panel.resampling import offer_for
from napari_diffseg.plugin.session.command_line import command_line, predict_words
from napari_diffseg.plugin.session.session import Session
from napari_diffseg.plugin.session.task import Phase
from plugin_fakes import MODALITIES, SHAPE, FakeLoader, poll_to_end, run_here, write_images

COARSE = np.diag([-2.0, -1.0, 1.0, 1.0])
COARSE_GRID = "7 x 12 x 5 voxels of 2.00 x 1.00 x 1.00 mm, LPS"


@pytest.fixture
def mixed(case_folder):
    """The case, with a t1 of half as many voxels."""
    return write_images(case_folder, shape=(7, 12, 5), affine=COARSE, modalities=("t1",))


@pytest.fixture
def panel(viewer, segmenter, tmp_path, mixed, qtbot):
    """It is open, and the checkpoint chosen."""
    session = Session(launch=launch, load_engine=FakeLoader(segmenter), runs_folder=tmp_path / "runs")
    made = DiffsegPanel(viewer, session=session)
    viewer.window.add_dock_widget(made, name="Diffusion ensemble", area="right")
    made.case.opened.emit([str(mixed)])
    qtbot.mouseClick(find(made, "checkpoint_demo"), Qt.MouseButton.LeftButton)
    wait_idle(made, qtbot)
    made.settings.controls["members"].set_value(2)
    yield made
    session.close()


def find(panel, name):
    return panel.findChild(QWidget, f"diffseg_{name}")


def wait_idle(panel, qtbot):
    qtbot.waitUntil(lambda: panel.session.phase is Phase.IDLE, timeout=90_000)


def resample(panel, qtbot):
    qtbot.mouseClick(find(panel, "resample"), Qt.MouseButton.LeftButton)
    wait_idle(panel, qtbot)


def run(panel, qtbot):
    qtbot.mouseClick(find(panel, "run"), Qt.MouseButton.LeftButton)
    wait_idle(panel, qtbot)
    return panel.session.runs.records[-1].plan.folder


@pytest.mark.slow
def test_run_is_disabled_with_the_reason_and_the_finest_image_is_offered(panel):
    assert not find(panel, "run").isEnabled()
    assert f"t1 is {COARSE_GRID}" in find(panel, "reason").text().replace("\u200b", "")
    assert find(panel, "resample").isVisible()
    assert find(panel, "resample_reference").currentText() == "t1ce"
    assert "t1ce has the finest voxels" in find(panel, "resample").toolTip()


@pytest.mark.slow
def test_a_click_adds_the_resampled_image_hides_its_source_and_lets_it_run(panel, viewer, qtbot, mixed):
    resample(panel, qtbot)
    made, source = viewer.layers["case_1 t1 resampled"], viewer.layers["case_1 t1"]
    assert find(panel, "layer_t1").currentText() == made.name
    assert not source.visible
    assert viewer.layers.index(made) == viewer.layers.index(source) + 1
    assert find(panel, "run").isEnabled()
    assert not find(panel, "resample").isVisible()
    known = read_case(mixed, resample_to="t1ce").volumes["t1"]
    np.testing.assert_array_equal(frame_of_layer(made).volume.data, known.data)
    np.testing.assert_allclose(known.data[2:12:2, :, :], np.arange(7 * 60).reshape(7, 12, 5)[1:6], atol=1e-4)
    assert notes_of(made) == [f"resampled to the grid of t1ce: it was {COARSE_GRID}"]
    np.testing.assert_array_equal(source.metadata["napari_diffseg"].volume.affine, COARSE)


@pytest.mark.slow
def test_results_lie_on_the_references_voxels_and_say_what_was_resampled(panel, qtbot, mixed):
    resample(panel, qtbot)
    folder = run(panel, qtbot)
    mask = nib.load(folder / "mask.nii.gz")
    assert mask.shape == SHAPE
    np.testing.assert_array_equal(mask.affine, nib.load(mixed / "case_1_t1ce.nii.gz").affine)
    assert json.loads((folder / "run.json").read_text())["resampled"] == {"t1": "t1ce"}


@pytest.mark.slow
def test_another_reference_is_the_users_to_choose(panel, viewer, qtbot):
    find(panel, "resample_reference").setCurrentText("t1")
    resample(panel, qtbot)
    assert find(panel, "layer_t1").currentText() == "case_1 t1"
    for name in ("t1ce", "t2", "flair"):
        layer = viewer.layers[f"case_1 {name} resampled"]
        assert same_grid(frame_of_layer(layer).volume, frame_of_layer(viewer.layers["case_1 t1"]).volume)
    assert nib.load(run(panel, qtbot) / "mask.nii.gz").shape == (7, 12, 5)


@pytest.mark.slow
def test_the_layer_on_screen_is_replaced_on_screen(panel, viewer, qtbot):
    for layer in viewer.layers:
        layer.visible = layer.name == "case_1 t1"
    resample(panel, qtbot)
    assert [layer.name for layer in viewer.layers if layer.visible] == ["case_1 t1 resampled"]


@pytest.mark.slow
def test_a_reference_that_the_user_has_moved_takes_the_others_along(panel, viewer, qtbot):
    viewer.layers["case_1 t2"].translate += np.array((0, 0, 2))  # t1ce and flair, on the same grid, are linked to it
    panel.session.changed.emit()
    resample(panel, qtbot)
    made, reference = viewer.layers["case_1 t1 resampled"], viewer.layers["case_1 t1ce"]
    np.testing.assert_allclose(made.data_to_world((0, 0, 0)), reference.data_to_world((0, 0, 0)))
    known = np.arange(7 * 60).reshape(7, 12, 5)
    np.testing.assert_allclose(frame_of_layer(made).volume.data[0:12:2], known[1:7], atol=1e-4)


def test_a_layer_that_is_gone_before_the_work_is_done_is_not_brought_back(panel, viewer, qtbot):
    find(panel, "resample").click()
    viewer.layers.remove("case_1 t1")
    wait_idle(panel, qtbot)
    assert "case_1 t1 resampled" not in viewer.layers
    assert not find(panel, "resample").isVisible()


def test_images_that_do_not_overlap_are_refused_in_a_sentence(panel, viewer, qtbot):
    viewer.layers["case_1 t1"].translate = (0, 0, 900)
    panel.session.changed.emit()
    resample(panel, qtbot)
    assert "does not reach the voxels of t1ce" in find(panel, "status").text().replace("\u200b", "")
    assert "case_1 t1 resampled" not in viewer.layers


def test_nothing_is_offered_while_an_image_is_missing_or_doubled(panel):
    combo = find(panel, "layer_t2")
    combo.choose(None)
    assert not find(panel, "resample").isVisible()
    combo.choose(find(panel, "layer_flair").layer())
    assert not find(panel, "resample").isVisible()


def test_images_on_one_grid_need_no_offer(layers):
    assert offer_for(layers) is None
    assert offer_for({}) is None


@pytest.mark.slow
def test_a_resampled_run_has_a_command_line_that_makes_it_again(panel, qtbot):
    resample(panel, qtbot)
    run(panel, qtbot)
    record = panel.session.runs.on_screen
    words = predict_words(record)
    assert words[words.index("--resample") + 1] == "t1ce"
    volumes = {m: replace(v, resampled_to="pd") for m, v in record.plan.case.volumes.items()}
    record.plan = replace(record.plan, case=replace(record.plan.case, volumes=volumes))
    with pytest.raises(BadRequest, match="not among them"):
        command_line(record)


@pytest.mark.slow
def test_a_resampled_run_is_reopened_with_its_resampled_images(panel, qtbot, segmenter, tmp_path):
    resample(panel, qtbot)
    folder = run(panel, qtbot)
    panel.session.close()
    later = Session(launch=run_here, load_engine=FakeLoader(segmenter), runs_folder=tmp_path / "runs")
    opened, names = [], []
    later.reopened.connect(opened.append)
    later.brought.connect(lambda brought: names.append(brought.layer.name))
    later.reopen(folder)
    poll_to_end(later)
    [reopened] = opened
    assert sorted(names) == sorted(["case_1 t1 resampled", *(f"case_1 {m}" for m in MODALITIES[1:])])
    assert (reopened.missing, later.why_not_add()) == ("", None)
    later.close()
