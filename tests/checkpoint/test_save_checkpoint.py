"""What is written is read back, with its recipe; a converted file has the bits of its source."""

from __future__ import annotations

import hashlib
import json
from importlib.resources import files
from pathlib import Path

import pytest
import torch
from safetensors import safe_open

from builders import tiny_config, tiny_recipe, write_tiny_checkpoint
from napari_diffseg.checkpoint import (
    convert_checkpoint,
    describe,
    load_checkpoint,
    resolve_checkpoint,
    save_checkpoint,
)
from napari_diffseg.errors import BadCheckpoint, BadRecipe, OutputExists


@pytest.fixture
def recipe():
    return tiny_recipe(variance="learned_range", title="Round trip", licence="CC0-1.0", spacing_mm=1.5)


def same(one, other):
    return one.keys() == other.keys() and all(torch.equal(one[name], other[name]) for name in one)


def test_what_is_saved_is_loaded_with_nothing_guessed(tmp_path, state, recipe, config):
    path = tmp_path / "model.safetensors"
    digest = save_checkpoint(path, state, recipe=recipe, config=config, card={"trained by": "nobody"})
    checkpoint = load_checkpoint(path)
    assert checkpoint.recipe == recipe
    assert checkpoint.config == config
    assert checkpoint.kind == "diffseg safetensors"
    assert checkpoint.guesses == ()
    assert checkpoint.card == {"trained by": "nobody"}
    assert checkpoint.digest == digest == hashlib.sha256(path.read_bytes()).hexdigest()
    assert same(checkpoint.state, state)


def test_the_same_arguments_give_the_same_bytes_in_any_order(tmp_path, state, recipe, config):
    one = save_checkpoint(tmp_path / "a", state, recipe=recipe, config=config, card={"a": "1", "b": "2"})
    reverse = dict(reversed(state.items()))
    other = save_checkpoint(tmp_path / "b", reverse, recipe=recipe, config=config, card={"b": "2", "a": "1"})
    assert one == other


def test_float16_halves_the_file(tmp_path, state, recipe, config):
    save_checkpoint(tmp_path / "full", state, recipe=recipe, config=config)
    save_checkpoint(tmp_path / "half", state, recipe=recipe, config=config, dtype="float16")
    half = load_checkpoint(tmp_path / "half")
    assert (tmp_path / "half").stat().st_size < 0.6 * (tmp_path / "full").stat().st_size
    assert same(half.state, {name: value.half() for name, value in state.items()})


def test_weights_beyond_float16_are_not_saved_as_infinity(tmp_path, state, recipe, config):
    state["out.0.weight"][0] = 1e6
    with pytest.raises(BadCheckpoint, match=r"float16.*out\.0\.weight"):
        save_checkpoint(tmp_path / "half", state, recipe=recipe, config=config, dtype="float16")
    assert not (tmp_path / "half").exists()


def test_weights_that_share_memory_can_be_saved(tmp_path, state, recipe, config):
    state["time_embed.0.bias"] = state["time_embed.2.bias"]
    save_checkpoint(tmp_path / "model", state, recipe=recipe, config=config)
    assert same(load_checkpoint(tmp_path / "model").state, state)


def test_what_does_not_belong_together_is_not_saved(tmp_path, state, recipe, config):
    part = {name: value for name, value in state.items() if name != "out.2.bias"}
    with pytest.raises(BadCheckpoint, match=r"out\.2\.bias"):
        save_checkpoint(tmp_path / "model", part, recipe=recipe, config=config)
    with pytest.raises(BadRecipe, match="the network takes 3"):
        save_checkpoint(tmp_path / "model", state, recipe=recipe, config=tiny_config(modalities=2, learned=True))
    with pytest.raises(BadRecipe, match="Model card"):
        save_checkpoint(tmp_path / "model", state, recipe=recipe, config=config, card={"story": "x" * 3000})
    assert list(tmp_path.iterdir()) == []


def test_a_file_that_is_there_is_replaced_only_when_asked(tmp_path, state, recipe, config):
    path = tmp_path / "model.safetensors"
    path.write_bytes(b"precious")
    with pytest.raises(OutputExists):
        save_checkpoint(path, state, recipe=recipe, config=config)
    assert path.read_bytes() == b"precious"
    save_checkpoint(path, state, recipe=recipe, config=config, overwrite=True)
    assert same(load_checkpoint(path).state, state)


def test_an_override_replaces_what_the_file_says(tmp_path, state, recipe, config):
    path = tmp_path / "model.safetensors"
    save_checkpoint(path, state, recipe=recipe, config=config)
    checkpoint = load_checkpoint(path, schedule="linear", num_heads=2)
    assert checkpoint.recipe == recipe.model_copy(update={"schedule": "linear"})
    assert checkpoint.config.num_heads == 2
    with pytest.raises(BadRecipe, match="the network takes 5"):
        load_checkpoint(path, modalities=["t1"])


def test_asking_for_heads_wins_over_the_channels_of_a_head_in_the_file(tmp_path, save_state):
    convert_checkpoint(save_state(), tmp_path / "model.safetensors", num_head_channels=8)
    assert load_checkpoint(tmp_path / "model.safetensors").config.heads(32) == 4
    assert load_checkpoint(tmp_path / "model.safetensors", num_heads=2).config.heads(32) == 2


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.bfloat16])
def test_a_converted_file_has_the_bits_and_the_dtype_of_its_source(tmp_path, save_state, state, dtype):
    source = {name: value.to(dtype) for name, value in state.items()}
    source["out.0.bias"][0] = -0.0
    target = tmp_path / "model.safetensors"
    convert_checkpoint(save_state(source), target)
    with safe_open(target, "pt") as written:
        for name, value in source.items():
            assert written.get_tensor(name).dtype == dtype
            assert torch.equal(written.get_tensor(name).view(torch.uint8), value.view(torch.uint8))


def test_a_converted_file_remembers_what_was_guessed_until_it_is_said(tmp_path, save_state):
    written = convert_checkpoint(save_state(), tmp_path / "model.safetensors", schedule="cosine")
    assert written.kind == "diffseg safetensors"
    assert written.recipe.schedule == "cosine"
    names = {line.partition(" = ")[0] for line in written.guesses}
    assert "normalisation" in names
    assert "schedule" not in names
    settled = load_checkpoint(tmp_path / "model.safetensors", normalisation="percentile")
    assert {line.partition(" = ")[0] for line in settled.guesses} == names - {"normalisation"}


def test_a_converted_file_says_what_it_was_made_of(tmp_path, save_state):
    source = save_state()
    written = convert_checkpoint(source, tmp_path / "model.safetensors")
    digest = hashlib.sha256(source.read_bytes()).hexdigest()
    assert written.card == {
        "converted from": f"{source.name}, sha256 {digest}",
        "family": "guided-diffusion (the authors' code)",
    }
    assert written.family == "guided-diffusion (the authors' code)"


def test_a_source_is_never_converted_onto_itself(save_state):
    source = save_state()
    before = source.read_bytes()
    with pytest.raises(OutputExists, match="source itself"):
        convert_checkpoint(source, source, overwrite=True)
    assert source.read_bytes() == before


def test_a_description_has_everything_a_reader_must_check(tmp_path, state, recipe, config):
    path = tmp_path / "model.safetensors"
    digest = save_checkpoint(path, state, recipe=recipe, config=config, dtype="float16", card={"seen": "nothing"})
    rows = dict(describe(load_checkpoint(path)))
    assert rows["kind"] == "diffseg safetensors, float16"
    assert rows["title"] == "Round trip"
    assert rows["parameters"] == f"{sum(v.numel() for v in state.values()) / 1e6:.2f} M in {len(state)} tensors"
    assert rows["input"].startswith("channel 1 = t1, channel 2 = t1ce,")
    assert rows["size"].startswith("16 x 16 pixels")
    assert rows["spacing"] == "1.5 mm"
    assert rows["directions"] == "rows towards posterior, columns towards left, slices towards superior"
    assert rows["normalisation"] == "percentile, upper percentile 99.5 of the brain"
    assert rows["mask"] == "-1 background, 1 lesion, threshold 0"
    assert rows["schedule"] == "cosine, 8 timesteps"
    assert rows["prediction"] == "x0, mask clipped to -1 to 1"
    assert rows["sampler"] == "ddim, 4 steps unless others are asked for"
    assert rows["digest"] == digest[:12]
    assert rows["licence"] == "CC0-1.0"
    assert rows["seen"] == "nothing"
    assert "guessed" not in rows


def test_a_description_has_a_row_for_every_guess(save_state):
    checkpoint = load_checkpoint(save_state())
    assert tuple(value for name, value in describe(checkpoint) if name == "guessed") == checkpoint.guesses


def test_a_description_is_plain_lines_whatever_the_file_holds(tmp_path, state, config):
    recipe = tiny_recipe(variance="learned_range", trained_on="line\nbreak \x1b[31m red")
    save_checkpoint(tmp_path / "model", state, recipe=recipe, config=config, card={"a\tb": "c\rd"})
    assert all(text.isprintable() for row in describe(load_checkpoint(tmp_path / "model")) for text in row)


def test_the_recipe_can_be_read_by_other_programs(tmp_path, state, recipe, config):
    save_checkpoint(tmp_path / "model", state, recipe=recipe, config=config)
    with safe_open(tmp_path / "model", "pt") as file:
        metadata = json.loads(file.metadata()["napari_diffseg"])
    assert metadata["format"] == 1
    assert metadata["recipe"]["modalities"] == ["t1", "t1ce", "t2", "flair"]
    assert metadata["config"] == config.to_dict()


def test_demo_means_the_shipped_checkpoint_and_anything_else_a_path(monkeypatch, tmp_path):
    assert resolve_checkpoint("model.pt") == Path("model.pt")
    assert resolve_checkpoint("~/model.pt") == Path.home() / "model.pt"
    assert resolve_checkpoint("~no-such-user/model.pt") == Path("~no-such-user/model.pt")
    monkeypatch.setattr("napari_diffseg.checkpoint.resolve.files", lambda _: tmp_path)
    with pytest.raises(BadCheckpoint, match="demo"):
        resolve_checkpoint("demo")
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "demo.safetensors").touch()
    assert resolve_checkpoint("demo") == tmp_path / "data" / "demo.safetensors"


@pytest.mark.skipif(
    not (Path(str(files("napari_diffseg"))) / "data" / "demo.safetensors").is_file(), reason="no demo is shipped yet"
)
def test_the_shipped_checkpoint_loads_with_nothing_guessed():
    checkpoint = load_checkpoint(resolve_checkpoint("demo"))
    assert checkpoint.guesses == ()
    assert checkpoint.recipe.licence


def test_the_card_says_whether_images_may_be_missing(tmp_path):
    for may_miss, words in ((True, "supported: all but one may be missing"), (False, "not supported")):
        path = write_tiny_checkpoint(tmp_path / f"{may_miss}.safetensors", may_miss=may_miss)
        assert dict(describe(load_checkpoint(path)))["missing modalities"] == words
