"""What the command line's bar says while a run goes on."""

from tqdm import tqdm

from napari_diffseg.cli.progress import show_progress
from napari_diffseg.events import SegmentRequest
from napari_diffseg.segmenting.segmenter import LocalSegmenter


def test_the_bar_says_while_a_member_of_the_second_plane_is_sampled(two_planes, tiny_case, monkeypatch):
    told = []
    monkeypatch.setattr(tqdm, "set_postfix_str", lambda _, text, **__: told.append(text))
    request = SegmentRequest(device="cpu", members=2, batch_size=64)
    show_progress(LocalSegmenter(two_planes, preview_interval_s=None).segment(tiny_case, request), "case")
    assert [*dict.fromkeys(told)] == ["member 1", "member 2, coronal slices", "member 2", "2 members"]
