"""What a run leaves on disk, whole, cut short, resumed and refused."""

import json
import os
from dataclasses import replace

import nibabel as nib
import numpy as np
import pytest

from builders import write_case, write_tiny_checkpoint
from kept_runs import keep, load, make_folder
from napari_diffseg.checkpoint import load_checkpoint
from napari_diffseg.errors import BadRequest, OutputExists, OutputFailed
from napari_diffseg.imaging import save
from napari_diffseg.imaging.case import read_case
from napari_diffseg.runs import run_writer
from napari_diffseg.runs.parts import parts_of
from stored_runs import make_record


def test_a_run_leaves_mask_mean_uncertainty_members_and_record(tiny_case, tiny_checkpoint, tmp_path):
    keep(make_folder(tmp_path / "run", tiny_case, tiny_checkpoint), tiny_checkpoint)
    names = sorted(p.relative_to(tmp_path / "run").as_posix() for p in (tmp_path / "run").rglob("*") if p.is_file())
    assert names == [
        "expected.nii.gz",
        "mask.nii.gz",
        "mean.nii.gz",
        "members/member-001.nii.gz",
        "members/member-002.nii.gz",
        "members/member-003.nii.gz",
        "run.json",
        "uncertainty.nii.gz",
    ]
    stack = np.stack([load(tmp_path / "run" / "members" / f"member-{k:03d}.nii.gz") for k in (1, 2, 3)])
    np.testing.assert_allclose(load(tmp_path / "run" / "mean.nii.gz"), stack.mean(0), atol=1e-6)
    np.testing.assert_allclose(load(tmp_path / "run" / "uncertainty.nii.gz"), stack.var(0, ddof=1), atol=1e-6)
    np.testing.assert_array_equal(load(tmp_path / "run" / "mask.nii.gz"), stack.mean(0) > 0.5)


def test_a_run_of_before_a_recipe_could_say_so_is_the_same_run(tiny_case, tiny_checkpoint, tmp_path):
    keep(make_folder(tmp_path / "run", tiny_case, tiny_checkpoint, members=2), tiny_checkpoint)
    record = json.loads((tmp_path / "run" / "run.json").read_text())
    assert record["recipe"].pop("mirror") is False
    (tmp_path / "run" / "run.json").write_text(json.dumps(record))
    make_folder(tmp_path / "run", tiny_case, tiny_checkpoint).check_same_run()
    other = replace(tiny_checkpoint, recipe=tiny_checkpoint.recipe.model_copy(update={"mirror": True}))
    with pytest.raises(BadRequest, match=r"another recipe \(mirror True, before False\)"):
        make_folder(tmp_path / "run", tiny_case, other).check_same_run()


@pytest.mark.parametrize("codes", [("L", "P", "S"), ("R", "A", "S"), ("P", "S", "R"), ("S", "L", "A")])
def test_files_have_the_sources_geometry_whatever_its_orientation(tiny_checkpoint, tmp_path, codes):
    ornt = nib.orientations.axcodes2ornt(codes)
    affine = np.array([[0.9, 0.1, 0, -20], [-0.1, 0.9, 0, 30], [0, 0, 2.0, 5], [0, 0, 0, 1]])
    affine = affine @ nib.orientations.inv_ornt_aff(ornt, (14, 12, 5))
    folder = write_case(tmp_path / "case", affine=affine, shape=(9, 10, 11))
    keep(make_folder(tmp_path / "run", read_case(folder), tiny_checkpoint, slices="4:6"), tiny_checkpoint)
    source = nib.load(folder / "case_1_t1.nii.gz")
    for name in ("mask", "mean", "uncertainty", "members/member-001"):
        image = nib.load(tmp_path / "run" / f"{name}.nii.gz")
        assert image.shape == source.shape
        for form in ("get_sform", "get_qform"):
            np.testing.assert_array_equal(getattr(image, form)(), getattr(source, form)())
        assert image.header["sform_code"] == image.header["qform_code"] == 1
        assert image.header.get_xyzt_units()[0] == "mm"
        assert image.get_data_dtype() == (np.uint8 if name[0] == "m" and name != "mean" else np.float32)


def test_the_record_holds_what_is_needed_to_make_the_run_again(tiny_case, tiny_checkpoint, tmp_path):
    keep(make_folder(tmp_path / "run", tiny_case, tiny_checkpoint, seed=11), tiny_checkpoint)
    record = json.loads((tmp_path / "run" / "run.json").read_text())
    assert record["status"] == "complete"
    assert record["members"] == [0, 1, 2]
    assert record["settings"]["seed"] == 11
    assert record["settings"]["sampler"] == "ddim"
    assert record["checkpoint_digest"] == tiny_checkpoint.digest
    assert record["inputs"] == {name: v.digest for name, v in tiny_case.volumes.items()}
    assert set(record["versions"]) >= {"python", "torch", "numpy", "nibabel"}
    assert record["slices_without_brain"] == [4]


def test_a_run_cut_short_keeps_its_members_and_resumes_to_the_same_masks(tiny_case, tiny_checkpoint, tmp_path):
    keep(make_folder(tmp_path / "whole", tiny_case, tiny_checkpoint), tiny_checkpoint)
    folder = make_folder(tmp_path / "cut", tiny_case, tiny_checkpoint, batch_size=4)
    keep(folder, tiny_checkpoint, stop_after=7)
    assert folder.status() == "running"
    assert folder.finished_members() == (0,)
    assert (tmp_path / "cut" / "mask.nii.gz").exists()
    keep(make_folder(tmp_path / "cut", tiny_case, tiny_checkpoint), tiny_checkpoint, resume=True)
    assert folder.status() == "complete"
    for name in ("mask", "mean", "uncertainty", "members/member-001", "members/member-003"):
        whole, cut = (tmp_path / place / f"{name}.nii.gz" for place in ("whole", "cut"))
        assert whole.read_bytes() == cut.read_bytes()


def test_members_can_be_added_without_computing_the_old_ones_again(tiny_case, tiny_checkpoint, tmp_path):
    keep(make_folder(tmp_path / "run", tiny_case, tiny_checkpoint, members=2), tiny_checkpoint)
    before = (tmp_path / "run" / "members" / "member-001.nii.gz").stat().st_mtime_ns
    keep(make_folder(tmp_path / "run", tiny_case, tiny_checkpoint, members=4), tiny_checkpoint, resume=True)
    assert (tmp_path / "run" / "members" / "member-001.nii.gz").stat().st_mtime_ns == before
    assert json.loads((tmp_path / "run" / "run.json").read_text())["members"] == [0, 1, 2, 3]


def test_resuming_with_other_settings_is_refused_by_name(tiny_case, tiny_checkpoint, tmp_path):
    keep(make_folder(tmp_path / "run", tiny_case, tiny_checkpoint, members=2), tiny_checkpoint)
    with pytest.raises(
        BadRequest, match=r"with other settings \(eta 0.5, before 0.0; seed 5, before 0\): resume with the same"
    ):
        keep(make_folder(tmp_path / "run", tiny_case, tiny_checkpoint, seed=5, eta=0.5), tiny_checkpoint, resume=True)
    other = load_checkpoint(write_tiny_checkpoint(tmp_path / "other.safetensors", seed=1))
    with pytest.raises(
        BadRequest, match=rf"another checkpoint \({other.digest[:12]}, before {tiny_checkpoint.digest[:12]}\): "
    ):
        keep(make_folder(tmp_path / "run", tiny_case, other), other, resume=True)


def test_results_are_never_overwritten_unasked_and_stale_members_go_when_asked(tiny_case, tiny_checkpoint, tmp_path):
    keep(make_folder(tmp_path / "run", tiny_case, tiny_checkpoint), tiny_checkpoint)
    again = make_folder(tmp_path / "run", tiny_case, tiny_checkpoint, members=2)
    with pytest.raises(OutputExists, match="holds results"):
        keep(again, tiny_checkpoint)
    keep(again, tiny_checkpoint, overwrite=True)
    assert not (tmp_path / "run" / "members" / "member-003.nii.gz").exists()


def test_one_member_has_no_uncertainty_file(tiny_case, tiny_checkpoint, tmp_path):
    keep(make_folder(tmp_path / "run", tiny_case, tiny_checkpoint, members=1), tiny_checkpoint)
    assert (tmp_path / "run" / "mean.nii.gz").exists()
    assert not (tmp_path / "run" / "uncertainty.nii.gz").exists()


def test_a_full_disk_is_one_sentence_and_finished_members_stay(tiny_case, tiny_checkpoint, tmp_path, monkeypatch):
    original, calls = save.write_nifti, []

    def full_at_the_third(path, array, like, **how):  # after the one-step estimate and a member
        calls.append(path)
        if len(calls) > 2:
            raise OutputFailed("Disk full.")
        original(path, array, like, **how)

    monkeypatch.setattr(run_writer, "write_nifti", full_at_the_third)
    with pytest.raises(OutputFailed, match="Disk full"):
        keep(make_folder(tmp_path / "run", tiny_case, tiny_checkpoint), tiny_checkpoint)
    monkeypatch.undo()
    assert load(tmp_path / "run" / "members" / "member-001.nii.gz").any()
    assert not list((tmp_path / "run").rglob("*.part"))


@pytest.mark.skipif(os.geteuid() == 0 if hasattr(os, "geteuid") else True, reason="root may write anywhere")
def test_a_place_that_cannot_be_written_is_refused_before_the_run(tiny_case, tiny_checkpoint, tmp_path):
    tmp_path.chmod(0o500)
    with pytest.raises(OutputFailed, match="cannot be written to"):
        keep(make_folder(tmp_path / "run", tiny_case, tiny_checkpoint), tiny_checkpoint)


def test_a_file_in_the_folders_place_is_refused(tiny_case, tiny_checkpoint, tmp_path):
    (tmp_path / "run").write_text("")
    with pytest.raises(OutputFailed, match="is a file"):
        keep(make_folder(tmp_path / "run", tiny_case, tiny_checkpoint), tiny_checkpoint)


def test_several_mask_channels_have_their_names_in_the_files(tiny_case, tmp_path):
    checkpoint = load_checkpoint(write_tiny_checkpoint(tmp_path / "t.safetensors", labels=("Tumour core", "oedema")))
    keep(make_folder(tmp_path / "run", tiny_case, checkpoint, members=2), checkpoint)
    assert (tmp_path / "run" / "mask_tumour-core.nii.gz").exists()
    assert (tmp_path / "run" / "members" / "member_oedema-002.nii.gz").exists()


def test_a_run_killed_after_its_last_member_is_finished_by_a_resume(tiny_case, tiny_checkpoint, tmp_path):
    keep(make_folder(tmp_path / "run", tiny_case, tiny_checkpoint), tiny_checkpoint)
    whole = (tmp_path / "run" / "uncertainty.nii.gz").read_bytes()
    record = tmp_path / "run" / "run.json"
    record.write_text(record.read_text().replace('"complete"', '"running"'))
    for name in ("mask", "mean", "uncertainty"):
        (tmp_path / "run" / f"{name}.nii.gz").unlink()
    folder = make_folder(tmp_path / "run", tiny_case, tiny_checkpoint)
    keep(folder, tiny_checkpoint, resume=True)
    assert folder.status() == "complete"
    assert (tmp_path / "run" / "uncertainty.nii.gz").read_bytes() == whole


def test_resuming_to_fewer_members_than_are_there_has_nothing_to_do_but_the_maps(tiny_case, tiny_checkpoint, tmp_path):
    keep(make_folder(tmp_path / "run", tiny_case, tiny_checkpoint), tiny_checkpoint)
    fewer = make_folder(tmp_path / "run", tiny_case, tiny_checkpoint, members=2)
    assert fewer.is_complete()
    before = {p: p.read_bytes() for p in (tmp_path / "run").rglob("*.nii.gz")}
    record = tmp_path / "run" / "run.json"
    record.write_text(record.read_text().replace('"complete"', '"running"'))
    (tmp_path / "run" / "mask.nii.gz").unlink()
    keep(fewer, tiny_checkpoint, resume=True)
    assert json.loads(record.read_text())["members"] == [0, 1, 2]
    assert fewer.is_complete()
    assert {p: p.read_bytes() for p in (tmp_path / "run").rglob("*.nii.gz")} == before


def test_another_image_is_named(tiny_case, tiny_checkpoint, tmp_path):
    keep(make_folder(tmp_path / "run", tiny_case, tiny_checkpoint, members=1), tiny_checkpoint)
    t2 = tiny_case.volumes["t2"]
    changed = replace(tiny_case, volumes=tiny_case.volumes | {"t2": replace(t2, file_digest="f" * 64)})
    with pytest.raises(BadRequest, match=rf"other images \(t2 f{{12}}, before {t2.digest[:12]}\)"):
        keep(make_folder(tmp_path / "run", changed, tiny_checkpoint), tiny_checkpoint, resume=True)


def test_resuming_where_nothing_is_yet_begins(tiny_case, tiny_checkpoint, tmp_path):
    folder = make_folder(tmp_path / "run", tiny_case, tiny_checkpoint)
    keep(folder, tiny_checkpoint, resume=True)
    assert folder.is_complete()
    assert not make_folder(tmp_path / "run", tiny_case, tiny_checkpoint, members=4).is_complete()


def test_other_settings_are_named_even_when_all_members_are_there(tiny_case, tiny_checkpoint, tmp_path):
    keep(make_folder(tmp_path / "run", tiny_case, tiny_checkpoint), tiny_checkpoint)
    with pytest.raises(BadRequest, match=r"other settings \(timesteps 2, before 4\)"):
        keep(make_folder(tmp_path / "run", tiny_case, tiny_checkpoint, timesteps=2), tiny_checkpoint, resume=True)


def test_results_are_refused_beside_the_cases_own_images(tiny_checkpoint, tmp_path):
    source = write_case(tmp_path / "case_1")
    (source / "mask.nii.gz").write_bytes((source / "case_1_t1.nii.gz").read_bytes())
    (tmp_path / "link").symlink_to(source)
    for place in (source, tmp_path / "link"):
        folder = make_folder(place, read_case(source), tiny_checkpoint)
        with pytest.raises(BadRequest, match="the case's own images"):
            keep(folder, tiny_checkpoint, overwrite=True)
    assert (source / "mask.nii.gz").exists()


def test_overwriting_leaves_what_people_keep_beside_the_results(tiny_case, tiny_checkpoint, tmp_path):
    two = load_checkpoint(write_tiny_checkpoint(tmp_path / "two.safetensors", labels=("core", "oedema")))
    keep(make_folder(tmp_path / "run", tiny_case, two, members=1), two)
    (tmp_path / "run" / "mask_corrected.nii.gz").write_bytes(b"hours of work")
    keep(make_folder(tmp_path / "run", tiny_case, tiny_checkpoint, members=1), tiny_checkpoint, overwrite=True)
    masks = sorted(p.name for p in (tmp_path / "run").glob("mask*"))
    assert masks == ["mask.nii.gz", "mask_corrected.nii.gz"]


def test_two_channels_whose_names_read_alike_have_files_of_their_own(tiny_case, tmp_path):
    checkpoint = load_checkpoint(write_tiny_checkpoint(tmp_path / "t.safetensors", labels=("Core", "core", "+")))
    keep(make_folder(tmp_path / "run", tiny_case, checkpoint, members=1), checkpoint)
    masks = sorted(p.name for p in (tmp_path / "run").glob("mask*"))
    assert masks == ["mask_channel-3.nii.gz", "mask_core-1.nii.gz", "mask_core-2.nii.gz"]


def test_a_damaged_member_is_named_with_the_way_out(tiny_case, tiny_checkpoint, tmp_path):
    keep(make_folder(tmp_path / "run", tiny_case, tiny_checkpoint, members=2), tiny_checkpoint)
    member = tmp_path / "run" / "members" / "member-002.nii.gz"
    member.write_bytes(member.read_bytes()[:40])
    with pytest.raises(BadRequest, match=r"member-002\.nii\.gz cannot be taken over .* resuming samples it again"):
        keep(make_folder(tmp_path / "run", tiny_case, tiny_checkpoint), tiny_checkpoint, resume=True)


def test_a_result_that_cannot_be_removed_is_one_sentence(tiny_case, tiny_checkpoint, tmp_path):
    (tmp_path / "run" / "mask.nii.gz").mkdir(parents=True)
    with pytest.raises(OutputFailed, match=r"mask\.nii\.gz cannot be replaced"):
        keep(make_folder(tmp_path / "run", tiny_case, tiny_checkpoint), tiny_checkpoint, overwrite=True)


def test_a_name_that_is_too_long_for_the_disk_is_one_sentence(tiny_case, tiny_checkpoint, tmp_path):
    with pytest.raises(OutputFailed, match="cannot be used: File name too long"):
        keep(make_folder(tmp_path / ("x" * 300) / "run", tiny_case, tiny_checkpoint), tiny_checkpoint)


def test_the_folder_may_be_given_as_text(tiny_case, tiny_checkpoint, tmp_path):
    keep(make_folder(str(tmp_path / "run"), tiny_case, tiny_checkpoint, members=1), tiny_checkpoint)
    assert (tmp_path / "run" / "mask.nii.gz").exists()


def test_what_was_added_in_parts_is_byte_for_byte_what_one_run_makes(tiny_case, tiny_checkpoint, tmp_path):
    keep(make_folder(tmp_path / "once", tiny_case, tiny_checkpoint, members=5), tiny_checkpoint)
    for members in (1, 3, 5):
        folder = make_folder(tmp_path / "grown", tiny_case, tiny_checkpoint, members=members, focus=members)
        keep(folder, tiny_checkpoint, resume=True)
    files = sorted(p.relative_to(tmp_path / "once") for p in (tmp_path / "once").rglob("*.nii.gz"))
    assert len(files) == 9
    for name in files:
        assert (tmp_path / "grown" / name).read_bytes() == (tmp_path / "once" / name).read_bytes(), name


def test_the_parts_of_a_run_say_who_made_what_and_add_up(tiny_case, tiny_checkpoint, tmp_path):
    for members in (1, 3):
        keep(make_folder(tmp_path / "run", tiny_case, tiny_checkpoint, members=members), tiny_checkpoint, resume=True)
    record = json.loads((tmp_path / "run" / "run.json").read_text())
    first, second = record["parts"]
    assert (first["members"], second["members"]) == ([0], [1, 2])
    assert record["began"] == first["began"] <= second["began"]
    assert record["seconds"] == pytest.approx(first["seconds"] + second["seconds"])
    assert first["seconds"] > 0
    assert {first["device"], second["device"]} == {record["device"]}


def test_members_that_a_killed_part_left_are_its_own(tiny_case, tiny_checkpoint, tmp_path):
    keep(make_folder(tmp_path / "run", tiny_case, tiny_checkpoint, members=2), tiny_checkpoint)
    place = tmp_path / "run" / "run.json"
    record = json.loads(place.read_text())
    record["status"], record["parts"][0]["members"] = "running", []
    place.write_text(json.dumps(record))
    keep(make_folder(tmp_path / "run", tiny_case, tiny_checkpoint, members=3), tiny_checkpoint, resume=True)
    assert [part["members"] for part in json.loads(place.read_text())["parts"]] == [[0, 1], [2]]


@pytest.mark.parametrize("parts", [None, [], "?", [{"seconds": -1}], [{"members": "all"}]])
def test_a_record_without_readable_parts_is_a_single_one(parts):
    record = {"began": "2026-01-01", "seconds": 3.0, "device": "cpu", "precision": "fp32", "members": [0, 1]}
    (part,) = parts_of(make_record(**record if parts is None else record | {"parts": parts}), [0, 1])
    assert part.members == (0, 1)
    if not parts:
        assert (part.began, part.seconds, part.device) == ("2026-01-01", 3.0, "cpu")


def test_a_member_that_was_deleted_is_sampled_again_by_the_part_that_does(tiny_case, tiny_checkpoint, tmp_path):
    keep(make_folder(tmp_path / "run", tiny_case, tiny_checkpoint, members=3), tiny_checkpoint)
    (tmp_path / "run" / "members" / "member-002.nii.gz").unlink()
    keep(make_folder(tmp_path / "run", tiny_case, tiny_checkpoint, members=3), tiny_checkpoint, resume=True)
    record = json.loads((tmp_path / "run" / "run.json").read_text())
    assert [part["members"] for part in record["parts"]] == [[0], [1, 2]]
