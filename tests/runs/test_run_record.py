"""A record is one checked form: runs of before open, and what somebody edited ends in one sentence."""

import ast
import json
import re
import shutil
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest

import napari_diffseg
from napari_diffseg.cli import main
from napari_diffseg.ensemble.summary import Summary
from napari_diffseg.errors import BadCase, DiffsegError
from napari_diffseg.reporting.page import _ingredients, _notes, _settings, again
from napari_diffseg.reporting.sheet import make_sheet
from napari_diffseg.runs.layout import RECORD
from napari_diffseg.runs.record import RunRecord, read_record
from napari_diffseg.runs.stored_run import read_run
from stored_runs import write_run

FORMAT_1 = Path(__file__).parent / "run_of_format_1.json"
"""As the first version wrote it."""
WRONG = (None, True, -1, 1e300, 10**30, float("nan"), "\ud800", "<b>", [], [[]], [None], {}, {"": {"": []}}, "x" * 300)


@pytest.fixture
def old_run(tmp_path):
    """A folder with that record, and members of a few voxels in as many slices as it speaks of."""
    (tmp_path / "members").mkdir()
    shutil.copy(FORMAT_1, tmp_path / RECORD)
    for k in range(3):
        mask = np.zeros((4, 5, 78), np.uint8)
        mask[k:, 2, 75] = 1
        nib.save(nib.Nifti1Image(mask, np.eye(4)), tmp_path / "members" / f"member-{k + 1:03d}.nii.gz")
    return tmp_path


def test_a_run_of_the_first_format_opens_and_says_all_that_it_said(old_run):
    run = read_run(old_run)
    assert (run.started.members, run.started.timesteps, run.started.smoothing_mm) == ((0, 1, 2), 10, 1.0)
    assert run.started.slices == tuple(range(70, 78))
    written = json.loads(FORMAT_1.read_text("utf-8"))
    assert run.record.as_json() == written
    assert again(run.record).endswith(
        "--members 3 --sampler dpmpp --timesteps 10 --seed 0 --slices 70:78 --reproducible"
    )


def test_what_a_newer_version_adds_is_left_alone(old_run):
    written = json.loads(FORMAT_1.read_text("utf-8"))
    written["recipe"]["new promise"] = [1, 2]
    (old_run / RECORD).write_text(json.dumps(written | {"new": {"er": "things"}}))
    assert read_record(old_run).as_json()["recipe"]["new promise"] == [1, 2]


def fields(value, path=()):
    """Paths of all values in a record, itself left out."""
    for key, inner in value.items() if isinstance(value, dict) else enumerate(value):
        yield (*path, key)
        if isinstance(inner, dict | list):
            yield from fields(inner, (*path, key))


def replaced(record, path, value):
    changed = json.loads(json.dumps(record))
    *before, last = path
    place = changed
    for key in before:
        place = place[key]
    place[last] = value
    return changed


def refusal(reading):
    """What the reading is refused with; None where it is not."""
    try:
        reading()
    except DiffsegError as err:
        return str(err)
    return None


def shown(folder):
    """All that a page says of a run, as it would be written."""
    run = read_run(folder)
    sheet = make_sheet(run, summary=Summary())
    words = [again(run.record), _ingredients(run.record), *_notes(sheet), *map(str, _settings(sheet))]
    return "\n".join(words).encode()


def test_an_edited_record_is_shown_or_refused_in_one_sentence(tmp_path):
    write_run(tmp_path / "run")
    path = tmp_path / "run" / RECORD
    record = json.loads(path.read_text("utf-8"))
    sentences = []
    for n, place in enumerate(fields(record)):
        for value in WRONG[n % 3 :: 3]:
            path.write_text(json.dumps(replaced(record, place, value)))
            sentences.append(refusal(lambda: read_record(tmp_path / "run")))
        path.write_text(json.dumps(replaced(record, place, WRONG[n % len(WRONG)])))
        sentences.append(refusal(lambda: shown(tmp_path / "run")))
    refused = [sentence for sentence in sentences if sentence is not None]
    assert all(str(path.parent) in sentence and len(sentence) < 2000 for sentence in refused)
    assert len(refused) > 200


@pytest.mark.parametrize("field", ["versions", "warnings", "recipe", "inputs", "request", "files", "checkpoint"])
def test_a_field_of_another_type_is_named_before_anything_is_exported(tmp_path, field, capsys):
    write_run(tmp_path / "run")
    path = tmp_path / "run" / RECORD
    path.write_text(json.dumps(json.loads(path.read_text("utf-8")) | {field: 5}))
    assert main(["export", str(tmp_path / "run"), "--out", str(tmp_path / "out"), "--report"]) == 1
    assert f"({field}: Input should be" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_settings_that_cannot_be_are_refused_when_the_run_is_read(tmp_path):
    write_run(tmp_path)
    path = tmp_path / RECORD
    record = json.loads(path.read_text("utf-8"))
    path.write_text(json.dumps(record | {"request": record["request"] | {"window": "no window"}}))
    with pytest.raises(BadCase, match="settings that cannot be"):
        read_run(tmp_path)


def test_a_record_is_written_as_it_was_checked(old_run):
    assert RunRecord.model_validate(read_record(old_run).as_json()) == read_record(old_run)


def test_the_name_of_the_record_stands_once():
    root = Path(napari_diffseg.__file__).parent
    named = set()
    for module in root.rglob("*.py"):
        tree = ast.parse(module.read_text("utf-8"))
        texts = (n.value for n in ast.walk(tree) if isinstance(n, ast.Constant) and isinstance(n.value, str))
        if any(re.fullmatch(r".*\brun\.json", text) for text in texts):
            named.add(module.relative_to(root).as_posix())
    assert named == {"imaging/names/naming.py"}  # which must know a folder of results
