"""`predict --compute`: the engine of another process or computer, with the same results and one sentence a failure."""

import json
import os
import re
import signal
import subprocess
import sys
import time
from dataclasses import replace

import pytest

from builders import write_case, write_tiny_checkpoint
from napari_diffseg.cli import main
from napari_diffseg.cohorts.cohort_folder import CohortFolder
from napari_diffseg.cohorts.cohort_run import CohortRun
from napari_diffseg.cohorts.work import CaseBegun, CaseEnded, work_through
from napari_diffseg.errors import EngineFailed
from napari_diffseg.events import SegmentRequest
from napari_diffseg.imaging.case_files import find_case_sources
from napari_diffseg.segmenting.segmenter import LocalSegmenter


@pytest.fixture
def data(tmp_path):
    for k in range(3):
        write_case(tmp_path / "data" / f"p{k}", case_id=f"p{k}", seed=k)
    return tmp_path / "data"


@pytest.fixture
def words(data, tmp_path):
    write_tiny_checkpoint(tmp_path / "tiny.safetensors")
    return ["predict", "--checkpoint", str(tmp_path / "tiny.safetensors"), "--device", "cpu", "--reproducible",
            str(data)]  # fmt: skip


def results(out):
    """The bytes of each image, and the record of each run but for what tells when and by whom it was made."""
    found = {str(p.relative_to(out)): p.read_bytes() for p in out.rglob("*.nii.gz")}
    for path in out.glob("*/run.json"):
        record = json.loads(path.read_bytes())
        timeless = {k: v for k, v in record.items() if k not in ("owner", "began", "seconds", "parts")}
        found[str(path.relative_to(out))] = timeless
    return found


class Gone:
    """An engine that ends at one case, and cannot be had any more after `starts` further starts."""

    def __init__(self, segmenter, case, starts):
        self.segmenter, self.case, self.starts = segmenter, case, starts

    def segment(self, case, request, *, focus=None):
        if case.id == self.case:
            raise EngineFailed("The engine on gpu has ended.")
        return self.segmenter.segment(case, request, focus=focus)

    def check(self):
        self.starts -= 1
        if self.starts < 0:
            raise EngineFailed("gpu cannot be reached.")


@pytest.fixture
def run(data, tmp_path, tiny_checkpoint):
    cohort = CohortFolder(tmp_path / "out")
    cohort.add(find_case_sources(data))
    request = SegmentRequest(members=1, device="cpu")
    return CohortRun(LocalSegmenter(tiny_checkpoint, preview_interval_s=None), tiny_checkpoint, request, cohort.out)


def test_a_case_whose_engine_has_ended_is_tried_again_after_the_others(run):
    gone = Gone(run.segmenter, "p0", 9)
    events = list(work_through(replace(run, segmenter=gone, check_engine=gone.check), ["p0", "p1"]))
    assert [e.name for e in events if isinstance(e, CaseBegun)] == ["p0", "p1", "p0", "p0"]
    assert [e.outcome for e in events if isinstance(e, CaseEnded)] == ["failed", "done", "failed", "failed"]


def test_without_an_engine_the_other_cases_are_not_tried_in_vain(run):
    gone = Gone(run.segmenter, "p1", 0)
    with pytest.raises(EngineFailed, match="cannot be reached"):
        list(work_through(replace(run, segmenter=gone, check_engine=gone.check), ["p0", "p1", "p2"]))
    rows = CohortFolder(run.out).table()
    assert [(r.state.value, r.attempts) for r in rows] == [("done", 1), ("waiting", 1), ("waiting", 0)]
    ended = [e for e in work_through(run, ["p0", "p1", "p2"]) if isinstance(e, CaseEnded)]
    assert [(e.name, e.outcome) for e in ended] == [("p1", "done"), ("p2", "done")]


@pytest.mark.parametrize(
    ("more", "said"),
    [
        (["--compute", "gpu", "--jobs", "2"], "leave out --jobs"),
        (["--compute", "gpu", "--on", "slurm"], "leave out --jobs and --on"),
        (["--compute-command", "/opt/bin/napari-diffseg"], "without --compute"),
        (["--compute", "me@gpu; ls"], "no name of a computer"),
    ],
)
def test_what_makes_no_sense_together_is_refused(words, tmp_path, capsys, more, said):
    assert main([*words, "--out", str(tmp_path / "out"), *more]) == 2
    assert said in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


@pytest.mark.slow
def test_an_engine_in_another_process_leaves_the_same_files(words, tmp_path, capsys):
    words += ["--members", "2"]
    assert main([*words, "--out", str(tmp_path / "here")]) == 0
    assert main([*words, "--out", str(tmp_path / "there"), "--compute", "process"]) == 0
    assert "Starting the engine: another process on this computer" in capsys.readouterr().err
    here, there = results(tmp_path / "here"), results(tmp_path / "there")
    assert here.keys() == there.keys()
    assert [name for name in here if here[name] != there[name]] == []
    assert main([*words, "--out", str(tmp_path / "there")]) == 0  # nothing is missing, wherever it was made
    assert "nothing is missing" in capsys.readouterr().err


@pytest.mark.slow
def test_one_case_is_resumed_where_another_engine_left_it(words, data, tmp_path, capsys):
    words = [*words[:-1], str(data / "p0"), "--out", str(tmp_path / "out")]
    assert main([*words, "--members", "2", "--compute", "process"]) == 0
    assert main([*words, "--members", "4", "--resume", "--compute", "process"]) == 0
    assert main([*words[:-1], str(tmp_path / "whole"), "--members", "4"]) == 0
    members = "p0/members/member-004.nii.gz"
    assert results(tmp_path / "out")[members] == results(tmp_path / "whole")[members]
    capsys.readouterr()
    assert main([*words[:-1], str(tmp_path / "new"), "--compute", "nobody@no-such-host.invalid"]) == 1
    told = capsys.readouterr().err.strip().splitlines()[-1]
    assert re.match(r"napari-diffseg: .*no-such-host", told)
    assert not (tmp_path / "new").exists()


@pytest.mark.slow
def test_ctrl_c_ends_the_engine_and_the_same_command_goes_on(words, tmp_path):
    out = tmp_path / "out"
    whole = [
        sys.executable,
        "-m",
        "napari_diffseg",
        *words,
        "--members",
        "60",
        "--out",
        str(out),
        "--compute",
        "process",
    ]
    command = subprocess.Popen(whole, stderr=subprocess.PIPE, text=True)
    end = time.monotonic() + 120
    while len(list(out.glob("p0/members/*.nii.gz"))) < 3 and time.monotonic() < end:
        time.sleep(0.05)
    engines = children_of(command.pid)
    assert len(engines) == 1
    command.send_signal(signal.SIGINT)
    _, told = command.communicate(timeout=60)
    assert command.returncode == 130, told
    assert "finished members are kept" in told
    with pytest.raises(ProcessLookupError):
        os.kill(engines[0], 0)
    (row, *_) = CohortFolder(out).table()
    assert row.last.outcome == "stopped"


def children_of(pid):
    import psutil

    return [child.pid for child in psutil.Process(pid).children()]
