"""A checkpoint that is dropped on its box, and its card."""

import pytest
from qtpy.QtWidgets import QApplication, QLabel, QScrollArea

from napari_diffseg.plugin.widgets.checkpoint_box import CheckpointBox
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


def test_a_card_with_digests_and_long_words_stays_as_narrow_as_the_panel(ready):
    digest = "98b8df2e6fcf4193" * 4
    ready.checkpoint.show_rows([("began with", f"weights of sha256 {digest}"), ("title", "W" * 200)])
    ready.checkpoint.card.expand(animate=False)
    ready.resize(320, 1200)
    QApplication.processEvents()
    content = ready.findChild(QScrollArea)
    assert content.widget().minimumSizeHint().width() <= content.viewport().width()
    [label] = [label for label in ready.checkpoint.findChildren(QLabel) if "98b8df2e6fcf…" in label.text()]
    assert label.toolTip() == digest


def test_an_open_card_shows_the_new_checkpoint_alone(ready, qtbot):
    ready.checkpoint.card.expand(animate=False)
    for title in ("one", "two"):
        ready.checkpoint.show_rows([("title", title)])
    assert ready.checkpoint.card.isExpanded()

    def titles():
        return [label.text() for label in ready.checkpoint.findChildren(QLabel) if label.text() in ("one", "two")]

    qtbot.waitUntil(lambda: titles() == ["two"])
