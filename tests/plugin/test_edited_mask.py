"""A mask that is painted in becomes an edited one: nothing overwrites it, and it is measured, kept and exported."""

import json

import nibabel as nib
import numpy as np
import pytest
from napari.components import ViewerModel
from panel_clicks import click, find, status, wait_idle
from played_runs import add_sampled, begin_run, catch_up, events_of, play, source

from napari_diffseg.ensemble.findings import measure_edited
from napari_diffseg.ensemble.summary import Rule, Summary
from napari_diffseg.plugin.layers.result_layers import ResultLayers
from napari_diffseg.plugin.session.run_store import RunStore
from napari_diffseg.runs.edited_mask import read_edited
from plugin_fakes import SHAPE, fake_member

EDITED = "diffseg 1 | mask edited"


@pytest.fixture
def model():
    return ViewerModel()


@pytest.fixture
def results(model):
    made = ResultLayers(model)
    play(made, events_of(members=3))
    return made


def erase(layer):
    """Take away all that is marked, in one step that can be undone."""
    layer.data_setitem(np.nonzero(np.asarray(layer.data)), 0)


def test_the_layer_is_left_to_who_paints_and_the_rule_gets_another(model, results):
    rule = source(model.layers["diffseg 1 | mask"]).copy()
    erase(model.layers["diffseg 1 | mask"])
    catch_up(results)
    assert not source(model.layers[EDITED]).any()
    np.testing.assert_array_equal(source(model.layers["diffseg 1 | mask"]), rule)
    [edited] = results.view.edited
    assert edited.began_from == "majority of the members (3 members)"
    np.testing.assert_array_equal(edited.base, rule)
    assert edited.snapshot().record.voxels_removed == np.count_nonzero(rule)


@pytest.mark.parametrize("act", ["paint", "erase", "fill", "polygon"])
def test_every_tool_leaves_the_mask_that_was_there_as_the_base(model, results, act):
    layer = model.layers["diffseg 1 | mask"]
    rule = source(layer).copy()
    marked = np.argwhere(np.asarray(layer.data))[0]
    match act:
        case "paint":
            layer.paint(tuple(marked), 2)
        case "erase":
            layer.paint(tuple(marked), 0)
        case "fill":
            layer.fill(tuple(marked), 2)
        case "polygon":
            layer.paint_polygon([[marked[0], 0, 0], [marked[0], 0, 4], [marked[0], 4, 4]], 2)
    catch_up(results)
    [edited] = results.view.edited
    np.testing.assert_array_equal(edited.base, rule)
    assert not np.array_equal(edited.mask, rule)
    np.testing.assert_array_equal(source(results.view.mask), rule)
    edited.layer.undo()
    np.testing.assert_array_equal(edited.mask, rule)


def test_neither_another_rule_nor_another_member_writes_to_it(model):
    results = ResultLayers(model)
    events = events_of(members=3)
    result = begin_run(results, events[0])
    add_sampled(results, [e for e in events[1:] if hasattr(e, "member") and e.member < 2])
    catch_up(results)
    layer = next(layer for layer in model.layers if layer.name == f"{result.prefix} | mask")
    layer.data_setitem(tuple(np.array([0]) for _ in range(3)), 1)
    painted = source(layer).copy()
    results.summarise(Summary(rule=Rule.MEAN, threshold=0.9))
    add_sampled(results, [e for e in events[1:] if hasattr(e, "member")])
    catch_up(results)
    np.testing.assert_array_equal(source(layer), painted)
    rule = source(results.view.mask)
    np.testing.assert_array_equal(rule > 0, np.all([result.ensemble.member(k)[0] for k in range(3)], axis=0))


def test_undo_gives_back_the_mask_that_was_painted_in_whatever_the_rule_is_now(model, results):
    layer = model.layers["diffseg 1 | mask"]
    before = source(layer).copy()
    erase(layer)
    results.summarise(Summary(rule=Rule.MEAN, threshold=0.9))
    catch_up(results)
    layer.undo()
    np.testing.assert_array_equal(source(layer), before)
    rule = results.view.mask
    assert rule is not layer
    rule.undo()  # there is nothing of it to undo
    np.testing.assert_array_equal(source(rule) > 0, np.all([fake_member(before.shape, k) for k in range(3)], axis=0))


def test_while_a_brush_is_down_the_rule_does_not_write(model, results):
    layer = model.layers["diffseg 1 | mask"]
    before = source(layer).copy()
    layer.mode = "paint"

    class Press:
        type = "mouse_press"

    stroke = results._present._mask._drag(layer, Press)
    next(stroke)
    results.summarise(Summary(rule=Rule.MEAN, threshold=0.9))
    catch_up(results)
    np.testing.assert_array_equal(source(layer), before)
    Press.type = "mouse_release"
    assert next(stroke, None) is None
    catch_up(results)
    assert np.count_nonzero(source(layer)) < np.count_nonzero(before)
    assert results.view.edited == ()


def test_a_layer_that_gets_another_array_is_edited_too(model, results):
    layer = model.layers["diffseg 1 | mask"]
    layer.data = np.ones_like(np.asarray(layer.data))
    catch_up(results)
    assert source(model.layers[EDITED]).all()
    assert not source(results.view.mask).all()


def test_a_second_correction_has_a_layer_of_its_own(model, results):
    erase(model.layers["diffseg 1 | mask"])
    catch_up(results)
    erase(model.layers["diffseg 1 | mask"])
    catch_up(results)
    assert [edited.name for edited in results.view.edited] == ["edited", "edited 2"]
    model.layers.remove(EDITED)
    assert [edited.name for edited in results.view.edited] == ["edited 2"]


def test_what_is_measured_of_one_mask_is_what_numpy_counts(results):
    mask = np.zeros(results.result.started.source_shape, np.bool_)
    mask[0, 0, 0] = mask[3:5, 3, 2] = True
    members = results.result.ensemble.whole_members()
    found = measure_edited(mask, members, voxel_mm3=500.0, smallest_ml=0.0)
    assert found.volume_ml == pytest.approx(1.5)
    assert [lesion.volume_ml for lesion in found.lesions] == pytest.approx([1.0, 0.5])
    assert [lesion.holders for lesion in found.lesions] == [3, 0]


# In a real viewer.


def run(panel, qtbot):
    click(panel, "run", qtbot)
    wait_idle(panel, qtbot)


def rule_mask(panel):
    return source(panel.results.view.mask)


def paint(panel, qtbot):
    """One more voxel, in the corner of the file."""
    layer = panel.results.view.mask
    shown = panel.results.view.frame.to_display(np.zeros(SHAPE, np.uint8))
    corner = panel.results.view.frame.to_display(np.arange(np.prod(SHAPE)).reshape(SHAPE))
    place = np.argwhere(corner == 0)[0]
    assert shown[tuple(place)] == 0
    layer.data_setitem(tuple(np.array([i]) for i in place), 1)
    qtbot.waitUntil(lambda: bool(panel.session.runs.on_screen.result.edited), timeout=30_000)
    wait_idle(panel, qtbot)
    return panel.viewer.layers[EDITED]


def kept(panel):
    entry = panel.session.runs.on_screen
    return read_edited(entry.plan.folder, SHAPE)


@pytest.fixture
def painted(ready, segmenter, qtbot):
    segmenter.alike = True
    run(ready, qtbot)
    paint(ready, qtbot)
    return ready


def test_a_stroke_is_told_measured_and_kept_without_being_asked(painted, qtbot):
    panel = painted
    assert "You edit the mask of run 1 of case_1" in status(panel)
    assert find(panel, "measured_mask").isVisible()
    assert find(panel, "measured_mask").currentText() == "edited mask"
    voxels = np.count_nonzero(fake_member(SHAPE, 0)) + 1
    find(panel, "smallest_lesion").setValue(0.0)
    qtbot.waitUntil(lambda: find(panel, "findings").text().startswith("Edited mask: "), timeout=30_000)
    assert "in 2 lesions" in find(panel, "findings").text()
    qtbot.waitUntil(lambda: bool(kept(panel)), timeout=30_000)
    [edited] = kept(panel)
    assert np.count_nonzero(edited.mask) == voxels
    assert (edited.record.voxels_added, edited.record.voxels_removed) == (1, 0)
    assert edited.record.began_from == "majority of the members (3 members)"
    assert edited.mask[0, 0, 0] == 1


@pytest.mark.slow
def test_dice_is_of_the_mask_that_is_chosen(painted, qtbot):
    panel = painted
    panel.viewer.add_labels(
        np.asarray(panel.results.view.mask.data).copy(), name="truth", **panel.results.view.frame.placement()
    )
    truth = panel.viewer.layers["truth"]
    find(panel, "reference").choose(truth)
    n = np.count_nonzero(fake_member(SHAPE, 0))
    qtbot.waitUntil(lambda: f"Dice {2 * n / (2 * n + 1):.3f}" in find(panel, "scores").text(), timeout=30_000)
    find(panel, "measured_mask").setCurrentIndex(0)
    qtbot.waitUntil(lambda: "Dice 1.000" in find(panel, "scores").text(), timeout=30_000)
    qtbot.waitUntil(lambda: not find(panel, "findings").text().startswith("Edited"), timeout=30_000)


@pytest.mark.slow
def test_it_is_exported_beside_the_rules_mask_with_its_provenance(painted, tmp_path, qtbot, monkeypatch):
    from napari_diffseg.plugin.widgets.export_dialog import ExportDialog

    panel, out = painted, tmp_path / "out"

    def answer(dialog):
        assert dialog.windowTitle() == "Export run 1 of case_1"
        assert dialog.edited.isVisibleTo(dialog)
        dialog.folder.setText(str(out))
        return dialog.DialogCode.Accepted

    monkeypatch.setattr(ExportDialog, "exec", answer)
    click(panel, "export", qtbot)
    wait_idle(panel, qtbot)
    rule, edited = (nib.load(out / f"case_1_{what}.nii.gz") for what in ("mask", "edited"))
    np.testing.assert_array_equal(rule.affine, edited.affine)
    difference = np.asanyarray(edited.dataobj) != np.asanyarray(rule.dataobj)
    assert np.argwhere(difference).tolist() == [[0, 0, 0]]
    record = json.loads((out / "case_1_edited.json").read_text())
    assert record["Manual"] is True
    assert record["began_from"] == "majority of the members (3 members)"
    assert record["made_with"].startswith("napari ")


@pytest.mark.slow
def test_it_comes_back_with_a_reopened_run(painted, qtbot):
    panel = painted
    qtbot.waitUntil(lambda: bool(kept(panel)), timeout=30_000)
    folder = panel.session.runs.on_screen.plan.folder
    panel.session.reopen(folder)
    wait_idle(panel, qtbot)
    again = panel.viewer.layers["diffseg 2 | mask edited"]
    np.testing.assert_array_equal(source(again), source(panel.viewer.layers[EDITED]))
    assert find(panel, "measured_mask").currentText() == "edited mask"
    again.data_setitem(tuple(np.array([i]) for i in np.argwhere(np.asarray(again.data) == 0)[5]), 1)
    qtbot.waitUntil(lambda: np.count_nonzero(kept(panel)[0].mask) == np.count_nonzero(source(again)), timeout=30_000)


@pytest.mark.slow
def test_what_was_painted_last_is_kept_when_the_panel_closes(painted, qtbot):
    panel = painted
    folder = panel.session.runs.on_screen.plan.folder
    layer = panel.viewer.layers[EDITED]
    erase(layer)
    panel.viewer.window.remove_dock_widget(panel)
    assert not read_edited(folder, SHAPE)[0].mask.any()


@pytest.mark.slow
def test_an_undo_is_noticed_and_kept(painted, qtbot):
    panel = painted
    panel.viewer.layers[EDITED].undo()
    n = np.count_nonzero(fake_member(SHAPE, 0))
    qtbot.waitUntil(lambda: bool(kept(panel)) and np.count_nonzero(kept(panel)[0].mask) == n, timeout=30_000)


@pytest.mark.slow
def test_a_run_with_a_correction_is_never_removed_to_make_room(painted, qtbot):
    panel = painted
    qtbot.waitUntil(lambda: bool(kept(panel)), timeout=30_000)
    store = RunStore(panel.session.store.root)
    store.set_keep(1)
    folder = panel.session.runs.on_screen.plan.folder
    run(panel, qtbot)
    store.prune()
    assert read_edited(folder, SHAPE)
