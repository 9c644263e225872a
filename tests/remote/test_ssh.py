"""The same suite over SSH, on another host: its server, its cable, a slow and lossy way, and what can go wrong."""

import os
import signal
import threading
import time
from contextlib import suppress

import pytest

from conformance import REQUEST, Conformance, all_same
from napari_diffseg.errors import EngineFailed
from napari_diffseg.events import Sampled, Stepped
from napari_diffseg.remote.link import Link
from napari_diffseg.remote.segmenter import RemoteSegmenter
from napari_diffseg.segmenting.segmenter import LocalSegmenter
from other_host import OtherHost, Relay, why_not

pytestmark = [pytest.mark.slow, pytest.mark.skipif(bool(why_not()), reason=why_not())]


@pytest.fixture(scope="module")
def host(tmp_path_factory):
    with OtherHost(tmp_path_factory.mktemp("other")) as there:
        yield there


class TestOverSsh(Conformance):
    @pytest.fixture(scope="class")
    @classmethod
    def segmenter(cls, tiny_checkpoint, host):
        remote = RemoteSegmenter(host.computer(), tiny_checkpoint.path, preview_interval_s=0)
        yield remote
        remote.close()


def test_a_slow_and_lossy_way_changes_only_which_previews_come(host, tiny_checkpoint, tiny_case):
    relay = Relay(host.address, delay_s=0.05, loss=0.05)
    segmenter = RemoteSegmenter(host.computer(port=relay.port), tiny_checkpoint.path, preview_interval_s=0)
    local = list(LocalSegmenter(tiny_checkpoint, preview_interval_s=0).segment(tiny_case, REQUEST))
    try:
        seen = list(segmenter.segment(tiny_case, REQUEST))
    finally:
        segmenter.close()
        relay.close()
    assert all_same(seen, local)


def test_previews_do_not_queue_up_on_a_slow_way(host, tiny_checkpoint, tiny_case):
    relay = Relay(host.address, delay_s=0.15)
    segmenter = RemoteSegmenter(host.computer(port=relay.port), tiny_checkpoint.path, preview_interval_s=0)
    request = REQUEST.model_copy(update={"members": 40, "batch_size": 1})
    try:
        began = time.monotonic()
        steps = [e for e in segmenter.segment(tiny_case, request) if isinstance(e, Stepped)]
        seconds = time.monotonic() - began
    finally:
        segmenter.close()
        relay.close()
    previews = [e for e in steps if e.preview is not None]
    assert 1 <= len(previews) <= 3 + 2 * seconds / 0.3


def test_a_cable_that_is_pulled_is_noticed_and_told(host, tiny_checkpoint, tiny_case):
    segmenter = RemoteSegmenter(host.computer(), tiny_checkpoint.path)
    segmenter.patience_s = 0.0
    request = REQUEST.model_copy(update={"members": 1000})
    pulled = threading.Event()

    def run():
        for event in segmenter.segment(tiny_case, request):
            if isinstance(event, Sampled) and not pulled.is_set():
                pulled.set()
                host.cut()

    try:
        began = time.monotonic()
        with pytest.raises(EngineFailed, match="other"):
            run()
        assert time.monotonic() - began < 60
    finally:
        host.mend()
        segmenter.close()


def test_a_run_goes_on_once_the_cable_is_plugged_in_again(host, tiny_checkpoint, tiny_case):
    told = []
    segmenter = RemoteSegmenter(host.computer(), tiny_checkpoint.path, told=told.append)
    request = REQUEST.model_copy(update={"members": 60, "batch_size": 4})
    local = LocalSegmenter(tiny_checkpoint).segment(tiny_case, request)
    whole = [(e.member, e.slices) for e in local if isinstance(e, Sampled)]
    seen, pulled = [], False
    try:
        for event in segmenter.segment(tiny_case, request):
            if isinstance(event, Sampled):
                seen.append((event.member, event.slices))
                if len(seen) == 5 and not pulled:
                    pulled = True
                    host.cut()
                    threading.Timer(25, host.mend).start()
    finally:
        host.mend()
        segmenter.close()
    assert seen == whole
    assert any("its engine has gone on" in text for text in told)


def test_a_login_that_is_ended_by_its_server_does_not_end_the_run(host, tiny_checkpoint, tiny_case):
    segmenter = RemoteSegmenter(host.computer(), tiny_checkpoint.path)
    request = REQUEST.model_copy(update={"members": 20, "batch_size": 4})
    local = LocalSegmenter(tiny_checkpoint).segment(tiny_case, request)
    whole = [(e.member, e.slices) for e in local if isinstance(e, Sampled)]
    seen = []
    try:
        for event in segmenter.segment(tiny_case, request):
            if isinstance(event, Sampled):
                seen.append((event.member, event.slices))
                if len(seen) == 2:
                    end_logins(host)
    finally:
        segmenter.close()
    assert seen == whole


def end_logins(host):
    """Kill what belongs to logins, with their process groups, as some servers do when a login ends."""
    import psutil

    for process in psutil.Process(host.pid).children(recursive=True):
        group = os.getpgid(process.pid)
        if group != os.getpgid(host.pid):
            with suppress(ProcessLookupError):
                os.killpg(group, signal.SIGKILL)


def refusal(computer):
    with pytest.raises(EngineFailed) as caught:
        Link(computer)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_a_host_that_is_not_known_is_refused_by_ssh_and_said(host):
    assert "host key is not known" in refusal(host.computer(known="nobody"))


def test_another_host_key_is_refused_by_ssh_and_said(host):
    words = (host.folder / "user_key.pub").read_text().split()
    (host.folder / "changed").write_text(f"other {words[0]} {words[1]}\n")
    assert "another host key" in refusal(host.computer(known="changed"))


def test_a_login_that_is_refused_is_said(host):
    keys = host.folder / "authorized_keys"
    kept = keys.read_text()
    try:
        keys.write_text("")
        assert "refuses the login" in refusal(host.computer())
    finally:
        keys.write_text(kept)


def test_a_host_without_the_program_is_said(host):
    assert "no command" in refusal(host.computer(command="napari-diffseg-of-nobody"))


def test_a_shell_that_prints_first_is_said(host):
    assert "start-up files" in refusal(host.computer(command="echo Welcome to the cluster; napari-diffseg"))


def test_the_command_line_samples_there_and_goes_on_after_a_cut(host, tmp_path, monkeypatch, capsys):
    from builders import write_case, write_tiny_checkpoint
    from napari_diffseg.cli import main
    from napari_diffseg.remote import computer as computers

    for k in range(2):
        write_case(tmp_path / "data" / f"p{k}", case_id=f"p{k}", seed=k)
    write_tiny_checkpoint(tmp_path / "tiny.safetensors")
    words = ["predict", str(tmp_path / "data"), "--checkpoint", str(tmp_path / "tiny.safetensors"), "--device", "cpu"]
    words += ["--members", "60", "--batch-size", "4", "--reproducible"]
    there = host.computer()
    monkeypatch.setattr(computers, "_SSH", (*computers._SSH, *there.ssh_options))  # a user has this in ~/.ssh/config
    out = tmp_path / "there"

    def cut_and_mend():
        while len(list(out.glob("p0/members/*"))) < 5:
            time.sleep(0.05)
        host.cut()
        threading.Timer(25, host.mend).start()

    threading.Thread(target=cut_and_mend, daemon=True).start()
    try:
        assert main([*words, "--out", str(out), "--compute", "other", "--compute-command", there.command]) == 0
    finally:
        host.mend()
    told = capsys.readouterr().err
    assert "Starting the engine: other" in told
    assert "The link to other was lost" in told
    assert main([*words, "--out", str(tmp_path / "here")]) == 0
    mine, other = (
        {str(p.relative_to(folder)): p.read_bytes() for p in folder.rglob("*.nii.gz")}
        for folder in (out, tmp_path / "here")
    )
    assert mine == other
