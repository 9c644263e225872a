"""`info` and `convert`: every guess has an option, and what they print can be read by people and programs."""

import json

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


def test_info_as_json_is_all_that_a_program_reads_from_the_output(bare, capsys):
    assert main(["info", str(bare), "--json", "--num-heads", "2"]) == 0
    told = json.loads(capsys.readouterr().out)
    loaded = load_checkpoint(bare, num_heads=2)
    assert (told["sha256"], told["parameters"]) == (loaded.digest, loaded.parameters)
    assert told["recipe"]["modalities"] == list(loaded.recipe.modalities)
    assert told["network"]["num_heads"] == 2
    assert told["guesses"] == list(loaded.guesses)


def test_info_says_the_licence_once(capsys):
    assert main(["info", "demo"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line.split() for line in lines if line.startswith("licence")] == [["licence", "BSD-3-Clause"]]


@pytest.mark.parametrize("name", ["c2.pt", "c2"])
def test_convert_writes_no_safetensors_under_another_name(bare, tmp_path, capsys, name):
    assert main(["convert", str(bare), str(tmp_path / name)]) == 2
    assert "call it c2.safetensors" in capsys.readouterr().err
    assert not (tmp_path / name).exists()
