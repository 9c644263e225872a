"""The panel in a real viewer: clicks, a run to its end, cancelling, closing, and layers that go away meanwhile."""

import json
import re

import nibabel as nib
import numpy as np
import pytest
from panel_clicks import click, find, status, wait_idle
from played_runs import source
from qtpy.QtCore import Qt

from napari_diffseg.plugin.background.worker import launch
from napari_diffseg.plugin.panel.panel import DiffsegPanel
from napari_diffseg.plugin.session.scope import Scope
from napari_diffseg.plugin.session.session import Session
from napari_diffseg.plugin.session.task import Phase
from plugin_fakes import MODALITIES, SHAPE, FakeLoader, fake_member


def test_a_run_from_the_buttons_shows_and_keeps_exact_results(ready, viewer, qtbot, case_folder):
    click(ready, "run", qtbot)
    assert not find(ready, "run").isEnabled()
    assert find(ready, "cancel").isEnabled()
    wait_idle(ready, qtbot)
    stack = np.stack([fake_member(SHAPE, k) for k in range(3)])
    np.testing.assert_allclose(source(viewer.layers["diffseg 1 | mean"]), stack.mean(0), atol=1e-6)
    np.testing.assert_array_equal(source(viewer.layers["diffseg 1 | member 2"]), stack[1])
    mask = nib.load(ready.session.runs.on_screen.plan.folder / "mask.nii.gz")
    np.testing.assert_array_equal(np.asanyarray(mask.dataobj), stack.mean(0) > 0.5)
    np.testing.assert_array_equal(mask.affine, nib.load(case_folder / "case_1_t1.nii.gz").affine)
    assert status(ready).startswith("3 members in 1 s.")
    assert find(ready, "progress").value() == find(ready, "progress").maximum()


@pytest.mark.slow
def test_more_members_are_added_to_the_run_on_screen(ready, viewer, qtbot, segmenter):
    assert not find(ready, "more").isVisible()
    click(ready, "run", qtbot)
    wait_idle(ready, qtbot)
    find(ready, "more_count").setValue(2)
    find(ready, "shown").setValue(1)
    click(ready, "more", qtbot)
    wait_idle(ready, qtbot)
    stack = np.stack([fake_member(SHAPE, k) for k in range(5)])
    np.testing.assert_allclose(source(viewer.layers["diffseg 1 | mean"]), stack.mean(0), atol=1e-6)
    assert "diffseg 2 | mean" not in viewer.layers
    assert find(ready, "shown").value() == find(ready, "shown").maximum() == 5
    assert segmenter.seen[1].member_numbers == (3, 4)
    assert status(ready) == "2 members in 1 s, 5 in all."


@pytest.mark.slow
def test_a_cancelled_run_can_be_finished(ready, viewer, qtbot, segmenter):
    segmenter.pause = 0.1
    click(ready, "run", qtbot)
    qtbot.waitUntil(lambda: "diffseg 1 | mask" in viewer.layers, timeout=90_000)
    click(ready, "cancel", qtbot)
    wait_idle(ready, qtbot)
    segmenter.pause = 0.0
    click(ready, "finish", qtbot)
    wait_idle(ready, qtbot)
    assert not find(ready, "finish").isVisible()
    assert nib.load(ready.session.runs.on_screen.plan.folder / "mask.nii.gz").shape == SHAPE
    stack = np.stack([fake_member(SHAPE, k) for k in range(3)])
    np.testing.assert_allclose(source(viewer.layers["diffseg 1 | mean"]), stack.mean(0), atol=1e-6)


@pytest.mark.slow
def test_the_slice_on_screen_is_sampled_first(ready, viewer, qtbot, segmenter):
    viewer.dims.set_point(0, float(viewer.layers[0].data_to_world((1, 0, 0))[0]))
    click(ready, "run", qtbot)
    wait_idle(ready, qtbot)
    assert segmenter.seen[0].focus == 1


@pytest.mark.slow
def test_a_second_run_sees_no_results_as_inputs(ready, viewer, qtbot, segmenter):
    for _ in range(2):
        click(ready, "run", qtbot)
        wait_idle(ready, qtbot)
    assert len(segmenter.seen) == 2
    assert "diffseg 2 | mask" in viewer.layers
    names = [find(ready, "layer_t1").itemText(i) for i in range(find(ready, "layer_t1").count())]
    assert names == ["(choose)", *(f"case_1 {m}" for m in MODALITIES)]


def test_cancel_stops_at_the_next_step_and_keeps_what_is_finished(ready, viewer, qtbot, segmenter):
    segmenter.pause = 0.01
    ready.settings.controls["members"].set_value(400)
    ready.settings.controls["slices"].set_value("2:3")
    click(ready, "run", qtbot)
    qtbot.waitUntil(
        lambda: "diffseg 1 | members" in viewer.layers and ready.results.result.ensemble.count >= 2, timeout=90_000
    )
    click(ready, "cancel", qtbot)
    wait_idle(ready, qtbot)
    assert ready.results.result.ensemble.count < 400
    assert re.fullmatch(r"Stopped\. \d+ finished members are kept\.", status(ready))
    record = json.loads((ready.session.runs.on_screen.plan.folder / "run.json").read_text())
    assert len(record["members"]) >= 2
    assert find(ready, "run").isEnabled()


@pytest.mark.slow
@pytest.mark.parametrize("error", [RuntimeError("CUDA out of memory"), ValueError("bad <b>shape</b>")])
def test_an_error_inside_is_a_sentence_and_run_works_again(ready, qtbot, segmenter, error):
    segmenter.fail_at, segmenter.error = 2, error
    click(ready, "run", qtbot)
    wait_idle(ready, qtbot)
    assert status(ready).startswith(f"Unexpected error ({type(error).__name__}: {error})")
    assert find(ready, "status").textFormat() == Qt.TextFormat.PlainText
    segmenter.fail_at = None
    click(ready, "run", qtbot)
    wait_idle(ready, qtbot)
    assert status(ready).startswith("3 members in 1 s.")


@pytest.fixture
def closed(ready, viewer, qtbot, segmenter):
    """A panel that was closed while its run went on."""
    segmenter.pause = 0.01
    ready.settings.controls["members"].set_value(20)
    ready.settings.controls["timesteps"].set_value(3)
    click(ready, "run", qtbot)
    qtbot.waitUntil(lambda: "diffseg 1 | mask" in viewer.layers, timeout=90_000)
    viewer.window.remove_dock_widget(ready)
    return ready


def open_again(viewer):
    panel = DiffsegPanel(viewer)
    viewer.window.add_dock_widget(panel, name="Diffusion ensemble again", area="right")
    return panel


@pytest.mark.slow
def test_a_run_goes_on_without_the_panel_and_the_next_one_shows_it(closed, viewer, qtbot, segmenter):
    qtbot.wait(100)
    assert segmenter.closed == 0
    panel = open_again(viewer)
    assert panel.session is closed.session
    assert panel.session.phase is Phase.RUNNING
    assert find(panel, "cancel").isEnabled()
    assert find(panel, "pause").isVisibleTo(panel)
    wait_idle(panel, qtbot)
    assert panel.results_box.title() == "Results of run 1 of case_1"
    assert find(panel, "checkpoint").text() == "demo"
    assert panel.settings.controls["timesteps"].value() == 3
    assert [entry.number for entry in panel.session.runs.records] == [1]
    assert [combo.currentText() for combo in panel.case.combos.values()] == [f"case_1 {n}" for n in MODALITIES]
    stack = np.stack([fake_member(SHAPE, k) for k in range(20)])
    np.testing.assert_allclose(source(viewer.layers["diffseg 1 | mean"]), stack.mean(0), atol=1e-6)
    assert [layer.name for layer in viewer.layers].count("diffseg 1 | mean") == 1
    assert find(panel, "export").isEnabled()


@pytest.mark.slow
def test_a_run_that_ended_without_the_panel_is_shown_whole(closed, viewer, qtbot, segmenter):
    qtbot.waitUntil(lambda: segmenter.closed == 1, timeout=90_000)
    panel = open_again(viewer)
    wait_idle(panel, qtbot)
    assert panel.results.members == tuple(range(20))
    assert find(panel, "run").isEnabled()


@pytest.mark.slow
def test_it_ends_with_the_window(closed, viewer, qtbot, segmenter):
    from superqt.utils import WorkerBase

    viewer.close()
    WorkerBase.await_workers(5000)
    assert segmenter.closed == 1


@pytest.mark.slow
def test_cancelled_before_the_first_member_nothing_is_kept_and_nothing_is_offered(ready, qtbot, segmenter):
    segmenter.pause = 0.2
    click(ready, "run", qtbot)
    qtbot.waitUntil(lambda: ready.session.runs.on_screen is not None, timeout=90_000)
    click(ready, "cancel", qtbot)
    wait_idle(ready, qtbot)
    assert status(ready) == "Stopped before the first member was finished: nothing is kept."
    assert not find(ready, "export").isEnabled()
    assert find(ready, "export").toolTip() == "No member is finished yet: finish the run first."
    assert find(ready, "progress").value() == 0


def test_a_bad_range_stops_no_other_scope(ready, qtbot):
    ready.settings.controls["slices"].set_value("9:")
    ready.settings.scope.choose(Scope.RANGE)
    assert not find(ready, "run").isEnabled()
    ready.settings.scope.choose(Scope.SLICE)
    assert find(ready, "run").isEnabled()
    ready.settings.scope.choose(Scope.VOLUME)
    assert find(ready, "run").isEnabled()


@pytest.mark.slow
def test_closing_the_viewer_stops_the_run(ready, viewer, qtbot, segmenter):
    from superqt.utils import WorkerBase

    segmenter.pause = 0.01
    ready.settings.controls["members"].set_value(400)
    click(ready, "run", qtbot)
    qtbot.waitUntil(lambda: "diffseg 1 | mask" in viewer.layers, timeout=90_000)
    viewer.close()
    WorkerBase.await_workers(2000)
    assert segmenter.closed == 1


@pytest.mark.slow
def test_a_closed_window_stops_its_run_by_itself_and_a_hidden_one_does_not(ready, viewer, qtbot, segmenter):
    """Other viewers may stay open, so that napari waits for no worker."""
    segmenter.pause = 0.01
    ready.settings.controls["members"].set_value(400)
    click(ready, "run", qtbot)
    qtbot.waitUntil(lambda: "diffseg 1 | mask" in viewer.layers, timeout=90_000)
    viewer.window._qt_window.hide()
    viewer.window.show()
    assert ready.session.phase is Phase.RUNNING
    viewer.close()
    assert ready.session.phase is Phase.IDLE
    qtbot.waitUntil(lambda: segmenter.closed == 1, timeout=90_000)


@pytest.mark.slow
def test_removing_and_renaming_inputs_during_a_run_is_harmless(ready, viewer, qtbot, segmenter):
    segmenter.pause = 0.005
    click(ready, "run", qtbot)
    viewer.layers["case_1 t1"].name = "something else"
    viewer.layers.remove("case_1 t2")
    wait_idle(ready, qtbot)
    assert status(ready).startswith("3 members in 1 s.")
    assert find(ready, "layer_t1").currentText() == "something else"
    assert find(ready, "reason").text() == "Choose an image for t2."


def test_a_refused_checkpoint_is_said_beside_run(panel, qtbot):
    line = find(panel, "checkpoint")
    qtbot.keyClicks(line, "bad")
    qtbot.keyClick(line, Qt.Key.Key_Return)
    wait_idle(panel, qtbot)
    assert "this is a picture" in find(panel, "reason").text()
    assert not find(panel, "run").isEnabled()


def test_a_layer_that_was_open_before_is_found_by_its_name(viewer, segmenter, tmp_path):
    viewer.add_image(np.ones((3, 4, 5)), name="patient FLAIR")
    session = Session(launch=launch, load_engine=FakeLoader(segmenter), runs_folder=tmp_path)
    panel = DiffsegPanel(viewer, session=session)
    assert find(panel, "layer_flair").currentText() == "patient FLAIR"
    assert session.inputs["flair"] is viewer.layers[0]
    panel.deleteLater()
