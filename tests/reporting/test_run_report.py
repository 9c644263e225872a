"""A run on one page and as pictures: what they say is what the members say, and nothing is replaced unasked."""

import base64
import hashlib
import json
import re
from dataclasses import replace

import numpy as np
import pytest

from napari_diffseg.appearance import EDITED_COLOR, MASK_COLOR
from napari_diffseg.checkpoint import resolve_checkpoint
from napari_diffseg.ensemble.summary import Rule, Summary
from napari_diffseg.errors import BadRequest, OutputExists
from napari_diffseg.evaluation.report.html import number
from napari_diffseg.imaging.volume import Volume
from napari_diffseg.reporting import ReportChoice, RunReport, export_all, pictures, report
from napari_diffseg.reporting.page import again, make_run_page
from napari_diffseg.reporting.pictures import slice_figure
from napari_diffseg.reporting.sheet import MOST_SLICES, make_sheet
from napari_diffseg.runs.edited_mask import EditedMask, EditRecord
from napari_diffseg.runs.export import ExportChoice
from napari_diffseg.runs.layout import Style
from napari_diffseg.runs.stored_run import StoredRun, read_run
from stored_runs import AFFINE, SHAPE, make_record, write_run

pytest.importorskip("matplotlib")
to_hex = pytest.importorskip("matplotlib.colors").to_hex
PNG = b"\x89PNG\r\n\x1a\n"


@pytest.fixture
def run(tmp_path):
    write_run(tmp_path / "run")
    return read_run(tmp_path / "run")


def reported(run, folder, *, export=None, **choice):
    export = export or ExportChoice(what=("mask",))
    return list(export_all(run, folder, export, RunReport(run, ReportChoice(**choice), export)))


def test_the_page_and_the_pictures_lie_beside_the_maps(run, tmp_path):
    told = reported(run, tmp_path / "out", page=True, pictures=True)
    slices = make_sheet(run, summary=Summary()).slices
    names = [f"case_1_slice{s:03d}.png" for s in slices]
    assert [path.name for path in told] == ["case_1_mask.nii.gz", "case_1_run.json", *names, "case_1_report.html"]
    assert all((tmp_path / "out" / name).read_bytes().startswith(PNG) for name in names)


def test_in_a_bids_derivative_they_are_ignored_by_the_validator(run, tmp_path):
    export = ExportChoice(what=("mask",), style=Style.BIDS)
    reported(run, tmp_path, export=export, pictures=True)
    there = {path.name for path in (tmp_path / "sub-case1" / "anat").iterdir()}
    assert "sub-case1_desc-diffseg_report.html" in there
    ignored = (tmp_path / ".bidsignore").read_text().split()
    assert {"*.html", "*.png"} <= set(ignored)


def test_the_page_says_which_images_must_not_be_there_when_the_run_is_made_again(run):
    sheet = make_sheet(run, summary=Summary())
    assert ", and no" not in make_run_page(sheet)
    recipe = sheet.record.recipe.model_copy(update={"modalities": (*sheet.record.inputs, "dwi", "adc")})
    sheet = replace(sheet, record=sheet.record.model_copy(update={"recipe": recipe}))
    assert ", and no dwi or adc:</p>" in make_run_page(sheet)


def test_the_page_needs_nothing_but_itself(run, tmp_path):
    *_, page = reported(run, tmp_path / "out")
    text = page.read_text("utf-8")
    sources = re.findall(r'src="([^"]*)"', text)
    assert sources
    assert all(source.startswith("data:image/") for source in sources)
    assert "<script" not in text
    assert "http" not in re.sub(r'src="[^"]*"', "", text)
    for source in sources:
        assert len(base64.b64decode(source.partition("base64,")[2], validate=True)) > 500


def test_the_page_says_what_the_members_say(run):
    text = make_run_page(make_sheet(run, summary=Summary()))
    voxel_ml = abs(np.linalg.det(run.grid.affine[:3, :3])) / 1000
    mean = np.mean([member.sum() for member in run.members.values()]) * voxel_ml
    assert f"{mean:.2f} ml on average of {len(run.members)} members" in text
    assert run.record.checkpoint_digest in text
    assert "not a medical device" in text


def test_the_page_says_which_members_are_of_a_second_plane(run):
    record = json.loads((run.folder / "run.json").read_text())
    assert "second plane" not in make_run_page(make_sheet(run, summary=Summary()))
    changes = {"members_across": [1], "plane_across": "coronal", "slices_across": [2, 3]}
    (run.folder / "run.json").write_text(json.dumps(record | changes))
    text = make_run_page(make_sheet(read_run(run.folder), summary=Summary()))
    assert "Member 2: coronal slices" in text


def test_names_from_files_are_escaped(run):
    record = json.loads((run.folder / "run.json").read_text())
    (run.folder / "run.json").write_text(json.dumps(record | {"case": "<b>x</b>", "warnings": ["<i>y</i>"]}))
    text = make_run_page(make_sheet(read_run(run.folder), summary=Summary()))
    assert "&lt;b&gt;x&lt;/b&gt;" in text
    assert "&lt;i&gt;y&lt;/i&gt;" in text
    assert "<b>" not in text
    assert "<i>" not in text


def test_the_command_has_the_settings_that_decide_the_masks():
    record = {
        "request": {"members": 7, "seed": 3, "slices": "2:9", "focus": 4, "device": "auto", "reproducible": True},
        "sampler": "ddim",
        "timesteps": 10,
        "checkpoint": {"file": "my model.safetensors"},
    }
    assert again(make_record(**record)) == (
        "napari-diffseg predict . --checkpoint 'my model.safetensors' --out results --members 7 --sampler ddim "
        "--timesteps 10 --seed 3 --slices 2:9 --reproducible"
    )


@pytest.mark.parametrize(("of_run", "shown", "said"), [(1.0, 3.0, True), (1.0, 1.0, False), (0.0, None, False)])
def test_the_command_says_the_smoothing_where_it_is_not_the_runs_own(of_run, shown, said):
    record = {"smoothing_mm": of_run, "checkpoint": {"file": "a.pt"}}
    summary = None if shown is None else Summary(smoothing_mm=shown)
    assert again(make_record(**record), summary).endswith(" --smoothing-mm 3.0") is said


def test_the_command_says_what_was_said_of_the_checkpoint_and_which_grid_was_taken():
    record = {
        "files": {"t1": "a_t1.nii.gz", "t2": "a_t2.nii.gz"},
        "resampled": {"t2": "t1"},
        "checkpoint": {
            "file": "a.pt",
            "overrides": {
                "sampler": "ddim",
                "modalities": ["t1", "t2"],
                "clip": ["-2", "2"],
                "spacing_mm": None,
                "new_attention_order": True,
            },
        },
    }
    assert again(make_record(**record)).removeprefix("napari-diffseg predict . --checkpoint a.pt --out results ") == (
        "--resample t1 --members 1 --modalities t1,t2 --clip=-2,2 --spacing-mm None --new-attention-order true"
    )


@pytest.mark.parametrize("resampled", [{"t1": "t2", "t2": "t1"}, {"t2": "atlas"}])
def test_a_grid_that_the_command_cannot_say_is_said_beside_it(run, resampled):
    path = run.folder / "run.json"
    files = {"t1": "a_t1.nii.gz", "t2": "a_t2.nii.gz"}
    path.write_text(json.dumps(json.loads(path.read_text()) | {"files": files, "resampled": resampled}))
    page = make_run_page(make_sheet(read_run(run.folder), summary=Summary()))
    assert f"a_t1.nii.gz, a_t2.nii.gz ({', '.join(resampled)} resampled as for this run)" in page
    assert "--resample" not in page


@pytest.mark.parametrize(("change", "word"), [("", "demo"), ("0", "demo.safetensors")])
def test_the_command_names_the_shipped_checkpoint_by_its_word_and_only_that(change, word):
    digest = hashlib.sha256(resolve_checkpoint("demo").read_bytes()).hexdigest()
    record = {"checkpoint": {"file": "demo.safetensors"}, "checkpoint_digest": change + digest[len(change) :]}
    assert digest[0] != "0"
    assert f" --checkpoint {word} " in again(make_record(**record))


def test_a_few_telling_slices_are_shown_the_largest_and_the_most_uncertain_among_them(run):
    sheet = make_sheet(run, summary=Summary())
    assert set(sheet.telling) <= set(sheet.slices)
    assert len(sheet.telling) == min(MOST_SLICES, len(sheet.slices))
    area = [sum(member.any(0)[..., s].sum() for member in run.members.values()) for s in sheet.slices]
    assert sheet.slices[int(np.argmax(area))] in sheet.telling


def test_the_image_behind_is_brought_to_the_runs_voxels(run):
    ramp = np.arange(run.grid.shape[0], dtype=np.float32)[:, None, None] * np.ones(run.grid.shape, np.float32)
    same = Volume(ramp, run.grid.affine, None, None, ())
    fine = Volume(np.repeat(ramp, 2, axis=1), run.grid.affine @ np.diag([1, 0.5, 1, 1]), None, None, ())
    s = make_sheet(run, summary=Summary()).slices[0]
    mine, moved = (make_sheet(run, summary=Summary(), image=v, image_name="t1").view(s) for v in (same, fine))
    inner = (slice(1, -1), slice(None))
    np.testing.assert_allclose(mine.background[inner], moved.background[inner], atol=0.02)


@pytest.mark.parametrize(("image", "brightest"), [(False, 0.25), (True, 1)])
def test_what_the_members_agree_on_is_dark_behind_the_uncertainty_unless_an_image_is_there(run, image, brightest):
    for member in run.members.values():
        member[0, 0, 1], member[0, 1, 1] = True, False
    volume = Volume(run.members[0][0].astype(np.float32), run.grid.affine, None, None, ()) if image else None
    sheet = make_sheet(run, summary=Summary(), image=volume, image_name="t1")
    masked, _, doubted, _ = slice_figure(sheet, sheet.view(sheet.slices[0])).axes
    greys = [axes.images[0].to_rgba(axes.images[0].get_array())[..., 0].max() for axes in (masked, doubted)]
    assert greys == pytest.approx([1, brightest], abs=0.01)


def test_nothing_is_written_where_the_page_would_replace_another(run, tmp_path):
    mine = tmp_path / "out" / "case_1_report.html"
    mine.parent.mkdir()
    mine.write_text("mine")
    with pytest.raises(OutputExists, match="case_1_report"):
        reported(run, mine.parent)
    assert [path.name for path in mine.parent.iterdir()] == ["case_1_report.html"]
    reported(run, mine.parent, export=ExportChoice(what=("mask",), overwrite=True))
    assert mine.read_text() != "mine"


def test_without_what_draws_it_is_refused_at_once(monkeypatch):
    def refuse(_extra):
        raise BadRequest("Evaluation needs matplotlib.")

    monkeypatch.setattr(report, "check_extra", refuse)
    with pytest.raises(BadRequest, match="matplotlib"):
        ReportChoice()


def test_asking_for_nothing_is_refused():
    with pytest.raises(BadRequest, match="Nothing to report"):
        ReportChoice(page=False, pictures=False)


def several_labels(folder, values=((1, 2), (2,))):
    """A run of two regions on known voxels, the second within the first."""
    whole = np.random.default_rng(0).random((3, *SHAPE)) > 0.5
    stack = np.stack([whole, whole & (np.random.default_rng(1).random((3, *SHAPE)) > 0.5)], axis=1)
    recipe = {"labels": ["whole tumour", "tumour core"], "label_values": values, "modalities": ["t1"]}
    grid = Volume(np.zeros(SHAPE, np.uint8), AFFINE, None, None, ())
    return StoredRun(folder, make_record(recipe=recipe, slices=(0, 1, 2, 3)), grid, dict(enumerate(stack)))


def correction(mask):
    record = EditRecord(began_from="the <majority>", made_with="napari 0.9", changed="2026-11-30", voxels_added=3)
    return EditedMask(1, mask.astype(np.uint8), np.zeros(SHAPE, np.uint8), record)


def test_the_page_can_be_of_the_mask_that_was_corrected(run):
    painted = np.zeros(SHAPE, np.bool_)
    painted[1:4, 0:3, 1:3] = True  # slice 0 holds no member
    mask = make_sheet(run, summary=Summary())._maps.masks[0]
    truth = Volume(mask.astype(np.uint8), run.grid.affine, None, None, ())
    sheet = make_sheet(run, summary=Summary(), edited=correction(painted), truth=truth, smallest_ml=0.0)
    [label] = sheet.labels
    expected = 2 * (painted & mask).sum() / (painted.sum() + mask.sum())
    assert (label.dice_to_mask, label.dice_to_truth) == pytest.approx((expected, expected))
    assert label.edited == pytest.approx(painted.sum() * 6 / 1000)
    assert sheet.slices == (0, 1, 2, 3)
    view = sheet.view(0)
    assert view.edited is not None
    assert view.edited.any()
    text = make_run_page(sheet)
    assert f"{label.edited:.2f} ml in the mask edited by hand" in text
    assert "edited by hand, from the &lt;majority&gt;, in napari 0.9, on 2026-11-30: 3 voxels added" in text
    assert "Connected components of what the mask edited by hand holds" in text
    assert number(expected) in text
    assert "Interval of" not in text


def test_pictures_show_the_correction_and_the_mask_below_it(run):
    painted = np.zeros(SHAPE, np.bool_)
    painted[1:4, 2, 1:3] = True
    sheet = make_sheet(run, summary=Summary(), edited=correction(painted))
    figure = slice_figure(sheet, sheet.view(2))
    drawn = [(c.get_linestyle()[0][1] is None, to_hex(c.get_edgecolor()[0])) for c in figure.axes[0].collections]
    assert drawn == [(False, MASK_COLOR), (True, EDITED_COLOR)]
    assert "edited by hand" in figure.axes[0].get_title()


def test_each_label_has_its_volume_its_dice_and_its_outline(tmp_path):
    run = several_labels(tmp_path)
    mean = np.mean(list(run.members.values()), axis=0)
    label_map = (mean[0] > 0.5).astype(np.uint8) + (mean[1] > 0.5)
    truth = Volume(label_map, AFFINE, None, None, ())
    sheet = make_sheet(run, summary=Summary(Rule.MAJORITY), truth=truth)
    ml = np.sum([m.sum(axis=(1, 2, 3)) for m in run.members.values()], axis=0) / 3 * 6 / 1000
    np.testing.assert_allclose([label.by_members[0] for label in sheet.labels], ml)
    assert [label.dice_to_truth for label in sheet.labels] == [1.0, 1.0]
    text = make_run_page(sheet)
    assert all(f"<td>{name}</td>" in text for name in run.labels)
    legend = slice_figure(sheet, sheet.view(1)).axes[0].get_legend()
    assert [entry.get_text() for entry in legend.get_texts()] == list(run.labels)
    of_2023 = Volume(np.choose(label_map, np.array([0, 2, 3], np.uint8)), AFFINE, None, None, ())
    run = several_labels(tmp_path, values=((1, 2, 4), (1, 4)))
    assert [label.dice_to_truth for label in make_sheet(run, summary=Summary(), truth=of_2023).labels] == [1.0, 1.0]
    other = Volume(label_map * 7, AFFINE, None, None, ())
    with pytest.raises(BadRequest, match="its labels 7, 14 do not tell whole tumour, tumour core"):
        make_sheet(run, summary=Summary(), truth=other)


def test_a_size_that_cannot_be_is_refused():
    with pytest.raises(BadRequest, match="at least -1"):
        ReportChoice(smallest_ml=-1)


def test_a_label_whose_letters_no_font_has_is_called_by_its_number():
    assert pictures._can_be_drawn("Tumour core, Ödem")
    assert not pictures._can_be_drawn("\U00010330")


@pytest.mark.parametrize(
    ("refined_by", "refined", "said"), [("flair", True, False), ("flair", False, True), ("", False, False)]
)
def test_the_command_says_that_nothing_is_refined_where_the_run_was(refined_by, refined, said):
    record = make_record(refined_by=refined_by, checkpoint={"file": "a.pt"})
    assert (" --refine-by none" in again(record, Summary(refined=refined))) is said
