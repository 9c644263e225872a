"""What is chosen of a result in the panel is on the canvas at once, without sampling."""

import numpy as np
import pytest
from panel_clicks import click, find, wait_idle
from played_runs import source

from napari_diffseg.ensemble.consensus import staple
from napari_diffseg.ensemble.summary import Rule, Summary
from napari_diffseg.plugin.widgets.result_box import ResultBox
from plugin_fakes import SHAPE, fake_member


@pytest.mark.slow
def test_threshold_measure_and_members_shown_change_the_result_at_once(ready, viewer, qtbot, segmenter):
    assert not find(ready, "shown").isEnabled()
    click(ready, "run", qtbot)
    wait_idle(ready, qtbot)
    stack = np.stack([fake_member(SHAPE, k) for k in range(3)])
    find(ready, "rule").setCurrentText("mean > threshold")
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


@pytest.mark.slow
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


@pytest.mark.slow
def test_the_majority_has_no_threshold(ready):
    assert not find(ready, "threshold").isVisibleTo(ready.result)
    find(ready, "rule").setCurrentText("mean > threshold")
    assert find(ready, "threshold").isVisibleTo(ready.result)


@pytest.mark.slow
def test_the_panel_names_what_the_checkpoint_says_and_takes_another(ready, viewer, qtbot, segmenter):
    smoothing, rule = find(ready, "smoothing"), find(ready, "rule")
    assert smoothing.text() == "default (off)"
    assert rule.currentText() == "default (majority)"
    click(ready, "run", qtbot)
    wait_idle(ready, qtbot)
    ready.result.set_own(Rule.PROBABILITY, 1.0, "")
    assert smoothing.text() == "default (1 mm)"
    assert rule.currentText() == "default (probability)"
    mean = source(ready.results.view.mean[0]).copy()
    smoothing.setValue(1.5)
    rule.setCurrentText("probability > 0.5")
    assert smoothing.text() == "1.5 mm"
    assert (ready.result.summary.rule, ready.result.summary.smoothing_mm) == (Rule.PROBABILITY, 1.5)
    qtbot.waitUntil(lambda: "diffseg 1 | probability" in viewer.layers and not ready.results.is_behind, timeout=90_000)
    p = ready.results.result.ensemble.probability()[0]
    np.testing.assert_array_equal(source(viewer.layers["diffseg 1 | probability"]), p)
    np.testing.assert_array_equal(source(viewer.layers["diffseg 1 | mask"]), p > 0.5)
    np.testing.assert_array_equal(source(viewer.layers["diffseg 1 | mean"]), mean)
    assert len(segmenter.seen) == 1


def test_the_refinement_is_offered_where_the_run_has_it(qtbot):
    box = ResultBox()
    qtbot.addWidget(box)
    assert not box.refined.isVisibleTo(box)
    box.set_own(Rule.PROBABILITY, 1.0, "flair")
    assert box.refined.isVisibleTo(box)
    assert box.refined.text() == "refined by flair"
    assert box.summary.refined
    width = box.minimumSizeHint().width()
    box.set_own(Rule.PROBABILITY, 1.0, "an image with a name that is long")
    assert box.minimumSizeHint().width() == width
    told = []
    box.changed.connect(lambda summary, _: told.append(summary.refined))
    box.refined.click()
    assert told == [False]
    box.set_summary(Summary())
    assert box.summary.refined
