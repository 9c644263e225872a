"""A device that works by itself is neither starved nor flooded, and previews do not hold it up."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest
import torch

from napari_diffseg.diffusion.step import Step
from napari_diffseg.encode import encode
from napari_diffseg.segmenting import previews as previews_module
from napari_diffseg.segmenting.pacing import HostCopy, Pace, marker_of
from napari_diffseg.segmenting.previews import Previews
from napari_diffseg.segmenting.rows import Row


class Device:
    """Gets to its marks when it is told to, or when somebody waits."""

    def __init__(self) -> None:
        self.marks: list[DeviceMark] = []

    def mark(self):
        self.marks.append(DeviceMark())
        return self.marks[-1]


class DeviceMark:
    def __init__(self) -> None:
        self.reached, self.waited = False, False

    def query(self):
        return self.reached

    def synchronize(self):
        self.reached = self.waited = True


def step(value: float) -> Step:
    x = torch.full((2, 1, 16, 16), value)
    return Step(0, 0, x, x / 2)


def test_the_host_is_at_most_two_steps_ahead():
    device = Device()
    pace = Pace(device.mark)
    for _ in range(5):
        pace.step()
    assert [mark.waited for mark in device.marks] == [True, True, True, False, False]


def test_a_processor_is_never_waited_for():
    assert marker_of(torch.device("cpu")) is None
    Pace(None).step()
    x = torch.tensor([1.5])
    copy = HostCopy([x.bfloat16()], None)
    assert copy.is_ready()
    assert copy.arrays()[0].dtype == np.float32
    assert copy.arrays()[0].tolist() == [1.5]


def test_a_copy_is_not_the_tensor_itself():
    x = torch.zeros(3)
    copy = HostCopy([x], None)
    x.fill_(1)
    assert not copy.arrays()[0].any()


def test_a_preview_comes_when_the_device_has_got_there_and_no_step_waits(tiny_checkpoint, tiny_case):
    recipe, device = tiny_checkpoint.recipe, Device()
    coding = encode(tiny_case, recipe)
    previews = Previews(coding, recipe, interval_s=0, mark=device.mark)
    assert previews(Row(3, 1), step(1.0)) is None
    assert previews(Row(4, 2), step(-1.0)) is None
    assert len(device.marks) == 1  # the second step asked for no second copy
    device.marks[0].reached = True
    preview = previews(Row(5, 2), step(-1.0))
    assert (preview.member, preview.slice_index) == (3, 1)
    assert preview.sample.max() == 1.0
    assert preview.mask.max() == 0.75  # 0.5 between the mask's -1 and 1
    assert not device.marks[0].waited


def test_steps_a_little_shorter_than_the_interval_keep_the_rate_of_previews(tiny_checkpoint, tiny_case, monkeypatch):
    clock = SimpleNamespace(monotonic=lambda: now)
    monkeypatch.setattr(previews_module, "time", clock)
    recipe = tiny_checkpoint.recipe
    previews = Previews(encode(tiny_case, recipe), recipe, interval_s=1.0, mark=None)
    came = []
    for n in range(40):
        now = 0.9 * n
        if previews(Row(0, 2), step(0.0)) is not None:
            came.append(now)
    assert len(came) == pytest.approx(36, abs=2)
    now += 1000
    assert previews(Row(0, 2), step(0.0)) is not None
    now += 0.1
    assert previews(Row(0, 2), step(0.0)) is None, "a late one is not followed by another at once"


def test_previews_keep_their_interval(tiny_checkpoint, tiny_case):
    recipe = tiny_checkpoint.recipe
    coding = encode(tiny_case, recipe)
    often = Previews(coding, recipe, interval_s=0, mark=None)
    once = Previews(coding, recipe, interval_s=3600, mark=None)
    never = Previews(coding, recipe, interval_s=None, mark=None)
    for previews, expected in ((often, 3), (once, 1), (never, 0)):
        assert sum(previews(Row(0, 0), step(0.0)) is not None for _ in range(3)) == expected
