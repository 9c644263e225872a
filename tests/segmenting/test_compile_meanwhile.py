"""A network that is compiled beside runs: none waits for it, the next takes it, and nothing of it stays behind."""

from __future__ import annotations

import gc
import os
import subprocess
import sys
from dataclasses import dataclass

import pytest
import torch

from compiling import MAKES, SLEEPS, left_in, pids_in, wait_for_the_end_of, wait_until
from napari_diffseg.events import Finished, Sampled, SegmentRequest
from napari_diffseg.remote.computer import Computer
from napari_diffseg.remote.segmenter import RemoteSegmenter
from napari_diffseg.segmenting.device import compile_ahead, compile_meanwhile, compiled
from napari_diffseg.segmenting.device.compile_meanwhile import CompileMeanwhile
from napari_diffseg.segmenting.device.compiled import package_path
from napari_diffseg.segmenting.device.compiling import CompilePhase
from napari_diffseg.segmenting.segmenter import LocalSegmenter

CPU = torch.device("cpu")
REQUEST = SegmentRequest(device="cpu", precision="fp32", members=1, slices="2:4", timesteps=2)
pytestmark = pytest.mark.usefixtures("compile_cache")


@pytest.fixture
def engine(tiny_checkpoint):
    engine = LocalSegmenter(tiny_checkpoint, preview_interval_s=None, compile_meanwhile=True)
    yield engine
    engine.close()


def package(checkpoint):
    return package_path(checkpoint, CPU, torch.float32)


def phase(engine):
    return engine.compiler.state.phase


def wait_for(engine, wanted):
    wait_until(lambda: phase(engine) is not CompilePhase.UNDER_WAY)
    assert phase(engine) is wanted, engine.compiler.state.note


def test_a_run_goes_on_beside_the_compiler_and_a_later_one_finds_what_it_made(
    engine, tiny_checkpoint, tiny_case, compiler, compile_cache
):
    compiler(SLEEPS)
    for event in engine.segment(tiny_case, REQUEST):
        if isinstance(event, Sampled):
            assert phase(engine) is CompilePhase.NOTHING, "the first mask comes before"
    assert isinstance(event, Finished)
    assert phase(engine) is CompilePhase.UNDER_WAY
    pids = pids_in(compile_cache)
    assert isinstance(list(engine.segment(tiny_case, REQUEST))[-1], Finished), "a second run does not wait either"
    assert pids == pids_in(compile_cache), "and does not begin another compiler"
    engine.compiler.cancel()
    wait_for(engine, CompilePhase.CANCELLED)
    wait_for_the_end_of(pids)
    assert left_in(compile_cache) == []

    compiler(MAKES)
    list(engine.segment(tiny_case, REQUEST))
    assert phase(engine) is CompilePhase.CANCELLED, "what was cancelled is not begun again"
    other = LocalSegmenter(tiny_checkpoint, preview_interval_s=None, compile_meanwhile=True)
    list(other.segment(tiny_case, REQUEST))
    wait_for(other, CompilePhase.READY)
    assert left_in(compile_cache) == [package(tiny_checkpoint)]


def test_nothing_is_compiled_unless_it_was_asked_for_and_none_for_a_reproducible_run(
    engine, tiny_checkpoint, tiny_case, compiler, compile_cache
):
    compiler(MAKES)
    list(engine.segment(tiny_case, REQUEST.model_copy(update={"reproducible": True})))
    off = LocalSegmenter(tiny_checkpoint, preview_interval_s=None)
    list(off.segment(tiny_case, REQUEST))
    assert phase(engine) is phase(off) is CompilePhase.NOTHING
    assert left_in(compile_cache) == []


def test_a_compiler_that_fails_is_one_note_and_is_remembered_by_the_next_engine(
    engine, tiny_checkpoint, compiler, caplog, compile_cache
):
    compiler("sys.exit('no C++ compiler was found')")
    first = CompileMeanwhile(tiny_checkpoint)
    first.begin(CPU, torch.float32)
    wait_until(lambda: first.state.phase is CompilePhase.FAILED)
    first.begin(CPU, torch.float32)
    assert first.state.note == "The network was not compiled: no C++ compiler was found"
    assert [record.levelname for record in caplog.records] == ["WARNING"]
    second = CompileMeanwhile(tiny_checkpoint)
    second.begin(CPU, torch.float32)
    assert second.state.phase is CompilePhase.NOTHING
    assert len(caplog.records) == 1


def test_two_windows_at_once_compile_once(tiny_checkpoint, compiler, compile_cache):
    compiler(SLEEPS)
    one, two = CompileMeanwhile(tiny_checkpoint), CompileMeanwhile(tiny_checkpoint)
    one.begin(CPU, torch.float32)
    pids = pids_in(compile_cache)
    two.begin(CPU, torch.float32)
    wait_until(lambda: two.state.phase is CompilePhase.ELSEWHERE)
    assert pids == pids_in(compile_cache)
    one.close()
    wait_for_the_end_of(pids)
    compiler(MAKES)
    two.begin(CPU, torch.float32)  # nobody compiles it any more
    wait_until(lambda: two.state.phase is CompilePhase.READY)
    assert left_in(compile_cache) == [package(tiny_checkpoint)]


def test_what_another_window_has_made_meanwhile_is_not_made_again(tiny_checkpoint, compiler, compile_cache):
    compiler(SLEEPS)
    work = compile_ahead.compile_ahead(tiny_checkpoint, CPU, torch.float32)
    package(tiny_checkpoint).parent.mkdir(parents=True)
    package(tiny_checkpoint).write_text("made by the other")
    assert list(work) == []
    assert left_in(compile_cache) == [package(tiny_checkpoint)]


def test_an_engine_that_is_dropped_or_unloaded_ends_its_compiler(tiny_checkpoint, tiny_case, compiler, compile_cache):
    compiler(SLEEPS)
    engine = LocalSegmenter(tiny_checkpoint, preview_interval_s=None, compile_meanwhile=True)
    list(engine.segment(tiny_case, REQUEST))
    pids = pids_in(compile_cache)
    del engine
    gc.collect()
    wait_for_the_end_of(pids)
    wait_until(lambda: left_in(compile_cache) == [])
    engine = LocalSegmenter(tiny_checkpoint, preview_interval_s=None, compile_meanwhile=True)
    list(engine.segment(tiny_case, REQUEST))
    pids = pids_in(compile_cache)
    engine.unload()
    wait_for_the_end_of(pids)
    wait_for(engine, CompilePhase.CANCELLED)
    assert left_in(compile_cache) == []


def test_a_run_that_runs_out_of_memory_beside_the_compiler_goes_on_with_fewer_rows(
    engine, tiny_case, compiler, compile_cache, monkeypatch
):
    compiler(SLEEPS)
    list(engine.segment(tiny_case, REQUEST))
    pids = pids_in(compile_cache)
    network, most = engine._loaded[3], 1
    plain = network.conditioned_on

    def conditioned_on(image):
        if len(image) > most:
            raise torch.OutOfMemoryError("CUDA out of memory")
        return plain(image)

    monkeypatch.setattr(network, "conditioned_on", conditioned_on, raising=False)
    events = list(engine.segment(tiny_case, REQUEST.model_copy(update={"batch_size": 2})))
    assert events[-1].batch_size == 1
    assert phase(engine) is CompilePhase.UNDER_WAY
    assert pids == pids_in(compile_cache)


def test_a_cancelled_run_leaves_the_compiler_to_go_on(engine, tiny_case, compiler, compile_cache, tiny_checkpoint):
    compiler(MAKES)
    events = engine.segment(tiny_case, REQUEST.model_copy(update={"members": 50, "batch_size": 1}))
    masks = (event for event in events if isinstance(event, Sampled))
    next(masks), next(masks)
    events.close()
    wait_for(engine, CompilePhase.READY)
    assert package(tiny_checkpoint).is_file()


def test_nothing_begins_where_the_device_has_little_memory_left(tiny_checkpoint, compiler, compile_cache, monkeypatch):
    compiler(MAKES)
    free = [2**20]
    monkeypatch.setattr(compile_meanwhile, "free_bytes", lambda device: free[0])
    beside = CompileMeanwhile(tiny_checkpoint)
    beside.begin(CPU, torch.float32)
    assert beside.state.phase is CompilePhase.NOTHING
    free[0] = 2**40
    beside.begin(CPU, torch.float32)
    wait_until(lambda: beside.state.phase is CompilePhase.READY)


@pytest.mark.slow
@pytest.mark.parametrize("end", ["", "import os, signal; os.kill(os.getpid(), signal.SIGKILL)"])
@pytest.mark.skipif(os.name == "nt", reason="a group of processes is ended as POSIX does")
def test_the_end_of_the_program_ends_the_compiler_without_waiting_for_it(tiny_checkpoint, compiler, compile_cache, end):
    compiler(SLEEPS)
    program = f"""
import pathlib, sys, time, torch
from napari_diffseg.checkpoint import load_checkpoint
from napari_diffseg.segmenting.device import compile_ahead, compiled
from napari_diffseg.segmenting.device.compile_meanwhile import CompileMeanwhile
compiled.user_cache_path, compiled.DEVICES = (lambda name: pathlib.Path({str(compile_cache)!r})), {{"cpu"}}
compile_ahead.WORKER = "stand_in"
beside = CompileMeanwhile(load_checkpoint({str(tiny_checkpoint.path)!r}))
beside.begin(torch.device("cpu"), torch.float32)
sys.stdin.readline()
{end}
"""
    with subprocess.Popen([sys.executable, "-c", program], stdin=subprocess.PIPE) as asked:
        pids = pids_in(compile_cache)
        asked.communicate(b"\n", timeout=30)
        wait_for_the_end_of(pids)
    if not end:
        assert left_in(compile_cache) == []
    compiler(MAKES)
    list(compile_ahead.compile_ahead(tiny_checkpoint, CPU, torch.float32))
    assert left_in(compile_cache) == [package(tiny_checkpoint)], "what a killed one has left is cleared"


def test_what_a_killed_process_left_of_another_network_goes_too_but_not_what_is_under_way(
    tiny_checkpoint, compiler, compile_cache
):
    compiler(MAKES)
    folder = package(tiny_checkpoint).parent
    for name in ("dead.x.work", "alive.x.work"):
        (folder / name).mkdir(parents=True)
    lock = compile_ahead.try_lock(folder / "alive.lock")
    try:
        list(compile_ahead.compile_ahead(tiny_checkpoint, CPU, torch.float32))
        assert {path.name for path in folder.iterdir()} == {
            "alive.x.work",
            "alive.lock",
            package(tiny_checkpoint).name,
        }
    finally:
        compile_ahead.forget(lock)


def test_the_name_of_a_package_depends_on_what_its_machine_code_does(tiny_checkpoint, monkeypatch):
    names = {package(tiny_checkpoint), package_path(tiny_checkpoint, CPU, torch.bfloat16)}
    monkeypatch.setattr(torch.backends.cpu, "get_cpu_capability", lambda: "another processor")
    names.add(package(tiny_checkpoint))
    monkeypatch.setattr(compiled, "describe_device", lambda device: "cpu (another device)")
    names.add(package(tiny_checkpoint))
    assert len(names) == 4


@dataclass(frozen=True)
class WithStandIn(Computer):
    """An engine in another process, whose compiler is the test's."""

    cache: str = ""

    def words(self):
        program = f"""
import os, pathlib
from napari_diffseg.remote.relay import serve_stdio
from napari_diffseg.segmenting.device import compile_ahead, compiled
compiled.user_cache_path, compiled.DEVICES = (lambda name: pathlib.Path({self.cache!r})), {{"cpu"}}
compile_ahead.WORKER = "stand_in"
serve_stdio(folder=pathlib.Path({self.cache!r}) / "sent")
os._exit(0)
"""
        return [sys.executable, "-c", program]


@pytest.mark.slow
def test_an_engine_in_another_process_compiles_too_and_its_end_ends_the_compiler(
    tiny_checkpoint, tiny_case, compiler, compile_cache
):
    compiler(SLEEPS)
    remote = RemoteSegmenter(WithStandIn(cache=str(compile_cache)), tiny_checkpoint.path, compile_meanwhile=True)
    assert isinstance(list(remote.segment(tiny_case, REQUEST))[-1], Finished)
    pids = pids_in(compile_cache)
    remote.close()
    wait_for_the_end_of(pids)
    wait_until(lambda: left_in(compile_cache / "compiled") == [])
