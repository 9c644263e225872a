"""Folders of cases as the field has them: their cases, references and runs; none needs a window."""

import json
import shutil
import threading

import nibabel as nib
import numpy as np
import pytest

from napari_diffseg.plugin.background.job import Stopped
from napari_diffseg.plugin.background.mailbox import Mailbox
from napari_diffseg.plugin.files.what_is_dropped import cases_of_folder
from napari_diffseg.plugin.session.case_folder import CaseFolder, find_references_of, find_runs_of, open_job, watched
from napari_diffseg.plugin.session.run_store import RunStore
from plugin_fakes import LPS, MODALITIES, SHAPE, write_images, write_reference

CHANNELS = {str(n): name for n, name in enumerate(MODALITIES)}


def nnunet(root):
    """imagesTr, imagesTs and labelsTr, a file for each channel."""
    for folder, names in (("imagesTr", ("BR_1", "BR_10")), ("imagesTs", ("BR_2",))):
        for name in names:
            made = write_images(root / folder, case_id=name)
            for n, modality in enumerate(MODALITIES):
                (made / f"{name}_{modality}.nii.gz").rename(made / f"{name}_000{n}.nii.gz")
    (root / "labelsTr").mkdir()
    for name in ("BR_1", "BR_10"):
        write_reference(root / "labelsTr" / f"{name}.nii.gz")
    (root / "dataset.json").write_text(json.dumps({"channel_names": CHANNELS}))
    return ["BR_1", "BR_2", "BR_10"], {"BR_1", "BR_10"}


def decathlon(root):
    """imagesTr and labelsTr, 4-D files."""
    for folder in ("imagesTr", "labelsTr"):
        (root / folder).mkdir(parents=True)
    for name in ("BRATS_001", "BRATS_002"):
        data = np.random.default_rng(0).random((*SHAPE, 4)).astype(np.float32)
        nib.save(nib.Nifti1Image(data, LPS), root / "imagesTr" / f"{name}.nii.gz")
        write_reference(root / "labelsTr" / f"{name}.nii.gz")
    (root / "dataset.json").write_text(json.dumps({"modality": CHANNELS}))
    return ["BRATS_001", "BRATS_002"], {"BRATS_001", "BRATS_002"}


def bids(root):
    """Subjects with sessions, masks among the derivatives."""
    names = ["sub-01_ses-1", "sub-01_ses-2", "sub-02_ses-1"]
    words = dict(zip(MODALITIES, ("T1w", "ce-gd_T1w", "T2w", "FLAIR"), strict=True))
    for name in names:
        subject, visit = name.split("_")
        made = write_images(root / subject / visit / "anat", case_id=name)
        for modality, word in words.items():
            (made / f"{name}_{modality}.nii.gz").rename(made / f"{name}_{word}.nii.gz")
    place = root / "derivatives" / "manual" / "sub-01" / "ses-1" / "anat"
    place.mkdir(parents=True)
    write_reference(place / "sub-01_ses-1_label-lesion_mask.nii.gz")
    return names, {"sub-01_ses-1"}


def flat(root):
    """All files in one folder."""
    for name in ("p1", "p2"):
        write_images(root, case_id=name)
    write_reference(root / "p2_seg.nii.gz")
    return ["p1", "p2"], {"p2"}


def by_modality(root):
    """A folder for each modality, the same names in each."""
    for modality in MODALITIES:
        for name in ("p1", "p2"):
            made = write_images(root / modality, case_id=name, modalities=(modality,))
            (made / f"{name}_{modality}.nii.gz").rename(made / f"{name}.nii.gz")
    return ["p1", "p2"], set()


@pytest.mark.parametrize("layout", [nnunet, decathlon, bids, flat, by_modality], ids=lambda made: made.__name__)
def test_each_case_is_found_and_opened_with_its_images_and_reference(layout, tmp_path):
    names, with_reference = layout(tmp_path / "data")
    found = cases_of_folder([str(tmp_path / "data")], modalities=MODALITIES)
    folder = CaseFolder.of(tmp_path / "data", found)
    assert [case.name for case in folder.cases] == names
    store, stop = RunStore(tmp_path / "runs"), threading.Event()
    known = find_references_of(folder, find_runs_of(folder, store, results=folder.results), stop=stop)
    assert {case.name for case in known if case.reference} == with_reference
    for case in known:
        opened = open_job(folder, case, checkpoint="demo")(Mailbox(), stop)
        assert set(opened.images) == set(MODALITIES)
        masks = [layer for layer in opened.layers if layer not in opened.images.values()]
        assert [type(layer).__name__ for layer in masks] == ["Labels"] * (case.name in with_reference)
        assert all(layer.name.endswith(" seg") for layer in masks)


def test_one_case_deeper_in_a_folder_is_offered_too(tmp_path):
    write_images(tmp_path / "all" / "p1" / "scans", case_id="p1")
    assert [case.name for case in cases_of_folder([str(tmp_path / "all")], modalities=MODALITIES)] == ["p1"]


@pytest.mark.parametrize("make", [lambda p: write_images(p), lambda p: p.mkdir()], ids=["one case", "nothing"])
def test_a_folder_of_one_case_or_none_is_no_list(make, tmp_path):
    make(tmp_path / "folder")
    assert cases_of_folder([str(tmp_path / "folder")], modalities=MODALITIES) == []


def test_a_search_can_be_stopped(tmp_path):
    flat(tmp_path / "all" / "site")
    stop = threading.Event()
    stop.set()
    with pytest.raises(Stopped):
        cases_of_folder([str(tmp_path / "all")], modalities=MODALITIES, on_folder=watched(Mailbox(), stop))


def test_a_run_of_other_images_is_not_shown_with_a_case(session, layers, tmp_path):
    from plugin_fakes import poll_to_end, ready

    ready(session, layers, members=1).start()
    poll_to_end(session)
    folder_of_run = session.runs.on_screen.plan.folder
    write_images(tmp_path / "all" / "p1", case_id="p1", shape=(8, 7, 3))
    write_images(tmp_path / "all" / "p2", case_id="p2")
    folder = CaseFolder.of(tmp_path / "all", cases_of_folder([str(tmp_path / "all")], modalities=MODALITIES))
    shutil.copytree(folder_of_run, folder.results / "p1")
    store, stop = RunStore(tmp_path / "none"), threading.Event()
    known = find_runs_of(folder, store, results=folder.results)
    assert [case.run is not None for case in known] == [True, False]
    opened = open_job(folder, known[0], checkpoint="demo")(Mailbox(), stop)
    assert opened.run is None
    assert "is of other images" in opened.note
