"""Two runs in one folder: the second is refused, and whatever happens the record is true."""

import json
from contextlib import contextmanager

import numpy as np
import pytest

from builders import write_case, write_tiny_checkpoint
from kept_runs import keep, load, make_folder
from napari_diffseg.cli import main
from napari_diffseg.errors import BadRequest, OutputExists, OutputFailed
from napari_diffseg.events import Finished, Sampled
from napari_diffseg.imaging.case import read_case
from napari_diffseg.imaging.folder_lock import LOCK, alone_in
from napari_diffseg.runs import keep as keep_module
from napari_diffseg.runs.keep import keep_run
from napari_diffseg.runs.run_folder import RunFolder
from napari_diffseg.segmenting.segmenter import LocalSegmenter


@pytest.fixture
def begin(tiny_case, tiny_checkpoint, tmp_path):
    """Events of a run of two members in one folder, as they come."""

    def begun(seed, **how):
        folder = make_folder(tmp_path / "run", tiny_case, tiny_checkpoint, members=2, seed=seed)
        return keep_run(LocalSegmenter(tiny_checkpoint, preview_interval_s=None), folder, **how)

    return begun


@pytest.fixture
def without_locks(monkeypatch):
    """A disk that knows no locks."""

    @contextmanager
    def nothing(folder, *, what):
        yield

    monkeypatch.setattr(keep_module, "alone_in", nothing)


def go_to(events, kind):
    return next(event for event in events if isinstance(event, kind))


def members_of(folder):
    return [load(folder / "members" / f"member-{k:03d}.nii.gz") for k in (1, 2)]


@pytest.mark.parametrize("how", [{}, {"overwrite": True}, {"resume": True}])
def test_a_second_run_is_refused_while_the_first_goes_on(begin, tmp_path, how):
    first = begin(seed=0)
    go_to(first, Sampled)
    with pytest.raises(BadRequest, match="A run is going on in"):
        list(begin(seed=1, **how))
    assert [type(event) for event in first][-1] is Finished
    record = json.loads((tmp_path / "run" / "run.json").read_text())
    assert (record["status"], record["settings"]["seed"], record["members"]) == ("complete", 0, [0, 1])
    assert not (tmp_path / "run" / LOCK).exists()
    assert [type(event) for event in begin(seed=1, overwrite=True)][-1] is Finished


def test_of_two_runs_that_both_found_an_empty_folder_one_is_refused(begin, monkeypatch):
    monkeypatch.setattr(RunFolder, "check", lambda *_args, **_how: None)  # both have looked before either began
    early = begin(seed=0)
    next(early)
    with pytest.raises(BadRequest, match="A run is going on in"):
        next(begin(seed=1))
    list(early)
    with pytest.raises(OutputExists, match="holds results"):
        next(begin(seed=1))


@pytest.mark.usefixtures("without_locks")
def test_without_locks_the_first_run_stops_where_the_second_has_begun_and_the_record_is_true(begin, tmp_path):
    list(begin(seed=1))
    alone = members_of(tmp_path / "run")
    first = begin(seed=0, overwrite=True)
    go_to(first, Sampled)
    second = begin(seed=1, overwrite=True)
    next(second)
    with pytest.raises(OutputFailed, match="is not this run's any more"):
        list(first)
    list(second)
    record = json.loads((tmp_path / "run" / "run.json").read_text())
    assert (record["status"], record["settings"]["seed"]) == ("complete", 1)
    for mine, expected in zip(members_of(tmp_path / "run"), alone, strict=True):
        np.testing.assert_array_equal(mine, expected)


@pytest.mark.parametrize("change", ["deleted", "replaced"])
def test_a_member_that_is_lost_during_the_run_is_written_again(begin, tmp_path, change):
    list(begin(seed=0))
    whole = members_of(tmp_path / "run")
    events = begin(seed=0, overwrite=True)
    path = tmp_path / "run" / "members" / "member-001.nii.gz"
    for _ in events:
        if path.exists():
            path.unlink()
            if change == "replaced":
                path.write_bytes((tmp_path / "run" / "run.json").read_bytes())
            break
    list(events)
    assert json.loads((tmp_path / "run" / "run.json").read_text())["status"] == "complete"
    for mine, expected in zip(members_of(tmp_path / "run"), whole, strict=True):
        np.testing.assert_array_equal(mine, expected)


def test_results_of_other_images_are_never_replaced(tiny_checkpoint, tmp_path):
    first, other = (read_case(write_case(tmp_path / f"in{n}", seed=n)) for n in (1, 2))
    keep(make_folder(tmp_path / "run", first, tiny_checkpoint, members=1), tiny_checkpoint)
    before = (tmp_path / "run" / "mask.nii.gz").read_bytes()
    with pytest.raises(BadRequest, match="holds a run of other images"):
        keep(make_folder(tmp_path / "run", other, tiny_checkpoint, members=1), tiny_checkpoint, overwrite=True)
    assert (tmp_path / "run" / "mask.nii.gz").read_bytes() == before
    fewer = read_case(tmp_path / "in1", modalities=("t1", "t1ce", "t2", "flair"))
    keep(make_folder(tmp_path / "run", fewer, tiny_checkpoint, members=1), tiny_checkpoint, overwrite=True)


def test_predict_says_that_a_run_is_going_on(tmp_path, capsys):
    case = write_case(tmp_path / "case_1")
    tiny = write_tiny_checkpoint(tmp_path / "tiny.safetensors")
    words = ["predict", str(case), "--checkpoint", str(tiny), "--out", str(tmp_path / "out")]
    with alone_in(tmp_path / "out" / "case_1", what="run"):
        assert main([*words, "--members", "1", "--overwrite"]) == 2
    assert "A run is going on in" in capsys.readouterr().err
    assert main([*words, "--members", "1"]) == 0
