"""An engine that `srun` starts as a job, on a real SLURM of one machine; slow, and skipped where there is no SLURM."""

import shlex
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from conformance import REQUEST, all_same
from napari_diffseg.errors import EngineFailed
from napari_diffseg.events import Sampled, Started
from napari_diffseg.imaging.formats.nifti import read_mask
from napari_diffseg.remote.computer import Computer
from napari_diffseg.remote.link import Link
from napari_diffseg.remote.segmenter import RemoteSegmenter
from napari_diffseg.runs.keep import keep_run
from napari_diffseg.runs.run_folder import RunFolder
from napari_diffseg.segmenting.segmenter import LocalSegmenter
from other_host import SOURCE, OtherHost, why_not

sys.path.insert(0, str(Path(__file__).parents[2] / "scripts"))
from slurm_here import is_there, slurm_here

pytestmark = [pytest.mark.slow, pytest.mark.skipif(not is_there(), reason="needs slurm-wlm, munge and root")]
ENGINE = f"{shlex.quote(sys.executable)} -m napari_diffseg"


@pytest.fixture(scope="module")
def cluster(tmp_path_factory):
    with slurm_here(tmp_path_factory.mktemp("slurm") / "cluster") as there:
        yield there


@pytest.fixture
def login_node(cluster, monkeypatch):
    monkeypatch.setenv("SLURM_CONF", cluster.env["SLURM_CONF"])
    return Computer(None, f"srun --ntasks=1 {ENGINE}")


@pytest.fixture
def segmenter(login_node, tiny_checkpoint):
    remote = RemoteSegmenter(login_node, tiny_checkpoint.path, preview_interval_s=0)
    yield remote
    remote.close()


def jobs(cluster):
    return cluster.run("squeue", "-h", "-o", "%A").split()


def until(holds, what, seconds=90):
    end = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < end, what
        time.sleep(0.2)


def test_a_run_has_the_events_of_a_local_one_and_can_be_cancelled(segmenter, cluster, tiny_checkpoint, tiny_case):
    local = LocalSegmenter(tiny_checkpoint, preview_interval_s=0)
    assert all_same(list(segmenter.segment(tiny_case, REQUEST)), list(local.segment(tiny_case, REQUEST)))
    pid = segmenter.link.pid
    events = segmenter.segment(tiny_case, REQUEST.model_copy(update={"members": 500}))
    assert isinstance(next(events), Started)
    events.close()
    assert all_same(list(segmenter.segment(tiny_case, REQUEST)), list(local.segment(tiny_case, REQUEST)))
    assert segmenter.link.pid == pid  # one job for all
    segmenter.close()
    until(lambda: not jobs(cluster), "the job goes on without its client")


def test_a_job_that_is_cancelled_is_one_sentence_and_the_run_goes_on(
    segmenter, cluster, tiny_checkpoint, tiny_case, tmp_path
):
    request = REQUEST.model_copy(update={"members": 40, "batch_size": 4})
    folder = RunFolder(tmp_path / "cut", tiny_case, segmenter.checkpoint(), request)

    def cancel_after_three_members():
        for event in keep_run(segmenter, folder):
            if isinstance(event, Sampled) and event.member == 3 and jobs(cluster):
                cluster.run("scancel", *jobs(cluster))

    with pytest.raises(EngineFailed) as caught:
        cancel_after_three_members()
    assert str(caught.value) == "The engine has ended, as its job was cancelled; run again, or resume."
    assert 3 <= len(folder.finished_members()) < 40
    list(keep_run(segmenter, folder, resume=True))
    whole = RunFolder(tmp_path / "whole", tiny_case, tiny_checkpoint, request)
    list(keep_run(LocalSegmenter(tiny_checkpoint), whole))
    for k in range(40):
        mine, other = (read_mask(f.paths("member", number=k)[0]).data for f in (folder, whole))
        np.testing.assert_array_equal(mine, other)


def give_up_while_it_is_queued(cluster, computer):
    until(lambda: not jobs(cluster), "a job of before goes on")
    other = cluster.run("sbatch", "--parsable", "--exclusive", "--wrap=sleep 300", "--output=/dev/null").strip()
    until(lambda: "RUNNING" in cluster.run("squeue", "-h", "-o", "%T"), "the other job does not begin")
    said = []

    class Enough(Exception):
        pass

    def check():
        if said:
            raise Enough

    with pytest.raises(Enough):
        Link(computer, check=check, told=said.append)
    assert said[0].startswith("Waiting for the job to start: job ")
    until(lambda: jobs(cluster) == [other], "the job is still queued")
    cluster.run("scancel", other)


def test_a_job_that_waits_says_so_and_can_be_given_up(cluster, login_node):
    give_up_while_it_is_queued(cluster, login_node)
    with pytest.raises(EngineFailed, match=r"did not start .*invalid partition"):
        Link(Computer(None, f"srun --partition=nowhere {ENGINE}"))


@pytest.mark.skipif(bool(why_not()), reason=why_not())
def test_over_ssh_to_a_login_node(tmp_path, tiny_checkpoint, tiny_case):
    local = LocalSegmenter(tiny_checkpoint, preview_interval_s=0)
    with OtherHost(tmp_path) as host, slurm_here(tmp_path / "cluster", address=host.near_address) as cluster:
        there = (
            f"env SLURM_CONF={cluster.env['SLURM_CONF']} PYTHONPATH={SOURCE} OMP_NUM_THREADS=1 "
            f"XDG_CACHE_HOME={tmp_path}/cache srun --ntasks=1 {ENGINE}"
        )
        segmenter = RemoteSegmenter(host.computer(command=there), tiny_checkpoint.path, preview_interval_s=0)
        try:
            assert all_same(list(segmenter.segment(tiny_case, REQUEST)), list(local.segment(tiny_case, REQUEST)))
            (job,) = jobs(cluster)
            events = segmenter.segment(tiny_case, REQUEST.model_copy(update={"members": 500}))
            assert isinstance(next(events), Started)
            cluster.run("scancel", job)
            with pytest.raises(EngineFailed, match="The engine on other has ended, as its job was cancelled"):
                list(events)
        finally:
            segmenter.close()
        until(lambda: not jobs(cluster), "the job goes on without its client")
        give_up_while_it_is_queued(cluster, host.computer(command=there))
