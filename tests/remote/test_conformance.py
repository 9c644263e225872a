"""The suite that every segmenter passes, on the local one and on one in a child process."""

import pytest

from conformance import Conformance
from napari_diffseg.remote.computer import Computer
from napari_diffseg.remote.segmenter import RemoteSegmenter
from napari_diffseg.segmenting.segmenter import LocalSegmenter


class TestLocal(Conformance):
    @pytest.fixture(scope="class")
    @classmethod
    def segmenter(cls, tiny_checkpoint):
        return LocalSegmenter(tiny_checkpoint, preview_interval_s=0)


class TestChildProcess(Conformance):
    @pytest.fixture(scope="class")
    @classmethod
    def segmenter(cls, tiny_checkpoint):
        remote = RemoteSegmenter(Computer(), tiny_checkpoint.path, preview_interval_s=0)
        yield remote
        remote.close()

    def test_the_checkpoint_is_described_as_here(self, segmenter, tiny_checkpoint):
        from napari_diffseg.checkpoint import describe

        found = segmenter.checkpoint()
        for name in ("path", "recipe", "config", "digest", "kind", "family", "parameters", "guesses"):
            assert getattr(found, name) == getattr(tiny_checkpoint, name)
        assert list(found.rows) == describe(tiny_checkpoint)
