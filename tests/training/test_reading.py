"""Cases that cannot be used: all are named at once, those that are held out, too."""

import pytest

from napari_diffseg.errors import BadCase
from napari_diffseg.recipe import Recipe
from napari_diffseg.training.config import DataSettings
from napari_diffseg.training.folders import FolderSource, find_cases
from napari_diffseg.training.reading import Job, read_slices


@pytest.fixture
def refusal(tmp_path, write_labelled):
    """What is said of cases, all of which have images, and those whose name begins with p a mask."""

    def read(train, held_out=(), *, workers=0):
        for name in (*train, *held_out):
            write_labelled(tmp_path / name, name, seg=name.startswith("p"))
        source = FolderSource(
            find_cases(tmp_path), Recipe(modalities=("t1", "flair"), size=(16, 16)), DataSettings(), seed=0
        )
        jobs = [Job(name, name in train) for name in (*train, *held_out)]
        with pytest.raises(BadCase) as error:
            list(read_slices(source, jobs, workers=workers, told=lambda done: None, total=len(jobs)))
        return str(error.value).splitlines()

    return read


@pytest.mark.parametrize("workers", [0, pytest.param(2, marks=pytest.mark.slow)])
def test_every_case_that_cannot_be_used_has_a_line_held_out_ones_too(refusal, workers):
    head, *lines = refusal(("a1", "p1", "a2", "p2"), ("a3", "p3"), workers=workers)
    assert head == "3 of 6 cases cannot be used: mend them, or take them away."
    assert [line.split(":")[0] for line in lines] == ["  a1", "  a2", "  a3"]
    assert "there is no mask a1_seg.nii.gz" in lines[0]


def test_one_case_is_one_sentence_that_begins_with_its_name(refusal):
    (line,) = refusal(("p1", "a1"))
    assert line.startswith("Case a1: there is no mask")


def test_twenty_are_enough_to_stop_reading(refusal):
    head, *lines = refusal(tuple(f"a{n:02d}" for n in range(23)))
    assert head.startswith("At least 20 of 23 cases")
    assert len(lines) == 20


def test_a_file_that_is_damaged_or_not_to_be_read_is_the_cases_fault_not_the_outputs(refusal, tmp_path, monkeypatch):
    def denied(self, case_id):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(FolderSource, "read", denied)
    (line,) = refusal(("p1",))
    assert line == "Case p1: It cannot be looked at: Permission denied: allow reading it, or take it away."
