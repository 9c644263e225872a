"""How many slices go at once."""

import math
import weakref
from types import SimpleNamespace

import pytest
import torch

from builders import PAPER_NETWORK
from napari_diffseg.errors import RunFailed
from napari_diffseg.events import Finished, SegmentRequest
from napari_diffseg.networks import graphed_unet
from napari_diffseg.networks.config import UNetConfig
from napari_diffseg.networks.fast_unet import FastUNet
from napari_diffseg.networks.graphed_unet import GraphedUNet
from napari_diffseg.networks.unet import to_inference
from napari_diffseg.segmenting import segmenter as segmenter_module
from napari_diffseg.segmenting.device import memory
from napari_diffseg.segmenting.device.memory import LEAST_ROWS_A_THREAD, choose_batch_size, flop_per_row
from napari_diffseg.segmenting.segmenter import LocalSegmenter

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


class Recorder:
    """A device that records: a work is done once, then played into the same buffer."""

    def __init__(self) -> None:
        self.buffers = []

    def __call__(self, work):
        buffer = work().clone()
        self.buffers.append(weakref.ref(buffer))
        return (lambda: buffer.copy_(work())), buffer


@pytest.mark.parametrize("ending", ["finished", "closed", "out of memory"])
def test_unloading_lets_go_of_network_recordings_and_caches(tiny_checkpoint, tiny_case, monkeypatch, ending):
    recorder, asked, made = Recorder(), [], []

    def on_a_gpu(network, size, *, device, dtype, package):
        fast = FastUNet(to_inference(network, dtype))
        made[:] = [weakref.ref(thing) for thing in (network, fast, next(network.parameters()))]
        return GraphedUNet(fast, capture=recorder)

    monkeypatch.setattr(segmenter_module, "prepare", on_a_gpu)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "empty_cache", lambda: asked.append("cache"))
    monkeypatch.setattr(memory, "free_workspaces", lambda: asked.append("workspaces"))
    engine = LocalSegmenter(tiny_checkpoint, preview_interval_s=0)
    request = SegmentRequest(device="cpu", members=1, timesteps=2)
    run = engine.segment(tiny_case, request)
    if ending == "finished":
        list(run)
    elif ending == "closed":
        next(run), next(run), next(run)
        run.close()
    else:
        list(run)
        run_out_of_memory(engine.segment(tiny_case, request), engine)
    held = [*made, *recorder.buffers]
    assert len(held) > 3
    assert all(ref() is not None for ref in held), "it stays between runs"
    engine.unload()
    assert [ref() for ref in held] == [None] * len(held)
    assert asked[-2:] == ["workspaces", "cache"]
    assert isinstance(list(engine.segment(tiny_case, SegmentRequest(device="cpu", members=1)))[-1], Finished)


def run_out_of_memory(run, engine):
    next(run)
    network = engine._loaded[3]

    def full(image):
        raise torch.OutOfMemoryError("CUDA out of memory")

    network.conditioned_on = full
    with pytest.raises(RunFailed, match="single slice"):
        list(run)
    del network.conditioned_on


def test_what_libraries_keep_for_graphs_is_freed_once_there_is_no_graph(monkeypatch):
    freed = []
    monkeypatch.setattr(torch._C, "_cuda_clearCublasWorkspaces", lambda: freed.append(1), raising=False)
    monkeypatch.setattr(graphed_unet, "_beside", {torch.device("cuda", 0): "a stream"})
    player = graphed_unet._Player(SimpleNamespace(replay=lambda: None))
    monkeypatch.setattr(graphed_unet, "_alive", weakref.WeakSet([player]))
    graphed_unet.free_workspaces()
    assert not freed, "another window's graph uses it"
    del player
    graphed_unet.free_workspaces()
    graphed_unet.free_workspaces()
    assert len(freed) == 1
    assert not graphed_unet._beside
