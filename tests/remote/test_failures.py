"""An engine that cannot be had, or ends, is one sentence; what was finished is kept, and going on gives the rest."""

import os
import signal
import sys
import threading
import time
from dataclasses import dataclass, replace

import numpy as np
import pytest

from napari_diffseg.errors import BadCheckpoint, BadRequest, EngineFailed
from napari_diffseg.events import Sampled, SegmentRequest, Started
from napari_diffseg.imaging.case import Case
from napari_diffseg.imaging.formats.nifti import read_mask
from napari_diffseg.remote.computer import Computer, parse_computer
from napari_diffseg.remote.contents import PIECE, FileContent, checkpoint_files
from napari_diffseg.remote.link import Link
from napari_diffseg.remote.messages import Load, Ping
from napari_diffseg.remote.segmenter import RemoteSegmenter
from napari_diffseg.runs.keep import keep_run
from napari_diffseg.runs.run_folder import RunFolder

REQUEST = SegmentRequest(device="cpu", members=3, threads=1)


@dataclass(frozen=True)
class Fake(Computer):
    """A computer whose engine is a line of Python."""

    line: str = ""

    def words(self):
        return [sys.executable, "-c", self.line]


def refusal(line, host="me@there"):
    with pytest.raises(EngineFailed) as caught:
        Link(Fake(host=host, line=line))
    return str(caught.value)


SSH_SAYS = "import sys; print({!r}, file=sys.stderr); sys.exit({})"


@pytest.mark.parametrize(
    ("printed", "code", "expected"),
    [
        ("me@there: Permission denied (publickey).", 255, "refuses the login"),
        ("Host key verification failed.", 255, "host key is not known"),
        (
            "@ WARNING: REMOTE HOST IDENTIFICATION HAS CHANGED! @\nHost key verification failed.",
            255,
            "another host key",
        ),
        ("ssh: Could not resolve hostname there: Name or service not known", 255, "no computer of that name"),
        ("ssh: connect to host there port 22: Connection refused", 255, "no SSH server answers"),
        ("ssh: connect to host there port 22: Connection timed out", 255, "does not answer"),
        ("bash: line 1: napari-diffseg: command not found", 127, "no command 'napari-diffseg'"),
        ('napari-diffseg: Unknown command "engine".', 2, "too old"),
        ("srun: error: Unable to allocate resources: Invalid partition", 1, "did not start (srun: error"),
        ("", 137, "did not start"),
    ],
)
def test_what_ssh_or_a_shell_says_becomes_one_sentence(printed, code, expected):
    text = refusal(SSH_SAYS.format(printed, code))
    assert expected in text
    assert "\n" not in text
    assert text.count("me@there") >= 1


def test_what_an_engine_prints_while_it_works_is_not_taken_for_an_old_version():
    told = str(Computer("me@there").explain(1, "UserWarning: unrecognized option of the driver", answered=True))
    assert "too old" not in told
    assert "has ended with exit code 1" in told


@pytest.mark.parametrize(
    ("printed", "said"),
    [
        ("slurmstepd: error: *** STEP 7.0 ON n1 CANCELLED AT 2026-11-30T07:00:00 DUE TO TIME LIMIT ***", "was up"),
        (
            "slurmstepd: error: *** STEP 7.0 ON n1 CANCELLED AT 2026-11-30T07:00:00 DUE TO PREEMPTION ***",
            "taken the place",
        ),
        (
            "slurmstepd: error: *** STEP 7.0 ON n1 CANCELLED AT 2026-11-30T07:00:00 ***\nsrun: error: n1: task 0",
            "cancelled",
        ),
        ("slurmstepd: error: Detected 1 oom_kill event in StepId=7.0. Some of the step tasks have been", "memory"),
    ],
)
def test_a_job_that_slurm_ends_is_one_sentence(printed, said):
    for host in (None, "me@there"):
        told = str(Computer(host).explain(143, printed, answered=True))
        assert said in told
        assert "STEP" not in told


def test_a_job_that_waits_and_one_that_begins_are_told_apart():
    there = Computer("me@there", "srun napari-diffseg")
    job, queued = there.waits("srun: job 7 queued and waiting for resources")
    assert (job, queued) == ("7", "Waiting for the job to start: job 7 on me@there is queued…")
    assert there.waits("srun: job 7 has been allocated resources")[1].startswith("Starting the engine: job 7")
    assert there.waits("srun: error: n1: task 0: Terminated") == ("", "")
    there = Computer("me@there", "env A=b /opt/slurm/bin/srun napari-diffseg")
    assert there.words_to_cancel("7")[-1] == "env A=b /opt/slurm/bin/scancel 7"


WELCOME = """
import sys, time
from napari_diffseg.remote.frames import write_frame
from napari_diffseg.remote.messages import Failed, Welcome, header_of
def say(message):
    write_frame(sys.stdout.buffer, header_of(message))
say(Welcome(id=1, version="1", host="there", python="3"))
"""


def test_an_engine_that_does_not_read_can_be_ended_while_something_is_sent_to_it():
    link = Link(Fake(host="me@there", line=WELCOME + "time.sleep(15)"))
    sending = threading.Thread(target=link.send, args=(Ping(), [b"x" * (1 << 22)]), daemon=True)
    sending.start()
    sending.join(timeout=0.3)
    assert sending.is_alive()
    began = time.monotonic()
    link.close(wait_s=0.2)
    assert time.monotonic() - began < 8
    sending.join(timeout=5)
    assert not sending.is_alive()


def test_what_the_engine_refuses_to_keep_is_not_sent_to_its_end(tmp_path):
    refuses = """
from napari_diffseg.remote.frames import read_frame
read_frame(sys.stdin.buffer)  # who asks
sys.stdin.buffer.read(1)  # a piece begins to come
say(Failed(id=2, error="EngineFailed", text="No room."))
while sys.stdin.buffer.read1(1 << 16):
    pass
"""
    file = tmp_path / "large"
    file.write_bytes(bytes(PIECE * 30))
    link = Link(Fake(host="me@there", line=WELCOME + refuses), check=lambda: time.sleep(0.05))
    with pytest.raises(EngineFailed, match="No room"):
        list(link._put(FileContent(file, "0" * 64, PIECE * 30)))
    assert link.sent < 29 * 1024
    link.close()


def test_of_a_pipeline_one_file_of_weights_of_each_folder_is_sent(tmp_path):
    for folder in ("unet", "unet_ema", "vae", "text_encoder"):
        (tmp_path / folder).mkdir()
        for name in ("config.json", "diffusion_pytorch_model.safetensors", "diffusion_pytorch_model.bin"):
            (tmp_path / folder / name).write_text(folder + name)
    files = checkpoint_files(tmp_path)
    assert len(Load(files=files.parts, main=files.main).files) == 8
    (tmp_path / "model_index.json").write_text("{}")
    files = checkpoint_files(tmp_path)
    assert not any(part.place[-1].endswith(".bin") for part in files.parts)
    assert len(Load(files=files.parts, main=files.main).files) == 9


def test_an_answer_that_is_not_ours_is_refused_with_its_first_words():
    text = refusal("print('Welcome to the cluster!'); import time; time.sleep(20)")
    assert "Welcome to the" in text
    assert "start-up files" in text


def test_an_engine_of_another_version_is_refused():
    text = refusal("import sys, struct; sys.stdout.buffer.write(struct.pack('>4sHHII', b'NDSG', 9, 0, 2, 0) + b'{}')")
    assert "version 9" in text
    assert "install the same version" in text


def test_a_computer_without_ssh_says_so(monkeypatch):
    monkeypatch.setenv("PATH", "")
    with pytest.raises(EngineFailed, match="has no ssh"):
        Link(Computer("me@there"))


@pytest.mark.parametrize("host", ["-oProxyCommand=ls", "", "me@there; ls", "a b", "$(ls)"])
def test_a_host_that_could_be_anything_else_is_refused(host):
    with pytest.raises(BadRequest):
        Computer(host)


@pytest.mark.parametrize("seconds", [-1.0, float("nan"), 1e6])
def test_a_time_without_a_link_that_cannot_be_is_refused(seconds):
    with pytest.raises(BadRequest, match="without its link"):
        Computer("me@gpu", outlive_s=seconds)


def test_the_words_for_computers():
    assert parse_computer("process") == Computer()
    assert parse_computer("ssh:me@there") == parse_computer("me@there") == Computer("me@there")
    assert parse_computer("ssh://me@there:2222").host == "ssh://me@there:2222"
    words = Computer("gpu", "srun --gres=gpu:1 napari-diffseg").words()
    assert words[-3:] == ["--", "gpu", "srun --gres=gpu:1 napari-diffseg engine --stdio"]


@pytest.fixture(scope="module")
def segmenter(tiny_checkpoint):
    remote = RemoteSegmenter(Computer(), tiny_checkpoint.path, preview_interval_s=0)
    yield remote
    remote.close()


@pytest.mark.slow
def test_images_and_checkpoint_cross_once(segmenter, tiny_case):
    noise = np.random.default_rng(5)  # of no other test, whose images the engine's computer may have already
    volumes = {
        name: replace(v, data=v.data + noise.random(v.data.shape, np.float32)) for name, v in tiny_case.volumes.items()
    }
    case = Case("noisy", volumes, None)
    list(segmenter.segment(case, REQUEST))
    before = segmenter.link.sent
    list(segmenter.segment(case, REQUEST))
    again = segmenter.link.sent - before
    segmenter.close()
    list(segmenter.segment(case, REQUEST))  # another engine finds them, too
    assert again < before / 2
    assert segmenter.link.sent < before / 2


@pytest.mark.slow
def test_an_engine_whose_events_are_not_read_rests(segmenter, tiny_case):
    events = segmenter.segment(tiny_case, REQUEST.model_copy(update={"members": 1000, "batch_size": 1}))
    while not isinstance(next(events), Sampled):
        pass
    link = segmenter.link
    deadline = time.monotonic() + 20
    received = -1
    while received != link.received and time.monotonic() < deadline:
        received = link.received
        time.sleep(1.0)
    assert received == link.received, "it went on although nobody read"
    while link.received == received:  # once what lay there is read, it goes on
        next(events)
    events.close()


def test_an_engine_that_is_killed_keeps_the_finished_members_and_the_rest_is_the_same(
    segmenter, tiny_checkpoint, tiny_case, tmp_path
):
    from napari_diffseg.segmenting.segmenter import LocalSegmenter

    whole = RunFolder(tmp_path / "whole", tiny_case, tiny_checkpoint, REQUEST)
    list(keep_run(LocalSegmenter(tiny_checkpoint), whole))
    folder = RunFolder(
        tmp_path / "cut", tiny_case, segmenter.checkpoint(), REQUEST.model_copy(update={"batch_size": 4})
    )

    def kill_after_a_mask():
        for event in keep_run(segmenter, folder):
            if isinstance(event, Sampled) and segmenter.link.is_alive:
                os.kill(segmenter.link.pid, signal.SIGKILL)

    with pytest.raises(EngineFailed, match="killed") as caught:
        kill_after_a_mask()
    assert "\n" not in str(caught.value)
    assert len(folder.finished_members()) >= 1
    list(keep_run(segmenter, folder, resume=True))
    for k in range(3):
        mine, other = (read_mask(f.paths("member", number=k)[0]).data for f in (folder, whole))
        np.testing.assert_array_equal(mine, other)


def test_closing_ends_the_engine_in_the_middle_of_a_run(segmenter, tiny_case):
    events = segmenter.segment(tiny_case, REQUEST.model_copy(update={"members": 1000}))
    assert isinstance(next(events), Started)
    pid = segmenter.link.pid
    if os.name == "posix":  # Ctrl-C is not for it; its share of the processor is that of the session
        assert os.getpgid(pid) != os.getpgid(0)
        assert os.getsid(pid) == os.getsid(0)
    began = time.monotonic()
    segmenter.close()
    assert time.monotonic() - began < 8
    with pytest.raises(ProcessLookupError):
        os.kill(pid, 0)
    with pytest.raises(EngineFailed):
        list(events)


def test_waiting_can_be_ended_by_the_client(tiny_checkpoint, tiny_case):
    class Enough(Exception):
        pass

    def enough():
        raise Enough

    remote = RemoteSegmenter(
        Fake(host="me@there", line="import time; time.sleep(60)"), tiny_checkpoint.path, check=enough
    )
    began = time.monotonic()
    with pytest.raises(Enough):
        list(remote.segment(tiny_case, REQUEST))
    assert time.monotonic() - began < 10


@pytest.mark.slow
def test_a_checkpoint_that_is_none_is_refused_with_its_name(tmp_path):
    bad = tmp_path / "picture.safetensors"
    bad.write_bytes(b"\x89PNG and more")
    remote = RemoteSegmenter(Computer(), bad)
    with pytest.raises(BadCheckpoint, match=r"picture\.safetensors"):
        remote.checkpoint()
    remote.close()
