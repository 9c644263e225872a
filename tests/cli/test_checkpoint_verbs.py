"""`info` and `convert`: every guess has an option, and what they print can be read by people and programs."""

import json
import re

import nibabel as nib
import numpy as np
import pytest
import torch

from builders import LPS, tiny_config, write_case, write_tiny_checkpoint
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


@pytest.fixture
def tried(tmp_path):
    """A tiny checkpoint, and a case with a reference mask."""
    folder = write_case(tmp_path / "case")
    mask = np.zeros((14, 12, 5), np.uint8)
    mask[4:8, 4:8, 1:3] = 1
    nib.save(nib.Nifti1Image(mask, LPS), folder / "case_1_seg.nii.gz")
    return str(write_tiny_checkpoint(tmp_path / "tiny.safetensors")), str(folder)


def test_info_tries_readings_of_a_recipe_on_a_case(tried, capsys):
    checkpoint, case = tried
    assert main(["info", checkpoint, "--try", case, "--device", "cpu"]) == 0
    names = [line.split("  ")[0] for line in capsys.readouterr().out.splitlines()]
    assert names[-5:] == ["check", "channel order", "mask coding", "normalisation", "directions"]


def test_info_as_json_has_every_reading_that_was_tried(tried, capsys):
    checkpoint, case = tried
    assert main(["info", checkpoint, "--json", "--try", case, "--device", "cpu"]) == 0
    check = json.loads(capsys.readouterr().out)["check"]
    assert len(check["tried"]) > 20
    assert check["best"] >= check["stated"]


def test_info_says_that_a_case_without_a_mask_cannot_be_tried(tried, tmp_path, capsys):
    assert main(["info", tried[0], "--try", str(write_case(tmp_path / "other"))]) == 1
    assert "no reference mask" in capsys.readouterr().err


def test_info_of_what_cannot_be_used_says_what_it_is(tmp_path, capsys):
    names = ("encoder.stages.0.0.convs.0.conv.weight", "decoder.seg_layers.0.weight")
    torch.save({name: torch.zeros(2) for name in names}, tmp_path / "checkpoint_final.pth")
    assert main(["info", str(tmp_path / "checkpoint_final.pth")]) == 1
    assert "it is nnU-Net: it segments at once, without diffusion" in capsys.readouterr().err


def test_a_second_plane_is_written_told_in_words_and_taken_out_again(tmp_path, capsys):
    source = write_tiny_checkpoint(tmp_path / "tiny.safetensors")
    both, one = tmp_path / "both.safetensors", tmp_path / "one.safetensors"
    assert main(["convert", str(source), str(both), "--second-plane", "I,L,A"]) == 0
    assert main(["convert", str(both), str(one), "--second-plane", "none"]) == 0
    assert load_checkpoint(both).recipe.second_plane == ("I", "L", "A")
    assert load_checkpoint(one).recipe.second_plane is None
    capsys.readouterr()
    assert main(["info", str(both)]) == 0
    assert (
        "every second member is sampled in coronal slices (rows towards inferior, columns towards left, slices towards "
        "anterior)"
    ) in " ".join(capsys.readouterr().out.split())
    assert main(["convert", str(source), str(tmp_path / "x.safetensors"), "--second-plane", "P,L,S"]) == 2
    assert "has the slices of axis_codes" in capsys.readouterr().err


def test_a_run_chooses_whether_it_has_the_second_plane(tmp_path, capsys):
    checkpoint = write_tiny_checkpoint(tmp_path / "both.safetensors", second_plane=("I", "L", "A"))
    plain = write_tiny_checkpoint(tmp_path / "plain.safetensors")
    case, out = write_case(tmp_path / "case"), tmp_path / "out"
    words = ["predict", str(case), "--out", str(out), "--members", "2", "--device", "cpu", "--slices", "1:3"]
    assert main([*words, "--checkpoint", str(checkpoint), "--second-plane", "on"]) == 0
    (record,) = out.glob("*/run.json")
    assert json.loads(record.read_text())["members_across"] == [1]
    capsys.readouterr()
    assert main([*words, "--checkpoint", str(checkpoint), "--resume"]) == 2
    assert "second_plane off, before on" in capsys.readouterr().err
    assert main([*words, "--checkpoint", str(plain), "--second-plane", "on", "--overwrite"]) == 0
    assert "Second plane on changes nothing: the checkpoint has none." in capsys.readouterr().err


def test_every_option_of_predict_is_there_once(capsys):
    assert main(["predict", "--help"]) == 0
    options = re.findall(r"^│[ *]+(--[a-z-]+)", capsys.readouterr().out, re.MULTILINE)
    assert "--second-plane" in options
    assert len(options) == len(set(options))
