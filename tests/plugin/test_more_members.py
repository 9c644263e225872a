"""Members added to a run that is over: only they are sampled, and the whole is what one run would have made."""

import json

import numpy as np
import pytest
from napari.components import ViewerModel
from played_runs import add_sampled, begin_run, events_of, extend_run, source, volume

from napari_diffseg.ensemble.summary import Summary
from napari_diffseg.errors import BadRequest
from napari_diffseg.plugin.background.mailbox import Ending
from napari_diffseg.plugin.grid.frame import Frame
from napari_diffseg.plugin.layers.result_layers import ResultLayers
from plugin_fakes import fake_member, ready, record


@pytest.fixture
def volume_frame():
    return Frame.of_volume(volume())


def run(session, **values):
    for name, value in values.items():
        session.set_value(name, value)
    session.start()
    session.poll()


def more(session, count, **how):
    session.add_members(count, **how)
    session.poll()


def test_only_the_new_members_are_sampled_and_the_files_are_those_of_one_run(session, layers, segmenter):
    run(ready(session, layers, members=2))
    grown = session.runs.on_screen.plan.folder
    more(session, 3)
    assert session.runs.on_screen.plan.folder == grown
    assert [request.member_numbers for request in segmenter.seen] == [(0, 1), (2, 3, 4)]
    run(session, members=5)
    once = session.runs.on_screen.plan.folder
    assert once != grown
    for path in once.rglob("*.nii.gz"):
        assert path.read_bytes() == (grown / path.relative_to(once)).read_bytes(), path.name
    assert json.loads((grown / "run.json").read_text())["members"] == [0, 1, 2, 3, 4]


def test_members_are_added_with_the_runs_own_settings_and_case(session, layers, segmenter):
    run(ready(session, layers, members=1, seed=7))
    session.set_value("seed", 8)
    session.set_value("members", 40)
    session.assign("t1", None)
    more(session, 1)
    assert (segmenter.seen[1].seed, segmenter.seen[1].member_numbers) == (7, (1,))
    assert segmenter.cases[1] is segmenter.cases[0]


def test_the_slice_on_screen_is_the_focus_of_the_added_members(session, layers, segmenter):
    run(ready(session, layers, members=1))
    more(session, 1, point=(7.0, *layers["t1"].data_to_world((1, 0, 0))))
    assert segmenter.seen[1].focus == 1


def test_a_stopped_run_is_finished_with_the_members_it_lacks(session, layers, segmenter):
    heard = record(ready(session, layers, members=3, slices="2:3"))
    segmenter.fail_at, segmenter.error = 3, RuntimeError("power")
    session.start()
    session.poll()
    assert session.runs.on_screen.is_cut_short
    segmenter.fail_at = None
    more(session, 0)
    assert segmenter.seen[1].member_numbers == (1, 2)
    assert heard["run_ended"] == [Ending.FAILED, Ending.DONE]
    assert not session.runs.on_screen.is_cut_short
    assert heard["message"][-1] == "2 members in 1 s, 3 in all."


def test_without_a_run_there_is_nothing_to_add_to(session, layers):
    ready(session, layers)
    with pytest.raises(BadRequest, match="There is no run of this case to add members to"):
        session.add_members(1)


def test_more_members_than_a_run_can_have_are_refused(session, layers):
    run(ready(session, layers, members=2))
    with pytest.raises(BadRequest, match="members"):
        session.add_members(999)
    assert session.why_not_add() is None


def shown(results, events):
    add_sampled(results, [e for e in events if hasattr(e, "mask")])
    results.end()


@pytest.mark.parametrize(("before", "added"), [(2, 3), (4, 10), (13, 2)])
def test_an_extended_run_looks_like_one_that_had_all_members_at_once(before, added, volume_frame):
    viewer = ViewerModel()
    results = ResultLayers(viewer)
    first = events_of(members=before)
    begin_run(results, first[0], volume_frame)
    shown(results, first)
    second = events_of(members=added, first_member=before)
    extend_run(results, second[0])
    while results.catch_up(1.0):
        pass
    shown(results, second)
    while results.catch_up(1.0):
        pass
    stack = np.stack([fake_member(results.result.ensemble.source_shape, k) for k in range(before + added)])
    np.testing.assert_allclose(source(viewer.layers["diffseg 1 | mean"]), stack.mean(0), atol=1e-6)
    names = {layer.name for layer in viewer.layers}
    if before + added > 12:
        np.testing.assert_array_equal(source(viewer.layers["diffseg 1 | members"]), stack)
        assert "diffseg 1 | member 1" not in names
    else:
        assert {f"diffseg 1 | member {k + 1}" for k in range(before + added)} < names
    assert results.members == tuple(range(before + added))


def test_members_that_were_hidden_are_shown_again_when_some_are_added(volume_frame):
    viewer = ViewerModel()
    results = ResultLayers(viewer)
    events = events_of(members=3)
    begin_run(results, events[0], volume_frame)
    shown(results, events)
    results.summarise(Summary(), first=1)
    extend_run(results, events_of(members=1, first_member=3)[0])
    while results.catch_up(1.0):
        pass
    stack = np.stack([fake_member(results.result.ensemble.source_shape, k) for k in range(3)])
    np.testing.assert_allclose(source(viewer.layers["diffseg 1 | mean"]), stack.mean(0), atol=1e-6)
