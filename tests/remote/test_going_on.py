"""A run over several links is one run: nothing is lost, nothing comes twice, and the masks are the same."""

import os
import queue
import signal
import threading
from types import SimpleNamespace

import numpy as np
import pytest
from as_if_other import AsIfOther, masks

from napari_diffseg.errors import EngineFailed
from napari_diffseg.events import Expected, Finished, Refined, Sampled, SegmentRequest, Started, Stepped
from napari_diffseg.remote import segmenter as segmenter_module
from napari_diffseg.remote.answers import package_version
from napari_diffseg.remote.computer import Computer, LinkLost
from napari_diffseg.remote.going_on import Arrived
from napari_diffseg.remote.messages import Done, Failed, Welcome
from napari_diffseg.remote.segmenter import RemoteSegmenter
from napari_diffseg.segmenting.segmenter import LocalSegmenter


@pytest.mark.parametrize("checkpoint", ["tiny_checkpoint", "two_planes", "refining"])
@pytest.mark.parametrize("focus", [None, 1])
@pytest.mark.parametrize("cut", [1, 3, 7, 12, 20, 33])
def test_events_of_a_run_that_was_cut_are_those_of_one_run(checkpoint, tiny_case, cut, focus, request):
    local = LocalSegmenter(request.getfixturevalue(checkpoint), preview_interval_s=None)
    request = SegmentRequest(device="cpu", members=3, batch_size=2, focus=focus)
    whole = list(local.segment(tiny_case, request))
    arrived, seen = Arrived(request), []
    for event in whole[:cut]:
        seen += arrived.take(event)
    for event in local.segment(tiny_case, arrived.remaining()):
        seen += arrived.take(event)
    assert [type(e) for e in seen].count(Started) == [type(e) for e in seen].count(Finished) == 1
    assert len({e.run_id for e in seen}) == 1
    rows = [(e.member, s) for e in seen if isinstance(e, Sampled) for s in e.slices]
    assert len(rows) == len(set(rows))
    mine, other = masks(seen), masks(whole)
    assert mine.keys() == other.keys()
    for row, mask in mine.items():
        np.testing.assert_array_equal(mask, other[row])
    expected = [s for e in seen if isinstance(e, Expected) for s in e.slices]
    assert set(expected) == {s for e in whole if isinstance(e, Expected) for s in e.slices}
    refined = [s for e in seen if isinstance(e, Refined) for s in e.slices]
    assert refined == [s for e in whole if isinstance(e, Refined) for s in e.slices]
    done = [e.done for e in seen if isinstance(e, Stepped)]
    assert done == sorted(done)
    assert done[-1] == seen[0].evaluations
    assert seen[-1].members == (0, 1, 2)


@pytest.mark.slow
def test_a_link_that_is_killed_again_and_again_loses_and_doubles_nothing(tiny_checkpoint, tiny_case):
    request = SegmentRequest(device="cpu", members=8, batch_size=2, threads=1)
    whole = masks(LocalSegmenter(tiny_checkpoint).segment(tiny_case, request))
    segmenter = RemoteSegmenter(AsIfOther("there", variables=("SLURM_JOB_ID=1",)), tiny_checkpoint.path)  # ends with it
    rng, kills, seen = np.random.default_rng(0), 0, []
    due = int(rng.integers(1, 40))
    for n, event in enumerate(segmenter.segment(tiny_case, request)):
        seen.append(event)
        if n >= due and kills < 6 and segmenter.link is not None and segmenter.link.is_alive:
            os.kill(segmenter.link.pid, signal.SIGKILL)
            kills, due = kills + 1, n + int(rng.integers(1, 40))
    segmenter.close()
    assert kills >= 3
    rows = [(e.member, s) for e in seen if isinstance(e, Sampled) for s in e.slices]
    assert len(rows) == len(set(rows)) == len(whole)
    for row, mask in masks(seen).items():
        np.testing.assert_array_equal(mask, whole[row])


@pytest.mark.slow
def test_patience_has_an_end(tiny_checkpoint, tiny_case):
    segmenter = RemoteSegmenter(AsIfOther("there"), tiny_checkpoint.path)
    segmenter.patience_s = 0.0
    events = segmenter.segment(tiny_case, SegmentRequest(device="cpu", members=500))
    next(events)
    os.kill(segmenter.link.pid, signal.SIGKILL)
    with pytest.raises(LinkLost):
        list(events)
    segmenter.close()


class Said:
    """A channel of a link that tells one thing."""

    def __init__(self, number, item):
        self.number, self._items = number, [item]

    def take(self, check):
        item = self._items.pop()  # a second time would wait for ever
        if isinstance(item, EngineFailed):
            raise item
        return item, b""


class Spoken:
    """A link whose only run, if it is to go on, is over."""

    is_alive = True

    def __init__(self, item, *, run=None):
        self._item, self.run = item, None if run is None else Said(run, item)

    def open(self, number):
        return Said(number, self._item)

    def number(self):
        return 7

    def bring(self, contents, *, told):
        pass

    def send(self, message):
        pass

    def leave(self, number):
        pass


def test_what_an_engine_says_once_it_is_reached_again_is_raised(tiny_checkpoint, tiny_case, monkeypatch):
    monkeypatch.setattr(segmenter_module, "_PAUSE_S", 0.0)
    failed = Failed(id=7, error="EngineFailed", text="The engine failed unexpectedly.")
    links = [Spoken(LinkLost("lost")), *[Spoken(failed, run=7)] * 2]
    segmenter = RemoteSegmenter(Computer("there"), tiny_checkpoint.path)
    segmenter._ready = lambda asked=None: links.pop(0)
    with pytest.raises(EngineFailed, match="unexpectedly"):
        list(segmenter.segment(tiny_case, SegmentRequest(device="cpu")))
    assert len(links) == 1


@pytest.mark.parametrize("version", ["0.0.1", package_version()])
def test_another_version_is_told_before_anything_is_sampled_by_it(tiny_checkpoint, monkeypatch, version):
    welcome, told = Welcome(version=version, host="there", python="3.11"), []
    monkeypatch.setattr(segmenter_module, "Link", lambda *_, **__: SimpleNamespace(welcome=welcome))
    RemoteSegmenter(Computer("there"), tiny_checkpoint.path, told=told.append)._linked(None)
    assert any("0.0.1" in text for text in told) == (version == "0.0.1")


class Resting(Said):
    """A channel on which nothing comes until it is told."""

    def __init__(self, number):
        super().__init__(number, None)
        self.told = queue.SimpleQueue()

    def take(self, check):
        item = self.told.get(timeout=10)
        if isinstance(item, EngineFailed):
            raise item
        return item, b""


@pytest.mark.parametrize("how", ["lost", "lost and reached again", "heard"])
def test_a_cancel_that_is_lost_with_its_link_ends_the_engine_once_it_is_reached(tiny_checkpoint, monkeypatch, how):
    ended = []
    monkeypatch.setattr(segmenter_module, "_end_later", lambda *words, **more: ended.append(words[1]))
    segmenter = RemoteSegmenter(Computer("there"), tiny_checkpoint.path)
    segmenter._link, segmenter._engine = Spoken(None), "ab" * 32
    channel = Resting(7)
    segmenter._cancel(segmenter_module._Asked(7, channel=channel))
    if how == "lost and reached again":
        segmenter._link = Spoken(None)
    channel.told.put(Done(id=7) if how == "heard" else LinkLost("lost"))
    for thread in threading.enumerate():
        if thread.name == "engine-cancel":
            thread.join(timeout=10)
    assert ended == (["ab" * 32] if how == "lost" else [])
    assert (segmenter._engine is None) == (how == "lost")
