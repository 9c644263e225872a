"""How many slices go at once."""

import math

import pytest
import torch

from builders import PAPER_NETWORK
from napari_diffseg.networks.config import UNetConfig
from napari_diffseg.segmenting.device import memory
from napari_diffseg.segmenting.device.memory import LEAST_ROWS_A_THREAD, choose_batch_size, flop_per_row

SMALL = UNetConfig(
    in_channels=5, model_channels=32, out_channels=1, num_res_blocks=1, attention_factors=(), channel_mult=(1, 1, 2)
)


def test_the_papers_network_takes_about_380_gflop_a_slice():
    assert flop_per_row(PAPER_NETWORK, (224, 224)) == pytest.approx(380.5e9, rel=0.2)


def test_a_processor_evaluates_a_large_network_one_slice_at_a_time_and_a_small_one_in_batches():
    cpu = torch.device("cpu")
    assert choose_batch_size(PAPER_NETWORK, (224, 224), cpu) == 1
    assert choose_batch_size(SMALL, (112, 96), cpu) > 4


def test_steps_are_a_quarter_as_long_where_somebody_watches():
    cpu = torch.device("cpu")
    alone, watched = (choose_batch_size(SMALL, (112, 96), cpu, watched=watched) for watched in (False, True))
    assert alone // 4 <= watched <= alone // 4 + 1
    assert choose_batch_size(PAPER_NETWORK, (224, 224), cpu, watched=True) == 1


def test_every_thread_of_a_processor_gets_as_many_rows_of_a_small_network():
    cpu = torch.device("cpu")
    alone = choose_batch_size(SMALL, (112, 96), cpu)
    for threads in (2, 3, 16, 64):
        rows = choose_batch_size(SMALL, (112, 96), cpu, threads=threads)
        assert rows % threads == 0
        assert rows / threads == max(LEAST_ROWS_A_THREAD, math.ceil(alone / threads))
    assert choose_batch_size(PAPER_NETWORK, (224, 224), cpu, threads=16) == 1


def test_twice_as_many_rows_begin_where_they_leave_as_they_are_decided_and_threads_share_them_out():
    cpu = torch.device("cpu")
    alone = choose_batch_size(SMALL, (112, 96), cpu, threads=2)
    assert choose_batch_size(SMALL, (112, 96), cpu, threads=2, narrowing=True) == 2 * alone
    assert choose_batch_size(PAPER_NETWORK, (224, 224), cpu, narrowing=True) == 1


def test_little_free_memory_makes_small_batches_but_never_none(monkeypatch):
    monkeypatch.setattr(memory, "free_bytes", lambda device: 10**8)
    assert choose_batch_size(SMALL, (112, 96), torch.device("cpu")) == 2
    monkeypatch.setattr(memory, "free_bytes", lambda device: 0)
    assert choose_batch_size(SMALL, (112, 96), torch.device("cpu")) == 1
