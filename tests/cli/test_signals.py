"""SIGTERM, as clusters and shells send it: what was done is kept, and the code says why it ended."""

import os
import signal
import sys

import pytest

from builders import write_case, write_tiny_checkpoint
from napari_diffseg.cli import main, progress


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no SIGTERM that could be heeded")
def test_sigterm_keeps_members_as_an_interrupt_does_and_has_a_code_of_its_own(tmp_path, capsys, monkeypatch):
    checkpoint, case = write_tiny_checkpoint(tmp_path / "tiny.safetensors"), write_case(tmp_path / "case_1")
    before = signal.getsignal(signal.SIGTERM)

    def terminated(events, case_id):
        for n, _ in enumerate(events):
            if n == 6:
                os.kill(os.getpid(), signal.SIGTERM)

    monkeypatch.setattr(progress, "show_progress", terminated)
    words = ["predict", case, "--checkpoint", checkpoint, "--out", tmp_path / "out", "--device", "cpu"]
    assert main([str(word) for word in [*words, "--members", 2, "--batch-size", 4]]) == 143
    error = capsys.readouterr().err
    assert "--resume goes on" in error
    assert "Terminated." in error
    assert signal.getsignal(signal.SIGTERM) is before
