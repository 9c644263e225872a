"""Layouts of data sets as people have them, with invented names; every file knows whose it is and what it shows.

The value of each image's voxels is 10 * case + modality, so that a mixture of two cases shows.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np
from phantoms import write_image

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

FOUR = ("t1", "t1ce", "t2", "flair")
SEG, OTHER = "seg", "other"

Cases = dict[str, int]
"""What cases are called, and which they are; a text instead of it is what they are asked about with."""


@dataclass(frozen=True)
class Layout:
    """Files, and what is to be made of them.

    `files` tells of each path the case and the modality, "seg", or "other" for what is to be left alone; `predict`,
    `evaluate` and `train` what cases come of the tree, or how it is refused.
    """

    name: str
    files: Mapping[str, tuple[int, str]]
    predict: Cases | str
    evaluate: Cases | str | None = None
    train: Cases | str | None = None
    """As evaluation, unless it is said."""
    modalities: tuple[str, ...] = FOUR
    pick: tuple[str, ...] = ()
    start: str = "."
    truth: str = "."
    described: Mapping[str, object] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if self.train is None and isinstance(self.evaluate, dict):
            object.__setattr__(self, "train", self.evaluate)

    def write(self, root: Path) -> None:
        for name, (case, kind) in self.files.items():
            path = root / name
            path.parent.mkdir(parents=True, exist_ok=True)
            write_image(path, _voxels(case, kind))
        for name, content in self.described.items():
            (root / name).write_text(json.dumps(content))


def _voxels(case: int, kind: str) -> np.ndarray:
    if kind == "4d":
        return np.stack([_voxels(case, m) for m in ("flair", "t1", "t1ce", "t2")], axis=-1)
    data = np.zeros((6, 5, 4), np.int16)
    if kind == SEG:
        data[1 : 2 + case, 1, 1] = 1
    else:
        data[1:5, 1:4, 1:3] = 10 * case + (FOUR.index(kind) if kind in FOUR else 9)
    return data


def value_of(case: int, modality: str) -> int:
    """The one value that an image of a case has."""
    return 10 * case + FOUR.index(modality)


def named(
    pattern: str, case: int, words: Mapping[str, str] | tuple[str, ...], **text: str
) -> dict[str, tuple[int, str]]:
    """Files of one case by a pattern with {m}, for each modality its word."""
    pairs = zip(FOUR, words, strict=False) if isinstance(words, tuple) else words.items()
    return {pattern.format(m=word, **text): (case, m) for m, word in pairs}


_BRATS = ("t1", "t1ce", "t2", "flair")
_2023 = ("t1n", "t1c", "t2w", "t2f")


def _brats(case: int, folder: str, name: str) -> dict[str, tuple[int, str]]:
    return named(f"{folder}{name}_{{m}}.nii.gz", case, _BRATS) | {f"{folder}{name}_seg.nii.gz": (case, SEG)}


def _bids(case: int, sub: str, ses: str = "") -> dict[str, tuple[int, str]]:
    place, stem = f"{sub}/{ses}/anat".replace("//", "/"), f"{sub}_{ses}" if ses else sub
    return {
        f"{place}/{stem}_acq-a_run-01_T1w.nii.gz": (case, "t1"),
        f"{place}/{stem}_acq-a_ce-GD_run-01_T1w.nii.gz": (case, "t1ce"),
        f"{place}/{stem}_run-01_T2w.nii.gz": (case, "t2"),
        f"{place}/{stem}_acq-b_FLAIR.nii.gz": (case, "flair"),
        f"{place}/{stem}_T2starw.nii.gz": (case, OTHER),
        f"{sub}/{ses}/dwi/{stem}_dwi.nii.gz".replace("//", "/"): (case, OTHER),
        f"derivatives/lesions/{place}/{stem}_label-lesion_mask.nii.gz": (case, SEG),
        f"derivatives/prep/{place}/{stem}_desc-brain_mask.nii.gz": (case, OTHER),
    }


def _both(one: dict[str, tuple[int, str]], *others: dict[str, tuple[int, str]]) -> dict[str, tuple[int, str]]:
    for other in others:
        one = one | other
    return one


LAYOUTS = [
    Layout(
        "brats until 2021",
        _both(_brats(1, "HGG/Brats18_A_1/", "Brats18_A_1"), _brats(2, "LGG/Brats18_B_1/", "Brats18_B_1")),
        *[{"Brats18_A_1": 1, "Brats18_B_1": 2}] * 3,
    ),
    Layout(
        "brats since 2023",
        _both(
            *[
                named("X-{n}/X-{n}-{m}.nii.gz", k, _2023, n=f"0000{k}-000")
                | {f"X-0000{k}-000/X-0000{k}-000-seg.nii.gz": (k, SEG)}
                for k in (1, 2)
            ]
        ),
        *[{"X-00001-000": 1, "X-00002-000": 2}] * 3,
    ),
    Layout("flat", _both(_brats(1, "", "a"), _brats(2, "", "b")), {"a": 1, "b": 2}, {"a": 1, "b": 2}),
    Layout(
        "chinese names, flat",
        _both(_brats(1, "", "患者一"), _brats(2, "", "患者二")),
        {"患者一": 1, "患者二": 2},
        {"患者一": 1, "患者二": 2},
    ),
    Layout(
        "brats until 2016, a folder an image",
        _both(
            *[
                {
                    f"pat{k}/VSD.Brain.XX.O.{w}.5{k}{n}/VSD.Brain.XX.O.{w}.5{k}{n}.nii": (k, m)
                    for n, (w, m) in enumerate(
                        [("MR_T1", "t1"), ("MR_T1c", "t1ce"), ("MR_T2", "t2"), ("MR_Flair", "flair"), ("OT", SEG)]
                    )
                }
                for k in (1, 2)
            ]
        ),
        {"pat1": 1, "pat2": 2},
        {"pat1": 1, "pat2": 2},
    ),
    Layout(
        "a scanner's protocols with numbers of series",
        {
            "anna/3_t1_mprage_sag.nii.gz": (1, "t1"),
            "anna/9_t1_mprage_sag_KM.nii.gz": (1, "t1ce"),
            "anna/4_t2_tse_tra.nii.gz": (1, "t2"),
            "anna/5_t2_tirm_tra_dark-fluid.nii.gz": (1, "flair"),
            "anna/6_t2_swi.nii.gz": (1, OTHER),
        },
        {"anna": 1},
        start="anna",
    ),
    Layout(
        "converter's default names, two patients",
        _both(
            *[
                {
                    f"{p}_t1_mprage_sag_2019010{k}112233_3.nii.gz": (k, "t1"),
                    f"{p}_t1_mprage_sag_KM_2019010{k}112233_9.nii.gz": (k, "t1ce"),
                    f"{p}_t2_tse_tra_2019010{k}112233_4.nii.gz": (k, "t2"),
                    f"{p}_t2_tirm_tra_dark-fluid_2019010{k}112233_5.nii.gz": (k, "flair"),
                }
                for k, p in ((1, "anna"), (2, "bert"))
            ]
        ),
        {"anna": 1, "bert": 2},
    ),
    Layout(
        "modality first, then processing",
        _both(
            *[
                named("pat{k}/{m}_N4_noneck_reduced_winsor_regtoMNI.nii.gz", k, ("T1", "T1c", "T2", "FLAIR"), k=str(k))
                | {f"pat{k}/GOLD_STANDARD_N4_noneck_reduced_winsor_regtoMNI.nii.gz": (k, SEG)}
                for k in (1, 2)
            ]
        ),
        {"pat1": 1, "pat2": 2},
        {"pat1": 1, "pat2": 2},
    ),
    Layout(
        "modality first, letter for the contrast",
        _both(
            *[
                named("Patient-00{k}/week-0/{m}_r2s_bet_reg.nii.gz", k, ("T1", "CT1", "T2", "FLAIR"), k=str(k))
                | {f"Patient-00{k}/week-0/segmentation.nii.gz": (k, SEG)}
                for k in (1, 2)
            ]
        ),
        {"Patient-001_week-0": 1, "Patient-002_week-0": 2},
        {"Patient-001_week-0": 1, "Patient-002_week-0": 2},
    ),
    Layout(
        "time points called T1, T2, T3",
        _both(
            *[
                named("P1/{t}/P1_{t}_{m}.nii.gz", k, {"flair": "FLAIR", "t1": "T1", "t2": "T2", SEG: "MASK"}, t=t)
                for k, t in ((1, "T1"), (2, "T2"), (3, "T3"))
            ]
        ),
        {"P1_T1": 1, "P1_T2": 2, "P1_T3": 3},
        {"P1_T1": 1, "P1_T2": 2, "P1_T3": 3},
        modalities=("flair", "t1", "t2"),
    ),
    Layout(
        "time points called T1, T2, flat",
        _both(
            *[
                named("P1_{t}_{m}.nii.gz", k, {"flair": "FLAIR", "t1": "T1", "t2": "T2", SEG: "MASK"}, t=t)
                for k, t in ((1, "T1"), (2, "T2"))
            ]
        ),
        {"P1_T1": 1, "P1_T2": 2},
        {"P1_T1": 1, "P1_T2": 2},
        modalities=("flair", "t1", "t2"),
    ),
    Layout(
        "time point last",
        named("P1/{m}_P1_T2.nii.gz", 1, {"flair": "FLAIR", "t1": "T1", "t2": "T2"}),
        {"P1": 1},
        modalities=("flair", "t1", "t2"),
        start="P1",
    ),
    Layout(
        "time point first or last, flat",
        _both(*[named("{m}_P1_{t}.nii.gz", k, {"t1": "T1", "t2": "T2"}, t=t) for k, t in ((1, "T1"), (2, "T2"))]),
        "either the first or the last word may be the modality",
        modalities=("t1", "t2"),
    ),
    Layout(
        "3D in the words",
        {
            "c01/3DT1.nii.gz": (1, "t1"),
            "c01/3DT1GADO.nii.gz": (1, "t1ce"),
            "c01/T2.nii.gz": (1, "t2"),
            "c01/3DFLAIR.nii.gz": (1, "flair"),
            "c01/DP.nii.gz": (1, OTHER),
            "c01/Masks/ManualSegmentation_1.nii.gz": (1, SEG),
        },
        {"c01": 1},
        {"c01": 1},
    ),
    Layout(
        "raw and preprocessed, each in a folder",
        _both(
            named("c01/Raw_Data/{m}.nii.gz", 1, ("T1", "T1GADO", "T2", "FLAIR")),
            named("c01/Preprocessed_Data/{m}_preprocessed.nii.gz", 2, ("T1", "T1GADO", "T2", "FLAIR")),
        ),
        "Preprocessed_Data and .*Raw_Data",
    ),
    Layout(
        "raw and preprocessed, picked by folder",
        _both(
            named("c01/Raw_Data/{m}.nii.gz", 1, ("T1", "T1GADO", "T2", "FLAIR")),
            named("c01/Preprocessed_Data/{m}_preprocessed.nii.gz", 2, ("T1", "T1GADO", "T2", "FLAIR")),
        ),
        {"c01": 2},
        pick=("*/Preprocessed_Data/*",),
    ),
    Layout(
        "BIDS, a root",
        _both(_bids(1, "sub-01", "ses-1"), _bids(2, "sub-01", "ses-2"), _bids(3, "sub-02", "ses-1")),
        {"sub-01_ses-1": 1, "sub-01_ses-2": 2, "sub-02_ses-1": 3},
        {"sub-01_ses-1": 1, "sub-01_ses-2": 2, "sub-02_ses-1": 3},
    ),
    Layout(
        "BIDS without sessions",
        _both(_bids(1, "sub-01"), _bids(2, "sub-02")),
        {"sub-01": 1, "sub-02": 2},
        {"sub-01": 1, "sub-02": 2},
    ),
    Layout(
        "BIDS with two runs of one modality",
        _bids(1, "sub-01") | {"sub-01/anat/sub-01_acq-a_run-02_T1w.nii.gz": (2, "t1")},
        "run-01_T1w.nii.gz and sub-01_acq-a_run-02_T1w.nii.gz both say t1",
    ),
    Layout(
        "BIDS with two runs, one picked",
        _bids(1, "sub-01") | {"sub-01/anat/sub-01_acq-a_run-02_T1w.nii.gz": (2, "t1")},
        {"sub-01": 1},
        pick=("run-01",),
    ),
    Layout(
        "BIDS below a site, masks beside",
        _both(
            *[
                {
                    f"R00{k}/sub-r{k}/ses-1/anat/sub-r{k}_ses-1_space-MNI152_T1w.nii.gz": (k, "t1"),
                    f"R00{k}/sub-r{k}/ses-1/anat/sub-r{k}_ses-1_space-MNI152_label-L_desc-T1lesion_mask.nii.gz": (
                        k,
                        SEG,
                    ),
                }
                for k in (1, 2)
            ]
        ),
        {"sub-r1_ses-1": 1, "sub-r2_ses-1": 2},
        {"sub-r1_ses-1": 1, "sub-r2_ses-1": 2},
        modalities=("t1",),
    ),
    Layout(
        "stroke, masks in derivatives",
        _both(
            *[
                {
                    f"sub-s{k}/ses-0001/anat/sub-s{k}_ses-0001_FLAIR.nii.gz": (k, "flair"),
                    f"sub-s{k}/ses-0001/dwi/sub-s{k}_ses-0001_adc.nii.gz": (k, OTHER),
                    f"derivatives/sub-s{k}/ses-0001/sub-s{k}_ses-0001_msk.nii.gz": (k, SEG),
                }
                for k in (1, 2)
            ]
        ),
        {"sub-s1_ses-0001": 1, "sub-s2_ses-0001": 2},
        {"sub-s1_ses-0001": 1, "sub-s2_ses-0001": 2},
        modalities=("flair",),
    ),
    Layout(
        "images and masks in trees of their own, corrected and automated",
        _both(
            *[
                named("images/U-0000{k}_11/U-0000{k}_11_{m}.nii.gz", k, ("T1", "T1GD", "T2", "FLAIR"), k=str(k))
                | {
                    f"segm/U-0000{k}_11_segm.nii.gz": (k, SEG),
                    f"auto/U-0000{k}_11_automated_approx_segm.nii.gz": (k, OTHER),
                }
                for k in (1, 2)
            ]
        ),
        {"U-00001_11": 1, "U-00002_11": 2},
        {"U-00001_11": 1, "U-00002_11": 2},
    ),
    Layout(
        "each image raw and bias-corrected",
        _both(
            named("F-1_nifti/F-1_{m}.nii.gz", 1, ("T1", "T1c", "T2", "FLAIR")),
            named("F-1_nifti/F-1_{m}_bias.nii.gz", 2, ("T1", "T1c", "T2", "FLAIR")),
            {
                "F-1_nifti/F-1_tumor_segmentation.nii.gz": (1, SEG),
                "F-1_nifti/F-1_brain_parenchyma_segmentation.nii.gz": (1, OTHER),
                "F-1_nifti/F-1_ADC.nii.gz": (1, OTHER),
            },
        ),
        "F-1_T1.nii.gz and F-1_T1_bias.nii.gz both say t1, and so for t1ce, t2, flair",
        {"F-1": 1},
        "both say t1",
    ),
    Layout(
        "each image raw and bias-corrected, one picked",
        _both(
            named("F-1_nifti/F-1_{m}.nii.gz", 1, ("T1", "T1c", "T2", "FLAIR")),
            named("F-1_nifti/F-1_{m}_bias.nii.gz", 2, ("T1", "T1c", "T2", "FLAIR")),
        ),
        {"F-1": 2},
        pick=("*_bias*",),
    ),
    Layout(
        "stripped images, time points in folders",
        _both(
            *[
                named("PID_0003/Timepoint_{k}/PID_0003_Timepoint_{k}_brain_{m}.nii.gz", k, _2023, k=str(k))
                | {f"PID_0003/Timepoint_{k}/PID_0003_Timepoint_{k}_tumorMask.nii.gz": (k, SEG)}
                for k in (1, 2)
            ]
        ),
        *[{"PID_0003_Timepoint_1": 1, "PID_0003_Timepoint_2": 2}] * 3,
    ),
    Layout(
        "segmentations in the plural, a map beside",
        named("R-0001/0/R-0001_0_{m}.nii.gz", 1, _BRATS)
        | {"R-0001/0/R-0001_0_adc.nii.gz": (1, OTHER), "R-0001/0/R-0001_0_segmentations.nii.gz": (1, SEG)},
        {"R-0001_0": 1},
        {"R-0001_0": 1},
        {"R-0001_0": 1},
    ),
    Layout(
        "a mask for each of two images",
        named("m1/{m}.nii.gz", 1, _BRATS)
        | {"m1/flair_seg_label1.nii.gz": (1, SEG), "m1/t1ce_seg_label2.nii.gz": (1, SEG)},
        {"m1": 1},
        "flair_seg_label1.nii.gz, t1ce_seg_label2.nii.gz could each be its truth",
    ),
    Layout(
        "a numbered folder for each modality",
        _both(
            *[
                {
                    f"G-000{k}/1_T1/NIFTI/T1.nii.gz": (k, "t1"),
                    f"G-000{k}/2_T1GD/NIFTI/T1GD.nii.gz": (k, "t1ce"),
                    f"G-000{k}/3_T2/NIFTI/T2.nii.gz": (k, "t2"),
                    f"G-000{k}/4_FLAIR/NIFTI/FLAIR.nii.gz": (k, "flair"),
                    f"G-000{k}/5_SEG/NIFTI/MASK.nii.gz": (k, SEG),
                }
                for k in (1, 2)
            ]
        ),
        {"G-0001": 1, "G-0002": 2},
        {"G-0001": 1, "G-0002": 2},
    ),
    Layout(
        "a folder for each modality, names that say nothing",
        _both(*[named("p{k}/{m}/scan.nii.gz", k, ("T1", "T1ce", "T2", "FLAIR"), k=str(k)) for k in (1, 2)]),
        {"p1": 1, "p2": 2},
    ),
    Layout(
        "a folder for each modality, of all cases",
        _both(
            *[
                named("{m}/p{k}.nii.gz", k, ("T1", "T1ce", "T2", "FLAIR"), k=str(k)) | {f"masks/p{k}.nii.gz": (k, SEG)}
                for k in (1, 2)
            ]
        ),
        {"p1": 1, "p2": 2},
        {"p1": 1, "p2": 2},
    ),
    Layout(
        "4-D files with a description",
        {
            f"{place}/BR_00{k}.nii.gz": (k, kind)
            for place, kind in (("imagesTr", "4d"), ("labelsTr", SEG))
            for k in (1, 2)
        },
        {"BR_001": 1, "BR_002": 2},
        {"BR_001": 1, "BR_002": 2},
        {"BR_001": 1, "BR_002": 2},
        start="imagesTr",
        truth="imagesTr",
        described={"dataset.json": {"modality": {"0": "FLAIR", "1": "T1w", "2": "t1gd", "3": "T2w"}}},
    ),
    Layout(
        "4-D files, the data set's folder",
        {
            f"{place}/BR_00{k}.nii.gz": (k, kind)
            for place, kind in (("imagesTr", "4d"), ("labelsTr", SEG))
            for k in (1, 2)
        },
        {"BR_001": 1, "BR_002": 2},
        {"BR_001": 1, "BR_002": 2},
        described={"dataset.json": {"modality": {"0": "FLAIR", "1": "T1w", "2": "t1gd", "3": "T2w"}}},
    ),
    Layout(
        "a numbered file for each channel",
        _both(
            *[
                {f"imagesTr/N{k}_000{n}.nii.gz": (k, m) for n, m in enumerate(("flair", "t1", "t1ce", "t2"))}
                | {f"labelsTr/N{k}.nii.gz": (k, SEG)}
                for k in (1, 2)
            ]
        ),
        *[{"N1": 1, "N2": 2}] * 3,
        start="imagesTr",
        truth="imagesTr",
        described={"dataset.json": {"channel_names": {"0": "FLAIR", "1": "T1", "2": "T1Gd", "3": "T2"}}},
    ),
    Layout(
        "brain masks beside",
        _both(*[_brats(k, f"q{k}/", f"q{k}") | {f"q{k}/q{k}_T1_bet_mask.nii.gz": (k, OTHER)} for k in (1, 2)]),
        *[{"q1": 1, "q2": 2}] * 3,
    ),
    Layout(
        "brain masks alone",
        named("q1/q1_{m}.nii.gz", 1, _BRATS) | {"q1/q1_T1_bet_mask.nii.gz": (1, OTHER)},
        {"q1": 1},
        "Case q1: there is no q1_seg.nii.gz .*no mask beside its images",
        "no mask",
    ),
    Layout(
        "visits of two patients",
        _both(
            *[
                named(f"{p}/{v}/{{m}}.nii.gz", k, _BRATS) | {f"{p}/{v}/mask.nii.gz": (k, SEG)}
                for k, (p, v) in enumerate([("A", "visit1"), ("A", "visit2"), ("B", "visit1")], start=1)
            ]
        ),
        {"A_visit1": 1, "A_visit2": 2, "B_visit1": 3},
        {"A_visit1": 1, "A_visit2": 2, "B_visit1": 3},
    ),
    Layout(
        "the same patients' numbers at two sites",
        _both(
            *[_brats(k, f"site{s}/p{n}/", f"p{n}") for k, (s, n) in enumerate([("A", 1), ("A", 2), ("B", 1)], start=1)]
        ),
        {"siteA_p1": 1, "p2": 2, "siteB_p1": 3},
        train={"siteA_p1": 1, "p2": 2, "siteB_p1": 3},
    ),
    Layout(
        "original and preprocessed, called pre",
        _both(
            {f"Site/7/orig/{w}.nii.gz": (1, m) for w, m in (("FLAIR", "flair"), ("T1", "t1"))},
            {f"Site/7/pre/{w}.nii.gz": (2, m) for w, m in (("FLAIR", "flair"), ("T1", "t1"))},
            {"Site/7/wmh.nii.gz": (1, SEG)},
        ),
        "there are images of it in orig and pre",
        modalities=("t1", "flair"),
    ),
    Layout(
        "slices of the original implementation",
        _both(
            *[
                {f"slice{z}/brats_train_001_{m}_0{z}_w.nii.gz": (k, m) for m in (*FOUR, SEG)}
                for k, z in ((1, 80), (2, 81))
            ]
        ),
        *[{"brats_train_001_080_w": 1, "brats_train_001_081_w": 2}] * 3,
    ),
    Layout(
        "patient after the modality",
        _both(*[named("{m}_p0{k}.nii.gz", k, ("T1", "T1c", "T2", "FLAIR"), k=str(k)) for k in (1, 2)]),
        {"p01": 1, "p02": 2},
    ),
    Layout(
        "several readers",
        named("k1/k1_{m}_pp.nii.gz", 1, ("t1", "t1c", "t2", "flair"))
        | {f"k1/masks/k1_rater{n}.nii.gz": (1, SEG) for n in (1, 2)},
        {"k1": 1},
        {"k1": 1},
    ),
    Layout(
        "initials that mean a contrast agent",
        _both(*[_brats(k, "", p) for k, p in ((1, "KM"), (2, "GD"))]),
        {"KM": 1, "GD": 2},
        {"KM": 1, "GD": 2},
    ),
    Layout(
        "one patient of two in another number of images",
        _both(_brats(1, "", "a"), _brats(2, "", "b"), {"c_t1.nii.gz": (3, "t1")}),
        {"a": 1, "b": 2, "c": 3},
    ),
    Layout(
        "parts of two cases",
        {"a_t1.nii.gz": (1, "t1"), "b_t2.nii.gz": (2, "t2")},
        "2 cases",
    ),
    Layout(
        "maps and phases beside, of which only the name tells",
        {
            f"p{k}/p{k}_{w}.nii.gz": (k, m)
            for k in (1, 2)
            for w, m in (("T1_map", OTHER), ("t2_swi", OTHER), ("flair", "flair"), ("t1ce", "t1ce"), ("lesion", SEG))
        },
        {"p1": 1, "p2": 2},
        {"p1": 1, "p2": 2},
        "no t1, t2 among its images",
    ),
    Layout(
        "contrast said by an entity, also that there was none",
        {"sub-1/anat/sub-1_ce-none_T1w.nii.gz": (1, "t1"), "sub-1/anat/sub-1_ce-GD_T1w.nii.gz": (1, "t1ce")},
        {"sub-1": 1},
        modalities=("t1", "t1ce"),
    ),
    Layout(
        "BIDS, lesions as a dseg beside those of tissues",
        {
            f"{place}/sub-{k}/anat/sub-{k}_{w}.nii.gz": (k, m)
            for k in (1, 2)
            for place, w, m in (
                (".", "FLAIR", "flair"),
                ("derivatives/d", "desc-lesion_dseg", SEG),
                ("derivatives/d", "desc-aseg_dseg", OTHER),
            )
        },
        *[{"sub-1": 1, "sub-2": 2}] * 2,
        modalities=("flair",),
    ),
    Layout(
        "a word for masks in the patients' names",
        {
            f"VS-SEG-00{k}/VS-SEG-00{k}_{w}.nii.gz": (k, m)
            for k in (1, 2)
            for w, m in (("t1_gd", "t1ce"), ("t2", "t2"), ("tumour_mask", SEG))
        },
        *[{"VS-SEG-001": 1, "VS-SEG-002": 2}] * 2,
        modalities=("t1ce", "t2"),
    ),
    Layout(
        "tissues by FSL",
        {
            f"p{k}/p{k}_T1{w}.nii.gz": (k, m)
            for k in (1,)
            for w, m in (("", "t1"), ("_brain_seg", OTHER), ("_fast_seg", OTHER), ("_brain_mixeltype", OTHER))
        },
        {"p1": 1},
        "Case p1: there is no p1_seg.nii.gz .*no mask beside its images",
        modalities=("t1",),
    ),
    Layout(
        "corrected by hand after a program",
        {
            f"TCGA-0{k}/TCGA-0{k}_1997.06.0{k}_{w}.nii.gz": (k, m)
            for k in (1, 2)
            for w, m in (
                *(("t1", "t1"), ("t1Gd", "t1ce"), ("t2", "t2"), ("flair", "flair")),
                *(("GlistrBoost", OTHER), ("GlistrBoost_ManuallyCorrected", SEG)),
            )
        },
        *[{"TCGA-01_1997.06.01": 1, "TCGA-02_1997.06.02": 2}] * 2,
    ),
    Layout(
        "original and preprocessed, called pre, one picked",
        {
            f"Site/{k}/{place}/{w}.nii.gz": (n, m)
            for k in (1, 2)
            for place, n in (("orig", k + 5), ("pre", k))
            for w, m in (("FLAIR", "flair"), ("T1", "t1"))
        }
        | {f"Site/{k}/wmh.nii.gz": (k, SEG) for k in (1, 2)},
        *[{"Site_1": 1, "Site_2": 2}] * 2,
        modalities=("t1", "flair"),
        pick=("*/pre/*",),
    ),
    Layout(
        "tissues by SPM beside",
        {
            f"p{k}/{w}p{k}_T1.nii": (k, m)
            for k in (1, 2)
            for w, m in (("", "t1"), ("c1", OTHER), ("c2", OTHER), ("mwc1", OTHER))
        },
        {"p1": 1, "p2": 2},
        modalities=("t1",),
    ),
    Layout(
        "patient, number of the series, protocol",
        {
            f"P{k}/MR_P{k}_{n}_{w}_2020010{k}.nii.gz": (k, m)
            for k in (1, 2)
            for n, w, m in (
                (3, "t1_mpr_ns_sag_p2_iso", "t1"),
                (9, "t1_mpr_ns_sag_p2_iso_KM", "t1ce"),
                (10, "t1_mpr_ns_sag_p2_iso_SUB", OTHER),
                (4, "t2_tse_tra_512", "t2"),
                (5, "t2_space_dark-fluid_sag_p2_iso", "flair"),
                (7, "ep2d_diff_b1000", OTHER),
            )
        },
        {"MR_P1": 1, "MR_P2": 2},
    ),
    Layout(
        "protocols of another scanner",
        {
            f"P{k}/{w}.nii.gz": (k, m)
            for k in (1, 2)
            for w, m in (
                ("WIP_sT1W_3D_TFE_SENSE_501", "t1"),
                ("WIP_sT1W_3D_TFE_Gd_SENSE_901", "t1ce"),
                ("WIP_T2W_TSE_SENSE_301", "t2"),
                ("WIP_3D_FLAIR_SENSE_401", "flair"),
                ("WIP_SWIp_SENSE_601", OTHER),
                ("lesion", SEG),
            )
        },
        *[{"P1": 1, "P2": 2}] * 2,
    ),
]
