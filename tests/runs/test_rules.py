"""What stands in each written file is what numpy makes of the member files, for every rule and measure."""

from __future__ import annotations

import json
import tempfile
from dataclasses import replace
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from napari_diffseg.ensemble.consensus import staple
from napari_diffseg.ensemble.summary import Measure, Rule, Summary
from napari_diffseg.evaluation.cases.find_predictions import find_predictions
from napari_diffseg.evaluation.cases.predicted import read_prediction
from napari_diffseg.runs.export import ExportChoice, export_run
from napari_diffseg.runs.stored_run import read_run
from stored_runs import AXIS, SHAPE, SLICES, make_run_folder, write_run

SPACING = (2.0, 1.0, 3.0)
_NEAR = 2e-6


def load(path):
    return np.asanyarray(nib.load(path).dataobj)


def said(path):
    return nib.load(path).header["descrip"].item().decode()


def member_files(folder, pattern="members/member-*.nii.gz"):
    return np.stack([load(path).astype(bool) for path in sorted(folder.glob(pattern))])


def gaussian(volume, mm):
    """Gaussian average by rows of weights, cut off at four deviations, of what was asked for alone."""
    volume = np.take(volume, SLICES, axis=AXIS).astype(np.float64)
    for axis, size in enumerate(SPACING):
        sd, places = mm / size, np.arange(volume.shape[axis])
        away = np.abs(places[:, None] - places[None])
        weights = np.exp(-0.5 * (away / sd) ** 2) * (away <= int(4 * sd + 0.5))
        weights /= weights.sum(axis=1, keepdims=True)
        volume = np.moveaxis(np.tensordot(weights, volume, axes=(1, axis)), 0, axis)
    return volume


def smoothed_probability(members, mm, one_step):
    """(v + c q) / (K + c), c = min(2 K, 10), q the Gaussian average of the one-step estimate, or else of the mean."""
    votes, count = members.sum(axis=0), len(members)
    mean = members.mean(axis=0)
    if not mm:
        return mean
    around = np.zeros(SHAPE)
    np.moveaxis(around, AXIS, 0)[list(SLICES)] = np.moveaxis(gaussian(mean if one_step is None else one_step, mm), 1, 0)
    weight = min(2 * count, 10)
    least, most = max(0, weight - count) / (2 * weight) + 1e-3, min(2 * weight, weight + count) / (2 * weight) - 1e-3
    around = np.where(votes == count, np.maximum(around, least), around)
    around = np.where(votes == 0, np.minimum(around, most), around)
    inside = np.zeros(SHAPE, bool)
    np.moveaxis(inside, AXIS, 0)[list(SLICES)] = True
    return np.where(inside, (votes + weight * around) / (count + weight), 0)


def measured(measure, members, probability):
    """Each measure from its definition."""
    mean, pairs = members.mean(axis=0), len(members) * (len(members) - 1) / 2
    if measure is Measure.VARIANCE:
        return members.var(axis=0, ddof=1)
    if measure is Measure.ENTROPY:
        with np.errstate(divide="ignore", invalid="ignore"):
            return -np.nan_to_num(mean * np.log2(mean)) - np.nan_to_num((1 - mean) * np.log2(1 - mean))
    if measure is Measure.DISAGREEMENT:
        differ = [members[i] ^ members[j] for i in range(len(members)) for j in range(i)]
        return np.sum(differ, axis=0) / pairs
    return probability * (1 - probability)


@st.composite
def ensembles(draw):
    """Members (1, slices, X, Z), a one-step estimate or none, a smoothing and a rule of the checkpoint."""
    count, seed = draw(st.integers(1, 7)), draw(st.integers(0, 2**16))
    rng = np.random.default_rng(seed)
    masks = [rng.random((1, len(SLICES), 6, 4)) < draw(st.sampled_from([0.0, 0.3, 0.5, 1.0])) for _ in range(count)]
    one_step = rng.random((1, len(SLICES), 6, 4), np.float32) if draw(st.booleans()) else None
    mm = draw(st.sampled_from([0.0, 1.0, 2.5]))
    return masks, one_step, {"smoothing_mm": mm, "rule": draw(st.sampled_from(["majority", "probability"]))}


@given(ensembles())
@settings(max_examples=15, deadline=None)
def test_the_files_of_a_run_are_what_numpy_makes_of_its_members(drawn):
    masks, one_step, recipe = drawn
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place) / "run"
        write_run(folder, masks=masks, one_step=one_step, **recipe)
        members = member_files(folder)
        estimate = None if one_step is None else load(folder / "expected.nii.gz")
        np.testing.assert_array_equal(load(folder / "mean.nii.gz"), members.mean(axis=0).astype(np.float32))
        if len(members) > 1:
            variance = members.var(axis=0, ddof=1).astype(np.float32)
            np.testing.assert_array_equal(load(folder / "uncertainty.nii.gz"), variance)
        is_smoothed = recipe["smoothing_mm"] > 0
        assert (folder / "probability.nii.gz").exists() is is_smoothed
        mask, record = load(folder / "mask.nii.gz"), json.loads((folder / "run.json").read_text())
        if is_smoothed:
            p = load(folder / "probability.nii.gz")
            np.testing.assert_allclose(p, smoothed_probability(members, recipe["smoothing_mm"], estimate), atol=_NEAR)
        by_probability = is_smoothed and recipe["rule"] == "probability"
        np.testing.assert_array_equal(mask, p > 0.5 if by_probability else 2 * members.sum(axis=0) > len(members))
        assert record["rule"] == ("probability" if by_probability else "majority")
        for what, words in record["maps"].items():
            assert said(folder / f"{what}.nii.gz") == words


@given(ensembles(), st.sampled_from([None, 0.0, 1.5]), st.sampled_from(list(Measure)))
@settings(max_examples=15, deadline=None)
def test_what_is_exported_is_what_numpy_makes_of_the_members_for_every_rule_and_measure(drawn, mm, measure):
    pytest.importorskip("SimpleITK")
    masks, one_step, recipe = drawn
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place) / "run"
        write_run(folder, masks=masks, one_step=one_step, **recipe)
        run, members = read_run(folder), member_files(folder)
        smoothing = recipe["smoothing_mm"] if mm is None else mm
        p = smoothed_probability(members, smoothing, None if one_step is None else load(folder / "expected.nii.gz"))
        masks_by = {
            Rule.MAJORITY: 2 * members.sum(axis=0) > len(members),
            Rule.MEAN: members.mean(axis=0).astype(np.float32) > 0.3,
            Rule.PROBABILITY: p > 0.5,
            Rule.STAPLE: staple(list(members[:, None]), members.sum(axis=0)[None])[0].mask,
        }
        for rule, expected in masks_by.items():
            out = Path(place) / rule.value
            list(export_run(run, out, ExportChoice(summary=Summary(rule, 0.3, measure, mm))))
            exported = member_files(out, "case_1_member-*.nii.gz")
            np.testing.assert_array_equal(exported, members)
            near = np.abs(p - 0.5) < _NEAR if rule is Rule.PROBABILITY else np.zeros(SHAPE, bool)
            np.testing.assert_array_equal(load(out / "case_1_mask.nii.gz")[~near], expected[~near])
            np.testing.assert_array_equal(load(out / "case_1_mean.nii.gz"), members.mean(axis=0).astype(np.float32))
            assert (out / "case_1_probability.nii.gz").exists() is (smoothing > 0)
            if smoothing:
                np.testing.assert_allclose(load(out / "case_1_probability.nii.gz"), p, atol=_NEAR)
            if len(members) > 1:
                found = load(out / "case_1_uncertainty.nii.gz")
                np.testing.assert_allclose(found, measured(measure, members, p), atol=_NEAR)


def as_earlier(folder):
    """Make a run what an earlier version would have left: its mean smoothed, no word of a rule, no descriptions."""
    record = json.loads((folder / "run.json").read_text())
    del record["rule"], record["maps"], record["recipe"]["mirror"]
    (folder / "run.json").write_text(json.dumps(record))
    (folder / "probability.nii.gz").rename(folder / "mean.nii.gz")
    image = nib.load(folder / "mean.nii.gz")
    p = np.asanyarray(image.dataobj)
    count = len(list(folder.glob("members/*")))
    nib.save(nib.Nifti1Image(p, image.affine), folder / "mean.nii.gz")
    nib.save(nib.Nifti1Image(p * (1 - p) * count / (count - 1), image.affine), folder / "uncertainty.nii.gz")


@pytest.fixture
def earlier(tmp_path):
    folder = tmp_path / "run"
    write_run(folder, smoothing_mm=1.5, rule="probability")
    as_earlier(folder)
    return folder


def test_a_run_of_before_opens_with_its_own_mask_and_the_members_own_mean(earlier):
    run = read_run(earlier)
    assert run.record.own_rule == "probability"
    assert any("earlier version" in note for note in run.notes)
    members = member_files(earlier)
    list(export_run(run, earlier.parent / "out", ExportChoice()))
    out = earlier.parent / "out"
    np.testing.assert_array_equal(load(out / "case_1_mean.nii.gz"), members.mean(axis=0).astype(np.float32))
    np.testing.assert_array_equal(load(out / "case_1_mask.nii.gz"), load(earlier / "mask.nii.gz"))
    np.testing.assert_array_equal(load(out / "case_1_probability.nii.gz"), load(earlier / "mean.nii.gz"))


def test_the_maps_of_a_run_of_before_are_made_anew_when_it_is_taken_up(earlier):
    folder = make_run_folder(earlier, smoothing_mm=1.5, rule="probability")
    assert not folder.is_complete()
    run = read_run(earlier)
    folder.resume(replace(run.started, members=(0, 1, 2))).finish(None)
    np.testing.assert_array_equal(load(earlier / "mean.nii.gz"), member_files(earlier).mean(axis=0).astype(np.float32))
    assert (earlier / "probability.nii.gz").exists()


def test_a_run_of_before_without_smoothing_is_as_it_would_be_made_now(tmp_path):
    write_run(tmp_path / "run")
    record = json.loads((tmp_path / "run" / "run.json").read_text())
    del record["rule"], record["maps"]
    (tmp_path / "run" / "run.json").write_text(json.dumps(record))
    assert make_run_folder(tmp_path / "run").is_complete()
    assert not read_run(tmp_path / "run").notes


def test_a_probability_that_is_not_asked_for_any_more_does_not_stay(tmp_path):
    write_run(tmp_path / "run", smoothing_mm=1.5, rule="probability")
    folder = make_run_folder(tmp_path / "run", rule="probability")
    assert not folder.is_complete()
    folder.resume(replace(read_run(tmp_path / "run").started, smoothing_mm=0.0)).finish(None)
    assert not (tmp_path / "run" / "probability.nii.gz").exists()
    assert said(tmp_path / "run" / "mask.nii.gz") == "mask: majority of the members, 3 members"


def read_for_evaluation(folder):
    [(name, files)] = find_predictions(folder).items()
    return read_prediction(files, case_id=name)


def test_an_evaluation_takes_the_maps_of_a_run_of_before_for_what_they_are(earlier):
    found, members = read_for_evaluation(earlier), member_files(earlier)
    np.testing.assert_array_equal(found.probability, load(earlier / "mean.nii.gz"))
    np.testing.assert_array_equal(found.mean, members.mean(axis=0).astype(np.float32))
    np.testing.assert_array_equal(found.uncertainty, members.var(axis=0, ddof=1).astype(np.float32))
    assert any("earlier version" in note for note in found.notes)


def test_an_export_of_a_run_of_before_is_measured_by_the_maps_that_it_holds(earlier):
    list(export_run(read_run(earlier), earlier.parent / "out", ExportChoice()))
    found, members = read_for_evaluation(earlier.parent / "out"), member_files(earlier)
    np.testing.assert_array_equal(found.mean, members.mean(axis=0).astype(np.float32))
    np.testing.assert_array_equal(found.stated, load(earlier / "mean.nii.gz"))
    assert found.made_by == "smoothed probability, 1.5 mm, of 3 members, > 0.5"
    assert not any("earlier version" in note for note in found.notes)
