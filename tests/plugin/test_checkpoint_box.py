"""A checkpoint that is dropped on its box, and its card."""

import pytest
from qtpy.QtWidgets import QLabel

from napari_diffseg.plugin.checkpoint_box import CheckpointBox
from plugin_fakes import drop


@pytest.fixture
def box(qtbot):
    made = CheckpointBox()
    qtbot.addWidget(made)
    return made


@pytest.mark.parametrize("name", ["a.safetensors", "b 1.pt", "C.PTH"])
def test_a_dropped_checkpoint_is_chosen(box, qtbot, tmp_path, name):
    with qtbot.waitSignal(box.chosen) as told:
        assert drop(box, tmp_path / name)
    assert told.args == [str(tmp_path / name)]
    assert box.line.text() == str(tmp_path / name)


@pytest.mark.parametrize("names", [["t1.nii.gz"], ["a.pt", "b.pt"], []], ids=["an image", "two", "nothing"])
def test_anything_else_is_left_to_the_viewer(box, tmp_path, names):
    heard = []
    box.chosen.connect(heard.append)
    assert not drop(box, *(tmp_path / name for name in names))
    assert heard == []
    assert not box.line.acceptDrops()


def test_what_a_card_is_told_twice_it_says_once(box):
    box.show_rows([("licence", "BSD-3-Clause"), ("trained on", "a"), ("licence", "BSD-3-Clause"), ("licence", "other")])
    said = [label.text() for label in box.card.findChildren(QLabel)]
    assert [text.replace("\u200b", "") for text in said if "BSD" in text] == ["BSD-3-Clause"]
    assert "other" in said
