from __future__ import annotations

from collections import OrderedDict

import pytest
import torch

from builders import tiny_config, tiny_recipe
from napari_diffseg.checkpoint import save_checkpoint
from napari_diffseg.networks.unet import UNet


@pytest.fixture
def config():
    """Four modalities, one label, the variance learned: as the paper's, and tiny."""
    return tiny_config(learned=True)


@pytest.fixture
def state(config):
    """Random weights for it, float32."""
    generator = torch.Generator().manual_seed(3)
    return OrderedDict(
        (name, torch.randn(value.shape, generator=generator)) for name, value in UNet(config).state_dict().items()
    )


@pytest.fixture
def save_state(tmp_path, state):
    """Saves an object (the state dict unless told) with torch.save and gives the path."""

    def save(saved=None, *, name="emasavedmodel_0.9999_060000.pt"):
        torch.save(state if saved is None else saved, tmp_path / name)
        return tmp_path / name

    return save


@pytest.fixture
def own(tmp_path, config, state):
    """A file of our own, with the recipe in it: its path."""
    path = tmp_path / "model.safetensors"
    save_checkpoint(path, state, recipe=tiny_recipe(variance="learned_range"), config=config)
    return path
