"""Runs of a fake segmenter, played to result layers event by event, without a session and without a window."""

from types import SimpleNamespace

import numpy as np

from napari_diffseg.events import Preview, Sampled, SegmentRequest, Started, Stepped
from napari_diffseg.imaging.volume import Volume
from napari_diffseg.plugin.grid.frame import METADATA_KEY, Frame
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


def play(results, events, frame=None):
    for event in events:
        match event:
            case Started():
                results.begin(event, frame or Frame.of_volume(volume()))
            case Stepped(preview=Preview() as preview):
                results.show_preview(preview)
            case Sampled():
                results.show_sampled([event])
    results.end()
    catch_up(results)


def catch_up(results):
    while results.catch_up(0.0):
        pass


def source(layer):
    return layer.metadata[METADATA_KEY].to_source(np.asarray(layer.data))
