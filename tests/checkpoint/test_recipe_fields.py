"""What the recipe can say of networks of other code; and that a recipe from before means what it did."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch
from torch.nn import functional

from builders import LPS, tiny_config, tiny_recipe, write_tiny_checkpoint
from napari_diffseg.checkpoint import load_checkpoint
from napari_diffseg.encode import encode
from napari_diffseg.errors import BadRecipe
from napari_diffseg.events import SegmentRequest
from napari_diffseg.imaging.geometry.grid import Grid
from napari_diffseg.imaging.intensity import scale_of
from napari_diffseg.networks.config import UNetConfig
from napari_diffseg.recipe import Recipe, make_recipe
from napari_diffseg.runs.identity import difference, identity_of

NEW = (
    "fit",
    "percentile_of",
    "value_range",
    "channel_order",
    "beta_range",
    "betas",
    "zero_terminal_snr",
    "timestep_spacing",
    "timestep_offset",
    "epsilon_after_clip",
)
NEW_OF_NETWORK = ("norm_groups", "norm_eps", "time_freq_shift", "anchor")


def before(recipe: Recipe) -> dict:
    """A recipe as an earlier version wrote it."""
    return {name: value for name, value in recipe.model_dump(mode="json").items() if name not in NEW}


def test_a_recipe_and_a_network_from_before_mean_what_they_did():
    recipe, config = tiny_recipe(), tiny_config()
    assert make_recipe(json.loads(json.dumps(before(recipe)))) == recipe
    old = {name: value for name, value in config.to_dict().items() if name not in NEW_OF_NETWORK}
    assert UNetConfig.from_dict(old) == config
    assert (config.norm_groups, config.norm_eps) == (32, 1e-5)
    full, short = recipe.noise_schedule(), recipe.noise_schedule(4)
    assert full.timesteps.tolist() == list(range(7, -1, -1))
    assert short.timesteps.tolist() == [7, 5, 2, 0]


def test_a_run_from_before_can_be_gone_on_with(tiny_checkpoint, tiny_case):
    mine = identity_of(tiny_case, tiny_checkpoint, SegmentRequest(members=1))
    record = json.loads(json.dumps(mine))
    for name in NEW:
        del record["recipe"][name]
    for name in NEW_OF_NETWORK:
        del record["network"][name]
    assert difference(mine, record) == ""
    record["recipe"]["value_range"] = [-1.0, 1.0]
    assert "value_range" in difference(mine, record)


@pytest.mark.parametrize("size", [(32, 48), (24, 20), (8, 12)])
def test_a_slice_is_stretched_as_torch_resizes_it(size):
    data = np.random.default_rng(3).normal(size=(12, 10, 1)).astype(np.float32)
    grid = Grid.plan(data.shape, LPS, axis_codes=("L", "P", "S"), size=size, fit="stretch")
    if size[0] >= 12:
        tensor = torch.from_numpy(data[:, :, 0])[None, None]
        expected = functional.interpolate(tensor, size=size, mode="bilinear", align_corners=False)[0, 0].numpy()
        np.testing.assert_allclose(grid.to_model(data)[0], expected, atol=1e-5)
    assert grid.outside(np.ones(data.shape)) == 0
    assert grid.to_source(grid.to_model(np.ones_like(data))).min() == pytest.approx(1)


def test_a_percentile_of_the_image_counts_its_background():
    array = np.zeros(1000, np.float32)
    array[:100] = np.arange(1, 101)
    assert scale_of(array, "percentile", percentile=99, of="image")(array).max() == 1
    assert (scale_of(array, "percentile", percentile=99, of="image")(array) == 1).sum() == 10
    assert (scale_of(array, "percentile", percentile=99, of="brain")(array) == 1).sum() == 1


def test_a_range_of_values_holds_for_the_background_and_what_lies_outside(tiny_case):
    plain, ranged = (encode(tiny_case, tiny_recipe(value_range=span)).image for span in ((0.0, 1.0), (-1.0, 1.0)))
    torch.testing.assert_close(ranged, 2 * plain - 1)
    assert float(ranged[:, :, 0, 0].max()) == -1


@pytest.mark.parametrize(
    ("values", "said"),
    [
        ({"value_range": (1, 0)}, "value_range"),
        ({"fit": "stretch", "spacing_mm": 1.0}, "fit 'stretch' leaves no spacing"),
        ({"fit": "stretch", "centre": "brain"}, "centre cannot be 'brain'"),
        ({"schedule": "explicit"}, "needs them"),
        ({"betas": (0.1, 0.2)}, "belong to schedule 'explicit'"),
        ({"schedule": "explicit", "betas": (0.1, 0.2)}, "train_timesteps is 8"),
        ({"beta_range": (0.1, 0.2)}, "no meaning for schedule 'cosine'"),
        ({"schedule": "linear", "beta_range": (0.2, 0.1)}, "must rise between 0 and 1"),
        ({"zero_terminal_snr": True, "prediction": "epsilon"}, "no mask to find"),
    ],
)
def test_fields_that_contradict_each_other_are_refused(values, said):
    with pytest.raises(BadRecipe, match=said):
        make_recipe({**tiny_recipe().model_dump(), **values})


def test_every_new_field_can_be_said_of_a_checkpoint_as_text(tmp_path):
    """As the command line gives it."""
    path = write_tiny_checkpoint(tmp_path / "tiny.safetensors")
    loaded = load_checkpoint(
        path,
        fit="stretch",
        percentile_of="image",
        value_range=["-1", "1"],
        channel_order="mask_first",
        schedule="scaled_linear",
        beta_range=["0.001", "0.2"],
        zero_terminal_snr="true",
        timestep_spacing="leading",
        timestep_offset="1",
        epsilon_after_clip="false",
        norm_groups="16",
        norm_eps="1e-6",
    )
    assert loaded.recipe.beta_range == (0.001, 0.2)
    assert not loaded.recipe.epsilon_after_clip
    assert (loaded.config.norm_groups, loaded.config.norm_eps) == (16, 1e-6)
    assert loaded.network().out[0].num_groups == 16
