"""Runs of a fake segmenter, played to result layers event by event, without a session and without a window."""

from types import SimpleNamespace

import numpy as np

from napari_diffseg.events import Sampled, SegmentRequest, Started, Stepped
from napari_diffseg.imaging.volume import Volume
from napari_diffseg.plugin.grid.frame import METADATA_KEY, Frame
from napari_diffseg.plugin.session.run_result import RunResult
from napari_diffseg.recipe import Recipe
from plugin_fakes import FakeSegmenter

SHAPE = (7, 6, 5)
RAS_LIKE = np.array([[0, 2.0, 0, -5], [0, 0, -1.5, 4], [1.0, 0, 0, 3], [0, 0, 0, 1]])


def volume():
    data = np.arange(np.prod(SHAPE), dtype=np.float32).reshape(SHAPE)
    return Volume(data=data, affine=RAS_LIKE, header=None, path=None, notes=())


def events_of(*, labels=("lesion",), **settings):
    recipe = Recipe(modalities=("t1",), labels=labels)
    case = SimpleNamespace(id="case", shape=SHAPE)
    return list(FakeSegmenter(recipe).segment(case, SegmentRequest(**settings)))


def begin_run(results, started, frame=None):
    """A run takes the screen, with the next number; its result, as a session would keep it."""
    number = 1 if results.result is None else results.result.number + 1
    result = RunResult(number, started, frame or Frame.of_volume(volume()))
    results.show(result)
    return result


def add_sampled(results, events):
    """Members come, as a session takes them in before it tells."""
    results.result.add(events)
    results.show_sampled(events)


def add_expected(results, event):
    """The one-step estimate of some slices comes."""
    results.result.expect(event)
    results.show_expected(event)


def add_preview(results, preview):
    """A slice under way is seen."""
    results.show_preview(Stepped(results.result.started.run_id, 0, 1, 0, 1, preview))


def extend_run(results, started):
    """The run on the screen goes on."""
    results.result.extend(started)
    results.extend(results.result)


def play(results, events, frame=None):
    for event in events:
        match event:
            case Started():
                begin_run(results, event, frame)
            case Stepped():
                results.show_preview(event)
            case Sampled():
                add_sampled(results, [event])
    results.end()
    catch_up(results)


def catch_up(results):
    while results.catch_up(0.0):
        pass


def source(layer):
    return layer.metadata[METADATA_KEY].to_source(np.asarray(layer.data))
