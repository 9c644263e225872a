"""A device that works by itself is neither starved nor flooded, and previews do not hold it up."""

from __future__ import annotations

import numpy as np
import torch

from napari_diffseg.diffusion.step import Step
from napari_diffseg.encode import encode
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
    grid = encode(tiny_case, recipe).grid
    previews = Previews(grid, recipe, interval_s=0, mark=device.mark)
    assert previews(Row(3, 1), step(1.0)) is None
    assert previews(Row(4, 2), step(-1.0)) is None
    assert len(device.marks) == 1  # the second step asked for no second copy
    device.marks[0].reached = True
    preview = previews(Row(5, 2), step(-1.0))
    assert (preview.member, preview.slice_index) == (3, 1)
    assert preview.sample.max() == 1.0
    assert preview.mask.max() == 0.75  # 0.5 between the mask's -1 and 1
    assert not device.marks[0].waited


def test_previews_keep_their_interval(tiny_checkpoint, tiny_case):
    recipe = tiny_checkpoint.recipe
    grid = encode(tiny_case, recipe).grid
    often = Previews(grid, recipe, interval_s=0, mark=None)
    once = Previews(grid, recipe, interval_s=3600, mark=None)
    never = Previews(grid, recipe, interval_s=None, mark=None)
    for previews, expected in ((often, 3), (once, 1), (never, 0)):
        assert sum(previews(Row(0, 0), step(0.0)) is not None for _ in range(3)) == expected
