"""`info` and `convert`: every guess has an option, and what they print can be read by people and programs."""

import pytest
import torch

from builders import tiny_config
from napari_diffseg.checkpoint import load_checkpoint
from napari_diffseg.cli import main
from napari_diffseg.networks.unet import UNet


@pytest.fixture
def bare(tmp_path):
    torch.save(UNet(tiny_config(learned=True)).state_dict(), tmp_path / "bare.pt")
    return tmp_path / "bare.pt"


@pytest.mark.parametrize("verb", ["info", "convert"])
def test_every_guess_has_an_option_of_its_name(verb, bare, capsys):
    assert main([verb, "--help"]) == 0
    text = capsys.readouterr().out
    names = [guess.partition(" = ")[0] for guess in load_checkpoint(bare).guesses if " = " in guess]
    assert {"sampler", "timesteps", "num_heads"} <= set(names)
    for name in names:
        assert f"--{name.replace('_', '-')}" in text


def test_a_converted_checkpoint_has_the_sampler_and_the_steps_that_were_named(bare, tmp_path, capsys):
    out = tmp_path / "model.safetensors"
    words = ["--prediction", "x0", "--sampler", "dpmpp", "--timesteps", "10", "--num-heads", "2"]
    assert main(["convert", str(bare), str(out), *words]) == 0
    written = load_checkpoint(out)
    assert (written.recipe.sampler, written.recipe.timesteps) == ("dpmpp", 10)
    assert not any(guess.startswith(("sampler", "timesteps", "prediction")) for guess in written.guesses)
