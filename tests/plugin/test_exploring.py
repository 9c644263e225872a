"""Reading the result on a viewer model without a window: votes under the cursor, keys."""

import numpy as np
import pytest
from napari.components import ViewerModel
from played_runs import SHAPE, add_sampled, begin_run, catch_up, events_of, play, volume

from napari_diffseg.ensemble.summary import Measure, Summary
from napari_diffseg.events import Sampled
from napari_diffseg.plugin.explore.exploring import toggle_uncertainty
from napari_diffseg.plugin.explore.keys import Keys
from napari_diffseg.plugin.explore.pointer import Pointer, describe_point, describe_votes
from napari_diffseg.plugin.grid.frame import Frame
from napari_diffseg.plugin.layers.result_layers import ResultLayers
from plugin_fakes import fake_member


@pytest.fixture
def viewer():
    return ViewerModel()


@pytest.fixture
def results(viewer):
    made = ResultLayers(viewer)
    play(made, events_of(members=4))
    return made


def votes_by_hand(voxel, members=4):
    return sum(int(fake_member(SHAPE, k)[voxel]) for k in range(members))


def point_at(viewer, point):
    viewer.mouse_over_canvas = True
    viewer.cursor.position = point
    viewer.update_status_from_cursor()


@pytest.mark.parametrize(
    ("votes", "count", "measure", "words"),
    [
        (7, 10, Measure.VARIANCE, "votes 7/10; variance 0.23"),
        (5, 10, Measure.ENTROPY, "votes 5/10; entropy 1.00 bits"),
        (1, 2, Measure.DISAGREEMENT, "votes 1/2; disagreement 1.00"),
        (1, 1, Measure.VARIANCE, "votes 1/1"),
        (0, 0, Measure.VARIANCE, "no member yet"),
    ],
)
def test_votes_are_written_as_people_say_them(votes, count, measure, words):
    assert describe_votes(votes, count, Summary(measure=measure)) == words


def test_every_voxel_is_found_at_its_own_place_and_has_its_own_votes(results):
    view = results.view
    for voxel in np.ndindex(SHAPE):
        assert view.voxel_at(view.point_of(voxel)) == voxel
        assert view.votes_at(voxel) == ((votes_by_hand(voxel),), 4)
    assert view.voxel_at(np.array(view.point_of((0, 0, 0))) - 100) is None
    assert view.voxel_mm3 == pytest.approx(3.0)


def test_the_status_bar_gets_the_votes_under_the_cursor_whichever_layer_is_selected(viewer, results):
    told = []
    pointer = Pointer(viewer, results)
    pointer.told.connect(told.append)
    viewer.layers.selection.active = viewer.layers["diffseg 1 | member 1"]
    voxel = next(v for v in np.ndindex(SHAPE) if votes_by_hand(v) == 1)
    point_at(viewer, results.view.point_of(voxel))
    assert told == ["votes 1/4; variance 0.25"]
    assert viewer.status["coordinates"].endswith(told[0])
    point_at(viewer, np.array(results.view.point_of(voxel)) + 1000)
    assert told[-1] == ""
    assert "members" not in viewer.status["coordinates"]
    pointer.close()
    point_at(viewer, results.view.point_of(voxel))
    assert "votes" not in viewer.status["coordinates"]


def test_what_the_pointer_says_follows_the_members_without_a_move_of_the_mouse(viewer):
    results = ResultLayers(viewer)
    events = events_of(members=2)
    begin_run(results, events[0], Frame.of_volume(volume()))
    told, pointer = [], Pointer(viewer, results)
    pointer.told.connect(told.append)
    voxel = next(v for v in np.ndindex(SHAPE) if votes_by_hand(v, 2) == 2)
    sampled = [event for event in events if isinstance(event, Sampled)]
    add_sampled(results, [event for event in sampled if event.member == 0])
    catch_up(results)
    point_at(viewer, results.view.point_of(voxel))
    add_sampled(results, [event for event in sampled if event.member == 1])
    pointer.refresh()
    results.summarise(Summary(measure=Measure.ENTROPY))
    pointer.refresh()
    assert viewer.status["coordinates"].endswith(told[-1])
    assert told == ["votes 1/1", "votes 2/2; variance 0.00", "votes 2/2; entropy 0.00 bits"]
    pointer.close()


def test_members_that_are_not_shown_have_no_vote_under_the_cursor(results):
    voxel = next(v for v in np.ndindex(SHAPE) if votes_by_hand(v) == 4)
    results.summarise(Summary(), first=2)
    assert describe_point(results.view, results.view.point_of(voxel)).startswith("votes 2/2")


def test_several_labels_are_named_under_the_cursor(viewer):
    made = ResultLayers(viewer)
    play(made, events_of(members=2, labels=("edema", "core")))
    voxel = next(v for v in np.ndindex(SHAPE) if votes_by_hand(v, 2) == 2)
    words = describe_point(made.view, made.view.point_of(voxel))
    assert words == "edema: votes 2/2; variance 0.00, core: votes 2/2; variance 0.00"


def test_a_slice_that_was_not_asked_for_has_no_votes(viewer):
    made = ResultLayers(viewer)
    play(made, events_of(members=2, slices="2:3"))
    assert made.view.votes_at((0, 0, 1)) is None
    assert describe_point(made.view, made.view.point_of((0, 0, 1))) == "not sampled: outside the scope"


def test_before_the_first_run_nothing_is_said(viewer):
    viewer.add_image(np.ones((3, 3, 3)))
    pointer = Pointer(viewer, ResultLayers(viewer))
    point_at(viewer, (1, 1, 1))
    assert "member" not in viewer.status["coordinates"]
    toggle_uncertainty(ResultLayers(viewer))
    pointer.close()


def test_the_uncertainty_goes_and_comes_back(viewer, results):
    layer = viewer.layers["diffseg 1 | uncertainty"]
    toggle_uncertainty(results)
    assert not layer.visible
    toggle_uncertainty(results)
    assert layer.visible


def test_keys_are_given_back_with_what_they_did_before(viewer):
    pressed = []

    def theirs(_viewer):
        pressed.append("theirs")

    viewer.bind_key("U", theirs)
    keys = Keys(viewer, {"U": lambda: pressed.append("ours"), "N": lambda: None})
    next(f for key, f in viewer.keymap.items() if str(key) == "U")(viewer)
    assert pressed == ["ours"]
    keys.close()
    assert {str(key): f for key, f in viewer.keymap.items()} == {"U": theirs}


def test_a_key_that_somebody_took_since_stays_theirs(viewer):
    keys = Keys(viewer, {"U": lambda: None})

    def theirs(_viewer):
        """Bound later."""

    viewer.bind_key("U", theirs, overwrite=True)
    keys.close()
    assert list(viewer.keymap.values()) == [theirs]


def test_whoever_hears_of_a_layer_reads_the_whole_run_that_it_belongs_to(viewer):
    results = ResultLayers(viewer)
    seen = []
    viewer.layers.events.inserted.connect(lambda event: seen.append((event.value.name, results.view)))
    for _ in range(2):
        events = events_of(members=1)
        begin_run(results, events[0], Frame.of_volume(volume()))
        add_sampled(results, [event for event in events if isinstance(event, Sampled)])
        while results.catch_up(0.0):
            pass
    assert len(seen) == 8
    for name, view in seen:
        layers = (*view.mean, *view.uncertainty, view.mask, *view.members.values())
        assert name.startswith(view.prefix)
        assert [layer.name for layer in layers].count(name) == 1
