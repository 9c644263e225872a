"""A cohort on a real SLURM of one machine, which keeps no accounts; slow, and skipped where there is no SLURM."""

import json
import os
import pty
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from builders import write_case, write_tiny_checkpoint
from napari_diffseg.cohorts.cohort_folder import CohortFolder
from napari_diffseg.cohorts.standing import Standing
from napari_diffseg.training.state import load_state

sys.path.insert(0, str(Path(__file__).parents[2] / "scripts"))
from slurm_here import is_there, slurm_here

pytestmark = [pytest.mark.slow, pytest.mark.skipif(not is_there(), reason="needs slurm-wlm, munge and root")]
MANY = 30


@pytest.fixture(scope="module")
def cluster(tmp_path_factory):
    with slurm_here(tmp_path_factory.mktemp("slurm") / "cluster") as there:
        yield there


@pytest.fixture
def words(tmp_path):
    for k in range(3):
        write_case(tmp_path / "data" / f"p{k}", case_id=f"p{k}", seed=k)
    checkpoint = write_tiny_checkpoint(tmp_path / "tiny.safetensors")
    base = [sys.executable, "-m", "napari_diffseg", "predict", tmp_path / "data", "--checkpoint", checkpoint]
    base += ["--device", "cpu", "--reproducible", "--on", "slurm", "--gpus", 0, "--time", 30, "--slurm", "comment=test"]
    return [str(word) for word in base]


def start(words, out, cluster, *more, **streams):
    whole = [*words, "--out", str(out), *map(str, more)]
    return subprocess.Popen(whole, env=cluster.env, text=True, stdout=subprocess.PIPE, **streams)


def finished(process):
    printed, told = process.communicate(timeout=300)
    return process.returncode, printed, told


def until(holds, what, seconds=120):
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if holds():
            return
        time.sleep(0.3)
    raise AssertionError(what)


def members_of(out):
    return len(list(out.glob("*/members/member-*.nii.gz")))


def digests(out):
    return {row.name: row.last.result for row in CohortFolder(out).table()}


def begin_at_once(cluster, job):
    """SLURM lets a job that was queued again wait for two minutes."""
    until(lambda: "PENDING" in cluster.run("squeue", "-h", "-j", job, "-o", "%T"), "the job is not queued again")
    cluster.run("scontrol", "update", f"JobId={job}", "StartTime=now")


def test_the_cases_of_a_cohort_are_done_by_the_tasks_of_an_array(words, cluster, tmp_path):
    out = tmp_path / "out"
    code, printed, told = finished(start(words, out, cluster, "--members", 3, "--jobs", 2, stderr=subprocess.PIPE))
    assert code == 0, told
    assert sorted(printed.split()) == [str(out / f"p{k}") for k in range(3)]
    assert all("job" in row.last.who.shown for row in CohortFolder(out).table())


def test_a_job_that_is_queued_again_goes_on_at_its_last_member_and_to_the_same_bytes(words, cluster, tmp_path):
    out, calm = tmp_path / "out", tmp_path / "calm"
    command = start(words, out, cluster, "--members", MANY, "--jobs", 1, stderr=subprocess.PIPE)
    until(lambda: members_of(out) > 3, "no member is finished")
    (job,) = set(cluster.run("squeue", "-h", "-o", "%A").split())
    cluster.run("scontrol", "requeue", job)
    begin_at_once(cluster, job)
    code, _, told = finished(command)
    assert code == 0, told
    first = CohortFolder(out).attempts.of("p0")
    assert len(first) == 2
    assert [a.outcome for a in first][-1] == "done"
    local = list(words[: words.index("--on")])
    subprocess.run([*local, "--out", str(calm), "--members", str(MANY)], check=True, capture_output=True, timeout=300)
    assert digests(out) == digests(calm)


@pytest.mark.parametrize("how", ["pre-empted", "warned"])
def test_a_job_that_gives_way_is_queued_again_and_goes_on_at_its_last_member(words, cluster, tmp_path, how):
    out, calm = tmp_path / "out", tmp_path / "calm"
    command = start(words, out, cluster, "--members", MANY, "--jobs", 1, stderr=subprocess.PIPE)
    until(lambda: members_of(out) > 3, "no member is finished")
    (job,) = set(cluster.run("squeue", "-h", "-o", "%A").split())
    if how == "pre-empted":
        cluster.run("sbatch", "--partition=urgent", "--exclusive", "--wrap=sleep 2", f"--output={tmp_path}/urgent.txt")
    else:  # as SLURM does where the time is nearly up
        cluster.run("scancel", "--signal=USR2", job)
    begin_at_once(cluster, job)
    code, _, told = finished(command)
    assert code == 0, told
    first = CohortFolder(out).attempts.of("p0")
    assert [a.outcome for a in first] == ["stopped", "done"]
    kept = json.loads((out / "p0" / "run.json").read_bytes())["parts"]
    assert len(kept) == 2
    local = list(words[: words.index("--on")])
    subprocess.run([*local, "--out", str(calm), "--members", str(MANY)], check=True, capture_output=True, timeout=300)
    assert digests(out) == digests(calm)


def test_ctrl_c_asks_whether_to_cancel_and_the_same_command_goes_on(words, cluster, tmp_path):
    out = tmp_path / "out"
    ours, theirs = pty.openpty()
    command = start(words, out, cluster, "--members", MANY, "--jobs", 2, stdin=theirs, stderr=subprocess.PIPE)
    until(lambda: members_of(out) > 3, "no member is finished")
    command.send_signal(signal.SIGINT)
    os.write(ours, b"y\n")
    code, _, told = finished(command)
    assert code == 130
    assert "Cancel the 2 jobs, too?" in told
    assert "is cancelled" in told
    until(lambda: not cluster.run("squeue", "-h").strip(), "jobs are still there")
    folder = CohortFolder(out)
    until(lambda: all(r.state is not Standing.RUNNING for r in folder.table()), "a case still goes on")
    assert members_of(out) < 3 * MANY
    code, _, told = finished(start(words, out, cluster, "--members", MANY, "--jobs", 2, stderr=subprocess.PIPE))
    assert code == 0, told
    assert members_of(out) == 3 * MANY
    os.close(ours)
    os.close(theirs)


def test_a_cohort_goes_on_while_slurms_controller_is_away_and_leaves_no_job_behind(words, cluster, tmp_path):
    out = tmp_path / "out"
    blocked = cluster.run("sbatch", "--parsable", "--wrap=sleep 600", "--output=/dev/null").strip()  # one of two cores
    command = start(words, out, cluster, "--members", MANY, "--jobs", 2, stderr=subprocess.PIPE)
    until(lambda: members_of(out) > 3, "no member is finished")
    cluster.kill_controller()
    before = members_of(out)
    until(lambda: members_of(out) > before + 3, "the workers stop with the controller")
    cluster.start_controller()
    code, _, told = finished(command)
    assert code == 0, told
    assert members_of(out) == 3 * MANY
    assert not cluster.run("squeue", "-h", "--states=PENDING").strip(), "a job waits for work that is done"
    cluster.run("scancel", blocked)


def test_an_option_that_slurm_refuses_is_one_sentence(words, cluster, tmp_path):
    refused = start(words, tmp_path / "out", cluster, "--partition", "nowhere", stderr=subprocess.PIPE)
    code, _, told = finished(refused)
    assert code == 2
    assert "partition" in told
    assert "Traceback" not in told


def test_a_training_that_gives_way_is_queued_again(cluster, tmp_path):
    out = tmp_path / "run"
    words = ["train", "--data", "phantoms", "--out", out, "--preset", "tiny", "--steps", 4000, "--phantoms", 2]
    words += ["--device", "cpu", "--on", "slurm", "--gpus", 0, "--time", 20]
    whole = [sys.executable, "-m", "napari_diffseg", *map(str, words)]
    asked = subprocess.run(whole, env=cluster.env, capture_output=True, text=True, check=True, timeout=120)
    job = asked.stdout.strip()
    until((out / "log.csv").exists, "the training does not begin", 200)
    cluster.run("sbatch", "--partition=urgent", "--exclusive", "--wrap=sleep 2", "--output=/dev/null")
    until(lambda: "PENDING" in cluster.run("squeue", "-h", "-j", job, "-o", "%T"), "the job is not queued again")
    assert load_state(out / "state.pt")["step"] > 0
    cluster.run("scancel", job)


def test_a_training_is_a_job_that_torchrun_starts_and_another_one_resumes(cluster, tmp_path):
    out = tmp_path / "run"
    words = ["train", "--data", "phantoms", "--out", out, "--preset", "tiny", "--steps", 4, "--phantoms", 2]
    words += ["--device", "cpu", "--on", "slurm", "--gpus", 0, "--time", 20]
    for more, steps in ((["--stop-after", 2], 2), (["--resume"], 4)):
        whole = [sys.executable, "-m", "napari_diffseg", *map(str, [*words, *more])]
        asked = subprocess.run(whole, env=cluster.env, capture_output=True, text=True, check=True, timeout=120)
        until(lambda: not cluster.run("squeue", "-h").strip(), "the training does not end", 300)
        assert (out / "last.safetensors").exists(), (out / f"slurm-{asked.stdout.strip()}.txt").read_text()
        assert load_state(out / "state.pt")["step"] == steps
