"""What is asked of SLURM, by the words that its own commands take."""

import pytest

from napari_diffseg.cohorts.slurm import ArrayWorker, SlurmOptions, _is_preempted, _own_job, minutes_of, submit
from napari_diffseg.errors import BadRequest


@pytest.mark.parametrize(
    ("text", "minutes"),
    [("90", 90), ("90:30", 91), ("1:30:00", 90), ("1-12", 2160), ("1-12:05", 2165), ("1-00:00:00", 1440)],
)
def test_a_time_limit_is_read_as_slurm_reads_it(text, minutes):
    assert minutes_of(text) == minutes


@pytest.mark.parametrize("text", ["", "soon", "0", "1h", "-5", "0:00:00"])
def test_what_is_no_time_limit_is_refused(text):
    with pytest.raises(BadRequest):
        minutes_of(text)


def test_other_options_are_names_and_values():
    options = SlurmOptions.of(jobs=2, gpus=0, time="5", partition=None, others=["account=lab", "--mem=8G"])
    assert options.others == {"account": "lab", "mem": "8G"}
    with pytest.raises(BadRequest, match="NAME=VALUE"):
        SlurmOptions.of(jobs=2, gpus=0, time="5", partition=None, others=["account"])


def test_without_slurm_it_is_said(monkeypatch):
    monkeypatch.setattr("napari_diffseg.cohorts.slurm.shutil.which", lambda _name: None)
    with pytest.raises(BadRequest, match="no SLURM here"):
        submit(None, None, None)


def test_a_job_that_was_queued_again_does_the_same_again():
    worker = ArrayWorker("out", "launch", 1, 4)
    assert worker.checkpoint().function == worker


@pytest.mark.parametrize(
    ("state", "time", "is_preempted"),
    [
        ("RUNNING", "2026-11-30T06:54:21", True),
        ("RUNNING", "None", False),
        ("CANCELLED", "2026-11-30T06:54:21", False),
        ("COMPLETING", "None", False),
    ],
)
def test_a_job_that_is_cancelled_is_not_one_that_gives_way(state, time, is_preempted):
    shown = (
        f"JobId=7 ArrayJobId=7 JobName=napari-diffseg JobState={state} PreemptEligibleTime=now PreemptTime={time} A=b"
    )
    assert _is_preempted(shown) is is_preempted


def test_a_task_of_an_array_speaks_of_itself_alone():
    array = {"SLURM_JOB_ID": "7", "SLURM_ARRAY_JOB_ID": "7", "SLURM_ARRAY_TASK_ID": "1"}  # 7 is every task of the array
    assert _own_job(array) == "7_1"
    assert _own_job({"SLURM_JOB_ID": "7"}) == "7"
