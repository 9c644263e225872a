"""What if: what is sampled, what the layer shows, and that nobody takes it for the run."""

import numpy as np
import pytest

from napari_diffseg.errors import BadRequest
from napari_diffseg.events import Sampled
from napari_diffseg.plugin.explore.navigation import go_to_slice
from napari_diffseg.plugin.explore.what_if import WhatIf
from napari_diffseg.plugin.grid.frame import RESULT_KEY
from napari_diffseg.plugin.layers.result_layers import ResultLayers
from napari_diffseg.plugin.widgets.what_if_box import WhatIfBox
from plugin_fakes import FakeSegmenter, fake_member, ready, viewer_of


class WonderingSegmenter(FakeSegmenter):
    """Without an image all members are refused; with another one, all of them are member 0."""

    changes = ()

    def what_if(self, case, request, change):
        self.changes = (*self.changes, (request, change))
        if change.volume is None:
            raise BadRequest("It cannot do without.")
        s = request.slice_indices(case.shape[2])[0]
        for k in request.member_numbers:
            yield Sampled("other", k, (s,), fake_member(case.shape, 0)[None, ..., s][:, None])


@pytest.fixture
def segmenter(recipe):
    return WonderingSegmenter(recipe)


@pytest.fixture
def viewer(layers):
    return viewer_of(layers)


@pytest.fixture
def box(qtbot):
    made = WhatIfBox()
    qtbot.addWidget(made)
    return made


@pytest.fixture
def what_if(viewer, session, layers, box):
    """After a run of three members, on the middle slice."""
    results = ResultLayers(viewer)
    session.started.connect(results.show)
    session.sampled.connect(results.show_sampled)
    made = WhatIf(viewer, session, results, box)
    ready(session, layers, members=3).start()
    session.poll()
    while results.catch_up(0.0):
        pass
    box.set_layers(viewer.layers)
    go_to_slice(viewer, results.view, 2)
    return made


def ask(session, box, modality, layer):
    box.modality.setCurrentText(modality)
    box.instead.choose(layer)
    box.go.click()
    session.poll()


def test_the_difference_is_the_share_of_members_of_the_run_minus_the_changed_one(
    what_if, viewer, session, layers, box, segmenter
):
    ask(session, box, "flair", layers["t2"])
    layer = next(layer for layer in viewer.layers if "what if" in layer.name)
    assert layer.name == "diffseg 1 | what if, flair: run - changed"
    plane = layer.metadata["napari_diffseg"].to_source(np.asarray(layer.data))[:, :, 0]
    run = [fake_member(layer.metadata["napari_diffseg"].volume.shape, k)[..., 2] for k in range(3)]
    expected = np.mean(run, axis=0) - run[0]
    np.testing.assert_allclose(plane, expected, atol=1e-6)
    lost = int((np.sum(run, axis=0) > 1.5).sum() - run[0].sum())
    assert f"the majority loses {lost} pixels (orange) and gains 0 (blue)" in box.line.text()
    assert "Not the run's mask." in box.line.text()
    (request, change), *others = segmenter.changes
    assert (request.member_numbers, request.slices, change.modality, others) == ((0, 1, 2), "2:3", "flair", [])


def test_the_run_stays_as_it_is_and_the_map_is_never_offered_as_an_image(what_if, viewer, session, layers, box):
    before = viewer.layers["diffseg 1 | mask"].data.copy()
    ask(session, box, "t1", layers["t2"])
    np.testing.assert_array_equal(viewer.layers["diffseg 1 | mask"].data, before)
    assert len(session.runs.records) == 1
    layer = next(layer for layer in viewer.layers if "what if" in layer.name)
    assert layer.metadata[RESULT_KEY] == "diffseg 1"
    box.set_layers(viewer.layers)
    assert box.instead.count() == 1 + len(layers)


def test_what_cannot_be_left_out_is_said(what_if, viewer, session, box, segmenter):
    ask(session, box, "flair", None)
    assert box.line.text().startswith("The checkpoint's recipe does not promise that it can do without an image")
    assert segmenter.changes == ()
    assert not any("what if" in layer.name for layer in viewer.layers)
    assert box.legend.isHidden()


def test_what_was_found_is_said_again_once_a_refusal_is_past(what_if, viewer, session, layers, box):
    ask(session, box, "flair", layers["t2"])
    found = box.line.text()
    ask(session, box, "flair", None)
    assert box.line.text().startswith("The checkpoint's recipe does not promise")
    assert not box.legend.isHidden()  # the map is still there
    go_to_slice(viewer, what_if._results.view, 1)
    assert box.line.text() == found
    assert found.startswith("Slice 2, case_1 t2 as flair")
    what_if.close()
    ask(session, box, "flair", None)
    go_to_slice(viewer, what_if._results.view, 2)
    assert box.line.text().startswith("The checkpoint's recipe does not promise")


def test_what_the_engine_refuses_is_said(what_if, session, box, segmenter, monkeypatch):
    monkeypatch.setattr(type(session), "checkpoint", "another")
    ask(session, box, "flair", None)
    assert box.line.text() == "It cannot do without."
    assert len(segmenter.changes) == 1


def test_the_map_goes_with_the_run_that_it_is_of(what_if, viewer, session, layers, box):
    ask(session, box, "flair", layers["t2"])
    ready(session, layers, members=2).start()
    session.poll()
    assert not next(layer for layer in viewer.layers if "what if" in layer.name).visible
    assert box.line.text() == box.go.toolTip()


def test_a_run_that_has_not_reached_the_slice_is_to_be_finished_first(what_if, viewer, session, layers, box, segmenter):
    segmenter.fail_at, segmenter.error = 5, BadRequest("That is enough.")
    ready(session, layers, members=3).start()
    session.poll()
    ask(session, box, "flair", layers["t2"])
    assert box.line.text().startswith("Not all members have reached this slice")
