"""Fine-tuning: a training that begins with the weights of another."""

import pytest
import torch

from napari_diffseg.checkpoint import load_checkpoint


@pytest.fixture
def first(train, tmp_path):
    assert train(tmp_path / "first") == 0
    return tmp_path / "first" / "last.safetensors"


@pytest.mark.parametrize("order", ["images_first", "mask_first"])
def test_a_training_of_no_rate_gives_the_weights_it_began_with(train, settings, tmp_path, order):
    settings.write_text(
        settings.read_text("utf-8").replace("[recipe]", f'[recipe]\nchannel_order = "{order}"'), "utf-8"
    )
    assert train(tmp_path / "first") == 0
    first = tmp_path / "first" / "last.safetensors"
    assert train(tmp_path / "second", "--start-from", str(first), "--learning-rate", "1e-30") == 0
    before, after = load_checkpoint(first), load_checkpoint(tmp_path / "second" / "last.safetensors")
    for name, value in before.state.items():
        torch.testing.assert_close(after.state[name], value, atol=1e-6, rtol=1e-6)
    assert after.recipe.trained_on.endswith(f"Before: {before.recipe.trained_on}")
    assert after.card["began with"].endswith(before.digest)


def test_one_that_drew_its_weights_is_elsewhere(first, train, tmp_path):
    assert train(tmp_path / "second", "--learning-rate", "1e-30", "--seed", "5") == 0
    before, after = load_checkpoint(first), load_checkpoint(tmp_path / "second" / "last.safetensors")
    assert any((after.state[name] - value).abs().max() > 0.01 for name, value in before.state.items())
    assert "began with" not in after.card


def test_it_is_resumed_without_the_file_it_began_with_and_ends_in_the_same_bytes(first, train, tmp_path):
    begin = ("--start-from", str(first))
    assert train(tmp_path / "whole", *begin) == 0
    assert train(tmp_path / "parts", *begin, "--stop-after", "2") == 0
    first.unlink()
    assert train(tmp_path / "parts", *begin, "--resume") == 0
    assert (tmp_path / "parts/last.safetensors").read_bytes() == (tmp_path / "whole/last.safetensors").read_bytes()


def test_other_modalities_are_refused_before_any_work(first, train, tmp_path, capsys):
    assert train(tmp_path / "second", "--start-from", str(first), "--modalities", "t1") == 2
    assert "was trained with modalities" in capsys.readouterr().err
    assert not (tmp_path / "second" / "pool").exists()


def test_a_file_that_is_not_there_is_named_and_nothing_begun(train, tmp_path, capsys):
    assert train(tmp_path / "second", "--start-from", "nowhere.safetensors") == 1
    assert "nowhere.safetensors" in capsys.readouterr().err
    assert not (tmp_path / "second" / "config.toml").exists()


def test_another_network_is_refused(first, train, settings, tmp_path, capsys):
    settings.write_text(settings.read_text("utf-8").replace("channel_mult = [1]", "channel_mult = [1, 2]"), "utf-8")
    assert train(tmp_path / "second", "--start-from", str(first)) == 2
    assert "of another network" in capsys.readouterr().err


def test_the_recipe_says_whether_images_were_missing_in_training(train, settings, tmp_path):
    told = {}
    for missing in (0.0, 0.2):
        section = f"[augmentation]\nmissing = {missing}\n"
        settings.write_text(settings.read_text().partition("[augmentation]")[0] + section)
        assert train(tmp_path / str(missing)) == 0
        told[missing] = load_checkpoint(tmp_path / str(missing) / "last.safetensors").recipe.may_miss
    assert told == {0.0: False, 0.2: True}
