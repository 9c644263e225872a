"""A checkpoint that is dropped on its box, and its card."""

import pytest
from qtpy.QtCore import QMimeData, QPoint, QPointF, Qt, QUrl
from qtpy.QtGui import QDragEnterEvent, QDropEvent
from qtpy.QtWidgets import QApplication, QLabel

from napari_diffseg.plugin.checkpoint_box import CheckpointBox


@pytest.fixture
def box(qtbot):
    made = CheckpointBox()
    qtbot.addWidget(made)
    return made


def drop(box, *paths):
    """Drop files on the box as Qt does; whether it took them."""
    data = QMimeData()
    data.setUrls([QUrl.fromLocalFile(str(path)) for path in paths])
    copy, left, none = Qt.DropAction.CopyAction, Qt.MouseButton.LeftButton, Qt.KeyboardModifier.NoModifier
    enter = QDragEnterEvent(QPoint(5, 5), copy, data, left, none)
    enter.ignore()
    QApplication.sendEvent(box, enter)
    QApplication.sendEvent(box, QDropEvent(QPointF(5, 5), copy, data, left, none))
    return enter.isAccepted()


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
