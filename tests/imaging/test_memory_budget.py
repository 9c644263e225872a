"""Free memory is one number everywhere, and limits of containers and of a cluster's jobs count."""

import psutil
import pytest
import torch

from napari_diffseg.checkpoint import source
from napari_diffseg.errors import BadCheckpoint
from napari_diffseg.imaging import memory_budget
from napari_diffseg.imaging.memory_budget import free_memory
from napari_diffseg.segmenting.device.memory import free_bytes

NAMES = {
    "": ("memory.max", "memory.current", "inactive_file"),
    "memory": ("memory.limit_in_bytes", "memory.usage_in_bytes", "total_inactive_file"),
}


@pytest.fixture(params=list(NAMES), ids=["version 2", "version 1"])
def write_group(request, tmp_path, monkeypatch):
    """Makes this process a member of /job/step, and writes limits, use and cache of groups by their path."""
    known = memory_budget._VERSIONS[request.param]
    monkeypatch.setattr(memory_budget, "_VERSIONS", {request.param: known._replace(root=tmp_path)})
    (tmp_path / "self").write_text(f"3:cpu,cpuacct:/\n0:{request.param}:/job/step\n")
    monkeypatch.setattr(memory_budget, "_OF_THIS_PROCESS", tmp_path / "self")

    def write(path, limit, used, cached=0):
        limit_name, used_name, cached_name = NAMES[request.param]
        group = tmp_path / path
        group.mkdir(parents=True, exist_ok=True)
        (group / limit_name).write_text(f"{limit}\n")
        (group / used_name).write_text(f"{used}\n")
        (group / "memory.stat").write_text(f"anon 7\n{cached_name} {cached}\n")

    return write


def test_the_limit_of_a_container_counts(write_group):
    write_group(".", 5000, 3000)
    assert free_memory() == 2000
    assert memory_budget.memory_budget() == 1000


def test_the_tightest_of_a_jobs_groups_counts(write_group):
    write_group(".", "max", 10)
    write_group("job", 9000, 1000)
    write_group("job/step", 4000, 1000)
    assert free_memory() == 3000
    write_group("job", 2000, 1500)
    assert free_memory() == 500


def test_files_that_are_cached_give_way(write_group):
    write_group("job", 5000, 4900, cached=4000)
    assert free_memory() == 4100


def test_no_limit_leaves_what_the_machine_has_free(write_group, monkeypatch):
    write_group(".", "max", 10)
    monkeypatch.setattr(psutil, "virtual_memory", lambda: type("M", (), {"available": 7_000}))
    assert free_memory() == 7_000


def test_more_in_use_than_allowed_is_nothing_free(write_group):
    write_group(".", 100, 200)
    assert free_memory() == 0


def test_checkpoint_reader_engine_and_forecast_give_one_answer(write_group, tmp_path):
    write_group("job", 5000, 4000)
    assert free_bytes(torch.device("cpu")) == free_memory() == 1000
    (tmp_path / "a.pt").write_bytes(bytes(600))
    with pytest.raises(BadCheckpoint, match=r"0\.0 GB of memory"):
        source._checked_size((tmp_path / "a.pt").stat())
    from napari_diffseg.plugin.panel import forecasting

    assert forecasting.free_memory is free_memory
