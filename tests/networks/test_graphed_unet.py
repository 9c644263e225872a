"""A recording reads and writes fixed buffers; what is played from it is what the network would say."""

from __future__ import annotations

import logging
from contextlib import contextmanager
from dataclasses import replace
from types import SimpleNamespace

import pytest
import torch

from napari_diffseg.errors import BadRequest
from napari_diffseg.networks import graphed_unet
from napari_diffseg.networks.config import UNetConfig
from napari_diffseg.networks.fast_unet import FastUNet
from napari_diffseg.networks.graphed_unet import GraphedUNet, capture_on_cuda
from napari_diffseg.networks.unet import UNet, to_inference
from napari_diffseg.segmenting.device.prepare import for_few_rows
from napari_diffseg.segmenting.device.reproducible import reproducibly

CONFIG = UNetConfig(
    in_channels=3, model_channels=32, out_channels=1, num_res_blocks=1, attention_factors=(), channel_mult=(1, 1)
)


class Recorder:
    """A device that records: a work is done once, then played into the same buffer."""

    def __init__(self) -> None:
        self.recorded, self.played = 0, 0

    def __call__(self, work):
        self.recorded += 1
        buffer = work().clone().fill_(float("nan"))  # what a graph captured has not been computed yet

        def replay():
            self.played += 1
            buffer.copy_(work())

        return replay, buffer


@pytest.fixture(scope="module")
def fast() -> FastUNet:
    torch.manual_seed(0)
    network = UNet(CONFIG)
    for parameter in network.parameters():
        if parameter.ndim > 1:
            torch.nn.init.normal_(parameter, std=0.1)
    return FastUNet(to_inference(network))


def noise(rows: int, channels: int, seed: int) -> torch.Tensor:
    return torch.randn(rows, channels, 16, 16, generator=torch.Generator().manual_seed(seed))


def test_what_is_played_is_what_the_network_says_at_every_timestep(fast):
    recorder, image = Recorder(), noise(2, 2, 0)
    played, plain = GraphedUNet(fast, capture=recorder).conditioned_on(image), fast.conditioned_on(image)
    for seed, timestep in ((1, 999.0), (2, 500.0), (3, 0.0)):
        torch.testing.assert_close(played(noise(2, 1, seed), timestep), plain(noise(2, 1, seed), timestep))
    assert (recorder.recorded, recorder.played) == (1, 3)


def test_two_batches_in_turn_each_see_their_own_image(fast):
    graphed, images = GraphedUNet(fast, capture=Recorder()), [noise(2, 2, 4), noise(2, 2, 5)]
    predicts = [graphed.conditioned_on(image) for image in images]
    for _ in range(2):
        for image, predict in zip(images, predicts, strict=True):
            expected = fast.conditioned_on(image)(noise(2, 1, 6), 7.0)
            torch.testing.assert_close(predict(noise(2, 1, 6), 7.0), expected)


def test_what_an_anchor_network_sees_belongs_to_the_image_and_is_not_recorded():
    torch.manual_seed(0)
    network = UNet(replace(CONFIG, anchor=True))
    for parameter in network.parameters():
        if parameter.ndim > 1:
            torch.nn.init.normal_(parameter, std=0.1)
    fast = FastUNet(to_inference(network))
    big = [torch.nn.functional.interpolate(noise(2, 3, seed), scale_factor=2) for seed in (4, 5)]
    graphed = GraphedUNet(fast, capture=Recorder())
    predicts = [graphed.conditioned_on(x[:, :2]) for x in big]
    for _ in range(2):
        for x, predict in zip(big, predicts, strict=True):
            torch.testing.assert_close(
                predict(x[:, 2:], 7.0), network(x, torch.tensor([7.0, 7.0])), atol=1e-4, rtol=1e-4
            )
    one = graphed.conditioned_on(big[0][:1, :2])(big[0][:1, 2:], 7.0)
    torch.testing.assert_close(one, network(big[0][:1], torch.tensor([7.0])), atol=1e-4, rtol=1e-4)


def test_a_prediction_stays_when_the_next_is_played(fast):
    predict = GraphedUNet(fast, capture=Recorder()).conditioned_on(noise(1, 2, 7))
    first = predict(noise(1, 1, 8), 3.0)
    kept = first.clone()
    predict(noise(1, 1, 9), 3.0)
    assert torch.equal(first, kept)


def test_two_batch_sizes_are_kept_and_a_third_takes_the_place_of_the_oldest(fast):
    recorder = Recorder()
    graphed = GraphedUNet(fast, capture=recorder)
    for rows in (12, 5, 12, 5, 2, 5, 12):
        graphed.conditioned_on(noise(rows, 2, 0))(noise(rows, 1, 1), 5.0)
    assert recorder.recorded == 4  # 12, 5, 2, and 12 again
    assert recorder.played == 7


def test_fewer_rows_are_played_from_what_was_recorded_for_up_to_twice_as_many(fast):
    recorder = Recorder()
    graphed = GraphedUNet(fast, capture=recorder)
    for rows, recorded in ((6, 1), (4, 1), (3, 1), (6, 1), (2, 2), (3, 2)):
        image, x = noise(rows, 2, rows), noise(rows, 1, 1)
        torch.testing.assert_close(graphed.conditioned_on(image)(x, 5.0), fast.conditioned_on(image)(x, 5.0))
        assert recorder.recorded == recorded


def test_a_device_that_cannot_record_evaluates_and_says_so_once(fast, caplog):
    asked = []

    def refuse(work):
        asked.append(1)
        raise RuntimeError("operation not permitted when stream is capturing")

    image = noise(2, 2, 0)
    predict = GraphedUNet(fast, capture=refuse).conditioned_on(image)
    with caplog.at_level(logging.WARNING):
        for seed in (1, 2):
            assert torch.equal(predict(noise(2, 1, seed), 5.0), fast.conditioned_on(image)(noise(2, 1, seed), 5.0))
    assert len(asked) == len(caplog.records) == 1
    assert "not permitted" in caplog.text


def test_what_is_not_recorded_is_computed_in_true_float32_too(fast, monkeypatch):
    seen, evaluate = [], FastUNet.evaluate

    def watched(self, *args):
        seen.append(torch.backends.cudnn.allow_tf32)
        return evaluate(self, *args)

    def refuse(work):
        raise RuntimeError("operation not permitted when stream is capturing")

    monkeypatch.setattr(FastUNet, "evaluate", watched)
    monkeypatch.setattr(torch.backends.cudnn, "allow_tf32", True)
    GraphedUNet(fast, capture=refuse).conditioned_on(noise(1, 2, 0))(noise(1, 1, 1), 5.0)
    for_few_rows(GraphedUNet(fast, capture=Recorder())).conditioned_on(noise(1, 2, 0))(noise(1, 1, 1), 5.0)
    assert seen == [False, False]
    assert torch.backends.cudnn.allow_tf32


def test_what_an_anchor_network_sees_is_computed_in_true_float32(fast, monkeypatch):
    seen = []

    def watched(self, image):
        seen.append(torch.backends.cudnn.allow_tf32)
        return torch.zeros(len(image), CONFIG.model_channels, *image.shape[2:])

    monkeypatch.setattr(FastUNet, "anchor", watched)
    monkeypatch.setattr(torch.backends.cudnn, "allow_tf32", True)
    graphed = GraphedUNet(fast, capture=Recorder())
    for seed in (0, 1):
        graphed.conditioned_on(noise(1, 2, seed))(noise(1, 1, 2), 5.0)
    assert seen
    assert not any(seen)


@pytest.mark.parametrize(
    "error", [torch.OutOfMemoryError("CUDA out of memory"), RuntimeError("CUDA error: out of memory")]
)
def test_memory_that_runs_out_while_recording_is_for_the_engine_to_hear_and_old_recordings_go(fast, error):
    recorder = Recorder()

    def full(work):
        if recorder.recorded == 1:
            recorder.recorded += 1
            raise error
        return recorder(work)

    graphed = GraphedUNet(fast, capture=full)
    small, large = (graphed.conditioned_on(noise(rows, 2, 0)) for rows in (1, 2))
    small(noise(1, 1, 1), 5.0)
    with pytest.raises(type(error)):
        large(noise(2, 1, 1), 5.0)  # more rows than were recorded
    small(noise(1, 1, 1), 5.0)
    assert recorder.recorded == 3  # the small one again


def test_what_was_recorded_in_inference_mode_is_played_outside_it_too(fast):
    recorder, image = Recorder(), noise(2, 2, 0)
    predict = GraphedUNet(fast, capture=recorder).conditioned_on(image)
    with torch.inference_mode():
        inside = predict(noise(2, 1, 1), 5.0).clone()
    assert torch.equal(predict(noise(2, 1, 1), 5.0), inside)
    assert recorder.recorded == 1


def test_a_reproducible_run_does_not_play_what_was_recorded_with_other_kernels(fast):
    recorder, image = Recorder(), noise(2, 2, 0)
    predict = GraphedUNet(fast, capture=recorder).conditioned_on(image)
    predict(noise(2, 1, 1), 5.0)
    with reproducibly(enabled=True):
        predict(noise(2, 1, 1), 5.0)
    assert recorder.recorded == 2


@pytest.fixture
def cuda(monkeypatch):
    """What is asked of CUDA, by name; a recording fails where `fails` is set."""
    fake = SimpleNamespace(now=[torch.device("cuda", 0)], streams=["default"], recorded=[], fails=False)

    class Stream(SimpleNamespace):
        def wait_stream(self, other):
            pass

    @contextmanager
    def within(places, value):
        places.append(value)
        yield
        places.pop()

    @contextmanager
    def graph(_graph, *, stream, capture_error_mode):
        before = len(fake.streams)
        fake.streams.append(stream)
        yield
        if fake.fails:
            raise RuntimeError("operation failed due to a previous error during capture")  # and the stream stays
        del fake.streams[before:]
        fake.recorded.append((fake.now[-1], stream, capture_error_mode, torch.backends.cudnn.allow_tf32))

    @contextmanager
    def on(stream):
        before = list(fake.streams)
        fake.streams.append(stream)
        try:
            yield
        finally:
            fake.streams[:] = before

    monkeypatch.setattr(torch.cuda, "device", lambda device: within(fake.now, device))
    monkeypatch.setattr(torch.cuda, "Stream", lambda device: Stream(device=device))
    monkeypatch.setattr(torch.cuda, "stream", on)
    monkeypatch.setattr(torch.cuda, "current_stream", lambda: Stream(device=fake.now[-1]))
    monkeypatch.setattr(torch.cuda, "CUDAGraph", lambda: SimpleNamespace(replay=lambda: None))
    monkeypatch.setattr(torch.cuda, "graph", graph)
    monkeypatch.setattr(graphed_unet, "_beside", {})
    return fake


def test_a_graph_is_captured_on_its_own_device_and_lets_other_threads_work(cuda):
    second = torch.device("cuda", 1)
    runs = []
    _, out = capture_on_cuda(lambda: runs.append(1) or "out", device=second)
    capture_on_cuda(lambda: runs.append(1), device=second)
    (device, stream, mode, tf32), again = cuda.recorded
    assert (out, device, mode, tf32) == ("out", second, "thread_local", False)
    assert again[1] is stream
    assert len(runs) == 8
    assert torch.backends.cudnn.allow_tf32


def test_a_capture_that_fails_leaves_the_thread_as_it_was(cuda):
    cuda.fails = True
    with pytest.raises(RuntimeError, match="during capture"):
        capture_on_cuda(lambda: None, device=torch.device("cuda", 1))
    assert (cuda.streams, torch.backends.cudnn.allow_tf32) == (["default"], True)
    cuda.fails = False
    capture_on_cuda(lambda: None, device=torch.device("cuda", 0))  # the lock is free


def test_wrong_channels_are_refused_before_anything_is_recorded(fast):
    recorder = Recorder()
    with pytest.raises(BadRequest, match="takes 3 channels, but was given 4"):
        GraphedUNet(fast, capture=recorder).conditioned_on(noise(1, 3, 0))(noise(1, 1, 0), 0.0)
    assert not recorder.recorded


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs an NVIDIA GPU")
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_on_a_gpu_a_graph_says_what_the_network_says(dtype, monkeypatch):
    monkeypatch.setattr(torch.backends.cudnn, "allow_tf32", False)  # as the recording is made
    torch.manual_seed(0)
    network = UNet(CONFIG)
    for parameter in network.parameters():
        if parameter.ndim > 1:
            torch.nn.init.normal_(parameter, std=0.1)
    fast = FastUNet(to_inference(network, dtype).cuda())
    image = noise(2, 2, 0).cuda()
    played, plain = GraphedUNet(fast).conditioned_on(image), fast.conditioned_on(image)
    for seed, timestep in ((1, 999.0), (2, 5.0)):
        x = noise(2, 1, seed).cuda()
        torch.testing.assert_close(played(x, timestep), plain(x, timestep), rtol=1e-3, atol=1e-3)
