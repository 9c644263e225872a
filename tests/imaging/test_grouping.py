"""Names of one folder read together."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from napari_diffseg.errors import BadCase
from napari_diffseg.imaging.case_files import find_case_files
from napari_diffseg.imaging.names.grouping import group_images, read_names


def paths(*names):
    return [Path(f"{name}.nii.gz") for name in names]


def read(*names):
    return {path.name[:-7]: (name.modality, name.case) for path, name in read_names(paths(*names))}


def test_what_the_files_of_a_folder_share_is_the_case_also_where_it_may_be_a_modality():
    assert read("P1_T1_FLAIR", "P1_T1_T1", "P1_T1_T2") == {
        "P1_T1_FLAIR": ("flair", "P1_T1"),
        "P1_T1_T1": ("t1", "P1_T1"),
        "P1_T1_T2": ("t2", "P1_T1"),
    }
    assert read("P1_T2_FLAIR", "P1_T2_T1")["P1_T2_FLAIR"] == ("flair", "P1_T2")
    assert read("FLAIR_P1_T2", "T1_P1_T2", "T2_P1_T2") == {
        "FLAIR_P1_T2": ("flair", ""),
        "T1_P1_T2": ("t1", ""),
        "T2_P1_T2": ("t2", ""),
    }
    assert read("KM_t1", "KM_t2", "KM_t1ce")["KM_t1"] == ("t1", "KM")


def test_without_company_such_names_are_read_as_usual_or_not_at_all():
    assert read("P1_T2_FLAIR", "P1_T2") == {"P1_T2_FLAIR": ("flair", "P1"), "P1_T2": ("t2", "P1")}
    assert read("P1_T1_FLAIR", "P1_T2")["P1_T1_FLAIR"][0] is None
    assert read("KM_t1")["KM_t1"] == ("t1ce", "")


@pytest.mark.parametrize(
    "names",
    [
        ("p_t1", "p_t1_bias", "p_t2"),
        ("p_t1_bias", "p_t1", "p_t2"),
        ("p_t1", "p_t1_mprage_sag_4", "p_t2"),
        ("p_t1_a", "p_t1_b", "p_t2"),
        ("t1_raw", "t1_n4", "t2"),
        ("sub-1_run-1_T1w", "sub-1_run-2_T1w", "sub-1_T2w"),
        ("sub-1_space-MNI_T1w", "sub-1_space-T2w_T1w", "sub-1_T2w"),
        ("p_t1gd", "p_t1_post", "p_t2"),
    ],
)
def test_two_images_for_one_channel_are_never_settled_by_order_and_the_pattern_that_is_named_chooses(names):
    (group,) = group_images(paths(*names))
    with pytest.raises(BadCase, match="both say t1") as caught:
        group.files()
    assert group.files(["t2"]).keys() == {"t2"}
    (pick, image) = caught.value.remedies
    assert (pick.setting, image.setting) == ("pick", "image")
    assert len(group.files(pick=[pick.value.strip("'")])) == 2


def test_a_mask_goes_to_the_case_that_its_name_begins_with():
    groups = group_images(paths("a_t1", "a_t2", "a_1_t1", "a_1_t2", "a_1_lesion_mask", "a_seg_final", "c_seg"))
    assert {group.name: [path.name for path in group.masks] for group in groups} == {
        "a": ["a_seg_final.nii.gz"],
        "a_1": ["a_1_lesion_mask.nii.gz"],
    }


def test_of_several_masks_none_is_the_reference_but_one_that_people_drew(tmp_path):
    for name in ("p_t1", "p_t2", "p_core_mask", "p_edema_mask"):
        (tmp_path / f"{name}.nii.gz").touch()
    assert list(find_case_files(tmp_path)) == ["t1", "t2"]
    (group,) = group_images(paths("p_t1", "p_segm", "p_automated_segm"))
    assert group.files()["seg"].name == "p_segm.nii.gz"


def test_a_flat_folder_is_grouped_in_a_time_that_grows_as_the_number_of_files(monkeypatch):
    from napari_diffseg.imaging.names import grouping

    reads = 0

    def counted(name, read=grouping.read_name):
        nonlocal reads
        reads += 1
        return read(name)

    monkeypatch.setattr(grouping, "read_name", counted)
    counts = []
    for cases in (200, 400, 800):
        reads = 0
        files = paths(*(f"pat{k:05d}_{m}" for k in range(cases) for m in ("t1", "t1ce", "t2", "flair", "seg")))
        assert len(group_images(files)) == cases
        counts.append(reads / cases)
    assert max(counts) <= min(counts) * 1.2


def test_a_flat_folder_of_1500_cases_is_grouped_in_seconds():
    files = paths(*(f"pat{k:05d}_{m}" for k in range(1500) for m in ("t1", "t1ce", "t2", "flair")))
    begun = time.perf_counter()
    assert all(len(group.files()) == 4 for group in group_images(files))
    assert time.perf_counter() - begun < 20  # linear; 53 s before, on an idle machine


@pytest.mark.parametrize(
    "name", ["p1_T1_map", "p1_t2_swi", "p1_T2_star", "p1_T1_pre_post", "p1_part-phase_T1w", "p1_acq-T1map_T1w"]
)
def test_company_makes_no_weighted_image_of_another(name):
    read = dict(read_names(paths(name, "p1_flair", "p1_t1ce")))
    assert [said.modality for said in read.values()] == [None, "flair", "t1ce"]
