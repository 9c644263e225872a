"""Settings: what presets promise, TOML there and back, refusals that name the field."""

import pytest

from napari_diffseg.checkpoint.fit import check_recipe
from napari_diffseg.errors import BadRequest
from napari_diffseg.networks.unet import UNet
from napari_diffseg.training.config_file import changed, first_difference, read_config, write_config
from napari_diffseg.training.presets import DEFAULT, PAPER, PRESETS, preset
from napari_diffseg.training.trainer import learning_rate


@pytest.mark.parametrize("config", PRESETS.values(), ids=PRESETS)
def test_a_preset_goes_to_toml_and_back(config, tmp_path):
    write_config(tmp_path / "config.toml", config)
    assert read_config(tmp_path / "config.toml") == config


@pytest.mark.parametrize("config", PRESETS.values(), ids=PRESETS)
def test_a_presets_network_fits_its_recipe(config):
    check_recipe(config.recipe, config.network.unet_config(config.recipe))


def test_the_papers_network_has_the_papers_number_of_weights():
    import torch

    with torch.device("meta"):
        network = UNet(PAPER.network.unet_config(PAPER.recipe))
    assert sum(p.numel() for p in network.parameters()) == 113_674_370


def test_the_papers_preset_says_what_the_paper_says():
    o, r = PAPER.optimiser, PAPER.recipe
    assert (o.batch_size, o.learning_rate, o.weight_decay, o.ema, o.warmup, o.final_rate) == (10, 1e-4, 0, 0.9999, 0, 1)
    assert (r.schedule, r.train_timesteps, r.prediction, r.variance) == ("linear", 1000, "epsilon", "learned_range")
    assert (r.mask_low, r.mask_high, r.size) == (0, 1, (224, 224))
    assert (PAPER.augmentation.kind, PAPER.loss.noisiest, PAPER.loss.dice_weight) == ("off", 1, 0)


def test_the_rate_warms_up_falls_by_a_cosine_to_a_tenth_and_is_constant_in_the_paper():
    o = DEFAULT.optimiser
    assert learning_rate(0, o) == pytest.approx(o.learning_rate / 100)
    assert learning_rate(100, o) == pytest.approx(o.learning_rate)
    assert learning_rate((100 + o.steps) // 2, o) == pytest.approx(0.55 * o.learning_rate)
    assert learning_rate(o.steps, o) == pytest.approx(0.1 * o.learning_rate)
    assert {learning_rate(s, PAPER.optimiser) for s in (0, 100, 59_999)} == {1e-4}


def test_a_file_replaces_the_values_of_the_preset_that_it_names(tmp_path):
    path = tmp_path / "mine.toml"
    path.write_text('preset = "paper"\n[recipe]\nsize = [64, 64]\n[data]\nslices = "none"\n')
    config = read_config(path)
    assert (config.recipe.size, config.data.slices, config.optimiser) == ((64, 64), None, PAPER.optimiser)


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("[optimiser]\nstep = 3\n", "optimiser.step:"),
        ("[optimiser]\nbatch_size = 10\naccumulate = 4\n", "must be a multiple of accumulate 4"),
        ('[recipe]\nlabels = ["a", "b"]\n', "nothing says what a is"),
        ("[validation]\ntimesteps = 2000\n", "exceed the 1000 of training"),
        ('[data]\nslices = "5"\n', "not a range A:B"),
        ('preset = "best"\n', "choose default, paper, tiny"),
        ("steps 3", "is no TOML"),
    ],
)
def test_a_wrong_file_is_one_sentence_that_names_the_setting(text, told, tmp_path):
    path = tmp_path / "mine.toml"
    path.write_text(text)
    with pytest.raises(BadRequest) as error:
        read_config(path)
    assert told in str(error.value)
    assert "\n" not in str(error.value).replace(str(path), "")


def test_a_file_that_is_not_there_is_one_sentence(tmp_path):
    with pytest.raises(BadRequest, match=r"none\.toml cannot be read"):
        read_config(tmp_path / "none.toml")


def test_the_first_difference_is_named_with_both_values():
    other = changed(DEFAULT, {"optimiser": {"steps": 7}}, where="test")
    assert first_difference(DEFAULT, other) == "optimiser.steps 7, before 4500"
    assert first_difference(DEFAULT, DEFAULT) is None


def test_an_unknown_preset_is_refused():
    with pytest.raises(BadRequest, match="no preset fast"):
        preset("fast")


@pytest.mark.parametrize(("said", "part"), [("uniform", 1.0), ("noisy", 0.2)])
def test_the_settings_of_a_training_that_was_begun_before_noisiest_are_read(said, part, tmp_path):
    write_config(tmp_path / "config.toml", DEFAULT)
    text = (tmp_path / "config.toml").read_text("utf-8")
    (tmp_path / "config.toml").write_text(text.replace("noisiest = 0.2", f'timesteps = "{said}"'), "utf-8")
    assert f'timesteps = "{said}"' in (tmp_path / "config.toml").read_text("utf-8")
    assert read_config(tmp_path / "config.toml").loss.noisiest == part
