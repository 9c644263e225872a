"""The denoising steps of a slice: what is recorded, what the slider shows where, and when it is refused."""

from functools import partial

import numpy as np
import pytest
from napari.components import ViewerModel
from played_runs import add_sampled

from napari_diffseg.plugin.explore.denoising import Denoising
from napari_diffseg.plugin.explore.navigation import go_to_slice
from napari_diffseg.plugin.layers.result_layers import ResultLayers
from napari_diffseg.plugin.session.session import Phase, Session
from napari_diffseg.plugin.widgets.denoising_box import DenoisingBox
from napari_diffseg.segmenting.trajectory import Traced
from plugin_fakes import SHAPE, FakeLoader, FakeSegmenter, ready, run_here

STEPS = 4


class TracingSegmenter(FakeSegmenter):
    """Member k has one pixel, (2, 3), that is lesion from step k + 1 on, and one, (5, 6), that is lesion throughout."""

    traces = ()

    def trace(self, case, request):
        self.traces = (*self.traces, request)
        s = request.slice_indices(case.shape[2])[0]
        for member in request.member_numbers:
            for step in range(1, STEPS + 1):
                evidence = np.zeros((1, *SHAPE[:2]), np.float32)
                evidence[0, 2, 3] = step > member
                evidence[0, 5, 6] = 1.0
                yield Traced(step, STEPS, STEPS - step, ((member, s),), evidence, evidence > 0.5)


@pytest.fixture
def segmenter(recipe):
    return TracingSegmenter(recipe)


@pytest.fixture
def viewer():
    return ViewerModel()


@pytest.fixture
def box(qtbot):
    made = DenoisingBox()
    qtbot.addWidget(made)
    return made


@pytest.fixture
def denoising(viewer, session, layers, box):
    """After a run of three members, on the middle slice."""
    results = ResultLayers(viewer)
    session.started.connect(results.show)
    session.sampled.connect(partial(show, results))
    made = Denoising(viewer, session, results, box)
    run(session, layers)
    go_to_slice(viewer, results.view, 2)
    return made


def show(results, sampled):
    add_sampled(results, sampled)
    while results.catch_up(0.0):
        pass


def run(session, layers, **values):
    ready(session, layers, members=3, **values).start()
    session.poll()


def record(session, box):
    box.record.click()
    session.poll()


def on_source(viewer, name):
    """A layer's slab as a plane of the source, (X, Y)."""
    layer = viewer.layers[name]
    return layer.metadata["napari_diffseg"].to_source(np.asarray(layer.data))[:, :, 0]


def test_the_slider_shows_what_each_step_predicts_on_the_slice_that_was_recorded(denoising, viewer, session, box):
    record(session, box)
    assert (box.slider.minimum(), box.slider.maximum(), box.slider.value()) == (0, 3, 3)
    layer = viewer.layers["diffseg 1 | denoising"]
    view = denoising._results.view
    assert layer.data_to_world((0, 0, 0))[0] == pytest.approx(view.point_of((0, 0, 2))[0])
    for place, share in enumerate((1 / 3, 2 / 3, 1.0, 1.0)):
        box.slider.setValue(place)
        plane = on_source(viewer, "diffseg 1 | denoising")
        assert plane[2, 3] == pytest.approx(share)
        assert (plane[5, 6], plane.sum() - plane[2, 3]) == (1.0, 1.0)
    assert box.line.text() == "Slice 2, mean of 3 members, step 4 of 4 (t = 0): the mask that it predicts."
    assert viewer.layers["diffseg 1 | denoising"] is layer


def test_one_member_is_scrubbed_without_sampling_again(denoising, viewer, session, box, segmenter):
    record(session, box)
    box.who.setCurrentIndex(box.who.findData(2))
    box.slider.setValue(1)
    assert on_source(viewer, "diffseg 1 | denoising")[2, 3] == 0
    box.slider.setValue(2)
    assert on_source(viewer, "diffseg 1 | denoising")[2, 3] == 1
    assert len(segmenter.traces) == 1


def test_only_the_slice_and_the_member_that_are_wanted_are_sampled(denoising, session, box, segmenter):
    box.who.setCurrentIndex(box.who.findData(1))
    record(session, box)
    asked = segmenter.traces[0]
    assert (asked.member_numbers, asked.slices, asked.seed) == ((1,), "2:3", segmenter.seen[0].seed)
    assert box.line.text().startswith("Slice 2, member 2, step 4")
    box.who.setCurrentIndex(0)
    assert box.line.text().startswith("Slice 2, member 2, step 4")  # all that is recorded
    assert box.legend.isHidden()
    box.who.setCurrentIndex(box.who.findData(0))
    assert box.line.text() == "Member 1 is not recorded: press Record slice."


def test_the_map_has_the_deciding_step_and_is_clear_where_nothing_was_ever_seen(denoising, viewer, session, box):
    record(session, box)
    box.decided.click()
    plane = on_source(viewer, "diffseg 1 | decided at step")
    assert (plane[5, 6], plane[2, 3]) == (1.0, 2.0)  # the mean of 1, 2 and 3
    assert np.isnan(plane).sum() == plane.size - 2
    assert box.legend.texts == ("1", "decided at step", "4")
    assert not box.legend.isHidden()
    assert box.line.text() == "Slice 2, mean of 3 members: when each pixel was decided, of 4 steps."
    shown = {name: viewer.layers[f"diffseg 1 | {name}"].visible for name in ("denoising", "decided at step")}
    assert shown == {"denoising": False, "decided at step": True}


def test_a_new_run_takes_the_recording_of_the_last_one_off_the_screen(denoising, viewer, session, layers, box):
    record(session, box)
    run(session, layers)
    assert denoising.trajectory is None
    assert not viewer.layers["diffseg 1 | denoising"].visible
    assert not box.slider.isEnabled()
    record(session, box)
    assert viewer.layers["diffseg 2 | denoising"].visible


def test_a_recording_is_refused_with_the_reason(viewer, session, layers, box, recipe, tmp_path):
    results = ResultLayers(viewer)
    kept = [Denoising(viewer, session, results, box)]
    box.record.click()
    assert box.line.text() == "Run first."
    plain = Session(launch=run_here, load_engine=FakeLoader(FakeSegmenter(recipe)), runs_folder=tmp_path / "plain")
    other = DenoisingBox()
    plain.started.connect(results.show)
    plain.sampled.connect(partial(show, results))
    kept.append(Denoising(viewer, plain, results, other))
    run(plain, layers, slices="1:2")
    go_to_slice(viewer, results.view, 3)
    other.record.click()
    assert other.line.text().startswith("Nothing is sampled on this slice")
    go_to_slice(viewer, results.view, 1)
    plain.runs.remove(plain.runs.on_screen)
    other.record.click()
    assert other.line.text().startswith("The run on screen is no longer in the list")
    other.deleteLater()
    plain.close()


def test_a_reason_goes_with_the_slice_that_it_was_of(denoising, viewer, session, layers, box):
    run(session, layers, slices="1:3")
    view = denoising._results.view
    go_to_slice(viewer, view, 4)
    box.record.click()
    assert box.line.text().startswith("Nothing is sampled on this slice")
    go_to_slice(viewer, view, 2)
    assert box.line.text() == box.record.toolTip()
    record(session, box)
    go_to_slice(viewer, view, 4)
    box.record.click()
    assert box.line.text().startswith("Nothing is sampled on this slice")
    go_to_slice(viewer, view, 1)
    assert box.line.text().startswith("Slice 2, mean of 3 members, step 4")
    denoising.close()
    go_to_slice(viewer, view, 4)
    box.record.click()
    go_to_slice(viewer, view, 1)
    assert box.line.text().startswith("Nothing is sampled")  # nobody listens to the viewer any more


def test_a_reason_goes_when_what_was_busy_is_done(denoising, session, box, monkeypatch):
    waiting = []
    monkeypatch.setattr(session, "_launch", lambda target, stop: waiting.append(target))
    session.open_case([])
    box.record.click()
    assert box.line.text() != box.record.toolTip()
    waiting[0]()
    session.poll()
    assert session.phase is Phase.IDLE
    assert box.line.text() == box.record.toolTip()


def test_a_cancelled_recording_leaves_nothing_behind(denoising, viewer, session, box, monkeypatch):
    waiting = []
    monkeypatch.setattr(session, "_launch", lambda target, stop: waiting.append(target))
    box.record.click()
    assert session.phase is Phase.WORKING
    session.cancel()
    waiting[0]()
    session.poll()
    assert denoising.trajectory is None
    assert box.line.text() == box.record.toolTip()
    assert "diffseg 1 | denoising" not in viewer.layers
