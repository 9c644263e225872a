"""The mask by STAPLE: of whole members, of the run on the screen, and only while it is the rule."""

import numpy as np
import pytest
from napari.components import ViewerModel
from played_runs import SHAPE, add_sampled, begin_run, catch_up, events_of, play, source, volume
from qtpy.QtWidgets import QApplication

from napari_diffseg.ensemble.consensus import staple
from napari_diffseg.ensemble.summary import Rule, Summary
from napari_diffseg.events import Sampled
from napari_diffseg.plugin.explore.stapling import WAITING, Stapling
from napari_diffseg.plugin.grid.frame import Frame
from napari_diffseg.plugin.layers.result_layers import ResultLayers
from napari_diffseg.plugin.widgets.result_box import ResultBox
from plugin_fakes import fake_member

pytest.importorskip("SimpleITK")
BY_STAPLE = Summary(Rule.STAPLE)


@pytest.fixture
def viewer():
    return ViewerModel()


@pytest.fixture
def results(viewer):
    made = ResultLayers(viewer)
    made.summarise(BY_STAPLE)
    return made


@pytest.fixture
def held():
    return []


@pytest.fixture
def heard():
    return []


@pytest.fixture
def stapling(results, held, heard):
    made = Stapling(results, launch=lambda target, _stop: held.append(target))
    made.told.connect(heard.append)
    return made


def answer(stapling, held):
    while held:
        held.pop(0)()
    stapling.poll()


def staple_of(numbers):
    members = [fake_member(SHAPE, k).astype(bool)[None] for k in numbers]
    return staple(members, np.sum(members, axis=0, dtype=np.uint16))[0].mask


def majority_of(numbers):
    return np.mean([fake_member(SHAPE, k) for k in numbers], axis=0) > 0.5


def test_the_mask_is_that_of_the_members_on_the_screen(viewer, results, stapling, held, heard):
    play(results, events_of(members=4))
    stapling.ask()
    answer(stapling, held)
    mask = viewer.layers["diffseg 1 | mask"]
    np.testing.assert_array_equal(source(mask), staple_of(range(4)))
    assert (staple_of(range(4)) != majority_of(range(4))).any()
    assert heard[-1].startswith("STAPLE of 4 members: sensitivity 0.")
    results.summarise(BY_STAPLE, first=3)
    stapling.ask()
    catch_up(results)
    np.testing.assert_array_equal(source(mask), staple_of(range(4)))
    answer(stapling, held)
    np.testing.assert_array_equal(source(mask), staple_of(range(3)))
    assert heard[-1].startswith("STAPLE of 3 members")


def test_until_a_member_is_whole_the_mask_is_the_majority_and_says_so(viewer, results, stapling, held, heard):
    started, *events = events_of(members=1)
    begin_run(results, started, Frame.of_volume(volume()))
    first = next(event for event in events if isinstance(event, Sampled))
    add_sampled(results, [first])
    catch_up(results)
    stapling.ask()
    assert (heard, held) == ([WAITING], [])
    shown = np.moveaxis(source(viewer.layers["diffseg 1 | mask"]), started.slice_axis, 0)[list(first.slices)]
    np.testing.assert_array_equal(shown.astype(bool), first.mask[0])


def test_an_answer_for_another_run_or_rule_is_not_shown(viewer, results, stapling, held, heard):
    play(results, events_of(members=4))
    stapling.ask()
    play(results, events_of(members=2))
    answer(stapling, held)
    np.testing.assert_array_equal(source(viewer.layers["diffseg 2 | mask"]), majority_of(range(2)))
    stapling.ask()
    results.summarise(Summary())
    answer(stapling, held)
    np.testing.assert_array_equal(source(viewer.layers["diffseg 2 | mask"]), majority_of(range(2)))
    assert heard == []


def test_with_another_rule_the_mask_is_that_rules_again(viewer, results, stapling, held, heard):
    play(results, events_of(members=4))
    stapling.ask()
    answer(stapling, held)
    results.summarise(Summary())
    stapling.ask()
    catch_up(results)
    np.testing.assert_array_equal(source(viewer.layers["diffseg 1 | mask"]), majority_of(range(4)))
    assert heard[-1] == ""
    assert not held


def test_a_missing_library_is_told(results, stapling, held, heard, monkeypatch):
    monkeypatch.setattr("napari_diffseg.extras.find_spec", lambda _name: None)
    play(results, events_of(members=2))
    stapling.ask()
    answer(stapling, held)
    assert "pip install 'napari-diffseg[consensus]'" in heard[-1]


def test_a_removed_mask_stays_removed(viewer, results, stapling, held):
    play(results, events_of(members=4))
    viewer.layers.remove("diffseg 1 | mask")
    stapling.ask()
    answer(stapling, held)
    assert "diffseg 1 | mask" not in viewer.layers


def test_the_box_has_a_line_for_it_only_while_there_is_something_to_say(qtbot):
    box = ResultBox()
    qtbot.addWidget(box)
    box.show()
    box.set_summary(BY_STAPLE)
    assert box.summary == BY_STAPLE
    assert not box.threshold.isVisibleTo(box)
    box.show_note(WAITING)
    QApplication.processEvents()
    assert box.note.isVisible()
    box.show_note("")
    assert not box.note.isVisible()
