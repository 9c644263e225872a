from __future__ import annotations

import os
import sys

import pytest

from compiling import HEAD
from napari_diffseg.segmenting.device import compile_ahead, compiled


@pytest.fixture
def compile_cache(tmp_path, monkeypatch):
    """A cache of the test's own, and processors that use what lies in it."""
    monkeypatch.setattr(compiled, "user_cache_path", lambda name: tmp_path / "cache")
    monkeypatch.setattr(compiled, "DEVICES", {"cpu"})
    return tmp_path / "cache"


@pytest.fixture
def compiler(tmp_path, monkeypatch):
    """Lets another program stand in for the compiler."""

    def be(text):
        (tmp_path / "stand_in.py").write_text(HEAD + text)
        monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(tmp_path), os.environ.get("PYTHONPATH", ""), *sys.path]))
        monkeypatch.setattr(compile_ahead, "WORKER", "stand_in")

    return be
