"""Exporting from the panel: what is on the screen is written, and nothing is replaced unasked."""

from dataclasses import replace

import nibabel as nib
import numpy as np
import pytest
from dicom_series import write_series
from panel_clicks import click, wait_idle

from napari_diffseg.ensemble.summary import Rule, Summary
from napari_diffseg.imaging.case import Case
from napari_diffseg.imaging.formats.nifti import read_volume
from napari_diffseg.plugin.widgets.export_dialog import ExportDialog
from napari_diffseg.regions import regions_named
from napari_diffseg.runs.layout import Style
from plugin_fakes import SHAPE, fake_member


def test_export_writes_what_is_on_screen_and_asks_before_replacing(ready, qtbot, tmp_path, monkeypatch):
    def agree(dialog):
        dialog.folder.setText(str(tmp_path / "out"))
        dialog.boxes["members"].setChecked(False)
        dialog.reports["page"].setChecked(True)
        return dialog.DialogCode.Accepted

    monkeypatch.setattr(ExportDialog, "exec", agree)
    click(ready, "run", qtbot)
    wait_idle(ready, qtbot)
    ready.result.rule.setCurrentIndex(ready.result.rule.findData(Rule.MEAN))
    ready.result.threshold.setValue(30)
    click(ready, "export", qtbot)
    wait_idle(ready, qtbot)
    assert sorted(p.name for p in (tmp_path / "out").iterdir()) == [
        "case_1_mask.nii.gz", "case_1_mean.nii.gz", "case_1_report.html", "case_1_run.json",
        "case_1_uncertainty.nii.gz",
    ]  # fmt: skip
    assert "slices on which a member marks something, on " in (tmp_path / "out" / "case_1_report.html").read_text()
    mask = tmp_path / "out" / "case_1_mask.nii.gz"
    mean = np.stack([fake_member(SHAPE, k) for k in range(3)]).mean(0)
    np.testing.assert_array_equal(np.asanyarray(nib.load(mask).dataobj), mean > 0.3)
    mask.write_bytes(b"mine")
    asked = []
    monkeypatch.setattr(ready.results_box.buttons, "ask_to_replace", lambda text: bool(asked.append(text)))
    click(ready, "export", qtbot)
    qtbot.waitUntil(lambda: len(asked) == 1, timeout=90_000)
    assert mask.read_bytes() == b"mine"
    monkeypatch.setattr(ready.results_box.buttons, "ask_to_replace", lambda text: True)
    click(ready, "export", qtbot)
    qtbot.waitUntil(lambda: mask.read_bytes() != b"mine", timeout=90_000)
    wait_idle(ready, qtbot)


def test_the_export_window_shows_a_name_and_refuses_what_cannot_be(screen, qtbot, tmp_path):
    dialog = ExportDialog("case_1", summary=Summary(), layers=[], folder=tmp_path)
    qtbot.addWidget(dialog)
    save = dialog.buttons.button(dialog.buttons.StandardButton.Save)

    def example():
        return dialog.example.text().replace("\u200b", "")

    assert example() == "As in case_1_mask.nii.gz. Mask: majority of the members. Uncertainty: variance."
    dialog.pattern.setText("{case}")
    assert "needs {what}" in example()
    assert not save.isEnabled()
    dialog.style_choice.setCurrentIndex(1)
    assert example().startswith("As in sub-case1/anat/sub-case1_desc-diffseg_mask.nii.gz.")
    assert save.isEnabled()
    for box in dialog.boxes.values():
        box.setChecked(False)
    assert example() == "Choose what to export."
    assert not save.isEnabled()


def test_a_run_of_several_regions_can_have_a_label_map_of_any_year(screen, qtbot, tmp_path):
    dialog = ExportDialog("case_1", summary=Summary(), layers=[], folder=tmp_path, regions=regions_named("brats2021"))
    qtbot.addWidget(dialog)
    words = [dialog.label_values.itemText(n) for n in range(dialog.label_values.count())]
    assert words[2] == "BraTS from 2023: whole tumour 2, tumour core 1, enhancing tumour 3"
    dialog.label_values.setCurrentIndex(2)
    assert dialog.wish.choice(Summary()).label_values == "brats2023"
    dialog.boxes["label-map"].setChecked(False)
    assert dialog.wish.choice(Summary()).label_values is None
    dialog.boxes["label-map"].setChecked(True)
    dialog.style_choice.setCurrentIndex(2)
    assert dialog.example.text().replace("\u200b", "").startswith("As in case_1.nii.gz.")
    assert dialog.wish.choice(Summary()).style is Style.NNUNET
    one = ExportDialog("case_1", summary=Summary(), layers=[], folder=tmp_path)
    qtbot.addWidget(one)
    assert one.boxes["label-map"].isHidden()
    assert "label-map" not in one.wish.what


def test_the_window_says_which_run_and_asks_for_the_series_of_a_dicom_segmentation(screen, qtbot, tmp_path):
    dialog = ExportDialog("case_1", summary=Summary(), layers=[], folder=tmp_path, about="2 case_1: 14:32, 3 members")
    qtbot.addWidget(dialog)
    dialog.show()
    assert dialog.about.text().replace("\u200b", "") == "2 case_1: 14:32, 3 members"
    assert not dialog.series.isVisible()
    dialog.others["dicom"].setChecked(True)
    assert dialog.series.isVisible()
    assert "Choose the folder of the DICOM series" in dialog.example.text().replace("\u200b", "")
    dialog.series.setText(str(tmp_path))
    choice = dialog.wish.choice(Summary())
    assert choice.seg is not None
    assert choice.seg.series == tmp_path
    assert "dicom" in choice.what


def test_probabilities_for_nnunet_go_beside_its_label_map(screen, qtbot, tmp_path):
    dialog = ExportDialog("case_1", summary=Summary(), layers=[], folder=tmp_path)
    qtbot.addWidget(dialog)
    assert "npz" not in dialog.wish.what
    dialog.others["npz"].setChecked(True)
    dialog.style_choice.setCurrentIndex(2)
    assert dialog.wish.what == ("label-map", "npz")
    dialog.style_choice.setCurrentIndex(0)
    for box in dialog.boxes.values():
        box.setChecked(False)
    assert dialog.example.text().replace("\u200b", "").startswith("As in case_1.npz.")


@pytest.mark.slow
def test_a_case_of_dicom_goes_back_to_its_series_and_its_page_has_the_reference(
    ready, viewer, qtbot, tmp_path, monkeypatch
):
    place = write_series(tmp_path / "series", np.random.default_rng(0).integers(1, 900, SHAPE), frame="1.2.3.9")
    volume = read_volume(place)
    click(ready, "run", qtbot)
    wait_idle(ready, qtbot)
    run = ready.session.runs.on_screen
    run.plan = replace(run.plan, case=Case("case_1", {"t1": volume}, None))

    def agree(dialog):
        assert "Run 1 case_1: " in dialog.about.text().replace("\u200b", "")
        assert dialog.series.text() == str(place)
        dialog.folder.setText(str(tmp_path / "out"))
        dialog.others["dicom"].setChecked(True)
        dialog.reports["page"].setChecked(True)
        return dialog.DialogCode.Accepted

    ready.exploring.box.reference.chosen.emit(viewer.layers["diffseg 1 | mask"])
    ready.exploring.box.lesions.smallest.setValue(0.5)
    monkeypatch.setattr(ExportDialog, "exec", agree)
    asked = []
    monkeypatch.setattr(ready.session, "export", lambda *args, **more: asked.append((args, more)))
    click(ready, "export", qtbot)
    [((_, choice), more)] = asked
    mask = np.stack([fake_member(SHAPE, k) for k in range(3)]).mean(0) > 0.5
    np.testing.assert_array_equal(more["also"].truth.data > 0, mask)
    assert more["also"].smallest_ml == 0.5
    assert (choice.seg.series, choice.seg.images) == (place, (volume,))
