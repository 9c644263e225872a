"""Runs some of whose members are sampled in slices of a second plane, in the panel: no previews of them, no steps."""

from dataclasses import replace
from functools import partial

import numpy as np
import pytest
from played_runs import add_sampled

from napari_diffseg.events import Sampled, SegmentRequest, Started, Stepped
from napari_diffseg.plugin.background.mailbox import Timed
from napari_diffseg.plugin.explore.denoising import Denoising
from napari_diffseg.plugin.explore.member_tiles import MemberTiles
from napari_diffseg.plugin.explore.navigation import go_to_slice
from napari_diffseg.plugin.explore.what_if import WhatIf
from napari_diffseg.plugin.layers.result_layers import ResultLayers
from napari_diffseg.plugin.panel.forecasting import Forecasting
from napari_diffseg.plugin.panel.remembered import Remembered
from napari_diffseg.plugin.widgets.denoising_box import DenoisingBox
from napari_diffseg.plugin.widgets.plots.tile_grid import TileGrid
from napari_diffseg.plugin.widgets.settings_box import SettingsBox
from napari_diffseg.plugin.widgets.what_if_box import WhatIfBox
from napari_diffseg.segmenting.trajectory import Traced
from plugin_fakes import SHAPE, FakeSegmenter, fake_member, ready, viewer_of

CORONAL = ("I", "L", "A")
ACROSS = (3, 5, 7)
STEPS = 2


class TwoPlanes(FakeSegmenter):
    """Members 1, 3 ... come as those of a second plane do: one batch for each of its slices, and no previews."""

    traced = changed = ()

    def segment(self, case, request, *, focus=None):
        for event in super().segment(case, request, focus=focus):
            if isinstance(event, Started):
                odd = tuple(k for k in event.members if k % 2)
                yield replace(event, members_across=odd, plane_across="coronal", slices_across=ACROSS)
            elif isinstance(event, Stepped) and event.preview.member % 2:
                nth = min(event.preview.slice_index, len(ACROSS) - 1)
                yield replace(event, preview=None, across=(event.preview.member, ACROSS[nth]))
            else:
                yield event

    def trace(self, case, request):
        self.traced = (*self.traced, request)
        for member in request.member_numbers:
            if request.second_plane == "on" and member % 2:
                continue
            for step in range(1, STEPS + 1):
                evidence = np.full((1, *SHAPE[:2]), 0.2 * (member + 1), np.float32)
                yield Traced(step, STEPS, STEPS - step, ((member, 2),), evidence, evidence > 0.5)

    def what_if(self, case, request, change):
        self.changed = (*self.changed, request)
        for k in request.member_numbers:
            yield Sampled("other", k, (2,), fake_member(case.shape, k)[None, ..., 2][:, None])


@pytest.fixture
def segmenter(recipe):
    return TwoPlanes(recipe, alike=True)


@pytest.fixture
def viewer(layers):
    return viewer_of(layers)


def show(results, sampled):
    add_sampled(results, sampled)
    while results.catch_up(0.0):
        pass


@pytest.fixture
def results(viewer, session):
    made = ResultLayers(viewer)
    session.started.connect(made.show)
    session.sampled.connect(partial(show, made))
    session.previewed.connect(made.show_preview)
    session.preview_ended.connect(made.end_preview)
    return made


def run(session, layers, results, **values):
    ready(session, layers, members=4, **values).start()
    session.poll()
    go_to_slice(results._viewer, results.view, 2)


def step_by_step(segmenter, session, each):
    """Let the session look after every step of the run, and call `each` then."""

    def look():
        session.poll()
        each()

    segmenter.on_step = look


def test_a_member_of_the_second_plane_shows_how_far_it_is_and_no_preview_of_another(
    segmenter, session, layers, results, viewer
):
    told, seen, said = [], [], []
    session.message.connect(said.append)

    def each():
        live = next((layer for layer in viewer.layers if layer.name.endswith("live")), None)
        seen.append(live is not None and live.visible)
        told.append(said[-1])

    step_by_step(segmenter, session, each)
    ready(session, layers, members=3).start()
    session.poll()
    assert "Member 2: coronal slice 2 of 3. Its mask comes when all are done." in told
    start = next(n for n, text in enumerate(told) if text.startswith("Member 2: "))
    end = max(n for n, text in enumerate(told) if text.startswith("Member 2: "))
    assert seen[start - 1]
    assert not any(seen[start + 1 : end])
    assert told[-1].startswith("Sampling 3 masks of 5 slices on cpu. Member 2 is sampled in coronal slices, 3 each.")
    assert seen[-1], "the third member is seen again"
    assert said[-1] == "3 members in 1 s."


def test_the_one_step_estimate_of_both_planes_says_how_far_it_is(segmenter, session, layers):
    said, left, estimating = [], [], [4, 8]
    session.message.connect(said.append)
    session.progress.connect(lambda done, total, seconds: left.append((done, seconds)))
    steps = segmenter.segment

    def with_estimate(case, request, *, focus=None):
        for event in steps(case, request, focus=focus):
            yield event
            session.poll()
            if isinstance(event, Stepped) and estimating:
                yield replace(event, preview=None, estimated=estimating.pop(0))
                session.poll()

    segmenter.segment = with_estimate
    ready(session, layers, members=1).start()
    session.poll()
    told = [text for text in said if text.startswith("One-step")]
    assert told == [f"One-step estimate: {n} of 8 slices, in both planes." for n in (4, 8)]
    assert said[said.index(told[-1]) + 1].startswith("Sampling 1 mask")
    assert [seconds for done, seconds in left if done <= 3] == [None] * 5, "what the estimate takes is of no step"
    assert left[-1][1] is not None


def test_a_live_layer_that_somebody_has_hidden_stays_hidden(segmenter, session, layers, results, viewer):
    visible = []

    def each():
        for layer in viewer.layers:
            if layer.name.endswith("live"):
                visible.append(layer.visible)
                layer.visible = False

    step_by_step(segmenter, session, each)
    ready(session, layers, members=3).start()
    session.poll()
    assert visible[0]
    assert not any(visible[1:])


@pytest.fixture
def denoising(qtbot, viewer, session, results, layers):
    box = DenoisingBox()
    qtbot.addWidget(box)
    made = Denoising(viewer, session, results, box)
    run(session, layers, results)
    return made


def test_a_recording_is_of_the_members_that_were_sampled_on_the_slice_and_says_so(denoising, session, segmenter):
    box = denoising._box
    box.record.click()
    session.poll()
    asked = segmenter.traced[0]
    assert (asked.slices, asked.second_plane) == ("2:3", "on"), "left to the checkpoint, a slice has no second plane"
    assert denoising.trajectory.members == (0, 2)
    np.testing.assert_allclose(denoising.trajectory.prediction(0).max(), 0.4, atol=1e-3)
    assert box.line.text() == (
        "Slice 2, mean of 2 members, step 2 of 2 (t = 0): the mask that it predicts. "
        "Left out: members 2 and 4 were sampled in coronal slices."
    )
    box.who.setCurrentIndex(box.who.findData(2))
    assert "Left out" not in box.line.text()
    box.who.setCurrentIndex(box.who.findData(1))
    assert box.line.text() == (
        "Member 2 was sampled in coronal slices. There are no steps on this slice to record: choose another member."
    )
    box.record.click()
    assert len(segmenter.traced) == 1


def test_what_if_compares_the_members_that_were_sampled_on_the_slice(
    qtbot, viewer, session, results, layers, segmenter
):
    box = WhatIfBox()
    qtbot.addWidget(box)
    what_if = WhatIf(viewer, session, results, box)
    run(session, layers, results)
    session.chosen.values["second_plane"] = "on"
    what_if.follow()
    box.set_layers(viewer.layers)
    box.instead.choose(layers["t2"])
    box.go.click()
    session.poll()
    (asked,) = segmenter.changed
    assert asked.second_plane == "off"
    assert "same noise, 2 members" in box.line.text()
    assert box.line.text().endswith("Left out: members 2 and 4 were sampled in coronal slices.")


def test_a_tile_says_that_its_member_is_of_the_second_plane(qtbot, viewer, session, results, layers):
    wall = TileGrid()
    qtbot.addWidget(wall)
    tiles = MemberTiles(viewer, results, wall)
    run(session, layers, results)
    tiles.draw()
    assert wall.words() == {0: "1", 1: "2 coronal", 2: "3", 3: "4 coronal"}
    tiles.close()


def test_the_setting_is_offered_where_the_checkpoint_has_a_second_plane(qtbot):
    box = SettingsBox()
    qtbot.addWidget(box)
    control = box.controls["second_plane"]
    box.offer_second_plane(False)
    assert not control.isEnabled()
    assert control.toolTip() == "The checkpoint has no second plane: all members are sampled in the same slices."
    box.offer_second_plane(True)
    assert control.isEnabled()
    assert control.toolTip() == SegmentRequest.model_fields["second_plane"].description


@pytest.fixture
def forecasting(qtbot, viewer, session, layers, segmenter):
    box = SettingsBox()
    qtbot.addWidget(box)
    segmenter.recipe = segmenter.recipe.model_copy(update={"second_plane": CORONAL, "spacing_mm": 2.0, "size": (8, 8)})
    made = Forecasting(viewer, session, Remembered(None), box)
    ready(session, layers, members=5)
    return made


def test_a_forecast_counts_the_slices_of_each_plane(forecasting, session, recipe):
    session.timed.emit(Timed("demo", SegmentRequest(), 0.1, sampling=True))
    steps = recipe.timesteps
    assert forecasting.seconds == pytest.approx(0.1 * steps * (3 * 5 + 2 * 6)), "of 12 slices every second one"
    session.set_value("second_plane", "off")
    assert forecasting.seconds == pytest.approx(0.1 * steps * 5 * 5)
    session.set_value("second_plane", "auto")
    session.set_value("slices", "1:3")
    assert forecasting.seconds == pytest.approx(0.1 * steps * 5 * 2)
    session.set_value("second_plane", "on")
    assert forecasting.seconds == pytest.approx(0.1 * steps * (3 * 2 + 2 * 6))


def test_members_of_a_run_that_is_there_cost_what_their_plane_does(forecasting, session, recipe):
    session.start()
    session.poll()
    entry = session.runs.on_screen
    entry.result.started = replace(entry.started, timesteps=10)
    session.timed.emit(Timed("demo", SegmentRequest(), 0.1, sampling=True))
    assert forecasting.seconds_of(entry, range(5)) == pytest.approx(3 * 5 + 2 * 3)
    assert forecasting.seconds_of(entry, range(5, 7)) == pytest.approx(5 + 3)


def test_members_that_are_added_are_known_by_their_plane(session, layers, results):
    run(session, layers, results)
    session.add_members(2)
    session.poll()
    assert session.runs.on_screen.started.members_across == (1, 3, 5)
    assert session.runs.on_screen.started.slices_across == ACROSS
