"""Exporting from the panel: what is on the screen is written, and nothing is replaced unasked."""

import nibabel as nib
import numpy as np
from panel_clicks import click, wait_idle

from napari_diffseg.ensemble.summary import Rule, Summary
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
    monkeypatch.setattr(ready.run_box, "ask_to_replace", lambda text: bool(asked.append(text)))
    click(ready, "export", qtbot)
    qtbot.waitUntil(lambda: len(asked) == 1, timeout=90_000)
    assert mask.read_bytes() == b"mine"
    monkeypatch.setattr(ready.run_box, "ask_to_replace", lambda text: True)
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
    dialog.style_choice.setCurrentIndex(2)
    assert dialog.example.text().replace("\u200b", "").startswith("As in case_1.nii.gz.")
    assert dialog.wish.choice(Summary()).style is Style.NNUNET
    one = ExportDialog("case_1", summary=Summary(), layers=[], folder=tmp_path)
    qtbot.addWidget(one)
    assert one.boxes["label-map"].isHidden()
    assert "label-map" not in one.wish.what
