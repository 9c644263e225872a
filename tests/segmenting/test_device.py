"""Where and in which arithmetic a run computes, with how many threads, and what it leaves behind."""

from __future__ import annotations

import platform
import resource
import sys
import threading
from concurrent.futures import ThreadPoolExecutor

import psutil
import pytest
import torch

from napari_diffseg.events import SegmentRequest, Started
from napari_diffseg.segmenting.device import threads as threads_module
from napari_diffseg.segmenting.device.choose_device import resolve_precision
from napari_diffseg.segmenting.device.heap import freed_memory_kept
from napari_diffseg.segmenting.device.threads import one_thread_each, resolve_threads, threads_used
from napari_diffseg.segmenting.segmenter import LocalSegmenter

CPU = torch.device("cpu")
needs_glibc = pytest.mark.skipif(
    sys.platform != "linux" or platform.libc_ver()[0] != "glibc", reason="another C library does as it likes"
)


@pytest.mark.parametrize(
    ("capabilities", "expected"),
    [
        ({"avx512_bf16": True, "amx_bf16": False}, torch.bfloat16),
        ({"amx_bf16": True}, torch.bfloat16),
        ({"avx512_bf16": False, "avx512_f": True}, torch.float32),
        ({}, torch.float32),
    ],
)
def test_a_processor_computes_in_bf16_where_it_has_the_instructions(monkeypatch, capabilities, expected):
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: capabilities, raising=False)
    assert resolve_precision("auto", CPU) == expected
    assert resolve_precision("fp32", CPU) == torch.float32
    assert resolve_precision("bf16", CPU) == torch.bfloat16


def test_a_pytorch_that_does_not_tell_what_a_processor_has_computes_in_float32(monkeypatch):
    monkeypatch.delattr(torch.cpu, "get_capabilities", raising=False)
    assert resolve_precision("auto", CPU) == torch.float32


@pytest.mark.parametrize(
    ("cores", "wanted", "beside_viewer", "expected"),
    [
        (8, None, False, 8),
        (8, None, True, 7),
        (3, None, True, 2),
        (2, None, True, 2),
        (8, 3, True, 3),
        (2, 64, False, 2),
    ],
)
def test_a_viewer_has_a_core_to_itself_where_there_are_three(monkeypatch, cores, wanted, beside_viewer, expected):
    monkeypatch.setattr(threads_module, "_usable_cores", lambda: cores)
    monkeypatch.setattr(torch, "get_num_threads", lambda: cores)
    assert resolve_threads(wanted, beside_viewer=beside_viewer) == expected


def test_what_pytorch_was_told_before_is_not_exceeded(monkeypatch):
    monkeypatch.setattr(threads_module, "_usable_cores", lambda: 8)
    monkeypatch.setattr(torch, "get_num_threads", lambda: 3)
    assert [resolve_threads(None, beside_viewer=viewer) for viewer in (False, True)] == [3, 3]


def fail_with(threads):
    with threads_used(threads):
        raise KeyError(torch.get_num_threads())


def test_threads_are_as_before_even_after_a_failure():
    before = torch.get_num_threads()
    with pytest.raises(KeyError, match=str(before + 1)):
        fail_with(before + 1)
    assert torch.get_num_threads() == before


def test_a_run_computes_with_the_threads_asked_for(tiny_checkpoint, tiny_case):
    outside = torch.get_num_threads()
    run = LocalSegmenter(tiny_checkpoint).segment(tiny_case, SegmentRequest(device="cpu", threads=1))
    assert isinstance(next(run), Started)
    assert torch.get_num_threads() == 1
    run.close()
    assert torch.get_num_threads() == outside


def in_a_new_thread(ask):
    with ThreadPoolExecutor(1) as pool:
        return pool.submit(ask).result()


def test_a_run_of_another_window_changes_neither_how_many_threads_the_next_gets_nor_what_is_left():
    before = torch.get_num_threads()

    def other_run():
        with threads_used(before + 3):
            assert resolve_threads(None, beside_viewer=False) == before
        return torch.get_num_threads()

    with threads_used(before + 2):
        assert in_a_new_thread(lambda: resolve_threads(None, beside_viewer=False)) == before
        assert in_a_new_thread(other_run) == before
        assert torch.get_num_threads() == before + 2
    assert torch.get_num_threads() == before
    assert in_a_new_thread(torch.get_num_threads) == before


def test_threads_that_compute_alone_leave_new_ones_as_they_would_have_been():
    before = torch.get_num_threads()
    with threads_used(before + 1), one_thread_each(3) as pool:
        assert list(pool.map(lambda _: torch.get_num_threads(), range(9))) == [1] * 9
        assert torch.get_num_threads() == before + 1
        assert in_a_new_thread(torch.get_num_threads) == before + 1
    assert in_a_new_thread(torch.get_num_threads) == before


def test_threads_that_the_system_does_not_give_are_an_error_and_no_wait(monkeypatch):
    def start(_thread):
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr(threading.Thread, "start", start)
    with pytest.raises(RuntimeError, match="can't start"):
        one_thread_each(2)
    assert resolve_threads(None, beside_viewer=False) == torch.get_num_threads()


def fill_some_memory():
    for tensor in [torch.empty(8 << 20, dtype=torch.uint8) for _ in range(6)]:
        tensor.fill_(1)


def faults_of(rounds):
    """Pages that the system gave meanwhile; a round writes 12 288."""
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    for _ in range(rounds):
        fill_some_memory()
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before


@needs_glibc
def test_within_a_run_memory_is_taken_once_and_given_back_at_its_end():
    process = psutil.Process()
    with freed_memory_kept():
        fill_some_memory()
        held = process.memory_info().rss
        assert faults_of(5) < 20_000  # other threads take some, too
    assert process.memory_info().rss < held - (30 << 20)


@needs_glibc
def test_a_run_within_a_training_leaves_the_training_its_memory():
    with freed_memory_kept():
        with freed_memory_kept():
            fill_some_memory()
        fill_some_memory()
        assert faults_of(5) < 20_000


def fill_several_heaps():
    """The heap of a thread has 64 MiB at most; these are 144."""
    for tensor in [torch.empty(12 << 20, dtype=torch.uint8) for _ in range(12)]:
        tensor.fill_(1)


def faults_of_this_thread(rounds):
    before = resource.getrusage(resource.RUSAGE_THREAD).ru_minflt
    for _ in range(rounds):
        fill_several_heaps()
    return resource.getrusage(resource.RUSAGE_THREAD).ru_minflt - before


@needs_glibc
def test_memory_is_kept_in_the_threads_that_share_the_rows_too():
    with freed_memory_kept(), ThreadPoolExecutor(1) as pool:
        for _ in range(3):
            pool.submit(fill_several_heaps).result()
        assert pool.submit(faults_of_this_thread, 3).result() < 2_000  # 6 000 where a heap is given back
