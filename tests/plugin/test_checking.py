"""A checkpoint that is checked from the panel: what is told meanwhile, what is offered, and what a stop does."""

import threading
from dataclasses import replace

import numpy as np
import pytest
from qtpy.QtWidgets import QLabel, QPushButton

from builders import write_tiny_checkpoint
from napari_diffseg.events import SegmentRequest
from napari_diffseg.plugin.background.job import run_guarded
from napari_diffseg.plugin.background.mailbox import Ended, Ending, Mailbox, StatusMessage
from napari_diffseg.plugin.grid.frame import Frame
from napari_diffseg.plugin.session.checking_job import check_job
from napari_diffseg.plugin.session.engine import EngineCache
from napari_diffseg.plugin.session.run_plan import RunPlan
from napari_diffseg.plugin.widgets.checkpoint_box import CheckpointBox


@pytest.fixture
def plan(tiny_case, tmp_path):
    checkpoint = write_tiny_checkpoint(tmp_path / "tiny.safetensors")
    frame = Frame.of_volume(tiny_case.grid_volume)
    return RunPlan(tiny_case, frame, str(checkpoint), {}, SegmentRequest(device="cpu"), tmp_path / "run")


def reference_of(plan):
    drawn = np.zeros(plan.case.shape, np.uint16)
    drawn[4:10, 4:8, 1:4] = 1
    return replace(plan.frame.volume, data=drawn, path=None)


def items_of(plan, reference, stop=None):
    mailbox = Mailbox()
    run_guarded(check_job(EngineCache(), plan, reference), mailbox, stop or threading.Event())
    return mailbox.take_items()


def test_a_check_tells_how_far_it_is_and_gives_its_verdict(plan):
    items = items_of(plan, reference_of(plan))
    assert items[-1].ending is Ending.DONE
    verdict = items[-1].result
    told = [item.text for item in items if isinstance(item, StatusMessage)]
    assert told[1].startswith("Checking: reading 1 of at most ")
    assert len(told) > len(verdict.tried) > 10
    words, agreements = zip(*verdict.ranking(3), strict=True)
    assert agreements == tuple(sorted((t.agreement for t in verdict.tried), reverse=True)[:3])
    assert len(set(words)) == 3


def test_a_check_that_is_stopped_ends_without_a_verdict(plan):
    stop = threading.Event()
    stop.set()
    ended = items_of(plan, reference_of(plan), stop)[-1]
    assert ended == Ended(Ending.CANCELLED)


def test_an_empty_reference_is_refused_in_a_sentence(plan):
    reference = reference_of(plan)
    ended = items_of(plan, replace(reference, data=np.zeros_like(reference.data)))[-1]
    assert ended.ending is Ending.FAILED
    assert "empty" in ended.text


def test_the_box_shows_a_verdict_and_offers_the_reading_that_fits_best(qtbot):
    box = CheckpointBox()
    qtbot.addWidget(box)
    heard = []
    box.reading_wanted.connect(heard.append)
    changes = {"channel_order": "mask_first", "axis_codes": ("L", "P", "S")}
    box.show_verdict([("check", "another reading fits better")], [("channel_order = mask_first", 0.71)], changes)
    said = " ".join(label.text().replace("\u200b", "") for label in box.verdict.findChildren(QLabel))
    assert "another reading fits better" in said
    assert "0.71  channel_order = mask_first" in said
    [use] = box.verdict.findChildren(QPushButton)
    assert "axis_codes = L,P,S" in use.toolTip()
    use.click()
    assert heard == [changes]
    box.show_rows([("title", "another")])  # what was found of one checkpoint is not said of the next
    assert box.verdict.isHidden()


def test_without_a_reference_the_panel_says_what_is_missing(ready, monkeypatch):
    heard = []
    monkeypatch.setattr(ready, "_show_failure", lambda sentence, error: heard.append(sentence))
    ready.exploring.box.reference.layer.choose(None)
    ready.checkpoint.check_asked.emit()
    assert heard == ["There is no reference to check with: choose one under Compare with ground truth."]
