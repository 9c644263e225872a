"""What a run decodes on its device is what the host would."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from builders import write_tiny_checkpoint
from napari_diffseg.checkpoint import load_checkpoint
from napari_diffseg.decode import decode_masks, decode_probability
from napari_diffseg.encode import encode
from napari_diffseg.events import SegmentRequest
from napari_diffseg.segmenting import decoding
from napari_diffseg.segmenting.decoding import Decoder
from napari_diffseg.segmenting.segmenter import LocalSegmenter

CPU = torch.device("cpu")
NESTED = {"labels": ("whole tumour", "tumour core"), "label_values": ((1, 2, 3), (1, 3))}


@pytest.fixture(params=[{}, {"spacing_mm": 1.3, "rim_mm": 1.0}, NESTED])
def checkpoint(request, tmp_path):
    return load_checkpoint(write_tiny_checkpoint(tmp_path / "tiny.safetensors", **request.param))


def test_masks_and_probabilities_are_the_hosts(checkpoint, tiny_case):
    recipe = checkpoint.recipe
    coding = encode(tiny_case, recipe)
    slices = [3, 1, 2]
    x = torch.randn(3, len(recipe.labels), *recipe.size, generator=torch.Generator().manual_seed(0))
    decoder = Decoder(coding, recipe, CPU, None)
    masks, are_finite = decoder.masks(x, slices)()
    expected = decode_masks(x.numpy(), coding.grid, recipe, rim=coding.rim, slices=slices)
    np.testing.assert_array_equal(masks, expected)
    assert masks.dtype == np.bool_
    assert masks.any()
    assert are_finite.all()
    got = decoder.probability(x, slices)()
    expected = decode_probability(x.numpy(), coding.grid, recipe, rim=coding.rim, slices=slices)
    np.testing.assert_allclose(got, expected, atol=1e-6)
    x[1] = recipe.threshold - 0.1  # nothing there to bring to the source
    masks = decoder.masks(x, slices)()[0]
    expected = decode_masks(x.numpy(), coding.grid, recipe, rim=coding.rim, slices=slices)
    np.testing.assert_array_equal(masks, expected)
    assert not masks[:, 1].any()
    assert not decoder.masks(x[1:2], slices[1:2])()[0].any()
    x[1, 0, 2, 2] = float("nan")
    assert decoder.masks(x, slices)()[1].tolist() == [True, False, True]


def test_nothing_waits_before_the_result_is_asked_for(tiny_checkpoint, tiny_case, monkeypatch):
    marks = []

    class Mark:
        def __init__(self):
            marks.append(self)
            self.waited = False

        def query(self):
            return False

        def synchronize(self):
            self.waited = True

    coding = encode(tiny_case, tiny_checkpoint.recipe)
    wait = Decoder(coding, tiny_checkpoint.recipe, CPU, Mark).masks(torch.randn(1, 1, 16, 16), [1])
    assert [mark.waited for mark in marks] == [False]
    wait()
    assert [mark.waited for mark in marks] == [True]


def test_on_a_device_without_float64_the_host_decodes(tiny_checkpoint, tiny_case, monkeypatch):
    coding, x = encode(tiny_case, tiny_checkpoint.recipe), torch.randn(1, 1, 16, 16)
    expected = Decoder(coding, tiny_checkpoint.recipe, CPU, None).masks(x, [1])()[0]
    monkeypatch.setattr(decoding, "has_float64", lambda device: False)
    decoder = Decoder(coding, tiny_checkpoint.recipe, torch.device("meta"), None)
    np.testing.assert_array_equal(decoder.masks(x, [1])()[0], expected)


def test_the_trace_of_a_checkpoint_with_nested_regions_is_of_the_outer_one(tmp_path, tiny_case):
    checkpoint = load_checkpoint(write_tiny_checkpoint(tmp_path / "nested.safetensors", **NESTED))
    request = SegmentRequest(device="cpu", members=1, slices="2:3", timesteps=2)
    engine = LocalSegmenter(checkpoint, preview_interval_s=None)
    *_, last = engine.trace(tiny_case, request)
    sampled = [event for event in engine.segment(tiny_case, request) if type(event).__name__ == "Sampled"]
    np.testing.assert_array_equal(last.mask[0], sampled[0].mask[0, 0])
