"""What every segmenter must do: one suite for the local one, one in a child process, and one over SSH."""

from __future__ import annotations

from dataclasses import fields, replace

import numpy as np
import pytest

from napari_diffseg.errors import BadCase, BadRequest
from napari_diffseg.events import Finished, Sampled, SegmentRequest, Started, Stepped
from napari_diffseg.imaging.case import Case
from napari_diffseg.segmenting.segmenter import LocalSegmenter
from napari_diffseg.segmenting.trajectory import Traced, record_trajectory
from napari_diffseg.segmenting.what_if import Change

REQUEST = SegmentRequest(device="cpu", members=2, threads=1)


def same(a, b):
    """Whether two events are alike but for times, the run's number, and the computer's name."""
    assert type(a) is type(b)
    for f in fields(a):
        mine, other = getattr(a, f.name), getattr(b, f.name)
        if f.name in ("run_id", "seconds", "versions"):
            continue
        if f.name == "device":
            mine, other = mine.partition(" on ")[0], other.partition(" on ")[0]
        if f.name == "preview" and mine is not None and other is not None:
            assert (mine.member, mine.slice_index) == (other.member, other.slice_index)
            np.testing.assert_allclose(mine.mask, other.mask, atol=1e-3)
            np.testing.assert_allclose(mine.sample, other.sample, atol=4e-3)
        elif f.name == "evidence":
            np.testing.assert_array_equal(mine.astype(np.float16), other.astype(np.float16))
        elif isinstance(mine, np.ndarray):
            assert mine.dtype == other.dtype
            np.testing.assert_array_equal(mine, other)
        elif f.name != "preview":
            assert mine == other
    return True


def all_same(seen, expected):
    return len(seen) == len(expected) and all(same(a, b) for a, b in zip(seen, expected, strict=True))


class Conformance:
    """A subclass gives the fixture `segmenter`: one of the tiny checkpoint, previews at every step."""

    @pytest.fixture(scope="class")
    @classmethod
    def local(cls, tiny_checkpoint):
        return LocalSegmenter(tiny_checkpoint, preview_interval_s=0)

    def test_events_are_those_of_the_local_one(self, segmenter, local, tiny_case):
        assert all_same(list(segmenter.segment(tiny_case, REQUEST)), list(local.segment(tiny_case, REQUEST)))

    def test_members_are_the_same_alone_later_and_in_another_order(self, segmenter, local, tiny_case):
        whole = list(local.segment(tiny_case, REQUEST.model_copy(update={"members": 3})))
        last = {e.slices: e.mask for e in whole if isinstance(e, Sampled) and e.member == 2}
        more = REQUEST.model_copy(update={"members": 1, "first_member": 2, "focus": 1})
        seen = {s: e.mask[:, i] for e in segmenter.segment(tiny_case, more) if isinstance(e, Sampled)
                for i, s in enumerate(e.slices)}  # fmt: skip
        for slices, mask in last.items():
            for i, s in enumerate(slices):
                np.testing.assert_array_equal(seen[s], mask[:, i])

    def test_a_trace_is_that_of_the_local_one(self, segmenter, local, tiny_case):
        request = REQUEST.model_copy(update={"slices": "1:2"})
        mine, other = list(segmenter.trace(tiny_case, request)), list(local.trace(tiny_case, request))
        assert all(isinstance(e, Traced) for e in mine)
        assert all_same(mine, other)
        record = [record_trajectory(e, members=(0, 1), slice_index=1) for e in (mine, other)]
        np.testing.assert_array_equal(record[0].evidence, record[1].evidence)
        np.testing.assert_array_equal(record[0].decided, record[1].decided)

    def test_what_if_is_that_of_the_local_one(self, segmenter, local, tiny_case):
        volume = tiny_case.volumes["t1"]
        change = Change("flair", replace(volume, data=volume.data[::-1].copy(), path=None))
        mine = list(segmenter.what_if(tiny_case, REQUEST, change))
        assert all_same(mine, list(local.what_if(tiny_case, REQUEST, change)))
        plain = [e.mask for e in local.segment(tiny_case, REQUEST) if isinstance(e, Sampled)]
        assert any((a != b.mask).any() for a, b in zip(plain, (e for e in mine if isinstance(e, Sampled)), strict=True))

    def test_a_run_that_is_closed_stops_and_the_next_one_is_whole(self, segmenter, local, tiny_case):
        long = REQUEST.model_copy(update={"members": 500})
        events = segmenter.segment(tiny_case, long)
        assert isinstance(next(events), Started)
        assert isinstance(next(events), Stepped)
        events.close()
        again = list(segmenter.segment(tiny_case, REQUEST))
        assert isinstance(again[-1], Finished)
        assert all_same(again, list(local.segment(tiny_case, REQUEST)))

    def test_refusals_are_those_of_the_local_one(self, segmenter, local, tiny_case):
        too_many = REQUEST.model_copy(update={"timesteps": 9})
        lacking = Case("lacking", {"t1": tiny_case.volumes["t1"]}, None)
        for case, request, error in [(tiny_case, too_many, BadRequest), (lacking, REQUEST, BadCase)]:
            said = []
            for engine in (segmenter, local):
                with pytest.raises(error) as caught:
                    list(engine.segment(case, request))
                said.append((str(caught.value), caught.value.remedies))
            assert said[0] == said[1]

    def test_focus_turns_a_run(self, segmenter, tiny_case):
        request = REQUEST.model_copy(update={"members": 3, "batch_size": 1})
        looked_at = iter([None] * 3)
        order = [
            e.slices[0]
            for e in segmenter.segment(tiny_case, request, focus=lambda: next(looked_at, 3))
            if isinstance(e, Sampled)
        ]
        assert len(order) == 12
        assert order.index(3) <= 3 or order[:3] != [0, 1, 2]

    def test_speed_is_measured(self, segmenter):
        assert 0 < segmenter.calibrate(REQUEST) < 10
