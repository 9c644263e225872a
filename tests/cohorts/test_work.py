"""Cases by one worker or several: each done once, whatever fails and whoever dies."""

import json
import os
import shutil
import threading
from dataclasses import replace

import pytest

from builders import write_case
from napari_diffseg.cohorts import who as who_module
from napari_diffseg.cohorts.cohort_folder import CohortFolder
from napari_diffseg.cohorts.cohort_run import CohortRun
from napari_diffseg.cohorts.digest import result_digest
from napari_diffseg.cohorts.standing import Standing
from napari_diffseg.cohorts.who import SILENT_S, this_process
from napari_diffseg.cohorts.work import CaseBegun, CaseEnded, CaseProgress, CaseSkipped, work_through
from napari_diffseg.errors import RunFailed
from napari_diffseg.events import Sampled, SegmentRequest
from napari_diffseg.imaging.case_files import find_case_sources
from napari_diffseg.segmenting.segmenter import LocalSegmenter

REQUEST = SegmentRequest(members=2, device="cpu", reproducible=True)


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    folder = tmp_path_factory.mktemp("data")
    for k in range(3):
        write_case(folder / f"p{k}", case_id=f"p{k}", seed=k)
    return folder


@pytest.fixture
def cohort(data, tmp_path):
    cohort = CohortFolder(tmp_path / "out")
    assert cohort.add(find_case_sources(data)) == ["p0", "p1", "p2"]
    return cohort


@pytest.fixture
def work(cohort, tiny_checkpoint):
    return CohortRun(LocalSegmenter(tiny_checkpoint, preview_interval_s=None), tiny_checkpoint, REQUEST, cohort.out)


def names(events, kind):
    return [event.name for event in events if isinstance(event, kind)]


def states(cohort):
    return {row.name: row.state.value for row in cohort.table()}


class Failing:
    """An engine that fails at a case for so many times."""

    def __init__(self, segmenter, case, times):
        self.segmenter, self.case, self.times = segmenter, case, times

    def segment(self, case, request, *, focus=None):
        if case.id == self.case and self.times:
            self.times -= 1
            raise RunFailed("Out of memory.")
        return self.segmenter.segment(case, request, focus=focus)


def test_every_case_is_done_once_and_skipped_afterwards(cohort, work):
    events = list(work_through(work, ["p0", "p1", "p2"]))
    assert names(events, CaseBegun) == names(events, CaseEnded) == ["p0", "p1", "p2"]
    assert states(cohort) == dict.fromkeys(("p0", "p1", "p2"), "done")
    assert json.loads((cohort.out / "p1" / "run.json").read_text())["status"] == "complete"
    row = cohort.table()[0]
    assert row.last.result == result_digest(cohort.out / "p0")
    assert sorted(row.last.inputs) == ["flair", "t1", "t1ce", "t2"]
    events = list(work_through(work, ["p0", "p1", "p2"]))
    assert events == [CaseSkipped(name, cohort.out / name, "done") for name in ("p0", "p1", "p2")]


def test_two_workers_at_once_share_the_cases(cohort, work, tiny_checkpoint):
    other = CohortRun(LocalSegmenter(tiny_checkpoint, preview_interval_s=None), tiny_checkpoint, REQUEST, cohort.out)
    done = {}
    threads = [
        threading.Thread(target=lambda w=w, k=k: done.update({k: list(work_through(w, ["p0", "p1", "p2"]))}))
        for k, w in enumerate((work, other))
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    ended = [name for events in done.values() for name in names(events, CaseEnded)]
    assert sorted(ended) == ["p0", "p1", "p2"]


def test_a_case_that_cannot_be_read_stops_no_other_and_is_tried_once(cohort, work, data, tmp_path):
    bad = write_case(tmp_path / "bad", case_id="bad", modalities=("t1",))
    listed = ["bad", "p0"]
    cohort.add(find_case_sources(bad))
    ended = [event for event in work_through(work, listed) if isinstance(event, CaseEnded)]
    assert [(event.name, event.outcome, event.again) for event in ended] == [
        ("bad", "failed", False),
        ("p0", "done", False),
    ]
    row = next(row for row in cohort.table() if row.name == "bad")
    assert row.state is Standing.FAILED
    assert "flair" in row.message
    again = [event for event in work_through(work, listed) if isinstance(event, CaseEnded)]
    assert [event.name for event in again] == ["bad"]  # another command tries what failed


def test_what_may_pass_is_tried_again_after_the_others_and_not_for_ever(cohort, work, tiny_checkpoint):
    passing = CohortRun(Failing(work.segmenter, "p0", 1), tiny_checkpoint, REQUEST, cohort.out)
    ended = [event for event in work_through(passing, ["p0", "p1"]) if isinstance(event, CaseEnded)]
    assert [(event.name, event.outcome, event.again) for event in ended] == [
        ("p0", "failed", True),
        ("p1", "done", False),
        ("p0", "done", False),
    ]
    lasting = CohortRun(Failing(work.segmenter, "p2", 99), tiny_checkpoint, REQUEST, cohort.out)
    ended = [event for event in work_through(lasting, ["p2"]) if isinstance(event, CaseEnded)]
    assert [event.again for event in ended] == [True, True, False]
    assert states(cohort)["p2"] == "failed"


def test_a_fault_of_the_program_at_one_case_stops_no_other_and_is_not_tried_for_ever(cohort, work, tiny_checkpoint):
    class Faulty(Failing):
        def segment(self, case, request, *, focus=None):
            if case.id == self.case:
                raise ValueError("cannot reshape\nan array")
            return self.segmenter.segment(case, request, focus=focus)

    faulty = CohortRun(Faulty(work.segmenter, "p1", 1), tiny_checkpoint, REQUEST, cohort.out)
    events = list(work_through(faulty, ["p0", "p1", "p2"]))
    assert names(events, CaseBegun) == ["p0", "p1", "p2", "p1", "p1"]
    assert states(cohort) == {"p0": "done", "p1": "failed", "p2": "done"}
    assert "(ValueError: cannot reshape): please report it" in cohort.table()[1].message


def test_closing_keeps_finished_members_and_another_worker_comes_to_the_same_bytes(cohort, work, tmp_path, data):
    events = work_through(work, ["p0"])
    for event in events:
        if isinstance(event, CaseProgress) and isinstance(event.event, Sampled):
            break
    assert states(cohort)["p0"] == "running"
    events.close()
    (row, *_) = cohort.table()
    assert (row.state, row.last.outcome) == (Standing.WAITING, "stopped")
    list(work_through(work, ["p0"]))
    whole = CohortFolder(tmp_path / "whole")
    whole.add(find_case_sources(data))
    list(work_through(replace(work, out=whole.out), ["p0"]))
    assert cohort.table()[0].last.result == whole.table()[0].last.result


def test_closing_where_a_case_has_just_begun_leaves_it_to_others(cohort, work):
    events = work_through(work, ["p0"])
    assert isinstance(next(events), CaseBegun)
    events.close()
    assert names(list(work_through(work, ["p0"])), CaseEnded) == ["p0"]


def test_results_that_were_deleted_and_images_that_have_changed_are_not_done(cohort, work, data, tmp_path):
    list(work_through(work, ["p0"]))
    shutil.rmtree(cohort.out / "p0")
    assert states(cohort)["p0"] == "waiting"
    assert names(list(work_through(work, ["p0"])), CaseEnded) == ["p0"]
    image = data / "p0" / "p0_t1.nii.gz"
    os.utime(image, ns=(0, 0))
    (ended,) = [event for event in work_through(work, ["p0"]) if isinstance(event, CaseEnded)]
    assert not ended.sampled  # the images are the same, and so is the run


def test_more_members_and_other_settings_are_told_apart(cohort, work, tiny_checkpoint):
    list(work_through(work, ["p0"]))
    more = CohortRun(work.segmenter, tiny_checkpoint, REQUEST.model_copy(update={"members": 3}), cohort.out)
    (ended,) = [event for event in work_through(more, ["p0"]) if isinstance(event, CaseEnded)]
    assert ended.outcome == "done"
    assert (cohort.out / "p0" / "members" / "member-003.nii.gz").exists()
    other = CohortRun(work.segmenter, tiny_checkpoint, REQUEST.model_copy(update={"seed": 5}), cohort.out)
    (ended,) = [event for event in work_through(other, ["p0"]) if isinstance(event, CaseEnded)]
    assert "seed 5, before 0" in str(ended.error)
    cohort.replace(["p0"])
    (ended,) = [event for event in work_through(other, ["p0"]) if isinstance(event, CaseEnded)]
    assert (ended.outcome, cohort.is_to_replace("p0")) == ("done", False)


def test_a_dead_process_gives_its_case_up_and_a_silent_one_elsewhere_after_a_while(cohort, work, monkeypatch):
    case = cohort.cases()["p0"]
    dead = this_process().model_copy(update={"started": 1.0})
    assert cohort.attempts.begin(case, 1, who=dead)
    assert cohort.attempts.begin(case, 1, who=dead) is None  # a claim is one worker's
    assert "ended without a word" in cohort.table()[0].message
    far = this_process().model_copy(update={"place": "another computer", "host": "node7"})
    assert cohort.attempts.begin(case, 2, who=far)
    assert names(list(work_through(work, ["p0"])), CaseSkipped) == ["p0"]
    path = cohort.state / "attempts" / "p0.002.json"
    os.utime(path, (path.stat().st_mtime - SILENT_S - 60,) * 2)
    assert names(list(work_through(work, ["p0"])), CaseEnded) == ["p0"]
    assert cohort.table()[0].attempts == 3


def test_a_case_whose_process_dies_each_time_is_given_up(cohort, work):
    case = cohort.cases()["p0"]
    for number in (1, 2, 3):
        assert cohort.attempts.begin(case, number, who=this_process().model_copy(update={"started": 1.0}), launch="x")
    (skipped,) = work_through(work, ["p0"], launch="x")
    assert skipped.why == "failed"
    assert names(list(work_through(work, ["p0"], launch="y")), CaseEnded) == ["p0"]


def test_the_heartbeat_renews_the_claim(cohort, monkeypatch):
    monkeypatch.setattr("napari_diffseg.cohorts.attempts.HEARTBEAT_S", 0.01)
    attempt = cohort.attempts.begin(cohort.cases()["p0"], 1, who=this_process())
    path = cohort.state / "attempts" / "p0.001.json"
    os.utime(path, (0, 0))
    with cohort.attempts.heartbeat(attempt):
        for _ in range(500):
            if path.stat().st_mtime > 0:
                break
            threading.Event().wait(0.01)
    assert path.stat().st_mtime > 0


def test_the_list_only_grows_and_two_that_add_at_once_lose_nothing(data, tmp_path):
    first, second = CohortFolder(tmp_path / "out"), CohortFolder(tmp_path / "out")
    found = find_case_sources(data)
    threads = [
        threading.Thread(target=cohort.add, args=(cases,))
        for cohort, cases in ((first, found[:2]), (second, found[1:]))
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(first.cases()) == ["p0", "p1", "p2"]
    assert list(first.cases()) == list(second.cases())
    assert first.add(found[::-1]) == list(first.cases())


def test_the_table_is_a_file_that_a_spreadsheet_reads(cohort, work):
    list(work_through(work, ["p1"]))
    lines = cohort.write_table().read_text().splitlines()
    assert lines[0].startswith("case,state,attempts")
    assert [line.split(",")[:2] for line in lines[1:]] == [["p0", "waiting"], ["p1", "done"], ["p2", "waiting"]]


def test_long_names_of_cases_are_told_apart(tmp_path):
    from napari_diffseg.cohorts.attempts import key_of

    assert key_of("a" * 80) == "a" * 80
    assert key_of("a" * 200) != key_of("a" * 201)
    assert len(key_of("ä" * 200).encode()) <= 80


def test_the_place_of_a_worker_is_this_computer_and_space_of_processes():
    assert this_process().is_alive(1e9)
    assert who_module._place().startswith(this_process().host)
