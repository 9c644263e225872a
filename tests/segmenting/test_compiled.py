"""Networks that are compiled ahead: in another process, used once they are whole, and done without where they fail."""

from __future__ import annotations

import os
import subprocess
import sys

import numpy as np
import pytest
import torch

from compiling import MAKES, SLEEPS, left_in, pids_in, wait_for_the_end_of
from napari_diffseg.checkpoint import load_checkpoint
from napari_diffseg.errors import BadRequest, RunFailed
from napari_diffseg.events import Sampled, SegmentRequest, Started
from napari_diffseg.networks.compiled_unet import CompiledUNet, compile_unet
from napari_diffseg.networks.fast_unet import FastUNet
from napari_diffseg.networks.graphed_unet import GraphedUNet
from napari_diffseg.networks.unet import to_inference
from napari_diffseg.segmenting.device import compiled as compiled_module
from napari_diffseg.segmenting.device import prepare as prepare_module
from napari_diffseg.segmenting.device.compile_ahead import compile_ahead
from napari_diffseg.segmenting.device.compiled import load_compiled, package_path, recent_failure
from napari_diffseg.segmenting.device.prepare import is_compiled, prepare
from napari_diffseg.segmenting.segmenter import LocalSegmenter

CPU = torch.device("cpu")
pytestmark = pytest.mark.usefixtures("compile_cache")


def compiles(checkpoint):
    return compile_ahead(checkpoint, CPU, torch.float32)


def package(checkpoint):
    return package_path(checkpoint, CPU, torch.float32)


def test_what_is_made_is_there_once_it_is_whole(tiny_checkpoint, compile_cache, compiler):
    compiler(MAKES)
    assert not package(tiny_checkpoint).exists()
    assert all(seconds >= 0 for seconds in compiles(tiny_checkpoint))
    assert package(tiny_checkpoint).read_text() == "made"
    assert left_in(compile_cache) == [package(tiny_checkpoint)]


def test_a_compiler_that_fails_is_one_sentence_and_leaves_nothing(tiny_checkpoint, compile_cache, compiler):
    compiler("(folder / 'network.pt2').write_text('half'); sys.exit('details\\nno C++ compiler was found')")
    with pytest.raises(RunFailed, match=r"The network was not compiled: no C\+\+ compiler was found"):
        list(compiles(tiny_checkpoint))
    note = package(tiny_checkpoint).with_suffix(".failed")
    assert left_in(compile_cache) == [note]
    assert recent_failure(package(tiny_checkpoint)) == "no C++ compiler was found"
    os.utime(note, (1e9, 1e9))
    assert recent_failure(package(tiny_checkpoint)) is None, "a compiler may have come since"
    compiler(MAKES)
    list(compiles(tiny_checkpoint))
    assert left_in(compile_cache) == [package(tiny_checkpoint)], "it has not failed any more"


@pytest.mark.parametrize("end", ["__import__('os').kill(__import__('os').getpid(), 9)", "sys.exit('out of memory')"])
def test_a_compiler_that_was_killed_or_had_no_memory_may_be_tried_again(tiny_checkpoint, compile_cache, compiler, end):
    compiler(end)
    with pytest.raises(RunFailed, match="The network was not compiled"):
        list(compiles(tiny_checkpoint))
    assert left_in(compile_cache) == []


def test_the_worker_gets_the_weights_as_they_are_in_memory(tiny_checkpoint, compiler, tmp_path):
    copy = tmp_path / "gone.safetensors"
    copy.write_bytes(tiny_checkpoint.path.read_bytes())
    checkpoint = load_checkpoint(copy)
    copy.unlink()  # as an engine of another computer does with what it was sent
    compiler("__import__('shutil').copy(json.loads(sys.argv[1])['checkpoint'], folder / 'network.pt2')")
    list(compiles(checkpoint))
    handed = load_checkpoint(package(checkpoint).rename(copy))
    assert (handed.config, handed.recipe) == (tiny_checkpoint.config, tiny_checkpoint.recipe)
    for name, tensor in tiny_checkpoint.state.items():
        assert torch.equal(handed.state[name], tensor)


def test_of_many_packages_those_that_were_not_used_for_long_go(tiny_checkpoint, compile_cache, compiler, monkeypatch):
    monkeypatch.setattr(compiled_module, "MOST_PACKAGES", 2)
    package(tiny_checkpoint).parent.mkdir(parents=True)
    for n, name in enumerate("abc"):
        (package(tiny_checkpoint).parent / f"{name}.pt2").write_text("made")
        os.utime(package(tiny_checkpoint).parent / f"{name}.pt2", (1e9 + n, 1e9 + n))
    compiler(MAKES)
    list(compiles(tiny_checkpoint))
    assert {path.name for path in left_in(compile_cache)} == {"c.pt2", package(tiny_checkpoint).name}


def test_a_folder_that_cannot_be_written_is_one_sentence(tiny_checkpoint, compile_cache):
    compile_cache.write_text("a file")
    with pytest.raises(RunFailed, match="The network was not compiled: "):
        list(compiles(tiny_checkpoint))


def test_a_cancel_ends_the_compiler_and_all_that_it_started_and_leaves_nothing(
    tiny_checkpoint, compile_cache, compiler
):
    compiler(SLEEPS)
    work = compiles(tiny_checkpoint)
    next(work)
    pids = pids_in(compile_cache)
    with pytest.raises(BadRequest, match="Another process compiles this network now"):
        next(compiles(tiny_checkpoint))
    work.close()
    wait_for_the_end_of(pids)
    assert left_in(compile_cache) == []


@pytest.mark.skipif(os.name == "nt", reason="a group of processes is ended as POSIX does")
def test_a_process_that_is_killed_takes_its_compiler_with_it(tiny_checkpoint, compile_cache, compiler, tmp_path):
    compiler(SLEEPS)
    asking = f"""
import pathlib, torch
from napari_diffseg.checkpoint import load_checkpoint
from napari_diffseg.segmenting.device import compile_ahead, compiled
compiled.user_cache_path, compile_ahead.WORKER = (lambda name: pathlib.Path({str(compile_cache)!r})), "stand_in"
list(compile_ahead.compile_ahead(load_checkpoint({str(tiny_checkpoint.path)!r}), torch.device("cpu"), torch.float32))
"""
    asked = subprocess.Popen([sys.executable, "-c", asking])
    pids = pids_in(compile_cache)
    asked.kill()
    asked.wait()
    wait_for_the_end_of(pids)
    compiler(MAKES)
    list(compiles(tiny_checkpoint))
    assert left_in(compile_cache) == [package(tiny_checkpoint)], "what was left is cleared"


def test_a_package_that_cannot_be_used_is_a_note_and_the_run_goes_on(tiny_checkpoint, tiny_case, caplog):
    package(tiny_checkpoint).parent.mkdir(parents=True)
    package(tiny_checkpoint).write_text("no package")
    request = SegmentRequest(device="cpu", precision="fp32")
    started, *_ = events = list(LocalSegmenter(tiny_checkpoint).segment(tiny_case, request))
    assert "cannot be used, so the run goes on without" in caplog.text
    assert isinstance(started, Started)
    assert not started.compiled
    assert any(isinstance(event, Sampled) for event in events)


class StandIn(CompiledUNet):
    """What a compiled network would be, evaluated as it is written."""

    factor = 1.0

    @classmethod
    def load(cls, network, path):
        def evaluate(x, timestep):
            return cls.factor * network(x, timestep.expand(len(x)))

        return cls(network, evaluate)


@pytest.fixture
def stands_in(monkeypatch):
    monkeypatch.setattr(compiled_module, "CompiledUNet", StandIn)
    return StandIn


def members(events):
    return {(e.member, s): e.mask[:, i] for e in events if isinstance(e, Sampled) for i, s in enumerate(e.slices)}


def test_the_next_run_takes_the_compiled_network_and_says_so_and_a_reproducible_one_does_not(
    tiny_checkpoint, tiny_case, stands_in
):
    engine, request = LocalSegmenter(tiny_checkpoint), SegmentRequest(device="cpu", members=2, precision="fp32")
    before = list(engine.segment(tiny_case, request))
    package(tiny_checkpoint).parent.mkdir(parents=True)
    package(tiny_checkpoint).write_text("made")
    after = list(engine.segment(tiny_case, request))
    exact = list(engine.segment(tiny_case, request.model_copy(update={"reproducible": True})))
    assert [run[0].compiled for run in (before, after, exact)] == [False, True, False]
    expected, got = members(before), members(after)
    assert sum((got[key] != mask).sum() for key, mask in expected.items()) <= 1e-3 * sum(m.size for m in got.values())


def test_a_network_that_says_something_else_is_not_used(tiny_checkpoint, stands_in, monkeypatch, caplog, tmp_path):
    plain, size = FastUNet(to_inference(tiny_checkpoint.network())), tiny_checkpoint.recipe.size
    assert load_compiled(plain, size, tmp_path / "x.pt2") is not None
    for factor in (1.3, float("nan")):
        monkeypatch.setattr(stands_in, "factor", factor)
        assert load_compiled(plain, size, tmp_path / "x.pt2") is None
        assert "goes on without: it differs from the network by" in caplog.text
        caplog.clear()


def test_a_compiled_network_is_recorded_as_another_is(tiny_checkpoint):
    network = to_inference(tiny_checkpoint.network())
    recorded = []

    def capture(work):
        recorded.append(work())
        return (lambda: recorded[0].copy_(work())), recorded[0]

    compiled = StandIn.load(network, None)
    graphed = GraphedUNet(compiled, capture=capture)
    assert is_compiled(graphed)
    assert not is_compiled(GraphedUNet(FastUNet(network), capture=capture))
    channels = tiny_checkpoint.config.in_channels - len(tiny_checkpoint.recipe.labels)
    image, x = torch.randn(2, channels, 16, 16), torch.randn(2, len(tiny_checkpoint.recipe.labels), 16, 16)
    for timestep in (900.0, 3.0):
        torch.testing.assert_close(
            graphed.conditioned_on(image)(x, timestep), compiled.conditioned_on(image)(x, timestep)
        )


def test_who_gains_by_compiling(tiny_checkpoint, monkeypatch):
    engine, request = LocalSegmenter(tiny_checkpoint), SegmentRequest(device="cpu", precision="fp32")
    assert engine.gains_by_compiling(request)
    assert not engine.gains_by_compiling(request.model_copy(update={"reproducible": True}))
    package(tiny_checkpoint).parent.mkdir(parents=True)
    package(tiny_checkpoint).write_text("made")
    assert not engine.gains_by_compiling(request)
    monkeypatch.setattr(compiled_module, "DEVICES", {"cuda"})
    assert not engine.gains_by_compiling(request.model_copy(update={"precision": "bf16"}))


def test_a_processor_has_nothing_to_prepare(tiny_checkpoint, monkeypatch):
    monkeypatch.setattr(compiled_module, "DEVICES", {"cuda"})
    with pytest.raises(BadRequest, match="networks are compiled for NVIDIA GPUs alone"):
        list(LocalSegmenter(tiny_checkpoint).compile_ahead(SegmentRequest(device="cpu")))


@pytest.mark.slow
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_what_the_compiler_makes_says_what_the_network_says_for_any_number_of_rows(tiny_checkpoint, dtype, tmp_path):
    network, size = to_inference(tiny_checkpoint.network(), dtype), tiny_checkpoint.recipe.size
    compile_unet(network, size, tmp_path / "network.pt2")
    fast = FastUNet(network)
    compiled = load_compiled(fast, size, tmp_path / "network.pt2")
    assert compiled is not None
    assert is_compiled(
        prepare(tiny_checkpoint.network(), size, device=CPU, dtype=dtype, package=tmp_path / "network.pt2")
    )
    for rows in (1, 2, 5):
        x = torch.randn(rows, tiny_checkpoint.config.in_channels, *size)
        got, expected = (n.evaluate(x, n.entry(700.0)) for n in (compiled, fast))
        again = compiled.evaluate(x, compiled.entry(700.0))
        tolerance = 1e-4 if dtype == torch.float32 else 3e-2
        assert (got - expected).abs().max() <= tolerance * expected.abs().max()
        np.testing.assert_array_equal(again.numpy(), got.numpy())


@pytest.mark.slow
def test_a_run_takes_what_was_compiled_in_another_process(tiny_checkpoint, tiny_case):
    engine, request = LocalSegmenter(tiny_checkpoint), SegmentRequest(device="cpu", members=2, precision="fp32")
    before = list(engine.segment(tiny_case, request))
    assert list(engine.compile_ahead(request))
    assert list(engine.compile_ahead(request)) == [], "there is nothing left to do"
    after = list(engine.segment(tiny_case, request))
    assert (before[0].compiled, after[0].compiled) == (False, True)
    expected, got = members(before), members(after)
    assert sum((got[key] != mask).sum() for key, mask in expected.items()) <= 1e-3 * sum(m.size for m in got.values())


@pytest.mark.gpu
@pytest.mark.slow
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs an NVIDIA GPU")
def test_on_a_gpu_a_compiled_network_is_recorded_and_says_what_the_network_says(tiny_checkpoint, tmp_path):
    device, size = torch.device("cuda", 0), tiny_checkpoint.recipe.size
    network = to_inference(tiny_checkpoint.network(), torch.bfloat16).to(device)
    compile_unet(network, size, tmp_path / "network.pt2")
    plain, compiled = (
        prepare_module.prepare(tiny_checkpoint.network(), size, device=device, dtype=torch.bfloat16, package=package)
        for package in (None, tmp_path / "network.pt2")
    )
    assert is_compiled(compiled)
    labels = len(tiny_checkpoint.recipe.labels)
    for rows in (1, 5, 64):
        image = torch.randn(rows, tiny_checkpoint.config.in_channels - labels, *size, device=device)
        x = torch.randn(rows, labels, *size, device=device)
        got, expected = (n.conditioned_on(image)(x, 700.0) for n in (compiled, plain))
        assert (got - expected).abs().max() <= 5e-2 * expected.abs().max()
