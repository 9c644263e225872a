"""A kept run comes back: images, members, settings, and it can go on; what is broken is one sentence."""

import json
import shutil
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest

from napari_diffseg.plugin.background.mailbox import Ending
from napari_diffseg.plugin.background.worker import launch
from napari_diffseg.plugin.files.reader import get_reader, read_layers
from napari_diffseg.plugin.files.writer import write_labels
from napari_diffseg.plugin.panel.panel import DiffsegPanel
from napari_diffseg.plugin.session.session import Session
from napari_diffseg.plugin.session.task import Phase
from napari_diffseg.runs.export import ExportChoice
from plugin_fakes import MODALITIES, SHAPE, FakeLoader, fake_member, poll_to_end, ready, record, run_here


@pytest.fixture
def kept(session, layers):
    """The folder of a finished run of three members; its session is over."""
    ready(session, layers, members=3, seed=5)
    session.start()
    session.poll()
    session.close()
    return session.runs.on_screen.plan.folder


@pytest.fixture
def later(segmenter, tmp_path):
    """A session of another day."""
    made = Session(launch=run_here, load_engine=FakeLoader(segmenter), runs_folder=tmp_path / "runs")
    yield made
    made.close()


def reopen(session, folder):
    heard = record(session)
    heard |= {"reopened": [], "brought": []}
    session.reopened.connect(heard["reopened"].append)
    session.brought.connect(heard["brought"].append)
    session.reopen(folder)
    poll_to_end(session)
    return heard


def test_a_kept_run_comes_back_with_images_members_and_settings(later, kept):
    heard = reopen(later, kept)
    [run] = heard["reopened"]
    assert [brought.layer.name for brought in heard["brought"]] == [f"case_1 {m}" for m in MODALITIES]
    assert (run.plan.request.members, run.plan.request.seed) == (3, 5)
    for event in run.sampled:
        np.testing.assert_array_equal(np.moveaxis(event.mask[0], 0, 2), fake_member(SHAPE, event.member))
    assert (run.ending, run.missing, run.plan.checkpoint) == (Ending.DONE, "", "demo")
    assert later.runs.on_screen.plan.folder == kept
    assert run.words == "Reopened case_1: 3 members."


def test_what_a_kept_run_expected_comes_back_with_it(later, kept):
    member = nib.load(kept / "members" / "member-001.nii.gz")
    expected = np.random.default_rng(2).random(SHAPE, np.float32)
    nib.save(nib.Nifti1Image(expected, member.affine), kept / "expected.nii.gz")
    [run] = reopen(later, kept)["reopened"]
    known = np.moveaxis(run.expected.probability()[0], run.started.slice_axis, 0)
    told = np.moveaxis(expected, run.started.slice_axis, 0)
    sampled = list(run.started.sampled)
    np.testing.assert_array_equal(known[sampled], told[sampled])


def test_a_kept_run_without_what_it_expected_has_none(later, kept):
    [run] = reopen(later, kept)["reopened"]
    assert run.expected is None


def test_the_shipped_checkpoint_is_meant_by_its_word_also_beside_a_folder_of_that_name(
    session, layers, later, tmp_path, monkeypatch
):
    (tmp_path / "demo").mkdir()  # as `napari-diffseg demo` leaves one
    monkeypatch.chdir(tmp_path)
    ready(session, layers, members=3)
    session.start()
    session.poll()
    [run] = reopen(later, session.runs.on_screen.plan.folder)["reopened"]
    assert run.plan.checkpoint == "demo"


def test_members_can_be_added_to_a_reopened_run(later, kept, segmenter):
    reopen(later, kept)
    later.add_members(2)
    later.poll()
    assert segmenter.seen[-1].member_numbers == (3, 4)
    assert json.loads((kept / "run.json").read_text())["members"] == [0, 1, 2, 3, 4]


def test_a_run_that_was_killed_comes_back_and_can_be_finished(later, kept, segmenter):
    text = json.loads((kept / "run.json").read_text())
    (kept / "run.json").write_text(json.dumps(text | {"status": "running", "members": []}))
    (kept / "members" / "member-003.nii.gz").unlink()
    [run] = reopen(later, kept)["reopened"]
    assert run.ending is Ending.CANCELLED
    assert "It was cut short." in run.words
    assert later.runs.on_screen.is_cut_short
    later.add_members(0)
    later.poll()
    assert segmenter.seen[-1].member_numbers == (2,)


def test_without_its_images_a_run_is_shown_but_cannot_go_on(later, kept, case_folder):
    shutil.rmtree(case_folder)
    heard = reopen(later, kept)
    [run] = heard["reopened"]
    assert len(run.sampled) == 3
    assert heard["brought"] == []
    assert later.why_not_add().startswith("The reopened run's t1, t1ce, t2, flair cannot be found unchanged")


def test_an_image_that_has_changed_since_is_not_taken_for_the_runs(later, kept, case_folder):
    shutil.copy(case_folder / "case_1_t2.nii.gz", case_folder / "case_1_t1.nii.gz")
    [run] = reopen(later, kept)["reopened"]
    assert "case_1_t1.nii.gz is not what it was when the run was made." in run.words
    assert later.why_not_add().startswith("The reopened run's t1 cannot be found")


def test_a_broken_folder_is_one_sentence_and_leaves_the_session_usable(later, kept):
    (kept / "run.json").write_text("{")
    heard = reopen(later, kept)
    assert heard["reopened"] == []
    assert heard["failed"] == [(f"{kept / 'run.json'} is damaged: choose another run.", "BadCase")]
    assert later.phase is Phase.IDLE


def test_where_the_images_lie_is_not_exported(later, kept, tmp_path):
    reopen(later, kept)
    later.export(tmp_path / "out", ExportChoice(pattern="{what}"))
    later.poll()
    assert (tmp_path / "out" / "run.json").exists()
    assert not (tmp_path / "out" / ".origin.json").exists()


def test_a_dropped_run_folder_opens_as_layers_on_the_sources_voxels(kept):
    assert get_reader(str(kept)) is read_layers
    made = {attributes["name"]: (data, attributes) for data, attributes, _ in read_layers(str(kept))}
    assert list(made) == [f"case_1 | {name}" for name in ("mean", "uncertainty", "mask", "members")]
    stack = np.stack([fake_member(SHAPE, k) for k in range(3)])
    for name, expected in (("mean", stack.mean(0)), ("uncertainty", stack.var(0, ddof=1)), ("members", stack)):
        data, attributes = made[f"case_1 | {name}"]
        frame = attributes["metadata"]["napari_diffseg"]
        np.testing.assert_allclose(frame.to_source(data), expected, atol=1e-6)


def test_members_of_a_dropped_run_folder_are_saved_under_their_own_numbers(kept, tmp_path):
    text = json.loads((kept / "run.json").read_text())
    (kept / "run.json").write_text(json.dumps(text | {"status": "running", "members": []}))
    (kept / "members" / "member-001.nii.gz").unlink()
    data, attributes, _ = next(layer for layer in read_layers(str(kept)) if layer[1]["name"].endswith("| members"))
    saved = write_labels(str(tmp_path / "m.nii.gz"), data, attributes)
    assert [Path(path).name for path in saved] == ["m_member2.nii.gz", "m_member3.nii.gz"]


def test_the_last_run_comes_back_in_a_new_viewer(viewer, segmenter, kept, qtbot):
    session = Session(launch=launch, load_engine=FakeLoader(segmenter), runs_folder=kept.parent)
    panel = DiffsegPanel(viewer, session=session)
    viewer.window.add_dock_widget(panel, name="Diffusion ensemble", area="right")
    panel.case.reopen.fill()
    first = panel.case.reopen.menu().actions()[0]
    assert first.text().startswith("Last run: case_1, ")
    first.trigger()
    qtbot.waitUntil(lambda: bool(session.checkpoint_rows) and session.phase is Phase.IDLE, timeout=90_000)
    qtbot.waitUntil(lambda: not panel.results.is_behind, timeout=90_000)
    names = [layer.name for layer in viewer.layers]
    assert names[:4] == [f"case_1 {m}" for m in MODALITIES]
    mean = viewer.layers["diffseg 1 | mean"]
    stack = np.stack([fake_member(SHAPE, k) for k in range(3)])
    found = mean.metadata["napari_diffseg"].to_source(np.asarray(mean.data))
    np.testing.assert_allclose(found, stack.mean(0), atol=1e-6)
    assert panel.settings.controls["seed"].value() == 5
    assert session.why_not_run() is None
    assert {m: Path(layer.metadata["napari_diffseg"].volume.path).name for m, layer in session.inputs.items()} == {
        m: f"case_1_{m}.nii.gz" for m in MODALITIES
    }
    session.close()
