"""Measuring in another thread, driven without a screen: the newest question wins, and nothing stale is heard."""

import threading
from dataclasses import replace

import numpy as np
import pytest
from napari.components import ViewerModel
from played_runs import SHAPE, begin_run, events_of, play, volume

from napari_diffseg.ensemble.summary import Summary
from napari_diffseg.plugin.explore.measuring import Measuring
from napari_diffseg.plugin.explore.navigation import (
    go_to_middle,
    go_to_slice,
    go_to_voxel,
    go_where_it_sampled,
    show_member,
    slice_on_screen,
)
from napari_diffseg.plugin.grid.frame import Frame
from napari_diffseg.plugin.layers.result_layers import ResultLayers
from napari_diffseg.plugin.widgets.explore_box import describe_findings
from napari_diffseg.plugin.widgets.lesion_table import in_ml
from napari_diffseg.plugin.widgets.plots.brick_histogram import bins_of
from plugin_fakes import fake_member


class Held:
    """Launches nothing until it is let go."""

    def __init__(self):
        self.targets = []

    def __call__(self, target, stop):
        self.targets.append(target)

    def go(self):
        for target in self.targets:
            target()
        self.targets = []


@pytest.fixture
def viewer():
    return ViewerModel()


@pytest.fixture
def results(viewer):
    made = ResultLayers(viewer)
    play(made, events_of(members=4))
    return made


@pytest.fixture
def held():
    return Held()


@pytest.fixture
def measuring(held):
    return Measuring(launch=held)


def volume_ml(member):
    return fake_member(SHAPE, member).sum() * 3.0 / 1000


def test_volumes_are_those_of_the_members_on_the_screen(results, measuring, held):
    measuring.ask(results.view)
    held.go()
    measuring.poll()
    volumes = measuring.findings.volumes
    assert volumes.by_member == pytest.approx({k: volume_ml(k) for k in range(4)})
    assert not measuring.is_busy
    results.summarise(Summary(), first=2)
    measuring.ask(results.view)
    held.go()
    measuring.poll()
    assert set(measuring.findings.volumes.by_member) == {0, 1}


def test_of_questions_asked_meanwhile_only_the_last_is_answered(results, measuring, held):
    heard = []
    measuring.measured.connect(heard.append)
    for first in (4, 3, 2, 1):
        results.summarise(Summary(), first=first)
        measuring.ask(results.view)
    assert len(held.targets) == 1
    held.go()
    measuring.ask(results.view)
    measuring.poll()
    held.go()
    measuring.poll()
    assert [len(findings.volumes.by_member) for findings in heard] == [4, 1]


def test_an_answer_to_a_result_that_is_gone_is_not_heard(results, measuring, held):
    heard = []
    measuring.measured.connect(heard.append)
    measuring.ask(results.view)
    measuring.forget()
    held.go()
    measuring.poll()
    assert heard == []
    assert measuring.findings is None


def test_while_a_run_goes_on_it_rests_between_measurements(results, measuring, held):
    measuring.ask(results.view)
    held.go()
    measuring.poll()
    measuring.latest._rest_until += 1000
    measuring.ask(results.view, at_once=False)
    assert held.targets == []
    assert measuring.is_busy
    measuring.ask(results.view)
    assert len(held.targets) == 1


def test_a_failure_is_a_sentence(results, measuring, held, monkeypatch):
    def fail(*_, **__):
        raise MemoryError("no room")

    monkeypatch.setattr("napari_diffseg.ensemble.findings.measure", fail)
    failed = []
    measuring.failed.connect(failed.append)
    measuring.ask(results.view)
    held.go()
    measuring.poll()
    assert failed[0].startswith("Unexpected error (MemoryError: no room)")


def test_closing_stops_it_before_the_next_member(results, held, monkeypatch):
    from napari_diffseg.ensemble.whole_members import WholeMembers

    read = []
    plain = WholeMembers.member
    monkeypatch.setattr(WholeMembers, "member", lambda self, k: (read.append(k), plain(self, k))[1])
    stops = []
    measuring = Measuring(launch=lambda target, stop: stops.append((target, stop)))
    measuring.ask(results.view)
    measuring.close()
    ((target, stop),) = stops
    assert isinstance(stop, threading.Event)
    assert stop.is_set()
    target()
    assert len(read) == 1  # unpacking begins with asking whether to stop
    assert measuring.findings is None


def test_without_a_whole_member_there_is_nothing_to_measure(viewer, measuring, held):
    results = ResultLayers(viewer)
    measuring.ask(results.view)
    begin_run(results, events_of(members=2)[0], results_frame())
    measuring.ask(results.view)
    assert held.targets == []


def results_frame():
    return Frame.of_volume(volume())


def test_the_line_says_volume_spread_and_lesions(results, measuring, held):
    measuring.ask(results.view)
    held.go()
    measuring.poll()
    volumes = [volume_ml(k) for k in range(4)]
    low, high = min(volumes), max(volumes)
    expected = f"{np.mean(volumes):.2f} ml (range of 4 members: {low:.2f} to {high:.2f}); 1 lesion"
    found = replace(measuring.findings, smallest_ml=0.0)
    assert describe_findings(found) == f"{expected}, seen by all members."
    assert describe_findings(replace(found, smallest_ml=99.0)).endswith("; no lesion.")


@pytest.mark.parametrize(
    ("ml", "text"), [(0, "0.00"), (0.001, "<0.01"), (0.039, "0.04"), (2.345, "2.35"), (63.28, "63.3"), (123.4, "123")]
)
def test_a_volume_has_three_digits_at_most(ml, text):
    assert in_ml(ml) == text


def test_each_member_is_in_one_bin_and_bins_are_in_order():
    values = {3: 1.0, 5: 2.0, 1: 9.0, 0: 10.0}
    bins = bins_of(values, most=24)
    assert (bins.low, bins.high) == (1.0, 10.0)
    assert bins.stacks == ((3, 5), (), (), (1, 0))
    assert bins_of({2: 4.0, 7: 4.0}, most=24).stacks == ((2, 7),)
    assert len(bins_of({k: float(k) for k in range(1000)}, most=24).stacks) == 24


def test_going_to_a_voxel_puts_it_on_the_screen_and_in_the_middle(viewer, results):
    view = results.view
    for voxel in [(0, 0, 0), (6, 5, 4), (3, 2, 1)]:
        go_to_voxel(viewer, view, voxel)
        assert view.voxel_at(viewer.dims.point) == voxel
        np.testing.assert_allclose(viewer.scene.camera.center[1:], viewer.dims.point[1:])


def test_going_to_a_slice_leaves_the_other_axes(viewer, results):
    view = results.view
    go_to_voxel(viewer, view, (3, 2, 1))
    for s in range(SHAPE[2]):
        go_to_slice(viewer, view, s)
        assert slice_on_screen(viewer, view) == s
        assert view.voxel_at(viewer.dims.point) == (3, 2, s)


def test_a_run_of_other_slices_brings_the_nearest_of_them_on_the_screen(viewer, results):
    go_to_slice(viewer, results.view, 4)
    play(results, events_of(members=1, slices="1:3"))
    go_where_it_sampled(viewer, results.view)
    assert slice_on_screen(viewer, results.view) == 2
    go_to_slice(viewer, results.view, 1)
    go_where_it_sampled(viewer, results.view)
    assert slice_on_screen(viewer, results.view) == 1


@pytest.mark.parametrize(("away", "comes"), [(0.0, False), (500.0, True)])
def test_an_image_that_lies_elsewhere_comes_into_the_middle_of_the_canvas(viewer, away, comes):
    viewer.add_image(np.zeros((5, 20, 20)))
    before = viewer.scene.camera.center
    next_case = viewer.add_image(np.zeros((5, 20, 20)), translate=(away, away, away))
    go_to_middle(viewer, next_case)
    assert viewer.dims.point[0] == away + 2
    expected = (away + 9.5, away + 9.5) if comes else before[1:]
    np.testing.assert_allclose(viewer.scene.camera.center[1:], expected)


def test_a_member_is_shown_alone_as_a_layer_of_its_own_or_at_its_place_on_the_slider(viewer, results):
    show_member(viewer, results.view, 2)
    names = [f"diffseg 1 | member {k}" for k in range(1, 5)]
    assert [viewer.layers[name].visible for name in names] == [False, False, True, False]
    show_member(viewer, results.view, None)
    assert not any(viewer.layers[name].visible for name in names)
    play(results, events_of(members=13, first_member=2))
    show_member(viewer, results.view, 7)
    layer = viewer.layers["diffseg 2 | members"]
    assert layer.visible
    assert round(layer.world_to_data(viewer.dims.point)[0]) == 5
    show_member(viewer, results.view, None)
    assert not layer.visible
