from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from hypothesis import settings

from builders import write_case, write_tiny_checkpoint

CASES_FOLDER = Path(__file__).parents[2] / "shared" / "cases"

# A busy machine is not a failing property: no deadline. A failure prints what reproduces it.
settings.register_profile("napari-diffseg", deadline=None, print_blob=True)
settings.load_profile("napari-diffseg")


def pytest_configure(config: pytest.Config) -> None:
    """Keep tests, and the processes that they start, away from the settings and saved runs of whoever runs them."""
    folder = TemporaryDirectory(prefix="napari-diffseg-tests-", ignore_cleanup_errors=True)
    config.add_cleanup(folder.cleanup)
    # napari reads NAPARI_CONFIG when it is imported, so a fixture would come too late.
    os.environ["NAPARI_CONFIG"] = str(Path(folder.name) / "napari" / "settings.yaml")
    for name in ("XDG_CONFIG_HOME", "XDG_DATA_HOME", "XDG_CACHE_HOME", "XDG_STATE_HOME"):
        os.environ[name] = str(Path(folder.name) / name.lower())


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Skip what is marked `cases` where the real cases are absent: they are never part of the repository."""
    if CASES_FOLDER.is_dir():
        return
    for item in items:
        if item.get_closest_marker("cases"):
            item.add_marker(pytest.mark.skip(reason="needs the real cases in ../shared/cases"))


@pytest.fixture(scope="session")
def cases_folder() -> Path:
    """The folder of real cases; for tests marked `cases`."""
    return CASES_FOLDER


@pytest.fixture(scope="session")
def tiny_checkpoint(tmp_path_factory):
    """A checkpoint of a few weights."""
    from napari_diffseg.checkpoint import load_checkpoint

    return load_checkpoint(write_tiny_checkpoint(tmp_path_factory.mktemp("checkpoint") / "tiny.safetensors"))


@pytest.fixture
def refining(tiny_checkpoint):
    """The tiny checkpoint, whose one-step estimate is refined by the brightness of an image."""
    changes = {"refine_by": "flair", "smoothing_mm": 1.0, "rule": "probability", "may_miss": True}
    return replace(tiny_checkpoint, recipe=tiny_checkpoint.recipe.model_copy(update=changes))


@pytest.fixture(scope="session")
def two_planes(tiny_checkpoint):
    """A checkpoint whose every second member is sampled in coronal slices."""
    recipe = tiny_checkpoint.recipe.model_copy(update={"second_plane": ("I", "L", "A"), "mirror": True})
    return replace(tiny_checkpoint, recipe=recipe)


@pytest.fixture(scope="session")
def tiny_case(tmp_path_factory):
    """A case of a few voxels."""
    from napari_diffseg.imaging.case import read_case

    return read_case(write_case(tmp_path_factory.mktemp("case")))
