"""The panel in a real viewer: clicks, a run to its end, cancelling, closing, and layers that go away meanwhile."""

import json

import nibabel as nib
import numpy as np
import pytest
from qtpy.QtCore import QPoint, QPointF, Qt
from qtpy.QtGui import QWheelEvent
from qtpy.QtWidgets import QApplication, QComboBox, QLabel, QPushButton, QScrollArea, QWidget

from napari_diffseg.events import SegmentRequest
from napari_diffseg.plugin.controls import make_control
from napari_diffseg.plugin.export_dialog import ExportDialog
from napari_diffseg.plugin.panel import DiffsegPanel
from napari_diffseg.plugin.run_box import describe_seconds
from napari_diffseg.plugin.session import Session
from napari_diffseg.plugin.settings_box import ADVANCED, FIRST, FROM_SCREEN
from napari_diffseg.plugin.task import Phase
from napari_diffseg.plugin.worker import launch
from napari_diffseg.segmenting.consensus import staple
from napari_diffseg.segmenting.summary import Rule, Summary
from plugin_fakes import MODALITIES, SHAPE, FakeLoader, fake_member, write_images


@pytest.fixture
def panel(viewer, segmenter, tmp_path):
    session = Session(launch=launch, load_engine=FakeLoader(segmenter), runs_folder=tmp_path / "runs")
    made = DiffsegPanel(viewer, session=session)
    viewer.window.add_dock_widget(made, name="Diffusion ensemble", area="right")
    yield made
    session.close()


@pytest.fixture
def ready(panel, case_folder, qtbot):
    """A case open, the checkpoint chosen."""
    panel.case.opened.emit([str(case_folder)])
    click(panel, "checkpoint_demo", qtbot)
    wait_idle(panel, qtbot)
    panel.settings.controls["members"].set_value(3)
    assert find(panel, "run").isEnabled(), find(panel, "reason").text()
    return panel


def find(panel, name):
    widget = panel.findChild(QWidget, f"diffseg_{name}")
    assert widget is not None, name
    return widget


def click(panel, name, qtbot):
    qtbot.mouseClick(find(panel, name), Qt.MouseButton.LeftButton)


def wait_idle(panel, qtbot):
    """Until nothing goes on and all layers have come."""
    qtbot.waitUntil(lambda: panel.session.phase is Phase.IDLE and not panel.results.is_behind, timeout=90_000)


def status(panel):
    return find(panel, "status").text().replace("\u200b", "")


def source(layer):
    return layer.metadata["napari_diffseg"].to_source(np.asarray(layer.data))


def test_a_run_from_the_buttons_shows_and_keeps_exact_results(ready, viewer, qtbot, case_folder):
    click(ready, "run", qtbot)
    assert not find(ready, "run").isEnabled()
    assert find(ready, "cancel").isEnabled()
    wait_idle(ready, qtbot)
    stack = np.stack([fake_member(SHAPE, k) for k in range(3)])
    np.testing.assert_allclose(source(viewer.layers["diffseg 1 | mean"]), stack.mean(0), atol=1e-6)
    np.testing.assert_array_equal(source(viewer.layers["diffseg 1 | member 2"]), stack[1])
    mask = nib.load(ready.session.last_results / "mask.nii.gz")
    np.testing.assert_array_equal(np.asanyarray(mask.dataobj), stack.mean(0) > 0.5)
    np.testing.assert_array_equal(mask.affine, nib.load(case_folder / "case_1_t1.nii.gz").affine)
    assert status(ready).startswith("3 members in 1 s.")
    assert find(ready, "progress").value() == find(ready, "progress").maximum()


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
    assert nib.load(ready.session.last_results / "mask.nii.gz").shape == SHAPE
    stack = np.stack([fake_member(SHAPE, k) for k in range(3)])
    np.testing.assert_allclose(source(viewer.layers["diffseg 1 | mean"]), stack.mean(0), atol=1e-6)


def test_the_slice_on_screen_is_sampled_first(ready, viewer, qtbot, segmenter):
    viewer.dims.set_point(0, float(viewer.layers[0].data_to_world((1, 0, 0))[0]))
    click(ready, "run", qtbot)
    wait_idle(ready, qtbot)
    assert segmenter.seen[0].focus == 1


def test_a_second_run_sees_no_results_as_inputs(ready, viewer, qtbot, segmenter):
    for _ in range(2):
        click(ready, "run", qtbot)
        wait_idle(ready, qtbot)
    assert len(segmenter.seen) == 2
    assert "diffseg 2 | mask" in viewer.layers
    names = [find(ready, "layer_t1").itemText(i) for i in range(find(ready, "layer_t1").count())]
    assert names == ["(choose)", *(f"case_1 {m}" for m in MODALITIES)]


def test_threshold_measure_and_members_shown_change_the_result_at_once(ready, viewer, qtbot, segmenter):
    assert not find(ready, "shown").isEnabled()
    click(ready, "run", qtbot)
    wait_idle(ready, qtbot)
    stack = np.stack([fake_member(SHAPE, k) for k in range(3)])
    find(ready, "rule").setCurrentText("mean at threshold")
    find(ready, "threshold").setValue(30)
    find(ready, "measure").setCurrentText("disagreement")
    mask = viewer.layers["diffseg 1 | mask"]
    qtbot.waitUntil(lambda: np.array_equal(source(mask), stack.mean(0) > 0.3), timeout=90_000)
    name = "diffseg 1 | uncertainty (disagreement)"
    np.testing.assert_allclose(source(viewer.layers[name]), 2 * stack.var(0, ddof=1), atol=1e-6)
    find(ready, "shown").setValue(2)
    mean = viewer.layers["diffseg 1 | mean"]
    qtbot.waitUntil(lambda: np.allclose(source(mean), stack[:2].mean(0)), timeout=90_000)
    assert len(segmenter.seen) == 1


def test_staple_is_made_beside_the_window_and_says_how_the_members_did(ready, viewer, qtbot):
    pytest.importorskip("SimpleITK")
    click(ready, "run", qtbot)
    wait_idle(ready, qtbot)
    find(ready, "rule").setCurrentText("STAPLE")
    note = find(ready, "rule_note")
    qtbot.waitUntil(lambda: note.text().startswith("STAPLE of 3 members: sensitivity"), timeout=90_000)
    assert note.isVisibleTo(ready)
    members = [fake_member(SHAPE, k).astype(bool)[None] for k in range(3)]
    [found] = staple(members, np.sum(members, axis=0, dtype=np.uint16))
    np.testing.assert_array_equal(source(viewer.layers["diffseg 1 | mask"]), found.mask)
    find(ready, "rule").setCurrentText("majority")
    assert not note.isVisibleTo(ready)


def test_the_majority_has_no_threshold(ready):
    assert not find(ready, "threshold").isEnabled()
    find(ready, "rule").setCurrentText("mean at threshold")
    assert find(ready, "threshold").isEnabled()


def test_cancel_stops_at_the_next_step_and_keeps_what_is_finished(ready, viewer, qtbot, segmenter):
    segmenter.pause = 0.01
    ready.settings.controls["members"].set_value(400)
    ready.settings.controls["slices"].set_value("2:3")
    click(ready, "run", qtbot)
    qtbot.waitUntil(
        lambda: "diffseg 1 | members" in viewer.layers and ready.results.ensemble.count >= 2, timeout=90_000
    )
    click(ready, "cancel", qtbot)
    wait_idle(ready, qtbot)
    assert ready.results.ensemble.count < 400
    assert status(ready) == "Stopped. Finished members are kept."
    record = json.loads((ready.session.last_results / "run.json").read_text())
    assert len(record["members"]) >= 2
    assert find(ready, "run").isEnabled()


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


def test_closing_the_dock_stops_the_run(ready, viewer, qtbot, segmenter):
    segmenter.pause = 0.01
    ready.settings.controls["members"].set_value(400)
    click(ready, "run", qtbot)
    qtbot.waitUntil(lambda: "diffseg 1 | mask" in viewer.layers, timeout=90_000)
    viewer.window.remove_dock_widget(ready)
    qtbot.waitUntil(lambda: segmenter.closed == 1, timeout=90_000)
    assert ready.session.phase is Phase.IDLE


def test_closing_the_viewer_stops_the_run(ready, viewer, qtbot, segmenter):
    from superqt.utils import WorkerBase

    segmenter.pause = 0.01
    ready.settings.controls["members"].set_value(400)
    click(ready, "run", qtbot)
    qtbot.waitUntil(lambda: "diffseg 1 | mask" in viewer.layers, timeout=90_000)
    viewer.close()
    WorkerBase.await_workers(2000)
    assert segmenter.closed == 1


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


def test_removing_and_renaming_inputs_during_a_run_is_harmless(ready, viewer, qtbot, segmenter):
    segmenter.pause = 0.005
    click(ready, "run", qtbot)
    viewer.layers["case_1 t1"].name = "something else"
    viewer.layers.remove("case_1 t2")
    wait_idle(ready, qtbot)
    assert status(ready).startswith("3 members in 1 s.")
    assert find(ready, "layer_t1").currentText() == "something else"
    assert find(ready, "reason").text() == "Choose an image for t2."


def test_export_writes_what_is_on_screen_and_asks_before_replacing(ready, qtbot, tmp_path, monkeypatch):
    def agree(dialog):
        dialog.folder.setText(str(tmp_path / "out"))
        dialog.boxes["members"].setChecked(False)
        dialog.reports["page"].setChecked(True)
        return dialog.DialogCode.Accepted

    monkeypatch.setattr(ExportDialog, "exec", agree)
    click(ready, "run", qtbot)
    wait_idle(ready, qtbot)
    ready.result.rule.setCurrentIndex(ready.result.rule.findData(Rule.MEAN))
    ready.result.threshold.setValue(30)
    click(ready, "export", qtbot)
    wait_idle(ready, qtbot)
    assert sorted(p.name for p in (tmp_path / "out").iterdir()) == [
        "case_1_mask.nii.gz", "case_1_mean.nii.gz", "case_1_report.html", "case_1_run.json",
        "case_1_uncertainty.nii.gz",
    ]  # fmt: skip
    assert "slices on which a member marks something, on " in (tmp_path / "out" / "case_1_report.html").read_text()
    mask = tmp_path / "out" / "case_1_mask.nii.gz"
    mean = np.stack([fake_member(SHAPE, k) for k in range(3)]).mean(0)
    np.testing.assert_array_equal(np.asanyarray(nib.load(mask).dataobj), mean > 0.3)
    mask.write_bytes(b"mine")
    asked = []
    monkeypatch.setattr(ready.run_box, "ask_to_replace", lambda text: bool(asked.append(text)))
    click(ready, "export", qtbot)
    qtbot.waitUntil(lambda: len(asked) == 1, timeout=90_000)
    assert mask.read_bytes() == b"mine"
    monkeypatch.setattr(ready.run_box, "ask_to_replace", lambda text: True)
    click(ready, "export", qtbot)
    qtbot.waitUntil(lambda: mask.read_bytes() != b"mine", timeout=90_000)
    wait_idle(ready, qtbot)


def test_the_export_window_shows_a_name_and_refuses_what_cannot_be(screen, qtbot, tmp_path):
    dialog = ExportDialog("case_1", summary=Summary(), layers=[], folder=tmp_path)
    qtbot.addWidget(dialog)
    save = dialog.buttons.button(dialog.buttons.StandardButton.Save)

    def example():
        return dialog.example.text().replace("\u200b", "")

    assert example() == "As in case_1_mask.nii.gz. Mask: majority. Uncertainty: variance."
    dialog.pattern.setText("{case}")
    assert "needs {what}" in example()
    assert not save.isEnabled()
    dialog.style_choice.setCurrentIndex(1)
    assert example().startswith("As in sub-case1/anat/sub-case1_desc-diffseg_dseg.nii.gz.")
    assert save.isEnabled()
    for box in dialog.boxes.values():
        box.setChecked(False)
    assert example() == "Choose what to export."
    assert not save.isEnabled()


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


def test_the_checkpoint_bounds_the_timesteps_and_gives_their_default(ready):
    control = ready.settings.controls["timesteps"]
    assert (control.box.minimum(), control.box.maximum(), control.value()) == (1, 8, 4)
    assert ready.session.values["timesteps"] == 4


def test_every_setting_has_one_control_with_its_declared_default():
    assert {*FIRST, *ADVANCED, *FROM_SCREEN} == set(SegmentRequest.model_fields)


def test_every_control_starts_at_its_declared_default(panel):
    for name, control in panel.settings.controls.items():
        field = SegmentRequest.model_fields[name]
        if name != "timesteps":
            assert control.value() == field.default, name
        assert control.toolTip() == field.description


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("seed", 2**53 - 1),
        ("eta", 0.5),
        ("sampler", "ddim"),
        ("device", "cuda:1"),
        ("slices", "1:4"),
        ("batch_size", 7),
    ],
)
def test_a_control_gives_back_what_it_is_given(qtbot, name, value):
    control = make_control(name, SegmentRequest.model_fields[name])
    qtbot.addWidget(control)
    with qtbot.waitSignal(control.changed) as told:
        control.set_value(value)
    assert told.args == [value]
    assert control.value() == value
    SegmentRequest(**{name: value})


def test_the_members_slider_reaches_both_ends(qtbot):
    control = make_control("members", SegmentRequest.model_fields["members"], slider=True)
    qtbot.addWidget(control)
    for position, value in [(0, 1), (1000, 1000), (500, 32)]:
        control.slider.sliderMoved.emit(position)
        assert control.value() == value


def test_the_wheel_over_a_control_without_focus_changes_nothing(ready, qtbot):
    box = ready.settings.controls["seed"].box
    wheel = QWheelEvent(
        QPointF(5, 5), QPointF(box.mapToGlobal(QPoint(5, 5))), QPoint(0, 0), QPoint(0, 120),
        Qt.MouseButton.NoButton, Qt.KeyboardModifier.NoModifier, Qt.ScrollPhase.NoScrollPhase, False,
    )  # fmt: skip
    ready.setFocus()
    QApplication.sendEvent(box, wheel)
    assert ready.settings.controls["seed"].value() == 0


def test_nothing_is_cut_off_at_the_least_width(ready, qtbot):
    ready.settings.advanced.expand(animate=False)
    ready.resize(320, 1200)
    QApplication.processEvents()
    for button in ready.findChildren(QPushButton):
        if button.isVisible() and button.text():
            assert button.width() >= button.fontMetrics().horizontalAdvance(button.text()), button.text()
    for combo in ready.findChildren(QComboBox):
        assert combo.fontMetrics().horizontalAdvance(combo.currentText()) < combo.width(), combo.objectName()
    content = ready.findChild(QScrollArea)
    assert content.widget().minimumSizeHint().width() <= content.viewport().width()


def test_a_card_with_digests_and_long_words_stays_as_narrow_as_the_panel(ready):
    digest = "98b8df2e6fcf4193" * 4
    ready.checkpoint.show_rows([("began with", f"weights of sha256 {digest}"), ("title", "W" * 200)])
    ready.checkpoint.card.expand(animate=False)
    ready.resize(320, 1200)
    QApplication.processEvents()
    content = ready.findChild(QScrollArea)
    assert content.widget().minimumSizeHint().width() <= content.viewport().width()
    [label] = [label for label in ready.checkpoint.findChildren(QLabel) if "98b8df2e6fcf…" in label.text()]
    assert label.toolTip() == digest


def test_an_open_card_shows_the_new_checkpoint_alone(ready, qtbot):
    ready.checkpoint.card.expand(animate=False)
    for title in ("one", "two"):
        ready.checkpoint.show_rows([("title", title)])
    assert ready.checkpoint.card.isExpanded()

    def titles():
        return [label.text() for label in ready.checkpoint.findChildren(QLabel) if label.text() in ("one", "two")]

    qtbot.waitUntil(lambda: titles() == ["two"])


def test_every_control_has_a_tooltip(ready):
    for widget in ready.findChildren(QWidget):
        if widget.objectName().startswith("diffseg_"):
            assert widget.toolTip(), widget.objectName()


@pytest.mark.parametrize(
    ("seconds", "text"), [(0, "0 s"), (59.4, "59 s"), (90, "2 min"), (3600, "1 h 0 min"), (7500, "2 h 5 min")]
)
def test_a_duration_is_written_as_people_say_it(seconds, text):
    assert describe_seconds(seconds) == text


def test_the_manifest_offers_reader_writers_sample_and_panel(registered, viewer, tmp_path, monkeypatch):
    monkeypatch.setattr("napari_diffseg.plugin.samples.files", lambda _: tmp_path)
    write_images(tmp_path / "data" / "demo_case", case_id="demo")
    viewer.open_sample("napari-diffseg", "demo_case")
    assert [layer.name for layer in viewer.layers] == [f"demo {m}" for m in MODALITIES]
    _, panel = viewer.window.add_plugin_dock_widget("napari-diffseg", "Diffusion ensemble")
    assert find(panel, "layer_t2").currentText() == "demo t2"
    viewer.layers["demo t1"].save(str(tmp_path / "t1.nii.gz"), plugin="napari-diffseg")
    viewer.open(tmp_path / "t1.nii.gz", plugin="napari-diffseg")
    np.testing.assert_array_equal(viewer.layers[-1].data, viewer.layers["demo t1"].data)
    assert panel.session.inputs["t1"] is viewer.layers["demo t1"]
    panel.session.close()
