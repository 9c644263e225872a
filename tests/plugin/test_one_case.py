"""A run belongs to its case: nothing of one patient is shown, read, measured or exported as if it were another's."""

import nibabel as nib
import numpy as np
import pytest
from panel_clicks import click, find, status, wait_idle

from napari_diffseg.plugin.grid.frame import RESULT_KEY
from plugin_fakes import LPS, MODALITIES, SHAPE, fake_member, write_images


def write_reference(folder, case_id, mask):
    nib.save(nib.Nifti1Image(mask.astype(np.uint8), LPS), folder / f"{case_id}_seg.nii.gz")


@pytest.fixture
def alice(tmp_path):
    """Her reference is what a run finds, to the voxel."""
    folder = write_images(tmp_path / "alice", case_id="alice")
    write_reference(folder, "alice", fake_member(SHAPE, 0))
    return folder


@pytest.fixture
def bob(tmp_path):
    """On the same grid, with the lesion elsewhere."""
    folder = write_images(tmp_path / "bob", case_id="bob")
    elsewhere = np.zeros(SHAPE, np.bool_)
    elsewhere[0, 0, 0] = True
    write_reference(folder, "bob", elsewhere)
    return folder


def open_case(panel, folder, qtbot):
    panel.case.opened.emit([str(folder)])
    wait_idle(panel, qtbot)


def run(panel, qtbot):
    click(panel, "run", qtbot)
    wait_idle(panel, qtbot)


@pytest.fixture
def of_alice(panel, segmenter, alice, qtbot):
    """A run of hers, judged."""
    segmenter.alike = True
    click(panel, "checkpoint_demo", qtbot)
    open_case(panel, alice, qtbot)
    panel.settings.controls["members"].set_value(3)
    run(panel, qtbot)
    qtbot.waitUntil(lambda: "Dice 1.000" in find(panel, "scores").text(), timeout=30_000)
    return panel


def visible_results(panel):
    return [layer.name for layer in panel.viewer.layers if RESULT_KEY in layer.metadata and layer.visible]


def point_at_lesion(panel):
    x, y, z = np.argwhere(fake_member(SHAPE, 0))[0]
    panel.viewer.mouse_over_canvas = True
    layer = next(layer for layer in panel.viewer.layers if layer.name.endswith(" t1"))
    frame = layer.metadata["napari_diffseg"]
    display = np.zeros(3)
    for axis, index in enumerate((x, y, z)):
        display += frame.slab_offset(axis, int(index))
    panel.viewer.cursor.position = layer.data_to_world(display)
    return panel.exploring.pointer._words()


@pytest.mark.slow
def test_the_next_case_closes_the_run_of_the_one_before(of_alice, bob, qtbot):
    panel = of_alice
    assert point_at_lesion(panel).startswith("votes 3/3")
    assert find(panel, "export").isEnabled()
    open_case(panel, bob, qtbot)
    assert visible_results(panel) == []
    assert point_at_lesion(panel) == ""
    assert "votes" not in str(panel.viewer.status)
    assert find(panel, "progress").value() == 0
    assert "Dice" not in find(panel, "scores").text()
    assert not find(panel, "findings").isVisibleTo(panel)
    assert not find(panel, "export").isEnabled()
    assert not find(panel, "more").isVisible()
    assert panel.results_box.title() == "Results"
    assert panel.case.title() == "Case bob"
    assert [entry.line.split(":")[0] for entry in panel.session.runs.records] == ["1 alice"]
    assert "Dice 1.00" in panel.session.runs.records[0].line  # hers, by her own reference


def test_each_case_has_its_own_run_reference_and_export(of_alice, bob, tmp_path, qtbot):
    panel = of_alice
    open_case(panel, bob, qtbot)
    run(panel, qtbot)
    assert panel.results_box.title() == "Results of run 2 of bob"
    qtbot.waitUntil(lambda: "Dice 0.000" in find(panel, "scores").text(), timeout=30_000)
    assert find(panel, "reference").currentText() == "bob seg"
    first, second = panel.session.runs.records
    assert (first.dice, second.dice) == (1.0, 0.0)
    assert all(name.startswith(("diffseg 2", "diffseg |")) for name in visible_results(panel))
    with pytest.raises(Exception, match="two cases"):
        panel.run_list.comparing.ask(first, second)


@pytest.mark.slow
def test_who_goes_back_finds_the_run_and_the_reference(of_alice, bob, qtbot):
    panel = of_alice
    shown = visible_results(panel)
    open_case(panel, bob, qtbot)
    panel.runs_box.list.setCurrentRow(0)
    panel.runs_box.show_asked.emit(panel.session.runs.records[0])
    wait_idle(panel, qtbot)
    assert panel.results_box.title() == "Results of run 1 of alice"
    assert [combo.currentText() for combo in panel.case.combos.values()] == [f"alice {name}" for name in MODALITIES]
    assert find(panel, "reference").currentText() == "alice seg"
    assert visible_results(panel) == shown
    images = [layer.name for layer in panel.viewer.layers if layer.visible and RESULT_KEY not in layer.metadata]
    assert images == ["alice flair"]
    assert find(panel, "progress").value() == find(panel, "progress").maximum()
    qtbot.waitUntil(lambda: "Dice 1.000" in find(panel, "scores").text(), timeout=30_000)
    assert find(panel, "export").isEnabled()


@pytest.mark.slow
def test_images_that_are_chosen_by_hand_are_a_case_too(of_alice, bob, qtbot):
    panel = of_alice
    open_case(panel, bob, qtbot)
    for name, combo in panel.case.combos.items():
        combo.choose(panel.viewer.layers[f"alice {name}"])
    wait_idle(panel, qtbot)
    assert panel.results_box.title() == "Results of run 1 of alice"
    assert find(panel, "reference").currentText() == "alice seg"


@pytest.mark.slow
def test_a_run_of_images_that_are_closed_is_refused(of_alice, bob, qtbot):
    panel = of_alice
    open_case(panel, bob, qtbot)
    for name in MODALITIES:
        panel.viewer.layers.remove(f"alice {name}")
    panel.runs_box.rerun_asked.emit(panel.session.runs.records[0])
    wait_idle(panel, qtbot)
    assert status(panel) == "The images of run 1 of alice are not open: open them first."
    assert len(panel.session.runs.records) == 1


@pytest.mark.slow
def test_once_all_layers_are_gone_so_is_the_run_with_its_outlines(of_alice, bob, qtbot):
    panel = of_alice
    find(panel, "agreement").click()
    panel.viewer.layers.clear()
    qtbot.wait(100)
    assert panel.results.view is None
    assert list(panel.viewer.layers) == []
    assert not find(panel, "export").isEnabled()
    open_case(panel, bob, qtbot)
    assert panel.results_box.title() == "Results"
    assert panel.viewer.dims.current_step == (SHAPE[2] // 2, (SHAPE[1] - 1) // 2, (SHAPE[0] - 1) // 2)


@pytest.mark.slow
def test_what_was_left_out_is_asked_for_once_all_layers_are_gone(panel, segmenter, alice, bob, qtbot):
    object.__setattr__(segmenter.recipe, "may_miss", True)
    click(panel, "checkpoint_demo", qtbot)
    open_case(panel, alice, qtbot)
    panel.case.combos["t2"].setCurrentText("(left out)")
    panel.viewer.layers.clear()
    assert panel.case.combos["t2"].currentText() == "(choose)"
    open_case(panel, bob, qtbot)
    assert panel.case.combos["t2"].currentText() == "bob t2"


@pytest.mark.slow
def test_the_next_case_opens_on_its_middle_slice(of_alice, bob, qtbot):
    panel = of_alice
    panel.viewer.dims.set_current_step(0, SHAPE[2] - 1)
    open_case(panel, bob, qtbot)
    assert panel.viewer.dims.current_step[0] == SHAPE[2] // 2


@pytest.mark.slow
def test_a_run_goes_on_unseen_while_another_case_is_chosen(panel, segmenter, alice, bob, qtbot):
    segmenter.pause = 0.01
    click(panel, "checkpoint_demo", qtbot)
    open_case(panel, bob, qtbot)
    open_case(panel, alice, qtbot)
    panel.settings.controls["members"].set_value(3)
    click(panel, "run", qtbot)
    qtbot.waitUntil(lambda: len(panel.results.members) > 0, timeout=30_000)
    for name, combo in panel.case.combos.items():
        combo.choose(panel.viewer.layers[f"bob {name}"])
    qtbot.wait(100)
    assert panel.results.view is None
    assert visible_results(panel) == []
    wait_idle(panel, qtbot)
    assert visible_results(panel) == []
    [entry] = panel.session.runs.records
    assert entry.result.ensemble.count == 3
    panel.runs_box.show_asked.emit(entry)
    wait_idle(panel, qtbot)
    assert panel.results.members == (0, 1, 2)
    np.testing.assert_array_equal(entry.result.ensemble.member(2)[0], fake_member(SHAPE, 2))
    shown = panel.results.view.members[2].data
    np.testing.assert_array_equal(panel.results.view.frame.to_source(np.asarray(shown)) > 0, fake_member(SHAPE, 2))


@pytest.mark.slow
def test_a_reopened_run_without_its_images_is_not_shown_on_those_of_another_case(of_alice, bob, alice, qtbot):
    panel = of_alice
    folder = panel.session.runs.records[0].plan.folder
    open_case(panel, bob, qtbot)
    for name in MODALITIES:
        (alice / f"alice_{name}.nii.gz").unlink()
    panel.session.reopen(folder)
    wait_idle(panel, qtbot)
    assert panel.results_box.title() == "Results of run 2 of alice"
    assert not panel.session.images
