"""A tiny checkpoint and a tiny case."""

import pytest

from builders import write_case, write_tiny_checkpoint
from napari_diffseg.checkpoint import load_checkpoint
from napari_diffseg.imaging.case import read_case


@pytest.fixture(scope="session")
def tiny_checkpoint(tmp_path_factory):
    return load_checkpoint(write_tiny_checkpoint(tmp_path_factory.mktemp("checkpoint") / "tiny.safetensors"))


@pytest.fixture(scope="session")
def tiny_case(tmp_path_factory):
    return read_case(write_case(tmp_path_factory.mktemp("case")))
