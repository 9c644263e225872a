"""Rows shared out among threads are what one thread makes of them."""

from __future__ import annotations

import os
import sys
import threading

import pytest
import torch

from napari_diffseg.networks.config import UNetConfig
from napari_diffseg.networks.fast_unet import FastUNet
from napari_diffseg.networks.unet import UNet, to_inference
from napari_diffseg.segmenting.device.prepare import prepare
from napari_diffseg.segmenting.device.row_parallel import RowParallel
from napari_diffseg.segmenting.device.threads import threads_used

SMALL = UNetConfig(
    in_channels=3, model_channels=32, out_channels=1, num_res_blocks=1, attention_factors=(2,), channel_mult=(1, 2)
)
CPU = torch.device("cpu")


def filled(config: UNetConfig) -> UNet:
    network, generator = UNet(config), torch.Generator().manual_seed(0)
    for parameter in network.parameters():
        parameter.data += 0.05 * torch.randn(parameter.shape, generator=generator)
    return network


def noise(rows: int) -> torch.Tensor:
    return torch.randn(rows, 3, 40, 40, generator=torch.Generator().manual_seed(1))


class Recording:
    """A network that doubles the mask, and notes how each part came."""

    def __init__(self) -> None:
        self.rows: list[int] = []
        self.threads: set[int] = set()
        self.told: list[tuple[int, int]] = []

    def entry(self, timestep: float) -> None:
        """What a timestep tells is not looked at."""

    def conditioned_on(self, image):
        def predict(x_t, timestep):
            if timestep < 0:
                raise RuntimeError("can't allocate memory")
            self.rows.append(len(x_t))
            self.threads.add(threading.get_native_id())
            nice = os.getpriority(os.PRIO_PROCESS, threading.get_native_id()) if sys.platform == "linux" else 0
            self.told.append((torch.get_num_threads(), nice))
            return image + 2 * x_t

        return predict


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_a_row_is_the_same_to_the_bit_with_any_number_of_threads_and_in_any_batch(dtype):
    network, x = FastUNet(to_inference(filled(SMALL), dtype)), noise(7)
    with threads_used(1):
        expected = network.conditioned_on(x[:, :2])(x[:, 2:], 400)
    assert expected.std() > 0.01
    for threads in (1, 2, 3):
        for rows in (slice(0, 7), slice(2, 5)):
            with threads_used(threads):
                out = RowParallel(network).conditioned_on(x[rows, :2])(x[rows, 2:], 400)
            assert torch.equal(out, expected[rows])


@pytest.mark.parametrize(
    ("rows", "threads", "parts"), [(32, 2, [8] * 4), (5, 2, [3, 2]), (18, 2, [5, 5, 4, 4]), (1, 4, [1])]
)
def test_threads_get_as_many_rows_each_where_they_can_and_a_few_at_a_time(rows, threads, parts):
    network, x = Recording(), torch.arange(rows).float()[:, None]
    with threads_used(threads):
        out = RowParallel(network).conditioned_on(x)(x, 5)
        assert torch.get_num_threads() == threads
    assert torch.equal(out, 3 * x)
    assert sorted(network.rows, reverse=True) == parts
    assert len(network.threads) <= threads
    assert threading.get_native_id() not in network.threads


def test_each_thread_computes_alone_and_is_as_nice_as_the_one_that_asks():
    network, x = Recording(), torch.zeros(6, 1)

    def ask() -> None:
        if sys.platform == "linux":
            os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), mine)
        with threads_used(2):
            RowParallel(network).conditioned_on(x)(x, 5)

    mine = os.getpriority(os.PRIO_PROCESS, 0) + 1 if sys.platform == "linux" else 0
    asking = threading.Thread(target=ask)
    asking.start()
    asking.join()
    assert network.told == [(1, mine)] * 2


def test_what_goes_wrong_in_a_thread_is_said_and_threads_are_put_back():
    x = torch.zeros(6, 1)
    with threads_used(2):
        with pytest.raises(RuntimeError, match="can't allocate memory"):
            RowParallel(Recording()).conditioned_on(x)(x, -1)
        assert torch.get_num_threads() == 2


def test_a_small_networks_rows_are_shared_out_and_a_large_ones_operations():
    small = prepare(UNet(SMALL), (40, 40), device=CPU, dtype=torch.float32)
    assert isinstance(small, RowParallel)
    assert isinstance(prepare(UNet(SMALL), (2048, 2048), device=CPU, dtype=torch.float32), FastUNet)
