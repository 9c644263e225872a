"""An engine that outlives its link: it goes on, tells everything once, to its client alone, and ends when it should."""

import hashlib
import io
import os
import signal
import socket
import stat
import subprocess
import sys
import threading
import time
from contextlib import contextmanager, suppress
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import ClassVar

import numpy as np
import pytest
from as_if_other import AsIfOther, masks
from hypothesis import given, settings
from hypothesis import strategies as st

from conformance import same
from napari_diffseg.events import Finished, Sampled, SegmentRequest, Started, Stepped
from napari_diffseg.remote import engine_process, relay, sockets
from napari_diffseg.remote import segmenter as segmenter_module
from napari_diffseg.remote.answers import package_version
from napari_diffseg.remote.arrays import compress
from napari_diffseg.remote.blob_store import PIECE
from napari_diffseg.remote.computer import LINK_GONE, Computer
from napari_diffseg.remote.contents import checkpoint_files, describe_case
from napari_diffseg.remote.engine_process import EngineProcess
from napari_diffseg.remote.engine_settings import EngineSettings
from napari_diffseg.remote.event_messages import as_event
from napari_diffseg.remote.frames import frame_bytes, read_frame, write_frame
from napari_diffseg.remote.messages import (
    Ask,
    Begin,
    Done,
    End,
    Failed,
    Happened,
    Hello,
    Load,
    Loaded,
    Missing,
    Ping,
    Put,
    Seen,
    Tell,
    Welcome,
    from_engine,
    header_of,
)
from napari_diffseg.remote.outbox import Outbox
from napari_diffseg.remote.segmenter import RemoteSegmenter
from napari_diffseg.segmenting.segmenter import LocalSegmenter

pytestmark = pytest.mark.skipif(sockets.sockets_folder() is None, reason="there are no Unix sockets here")

TOKEN = "ab" * 32
LONG = SegmentRequest(device="cpu", members=300, threads=1, batch_size=4)


class Client:
    """Speaks with an engine over its socket, frame by frame."""

    there: ClassVar = []
    number = 0

    def __init__(self, path, **hello):
        self._socket = socket.socket(socket.AF_UNIX)
        Client.there.append(self)
        self._socket.settimeout(20)
        self._socket.connect(str(path))
        self._stream = self._socket.makefile("rwb")
        self.say(Hello(id=1, version="1", **{"engine": TOKEN, **hello}))
        self.welcome = self.hear()[0]

    def say(self, message, blocks=()):
        write_frame(self._stream, header_of(message), blocks)

    def hear(self):
        frame = read_frame(self._stream)
        return (None, b"") if frame is None else (from_engine(frame), frame.body)

    def ask(self, message, kind):
        self.say(message)
        answer, _ = self.hear()
        assert isinstance(answer, kind), answer
        return answer

    def events(self, *, until=lambda event: False):
        """The events of the run that was begun last, with their counts, until one is wanted or the run ends."""
        while True:
            message, body = self.hear()
            assert message is not None
            if message.id != Client.number:
                continue  # the end of a run that was cancelled
            if not isinstance(message, Happened):
                self.end = message
                return
            event = as_event(message, body)
            yield message.count, event
            if until(event):
                return

    def begin(self, number, part, request):
        Client.number = number
        self.say(Begin(id=number, case=part, request=request))

    def cut(self):
        with suppress(OSError):
            self._socket.shutdown(socket.SHUT_RDWR)
        self._stream.close()
        self._socket.close()


@pytest.fixture
def engine(tmp_path):
    """An engine in a thread, which listens; it must have ended at the end of the test."""

    @contextmanager
    def make(**changes):
        path = tmp_path / "engine.sock"
        settings = EngineSettings(
            TOKEN, str(path), str(tmp_path / "store"), changes.get("quota", 10**9), changes.get("outlive_s", 60.0)
        )
        with sockets.listen(path) as listener:
            process = EngineProcess(listener, settings)
            thread = threading.Thread(target=process.run)
            thread.start()
            try:
                yield path
            finally:
                while Client.there:
                    Client.there.pop().cut()
                process.end()
                thread.join(timeout=10)
                assert not thread.is_alive()
                assert not path.exists()

    return make


def send(client, contents):
    """Send what is not there yet."""
    by_digest = {content.digest: content for content in contents}
    for digest in client.ask(Ask(id=2, digests=tuple(by_digest)), Missing).digests:
        data = b"".join(by_digest[digest].pieces())
        client.say(Put(id=3, digest=digest, size=len(data), offset=0, unpacked=len(data)), [compress(data)])
        assert isinstance(client.hear()[0], Done)


def prepared(path, checkpoint, case, *, beside_viewer=False):
    """A client whose engine has checkpoint and case; and what begins a run."""
    client = Client(path)
    files, (part, images) = checkpoint_files(checkpoint.path), describe_case(case)
    send(client, [*files.contents, *images])
    load = Load(id=4, files=files.parts, main=files.main, preview_interval_s=0, beside_viewer=beside_viewer)
    client.ask(load, Loaded)
    return client, part


def test_a_run_goes_on_without_its_link_and_another_link_hears_the_rest_once(engine, tiny_checkpoint, tiny_case):
    request = SegmentRequest(device="cpu", members=6, threads=1, batch_size=4)
    local = [e for e in LocalSegmenter(tiny_checkpoint).segment(tiny_case, request) if not isinstance(e, Stepped)]
    with engine() as path:
        client, part = prepared(path, tiny_checkpoint, tiny_case)
        client.begin(7, part, request)
        heard = list(client.events(until=lambda e: isinstance(e, Sampled)))
        client.cut()
        time.sleep(0.5)  # it goes on meanwhile
        again = Client(path, run=7, have=heard[-1][0])
        assert again.welcome.goes_on
        heard += list(again.events())
        assert isinstance(again.end, Done)
        lasting = [(count, event) for count, event in heard if count]
        assert [count for count, _ in lasting] == list(range(1, len(local) + 1))
        assert all(same(event, expected) for (_, event), expected in zip(lasting, local, strict=True))
        again.say(Seen(id=7, previews=0, events=len(local) + 1))
        again.cut()
        assert not Client(path, run=7, have=len(local) + 1).welcome.goes_on  # nothing is kept of what has arrived


@pytest.mark.skipif(sys.platform != "linux", reason="threads have a priority of their own on Linux")
def test_beside_a_window_the_thread_that_samples_gives_way(engine, tiny_checkpoint, tiny_case):
    for beside_viewer in (False, True):
        with engine() as path:
            prepared(path, tiny_checkpoint, tiny_case, beside_viewer=beside_viewer)
            (sampling,) = (thread for thread in threading.enumerate() if thread.name == "engine")
            here = os.getpriority(os.PRIO_PROCESS, threading.get_native_id())
            niceness = os.getpriority(os.PRIO_PROCESS, sampling.native_id)
            assert niceness == (max(here, 10) if beside_viewer else here)


def test_an_upload_that_was_cut_goes_on_with_the_pieces_that_are_missing(engine, tmp_path):
    data = np.random.default_rng(0).bytes(3 * PIECE)
    digest = hashlib.sha256(data).hexdigest()

    def put(client, piece):
        part = data[piece * PIECE : (piece + 1) * PIECE]
        message = Put(id=3, digest=digest, size=len(data), offset=piece * PIECE, unpacked=len(part))
        client.say(message, [compress(part)])

    with engine() as path:
        first = Client(path)
        put(first, 0)
        first.ask(Ping(id=4), Done)
        first.cut()
        again = Client(path)
        assert again.ask(Ask(id=2, digests=(digest,)), Missing).begun == (PIECE,)
        put(again, 1)
        again.ask(Ping(id=4), Done)
    with engine() as path:  # another engine, the pieces of the one before on disk
        last = Client(path)
        begun = last.ask(Ask(id=2, digests=(digest,)), Missing).begun
        assert begun == (PIECE,)  # the last whole piece comes again
        put(last, 1)
        put(last, 2)
        assert isinstance(last.hear()[0], Done)
        assert last.ask(Ask(id=2, digests=(digest,)), Missing).digests == ()


def test_images_of_cases_before_give_way_on_an_engine_that_stays(engine, tiny_checkpoint, tiny_case, tmp_path):
    size = sum(volume.data.nbytes for volume in tiny_case.volumes.values())
    request = SegmentRequest(device="cpu", members=1, threads=1, slices="1:2")
    with engine(quota=2 * size + tiny_checkpoint.path.stat().st_size) as path:
        client, _ = prepared(path, tiny_checkpoint, tiny_case)
        for number in range(10, 14):
            volumes = {n: replace(v, data=v.data + number) for n, v in tiny_case.volumes.items()}
            part, images = describe_case(replace(tiny_case, volumes=volumes))
            send(client, images)
            client.begin(number, part, request)
            list(client.events())
            assert isinstance(client.end, Done)
        kept = sum(file.stat().st_size for file in (tmp_path / "store").iterdir())
        assert kept <= 2 * size + tiny_checkpoint.path.stat().st_size


def test_a_cancel_after_coming_back_and_another_client_end_the_run_at_once(engine, tiny_checkpoint, tiny_case):
    with engine() as path:
        client, part = prepared(path, tiny_checkpoint, tiny_case)
        for number, ended_by_word in ((7, True), (8, False)):
            client.begin(number, part, LONG)
            heard = list(client.events(until=lambda e: isinstance(e, Sampled)))
            client.cut()
            client = Client(path, run=number if ended_by_word else None, have=max(count for count, _ in heard))
            assert client.welcome.goes_on == ended_by_word
            if ended_by_word:
                client.say(Tell(id=number, word="cancel"))
                assert not any(isinstance(event, Finished) for _, event in client.events())
                assert isinstance(client.end, Failed)
        client.begin(9, part, LONG.model_copy(update={"members": 1}))
        *_, (_, last) = [pair for pair in client.events() if not isinstance(pair[1], Stepped)]
        assert isinstance(last, Finished)  # nothing of the run before was in its way


def test_the_last_client_counts_and_a_stranger_is_refused(engine):
    with engine() as path:
        first = Client(path)
        assert isinstance(first.welcome, Welcome)
        stranger = Client(path, engine="cd" * 32)
        assert "belongs to somebody else" in stranger.welcome.text
        assert isinstance(Client(path).welcome, Welcome)
        assert first.hear() == (None, b"")


def test_an_engine_ends_when_told_and_when_nobody_comes_back(engine, monkeypatch):
    monkeypatch.setattr(engine_process, "IDLE_S", 0.2)
    with engine() as path:
        client = Client(path)
        time.sleep(0.6)  # a link that is there is no reason to end
        client.say(End())
        assert client.hear() == (None, b"")
        await_gone(path)
    with engine() as path:
        Client(path).cut()
        await_gone(path)


def test_a_run_that_nobody_comes_back_for_ends_after_its_time(engine, tiny_checkpoint, tiny_case):
    with engine(outlive_s=0.5) as path:
        client, part = prepared(path, tiny_checkpoint, tiny_case)
        client.begin(7, part, LONG)
        next(client.events())
        client.cut()
        await_gone(path)


def test_a_silent_link_counts_as_lost(engine, monkeypatch):
    monkeypatch.setattr(engine_process, "SILENT_S", 0.3)
    with engine() as path:
        assert Client(path).hear() == (None, b"")


def test_a_slow_link_is_not_a_silent_one(engine, monkeypatch):
    monkeypatch.setattr(engine_process, "SILENT_S", 0.4)
    with engine() as path:
        client = Client(path)
        frame = frame_bytes(header_of(Ping(id=9)))
        for k in range(0, len(frame), 4):
            client._socket.sendall(frame[k : k + 4])
            time.sleep(0.1)
        assert isinstance(client.hear()[0], Done)


def test_a_client_whom_another_one_has_followed_cancels_nothing(tmp_path):
    path = tmp_path / "engine.sock"
    with sockets.listen(path) as listener:
        process = EngineProcess(listener, EngineSettings(TOKEN, str(path), str(tmp_path / "store"), 10**9, 60.0))
    kept = []
    process._server.keep_only = lambda run: kept.append(run) or False
    links = [socket.socketpair() for _ in range(2)]
    threads = [threading.Thread(target=process._speak, args=(far,)) for _, far in links]
    with process._serving:  # the link before has not come to its end
        for run, (thread, (near, far)) in enumerate(zip(threads, links, strict=True)):
            near.sendall(frame_bytes(header_of(Hello(id=1, version="1", engine=TOKEN, run=run))))
            thread.start()
            wait_until(lambda far=far: process._link is far)
    for thread, (near, _) in zip(threads, links, strict=True):
        near.shutdown(socket.SHUT_WR)
        thread.join(timeout=10)
        near.close()
    assert kept == [1]
    process._server.close()


def wait_until(holds):
    deadline = time.monotonic() + 10
    while not holds():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def await_gone(path):
    wait_until(lambda: not path.exists())


class Cut(io.BytesIO):
    """A link that takes so many writes."""

    def __init__(self, most):
        super().__init__()
        self._left = most

    def write(self, data):
        self._left -= 1
        if self._left < 0:
            raise BrokenPipeError
        return super().write(data)

    def counts(self):
        """Of the lasting events that have arrived, after the welcome."""
        self.seek(0)
        messages = [from_engine(frame) for frame in iter(lambda: read_frame(self), None)]
        return [m.count for m in messages if isinstance(m, Happened) and m.count], messages


@settings(max_examples=25)
@given(cuts=st.lists(st.integers(0, 9), max_size=6), acknowledged=st.booleans())
def test_whatever_is_cut_every_lasting_event_arrives_once_and_in_order(cuts, acknowledged):
    outbox = Outbox(None, most_kept=1 << 20)
    outbox.begin(5)
    mask = np.ones((1, 1, 2, 2), bool)
    hello, arrived = Welcome(id=1, version="1", host="h", python="3"), []
    told = iter(range(20))
    for cut in [*cuts, 1000]:
        link = Cut(cut)
        outbox.attach(link, hello, run=5, have=len(arrived))
        for n in [*zip(told, range(4 if cut < 1000 else 20), strict=False)]:
            outbox.tell(5, Stepped("r", 0, 4, 750, n[0]))
            outbox.tell(5, Sampled("r", n[0], (1,), mask))
        if cut == 1000:
            outbox.end(5, Done(id=5))
            outbox.close()
        else:
            deadline = time.monotonic() + 5
            while outbox._waiting:
                assert time.monotonic() < deadline
            outbox.detach(link)
        counts, messages = link.counts()
        assert not messages or messages[0].kind == "welcome"
        arrived += counts
        if acknowledged:
            outbox.seen(5, previews=0, events=len(arrived))
    assert arrived == list(range(1, arrived[-1] + 1))
    assert messages[-1].kind == "done"


def test_sampling_waits_once_too_much_is_kept_and_goes_on_when_it_has_arrived():
    outbox = Outbox(None, most_kept=100)
    outbox.begin(5)
    mask = np.random.default_rng(0).random((1, 1, 20, 20)) > 0.5
    told = threading.Event()

    def tell():
        for k in range(400):
            outbox.tell(5, Sampled("r", k, (1,), mask))
        told.set()

    threading.Thread(target=tell, daemon=True).start()
    assert not told.wait(0.3)
    link, have = io.BytesIO(), 0
    outbox.attach(link, Welcome(id=1, version="1", host="h", python="3"), run=5, have=0)
    deadline = time.monotonic() + 10
    while not told.is_set():
        assert time.monotonic() < deadline
        have += 1
        outbox.seen(5, previews=0, events=have)
        time.sleep(0.001)


def test_sockets_are_for_the_user_alone_and_what_was_left_is_removed(tmp_path):
    folder = sockets.sockets_folder()
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    path = sockets.socket_path(tmp_path, TOKEN)
    assert TOKEN[:8] not in path.name
    sockets.listen(path).close()  # as a process that was killed leaves it
    sockets.log_path(path).write_text("last words")
    living = sockets.socket_path(tmp_path, "cd" * 32)
    with sockets.listen(living):
        sockets.remove_left_over(tmp_path)
        assert list(tmp_path.iterdir()) == [living]
        assert sockets.is_alive(living)
    assert sockets.connect(living) is None
    assert sockets.connect(path) is None


@pytest.mark.parametrize("made", ["file", "open to others", "link"])
def test_a_folder_that_somebody_else_could_have_made_is_not_used(tmp_path, monkeypatch, made):
    folder = tmp_path / f"napari-diffseg-{os.geteuid()}"
    if made == "file":
        folder.write_text("")
    elif made == "link":
        (tmp_path / "elsewhere").mkdir(mode=0o700)
        folder.symlink_to(tmp_path / "elsewhere")
    else:
        folder.mkdir()
        folder.chmod(0o755)
    monkeypatch.setattr(sockets, "_TMP", tmp_path)
    assert sockets.sockets_folder() is None


def socket_of(segmenter):
    """Where its engine listens."""
    return sockets.socket_path(sockets.sockets_folder(), segmenter._engine)


def killing(events, segmenter, *, after):
    """The events; the process that is spoken with is killed after so many of them, once."""
    for n, event in enumerate(events):
        yield event
        if n == after:
            os.kill(segmenter.link.pid, signal.SIGKILL)


@pytest.fixture(autouse=True)
def hurried(monkeypatch):
    monkeypatch.setattr(segmenter_module, "_PAUSE_S", 0.1)


def test_the_panel_comes_back_to_its_run(tiny_checkpoint, tiny_case):
    request = SegmentRequest(device="cpu", members=20, batch_size=4, threads=1)
    local = [e for e in LocalSegmenter(tiny_checkpoint).segment(tiny_case, request) if not isinstance(e, Stepped)]
    told = []
    segmenter = RemoteSegmenter(AsIfOther("there"), tiny_checkpoint.path, told=told.append)
    segmenter.checkpoint()
    path = socket_of(segmenter)
    assert path.exists()
    seen = list(killing(segmenter.segment(tiny_case, request), segmenter, after=12))
    lasting = [e for e in seen if not isinstance(e, Stepped)]
    assert [type(e) for e in lasting] == [type(e) for e in local]
    assert all(same(a, b) for a, b in zip(lasting, local, strict=True))
    assert any("its engine has gone on" in text for text in told)
    segmenter.close()
    assert not path.exists()


@pytest.mark.slow
def test_a_trace_and_what_if_go_on_over_another_link_and_another_engine(tiny_checkpoint, tiny_case):
    from napari_diffseg.segmenting.trajectory import record_trajectory
    from napari_diffseg.segmenting.what_if import Change

    request = SegmentRequest(device="cpu", members=8, threads=1, batch_size=2, slices="1:2")
    local = LocalSegmenter(tiny_checkpoint)
    change = Change("t1", tiny_case.volumes["flair"])
    for variables in ((), ("SLURM_JOB_ID=1",)):  # within a job its engine ends with the link
        segmenter = RemoteSegmenter(AsIfOther("there", variables=variables), tiny_checkpoint.path)
        segmenter.checkpoint()
        traced = list(killing(segmenter.trace(tiny_case, request), segmenter, after=5))
        mine, other = (
            record_trajectory(e, members=tuple(range(8)), slice_index=1)
            for e in (traced, local.trace(tiny_case, request))
        )
        np.testing.assert_array_equal(mine.decided, other.decided)
        np.testing.assert_array_equal(mine.evidence, other.evidence)
        changed = list(killing(segmenter.what_if(tiny_case, request, change), segmenter, after=7))
        expected = masks(local.what_if(tiny_case, request, change))
        found = masks(changed)
        assert len([s for e in changed if isinstance(e, Sampled) for s in e.slices]) == len(found) == len(expected)
        for row, mask in found.items():
            np.testing.assert_array_equal(mask, expected[row])
        segmenter.close()


@pytest.mark.slow
def test_a_cancel_and_a_close_while_the_link_is_lost_end_the_engine(tiny_checkpoint, tiny_case):
    segmenter = RemoteSegmenter(AsIfOther("there"), tiny_checkpoint.path)
    events = segmenter.segment(tiny_case, LONG)
    assert isinstance(next(events), Started)
    path = socket_of(segmenter)
    os.kill(segmenter.link.pid, signal.SIGKILL)
    time.sleep(0.5)
    assert sockets.is_alive(path)
    events.close()
    await_gone_slowly(path)
    segmenter.close()


def await_gone_slowly(path):
    deadline = time.monotonic() + 60
    while path.exists():
        assert time.monotonic() < deadline
        time.sleep(0.1)


@pytest.mark.slow
def test_a_program_that_ends_without_closing_ends_its_engine_and_one_that_is_killed_does_not(tiny_checkpoint):
    program = f"""
import sys
sys.path[:0] = {sys.path!r}
from as_if_other import AsIfOther
from test_outliving import socket_of
from napari_diffseg.remote.segmenter import RemoteSegmenter
segmenter = RemoteSegmenter(AsIfOther("there", outlive_s=5.0), {str(tiny_checkpoint.path)!r})
segmenter.checkpoint()
print(socket_of(segmenter), flush=True)
sys.stdin.read()
"""
    for kill in (False, True):
        words = [sys.executable, "-c", program]
        with subprocess.Popen(words, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
            path = Path(process.stdout.readline().strip())
            assert sockets.is_alive(path)
            if kill:
                process.kill()
                time.sleep(1.0)
                assert sockets.is_alive(path)
        await_gone_slowly(path)


@pytest.mark.slow
def test_an_engine_that_was_killed_says_so_over_its_relay(tiny_checkpoint, tiny_case):
    from napari_diffseg.errors import EngineFailed

    segmenter = RemoteSegmenter(AsIfOther("there"), tiny_checkpoint.path)
    events = segmenter.segment(tiny_case, LONG)
    next(events)
    path = socket_of(segmenter)
    kill_engine(path)
    with pytest.raises(EngineFailed, match="killed"):
        list(events)
    segmenter.close()
    assert not path.exists()


def kill_engine(path):
    """Kill the process that listens there."""
    import psutil

    for process in psutil.process_iter(["cmdline"]):
        if "napari_diffseg.remote.engine_process" in (process.info["cmdline"] or []) and any(
            path.stem in link.laddr for link in process.net_connections("unix")
        ):
            process.kill()


@pytest.mark.slow
def test_an_engine_that_is_gone_is_not_started_only_to_be_ended():
    words = ["env", *Computer().words()]
    hello = Hello(id=1, version=package_version()[:64], outlive_s=60, engine="ef" * 32, start=False)
    process = subprocess.Popen(words, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    write_frame(process.stdin, header_of(hello))
    answer = from_engine(read_frame(process.stdout))
    assert (answer.kind, answer.engine) == ("welcome", None)
    process.stdin.close()
    assert process.wait(timeout=20) == 0
    process.stdout.close()


def test_an_engine_that_was_suspended_waits_for_its_client_as_long_as_one_that_was_not(monkeypatch):
    server, looks = SimpleNamespace(heard_at=-1000.0), []  # as after an hour in which nothing ran

    def sleep(seconds):
        looks.append(seconds)
        if sum(looks) == 60:
            server.heard_at = 0.0

    monkeypatch.setattr(relay.time, "sleep", sleep)
    monkeypatch.setattr(relay.os, "_exit", lambda code: looks.append("ended"))
    relay._end_unheard(server)
    assert looks.pop() == "ended"
    assert sum(looks) == 60 + relay.IDLE_S


def test_a_relay_that_is_ended_leaves_its_engine_and_one_that_is_not_answered_says_so(tmp_path, monkeypatch, capfd):
    monkeypatch.setattr(relay, "_ANSWER_S", 0.1)
    hello = Hello(id=1, version="1", engine=TOKEN)
    with sockets.listen(sockets.socket_path(tmp_path, TOKEN)):  # and never answers
        way = relay._Relay(tmp_path, tmp_path, 10**9, 60.0)
        assert way.run(hello, io.BytesIO(), io.BytesIO()) == LINK_GONE
        assert "has not answered" in capfd.readouterr().err

        def end(*_):
            raise KeyboardInterrupt

        monkeypatch.setattr(relay, "_from_engine", end)
        assert way.run(hello, io.BytesIO(), io.BytesIO()) == LINK_GONE


def test_a_relay_that_ends_alone_is_a_lost_link_and_an_engine_that_ends_is_not():
    there = Computer("me@there")
    assert type(there.explain(LINK_GONE, "", answered=True, outlives=True)).__name__ == "LinkLost"
    assert type(there.explain(255, "", answered=True, outlives=True)).__name__ == "LinkLost"
    assert type(there.explain(255, "", answered=True)).__name__ == "EngineFailed"
    assert "killed" in str(there.explain(137, "", answered=True, outlives=True))
