"""MedSegDiff's network gives here what it gives in its own code, and its second network is asked once a slice."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from napari_diffseg.checkpoint import convert_checkpoint, load_checkpoint
from napari_diffseg.networks.config import UNetConfig
from napari_diffseg.networks.fast_unet import FastUNet
from napari_diffseg.networks.unet import UNet, to_inference

GOLDEN = Path(__file__).parents[1] / "data" / "golden" / "medsegdiff_new.npz"
SMALL = UNetConfig(
    in_channels=5,
    model_channels=32,
    out_channels=2,
    num_res_blocks=1,
    attention_factors=(),
    channel_mult=(1, 1),
    anchor=True,
)


def drawn(config):
    """Weights as were drawn for the golden numbers: by name, those that only the training uses among them."""
    width = config.level_channels[0] // 4
    last = "hwm.conv_blocks_localization.4"
    surplus = {"hwm.seg_outputs.0.weight": (1, width, 1, 1)}
    for i, channels in ((0, 2 * width), (1, width)):
        surplus[f"{last}.{i}.blocks.0.conv.weight"] = (width, channels, 3, 3)
        surplus[f"{last}.{i}.blocks.0.conv.bias"] = (width,)
        for part in ("weight", "bias", "running_mean", "running_var"):
            surplus[f"{last}.{i}.blocks.0.instnorm.{part}"] = (width,)
    with torch.device("meta"):
        shapes = {name: tuple(value.shape) for name, value in UNet(config).state_dict().items()} | surplus
    rng = np.random.RandomState(7)
    state = {}
    for name in sorted(shapes):
        draw = torch.from_numpy(rng.standard_normal(shapes[name]).astype(np.float32))
        if draw.ndim > 1:
            draw = draw * (1.2 / max(1, draw[0].numel()) ** 0.5)
        elif name.endswith("running_var"):
            draw = 1 + 0.5 * draw.abs()
        elif name.endswith(("norm.weight", "instnorm.weight")):
            draw = 1 + 0.2 * draw
        else:
            draw = 0.2 * draw
        state[name] = draw
        if name.endswith("running_var"):
            state[name.replace("running_var", "num_batches_tracked")] = torch.tensor(100)
    return state


@pytest.fixture(scope="module")
def small(tmp_path_factory):
    path = tmp_path_factory.mktemp("medsegdiff") / "emasavedmodel_0.9999_000100.pt"
    torch.save(drawn(SMALL), path)
    return path


def test_it_predicts_what_its_own_code_predicts(tmp_path):
    """The numbers are of MedSegDiff at commit 60850bf: scripts/golden_medsegdiff.py."""
    config = replace(SMALL, model_channels=128, attention_factors=(2,))
    torch.save(drawn(config), tmp_path / "emasavedmodel_0.9999_000100.pt")
    loaded = load_checkpoint(tmp_path / "emasavedmodel_0.9999_000100.pt")
    assert (loaded.family, loaded.config) == ("MedSegDiff, version new", config)
    x = torch.from_numpy(np.random.RandomState(8).standard_normal((2, 5, 32, 64)).astype(np.float32))
    out = loaded.network()(x, torch.tensor([10, 700]))
    np.testing.assert_allclose(out[:, :, ::4, ::8].numpy(), np.load(GOLDEN)["y"], atol=2e-6)


def test_the_recipe_is_that_of_its_code_for_brats(small):
    recipe = load_checkpoint(small).recipe
    assert (recipe.normalisation, recipe.fit, recipe.size) == ("none", "stretch", (256, 256))
    assert (recipe.modalities, recipe.threshold) == (("t1", "t1ce", "t2", "flair"), 0.5)


def test_its_second_network_is_asked_once_a_slice_and_not_at_every_step(small):
    network = to_inference(load_checkpoint(small).network())
    asked = []
    network.hwm.register_forward_hook(lambda *_: asked.append(1))
    x = torch.randn(2, 5, 32, 32, generator=torch.Generator().manual_seed(1))
    predict = FastUNet(network).conditioned_on(x[:, :4])
    steps = [predict(x[:, 4:], float(t)) for t in (900, 500, 1)]
    assert len(asked) == 1
    for t, step in zip((900, 500, 1), steps, strict=True):
        expected = network(x, torch.full((2,), t))
        assert float((step - expected).abs().max()) < 1e-5


def test_a_converted_one_predicts_the_same(small, tmp_path):
    written = convert_checkpoint(small, tmp_path / "own.safetensors")
    assert (written.family, written.config.anchor) == ("MedSegDiff, version new", True)
    x, t = torch.ones(1, 5, 32, 32), torch.tensor([3])
    assert torch.equal(written.network()(x, t), load_checkpoint(small).network()(x, t))
