"""The runs that are kept: listed newest first, and the oldest removed, but never what is open or not ours."""

import json
from datetime import UTC, datetime

import pytest

from napari_diffseg.imaging.folder_lock import alone_in
from napari_diffseg.plugin.session.run_store import DEFAULT_KEEP, OpenMarks, RunStore

LONG_AGO = "2026-01-02T10:00:00+00:00"


def keep_run(root, day, *, status="complete", members=2, began=LONG_AGO):
    folder = root / f"202601{day:02d}-101112-000001_case_{day}"
    (folder / "members").mkdir(parents=True)
    for n in range(1, members + 1):
        (folder / "members" / f"member-{n:03d}.nii.gz").touch()
    for stem in ("mask", "mean", "uncertainty", "expected"):
        (folder / f"{stem}.nii.gz").touch()
    record = {"format": 1, "status": status, "case": f"case_{day}", "recipe": {"labels": ["lesion"]}}
    (folder / "run.json").write_text(json.dumps(record | {"slice_axis": 2, "slices": [0], "began": began}))
    return folder


@pytest.fixture
def store(tmp_path):
    return RunStore(tmp_path)


def test_runs_are_listed_newest_first_without_what_holds_no_member(store):
    for day in (1, 3, 2):
        keep_run(store.root, day)
    keep_run(store.root, 4, members=0)
    (store.root / "20260105-101112-000001_x").mkdir()
    assert [run.case for run in store.newest(2)] == ["case_3", "case_2"]
    assert store.newest(1)[0].words.endswith(", 2 members")


def test_there_is_nothing_to_list_before_the_first_run(tmp_path):
    assert RunStore(tmp_path / "absent").newest(5) == []


def test_the_oldest_runs_are_removed_whole(store):
    folders = [keep_run(store.root, day) for day in (1, 2, 3, 4)]
    store.set_keep(2)
    assert store.prune() == 2
    assert [f.exists() for f in folders] == [False, False, True, True]


def test_open_runs_stay(store):
    folders = [keep_run(store.root, day) for day in (1, 2, 3)]
    store.set_keep(1)
    assert store.prune({folders[0]}) == 1
    assert [f.exists() for f in folders] == [True, False, True]


def test_a_young_run_that_may_be_going_on_elsewhere_stays(store):
    young = keep_run(store.root, 1, status="running", began=datetime.now(UTC).isoformat())
    old = keep_run(store.root, 2, status="running")
    keep_run(store.root, 3)
    store.set_keep(1)
    store.prune()
    assert young.exists()
    assert not old.exists()


def test_what_people_put_beside_a_run_is_never_removed(store):
    mine = keep_run(store.root, 1)
    (mine / "notes.txt").write_text("second reading on Monday")
    strange = store.root / "20260101-000000-000001_strange"
    strange.mkdir()
    (strange / "mask.nii.gz").touch()
    other = store.root / "my results"
    keep_run(other, 2)
    keep_run(store.root, 3)
    store.set_keep(1)
    store.prune()
    assert [p.name for p in mine.iterdir()] == ["notes.txt"]
    assert (strange / "mask.nii.gz").exists()
    assert len(list(other.iterdir())) == 1


def test_all_are_kept_on_request_and_a_broken_setting_is_the_default(store):
    keep_run(store.root, 1)
    store.set_keep(0)
    assert (store.keep, store.prune()) == (0, 0)
    (store.root / "keep.json").write_text("[]")
    assert store.keep == DEFAULT_KEEP


def test_a_run_that_is_open_or_going_on_in_another_window_stays(store):
    folders = [keep_run(store.root, day) for day in (1, 2, 3, 4)]
    store.set_keep(1)
    marks = OpenMarks()
    marks.add(folders[0])
    with alone_in(folders[1], what="run"):
        assert store.prune() == 1
    assert [f.exists() for f in folders] == [True, True, False, True]
    marks.remove(folders[0])
    assert store.prune() == 2
    assert not folders[0].exists()


def test_a_folder_that_is_none_of_the_kept_runs_is_not_marked(tmp_path):
    OpenMarks().add(tmp_path)
    assert list(tmp_path.iterdir()) == []
