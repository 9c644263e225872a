"""A batch: the same settings over a folder of cases, as the command line does it, and a bad case stops no other."""

import csv

import numpy as np
import pytest

from builders import write_case, write_tiny_checkpoint
from napari_diffseg.cli import main
from napari_diffseg.errors import BadRequest, RunFailed
from napari_diffseg.imaging.case_files import find_case_sources
from napari_diffseg.plugin.background.job import Stopped
from napari_diffseg.plugin.session.batch import BatchPlan, CaseState, batch_request
from napari_diffseg.plugin.session.case_folder import CaseFolder
from napari_diffseg.plugin.session.scope import Scope
from napari_diffseg.plugin.session.session import Session
from plugin_fakes import FakeLoader, fake_member, run_here

NAMES = ("alice", "bob", "carol")
LEFT = (CaseState.WAITING, CaseState.STOPPED)


def plan_of(folder, session, **values):
    for name, value in values.items():
        session.set_value(name, value)
    cases = CaseFolder.of(folder, find_case_sources(folder))
    request = batch_request(session.chosen)
    return BatchPlan(cases, tuple(cases.cases), "demo", {}, request, folder.parent / "out")


def run(session, plan):
    """Every row as it was when its case came to its end."""
    over = {}
    session.batch.finished.connect(lambda row: over.setdefault(row.name, row))
    session.start_batch(plan)
    while session.batch.is_going_on:
        session.batch.poll()
    assert over == {row.name: row for row in session.batch.rows if row.state not in LEFT}
    return session.batch.rows


def states(rows):
    return [row.state for row in rows]


def test_each_case_gets_its_results_and_its_figures(session, segmenter, many):
    segmenter.alike = True
    rows = run(session, plan_of(many, session, members=2, slices="1:4"))
    assert states(rows) == [CaseState.DONE] * 3
    mask = fake_member((14, 12, 5), 0)
    assert [row.volume_ml for row in rows] == [mask[..., 1:4].sum() / 1000] * 3
    assert [row.lesions for row in rows] == [0, 0, 0]  # what is less than 3 voxels across is no lesion
    assert [row.dice for row in rows] == [None, 1.0, None]
    assert session.batch.share == 1.0
    table = list(csv.DictReader(session.batch.table().splitlines()))
    assert [line["case"] for line in table] == list(NAMES)
    assert float(table[1]["dice"]) == 1.0


def test_a_bad_case_is_said_to_be_so_and_the_others_go_on(session, many):
    (many / "bob" / "bob_t2.nii.gz").write_bytes(b"no image")
    rows = run(session, plan_of(many, session, members=1))
    assert states(rows) == [CaseState.DONE, CaseState.FAILED, CaseState.DONE]
    assert "bob_t2.nii.gz" in rows[1].message
    assert not (many.parent / "out" / "bob" / "run.json").exists()


def test_so_is_one_at_which_something_unforeseen_happens(session, segmenter, many, caplog):
    segmenter.error, segmenter.fail_at = ZeroDivisionError("nobody thought of it"), 5
    rows = run(session, plan_of(many, session, members=1, slices="0:2"))
    assert states(rows) == [CaseState.DONE] * 3  # four steps each
    rows = run(session, plan_of(many, session, members=1, slices="0:3", seed=1))
    assert states(rows) == [CaseState.FAILED] * 3
    assert all("seed 1, before 0" in row.message for row in rows)
    plan = plan_of(many, session, members=1, slices="0:3")
    rows = run(session, BatchPlan(plan.folder, plan.cases, "demo", {}, plan.request, many.parent / "other"))
    assert states(rows) == [CaseState.FAILED] * 3
    assert all("nobody thought of it" in row.message for row in rows)


def test_what_is_done_with_the_same_settings_is_skipped_unless_it_is_to_be_made_anew(session, segmenter, many):
    plan = plan_of(many, session, members=1)
    run(session, plan)
    rows = run(session, plan)
    assert len(segmenter.seen) == 3
    assert states(rows) == [CaseState.DONE_BEFORE] * 3
    assert rows[1].dice is not None
    again = BatchPlan(plan.folder, plan.cases[:1], "demo", {}, plan.request, plan.out, replaces=True)
    assert states(run(session, again)) == [CaseState.DONE]
    assert len(segmenter.seen) == 4


def test_cancel_keeps_what_is_finished_and_the_next_batch_goes_on_with_it(session, segmenter, many):
    segmenter.alike = True
    plan, steps = plan_of(many, session, members=3), []

    def cancel():
        steps.append(1)
        if len(steps) == 45:  # one case has 30 steps: in the second, with one of its members whole
            session.batch.cancel()

    segmenter.on_step = cancel
    rows = run(session, plan)
    assert states(rows) == [CaseState.DONE, CaseState.STOPPED, CaseState.WAITING]
    assert len(list((plan.out / "bob" / "members").glob("*.nii.gz"))) == 1
    segmenter.on_step = None
    rows = run(session, plan)
    assert states(rows) == [CaseState.DONE_BEFORE, CaseState.DONE, CaseState.DONE]
    assert segmenter.seen[-2].members == 2  # of the second, those that were missing


def test_a_cancel_while_the_engine_is_waited_for_is_no_failure_of_the_case(session, segmenter, many):
    def cancel():  # as the engine of another computer does, which looks whether it is to stop while it waits
        session.batch.cancel()
        raise Stopped

    segmenter.on_step = cancel
    rows = run(session, plan_of(many, session, members=1))
    assert states(rows) == [CaseState.STOPPED, CaseState.WAITING, CaseState.WAITING]
    assert rows[0].message == ""


def test_nothing_else_is_sampled_meanwhile_but_cases_can_be_opened(segmenter, many, tmp_path):
    held = []
    session = Session(
        launch=lambda target, _: held.append(target), load_engine=FakeLoader(segmenter), runs_folder=tmp_path
    )
    session.start_batch(plan_of(many, session, members=1))
    assert "A batch is going on" in session.why_not_run()
    with pytest.raises(BadRequest, match="A batch is going on"):
        session.start_batch(session.batch.plan)
    with pytest.raises(BadRequest, match="A batch is going on"):
        session.unload()
    session.check_free()
    session.close()


@pytest.mark.parametrize("scope", [Scope.SLICE, Scope.BOX])
def test_a_scope_of_one_case_is_none_of_a_batch(session, scope):
    session.set_scope(scope)
    with pytest.raises(BadRequest, match="whole volumes"):
        batch_request(session.chosen)


def test_the_files_are_those_of_the_command_line(tmp_path):
    checkpoint = write_tiny_checkpoint(tmp_path / "tiny.safetensors")
    for k in (1, 2):
        write_case(tmp_path / "all" / f"case_{k}", case_id=f"case_{k}", seed=k)
    words = ["predict", tmp_path / "all", "--checkpoint", checkpoint, "--out", tmp_path / "cli", "--device", "cpu"]
    assert main([str(word) for word in (*words, "--members", 2, "--seed", 7)]) == 0
    session = Session(launch=run_here, runs_folder=tmp_path / "runs")
    plan = plan_of(tmp_path / "all", session, members=2, seed=7, device="cpu")
    plan = BatchPlan(plan.folder, plan.cases, str(checkpoint), {}, plan.request, tmp_path / "panel")
    assert states(run(session, plan)) == [CaseState.DONE] * 2
    session.close()
    files = sorted(p.relative_to(tmp_path / "cli") for p in (tmp_path / "cli").rglob("*.nii.gz"))
    assert len(files) >= 10
    assert files == sorted(p.relative_to(tmp_path / "panel") for p in (tmp_path / "panel").rglob("*.nii.gz"))
    for file in files:
        assert (tmp_path / "cli" / file).read_bytes() == (tmp_path / "panel" / file).read_bytes(), file


def test_a_run_that_fails_for_want_of_memory_is_tried_again(session, segmenter, many):
    fails = iter([True])

    def step():
        if next(fails, False):
            raise RunFailed("Out of memory: choose a smaller batch.")

    segmenter.on_step = step
    assert states(run(session, plan_of(many, session, members=1))) == [CaseState.DONE] * 3
    assert np.isclose(session.batch.share, 1)
