"""Networks of MONAI and of diffusers give here what they give in their own library, alone and in a whole chain."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch
from diffusers import DDIMScheduler, DDPMScheduler
from monai.networks.schedulers import DDIMScheduler as MonaiDDIM

from builders import write_case
from foreign import DIFFUSERS, MONAI, calm, diffusers_network, monai_network, old_names, save_pipeline
from napari_diffseg.checkpoint import convert_checkpoint, describe, load_checkpoint
from napari_diffseg.cli import main
from napari_diffseg.diffusion.ddim import sample_ddim
from napari_diffseg.diffusion.denoiser import ConditionedDenoiser
from napari_diffseg.errors import BadCheckpoint, BadRecipe
from napari_diffseg.networks.fast_unet import FastUNet
from napari_diffseg.networks.unet import to_inference
from refusals import refused

TOLERANCE = 1e-5
TWO = {"modalities": ["t1", "flair"]}


def noise(*shape, seed=5):
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


def agree(ours, theirs):
    assert float((ours - theirs).abs().max()) <= TOLERANCE * max(1.0, float(theirs.abs().max()))


@pytest.mark.parametrize(
    ("kind", "names"),
    [*((kind, dict) for kind in MONAI), *((kind, old_names) for kind in ("heads", "blocks that resample"))],
)
def test_a_network_of_monai_predicts_what_it_does_there(tmp_path, kind, names):
    theirs = monai_network(kind)
    torch.save(names(theirs.state_dict()), tmp_path / "segmodel.pt")
    loaded = load_checkpoint(
        tmp_path / "segmodel.pt", **TWO, num_head_channels=MONAI[kind]["num_head_channels"], size=[16, 24]
    )
    assert loaded.family == "MONAI DiffusionModelUNet"
    x, t = noise(2, 3, 8, 12), torch.tensor([7, 900])
    expected = theirs(x, t)
    agree(loaded.network()(x, t), expected)
    predict = FastUNet(to_inference(loaded.network())).conditioned_on(x[:1, :2])
    agree(predict(x[:1, 2:], 7.0), expected[:1])


@pytest.mark.parametrize("kind", DIFFUSERS)
def test_a_network_of_diffusers_predicts_what_it_does_there(tmp_path, kind):
    theirs = diffusers_network(kind)
    loaded = load_checkpoint(save_pipeline(tmp_path / "pipeline", theirs), **TWO)
    assert loaded.family == "diffusers UNet2DModel"
    x, t = noise(2, 3, 8, 12), torch.tensor([7, 900])
    expected = theirs(x, t).sample
    agree(loaded.network()(x, t), expected)
    predict = FastUNet(to_inference(loaded.network())).conditioned_on(x[:1, :2])
    agree(predict(x[:1, 2:], 7.0), expected[:1])


def chain(loaded, image, x, steps):
    """Our DDIM from x to the mask, with the recipe of a checkpoint."""
    recipe = loaded.recipe
    schedule = recipe.noise_schedule(steps)
    denoiser = ConditionedDenoiser(
        loaded.network(),
        image,
        schedule,
        prediction=recipe.prediction,
        variance=recipe.variance,
        clip=recipe.clip,
        epsilon_after_clip=recipe.epsilon_after_clip,
    )
    return [step.x for step in sample_ddim(denoiser, schedule, lambda: x)][-1]


@pytest.mark.parametrize(
    "settings",
    [
        {},
        {"beta_schedule": "scaled_linear", "beta_start": 0.0015, "beta_end": 0.0195, "prediction_type": "sample"},
        {"beta_schedule": "squaredcos_cap_v2", "clip_sample": False, "prediction_type": "v_prediction"},
        {"timestep_spacing": "trailing", "prediction_type": "v_prediction", "rescale_betas_zero_snr": True},
        {"num_train_timesteps": 40, "trained_betas": np.linspace(0.001, 0.3, 40).tolist(), "clip_sample_range": 2.0},
        {"num_train_timesteps": 50, "beta_end": 0.2, "steps_offset": 1, "set_alpha_to_one": True},
    ],
    ids=["default", "scaled linear", "cosine", "zero terminal", "explicit", "offset"],
)
def test_a_chain_of_ddim_is_that_of_diffusers_scheduler(tmp_path, settings):
    theirs, scheduler = calm(diffusers_network()), DDIMScheduler(**settings)
    loaded = load_checkpoint(save_pipeline(tmp_path / "pipeline", theirs, scheduler), **TWO)
    image, x = noise(1, 2, 8, 8), noise(1, 1, 8, 8, seed=6)
    scheduler.set_timesteps(5)
    # their product of 1000 factors in float32 is off by 1e-5 itself, which the noisiest step makes 3e-5 of the mask
    scheduler.alphas_cumprod = torch.cumprod(1 - scheduler.betas.double(), dim=0)
    assert loaded.recipe.noise_schedule(5).timesteps.tolist() == scheduler.timesteps.tolist()
    expected = x
    for t in scheduler.timesteps:
        predicted = theirs(torch.cat([image, expected], dim=1), t).sample
        expected = scheduler.step(predicted, t, expected).prev_sample
    agree(chain(loaded, image, x, 5), expected)


@pytest.mark.parametrize("schedule", ["linear_beta", "scaled_linear_beta", "sigmoid_beta", "cosine"])
def test_a_chain_of_ddim_is_that_of_monais_scheduler(tmp_path, schedule):
    """With all timesteps: with fewer, MONAI 1.6.1's steps end at other timesteps than the next begin at."""
    # the cosine begins at a signal of 5e-5, where noise that is predicted tells nothing of the mask in float32
    kind = ("sample", "x0") if schedule == "cosine" else ("epsilon", "epsilon")
    theirs = calm(monai_network())
    scheduler = MonaiDDIM(num_train_timesteps=8, schedule=schedule, prediction_type=kind[0])
    torch.save(theirs.state_dict(), tmp_path / "segmodel.pt")
    named = {"linear_beta": "linear", "scaled_linear_beta": "scaled_linear", "sigmoid_beta": "sigmoid"}
    told = {"beta_range": [1e-4, 0.02]} if schedule != "cosine" else {}
    loaded = load_checkpoint(
        tmp_path / "segmodel.pt",
        **TWO,
        **told,
        num_head_channels=32,
        size=[16, 16],
        train_timesteps=8,
        schedule=named.get(schedule, "cosine"),
        prediction=kind[1],
    )
    image, x = noise(1, 2, 8, 8), noise(1, 1, 8, 8, seed=6)
    scheduler.set_timesteps(8)
    expected = x
    for t in scheduler.timesteps:
        predicted = theirs(torch.cat([image, expected], dim=1), t[None])
        expected, _ = scheduler.step(predicted, int(t), expected)
    agree(chain(loaded, image, x, 8), expected)


def test_a_network_that_takes_its_mask_first_is_given_it_first(tmp_path):
    theirs = diffusers_network()
    folder = save_pipeline(tmp_path / "pipeline", theirs)
    loaded = load_checkpoint(folder, **TWO, channel_order="mask_first")
    image, x, t = noise(1, 2, 16, 16), noise(1, 1, 16, 16, seed=6), torch.tensor([40])
    agree(loaded.network()(torch.cat([image, x], dim=1), t), theirs(torch.cat([x, image], dim=1), t).sample)
    assert dict(describe(loaded))["input"] == "channel 1 = noisy mask of lesion, channel 2 = t1, channel 3 = flair"


def test_a_models_folder_its_file_of_weights_and_its_pipeline_are_the_same_checkpoint(tmp_path):
    folder = save_pipeline(tmp_path / "pipeline", diffusers_network())
    ways = [folder, folder / "unet", folder / "unet" / "diffusion_pytorch_model.safetensors"]
    loaded = [load_checkpoint(way, **TWO) for way in ways]
    assert len({one.digest for one in loaded}) == 1
    assert len({one.recipe.model_copy(update={"title": ""}).model_dump_json() for one in loaded}) == 1


def test_another_scheduler_beside_the_weights_makes_another_checkpoint(tmp_path):
    folder = save_pipeline(tmp_path / "pipeline", diffusers_network())
    before = load_checkpoint(folder, **TWO)
    DDPMScheduler(beta_schedule="squaredcos_cap_v2").save_pretrained(folder / "scheduler")
    after = load_checkpoint(folder, **TWO)
    assert before.digest != after.digest
    assert (before.recipe.schedule, after.recipe.schedule) == ("linear", "cosine")
    assert (before.recipe.sampler, after.recipe.sampler) == ("ddim", "ddpm")


def test_a_model_without_the_files_beside_it_is_told_with_what_had_to_be_guessed(tmp_path):
    torch.save(diffusers_network().state_dict(), tmp_path / "unet.pt")
    loaded = load_checkpoint(tmp_path / "unet.pt", **TWO)
    guessed = {line.partition(" = ")[0] for line in loaded.guesses}
    assert {"num_head_channels", "norm_groups", "norm_eps", "size", "schedule", "channel_order"} <= guessed
    assert loaded.config.num_head_channels == 8


def test_a_converted_checkpoint_of_another_library_predicts_the_same_and_says_whose_it_was(tmp_path):
    theirs = monai_network("heads")
    torch.save(theirs.state_dict(), tmp_path / "segmodel.pt")
    written = convert_checkpoint(
        tmp_path / "segmodel.pt", tmp_path / "own.safetensors", **TWO, num_head_channels=8, size=[16, 16]
    )
    assert (written.kind, written.family) == ("diffseg safetensors", "MONAI DiffusionModelUNet")
    x, t = noise(1, 3, 16, 16), torch.tensor([3])
    agree(written.network()(x, t), theirs(x, t))
    assert any(line.startswith("norm_eps = ") for line in written.guesses)


def test_the_tutorials_network_gets_the_tutorials_recipe(tmp_path):
    torch.save(monai_network(in_channels=2).state_dict(), tmp_path / "segmodel.pt")
    recipe = load_checkpoint(tmp_path / "segmodel.pt").recipe
    assert (recipe.modalities, recipe.size, recipe.spacing_mm) == (("flair",), (64, 64), 3.0)
    assert (recipe.percentile_of, recipe.axis_codes) == ("image", ("R", "A", "S"))


@pytest.mark.parametrize(
    ("network", "said"),
    [
        (lambda: monai_network(spatial_dims=3), "MONAI DiffusionModelUNet, but it is 3-D"),
        (lambda: monai_network(num_class_embeds=2), "trained with classes"),
        (lambda: monai_network(with_conditioning=True, cross_attention_dim=4), "cross-attention"),
        (lambda: monai_network("heads", num_res_blocks=(1, 2)), "1, 2 residual blocks"),
        (lambda: monai_network(in_channels=1), "no image to segment"),
    ],
)
def test_a_network_of_monai_that_cannot_be_used_is_refused_with_the_reason(tmp_path, network, said):
    torch.save(network().state_dict(), tmp_path / "model.pt")
    refused(tmp_path / "model.pt", said)


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"center_input_sample": True}, "center_input_sample = True"),
        ({"downsample_padding": 0}, "downsample_padding = 0"),
        ({"act_fn": "gelu"}, "act_fn = gelu"),
        ({"num_class_embeds": 3}, "num_class_embeds = 3"),
        ({"resnet_time_scale_shift": "scale_shift"}, "attention in its middle is not normalised"),
        ({"time_embedding_type": "fourier"}, "time_embedding_type = fourier"),
        ({"mid_block_scale_factor": 2}, "mid_block_scale_factor = 2"),
    ],
)
def test_a_model_of_diffusers_with_another_part_is_refused_by_its_setting(tmp_path, changes, said):
    diffusers_network(**changes).save_pretrained(tmp_path / "unet")
    refused(tmp_path / "unet", said)


@pytest.mark.parametrize(
    ("scheduler", "said"),
    [
        ({"thresholding": True}, "dynamic thresholding"),
        ({"beta_schedule": "karras"}, "beta_schedule = karras"),
        ({"prediction_type": "flow"}, "prediction_type = flow"),
    ],
)
def test_a_scheduler_that_cannot_be_followed_is_refused_by_its_setting(tmp_path, scheduler, said):
    folder = save_pipeline(tmp_path / "pipeline", diffusers_network())
    path = folder / "scheduler" / "scheduler_config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | scheduler))
    with pytest.raises(BadCheckpoint, match=said):
        load_checkpoint(folder, **TWO)


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        ("model_index.json", "{", r"model_index\.json is damaged"),
        ("model_index.json", "[]", "not what diffusers writes"),
        ("model_index.json", '{"_class_name": "StableDiffusionPipeline"}', "StableDiffusionPipeline"),
        ("unet/config.json", '{"_class_name": "UNet2DConditionModel"}', "UNet2DConditionModel"),
        ("unet/config.json", '{"norm_num_groups": 0}', "norm_groups is 0"),
        ("unet/config.json", '{"attention_head_dim": "many"}', "num_head_channels is 'many'"),
        ("scheduler/scheduler_config.json", '{"num_train_timesteps": "many"}', "train_timesteps"),
        ("scheduler/scheduler_config.json", '{"trained_betas": [0.1]}', "timesteps"),
        ("scheduler/scheduler_config.json", '{"trained_betas": 7}', "trained_betas"),
        ("scheduler/scheduler_config.json", '{"clip_sample_range": "wide"}', "clip_sample_range"),
    ],
)
def test_a_damaged_folder_is_refused_in_one_sentence(tmp_path, name, content, said):
    folder = save_pipeline(tmp_path / "pipeline", diffusers_network())
    (folder / name).write_text(content)
    with pytest.raises((BadCheckpoint, BadRecipe), match=said):
        load_checkpoint(folder, **TWO)


def test_a_pipelines_folder_goes_through_info_convert_and_predict(tmp_path, capsys):
    folder = str(save_pipeline(tmp_path / "pipeline", diffusers_network(in_channels=5)))
    assert main(["info", folder]) == 0
    assert "diffusers UNet2DModel" in capsys.readouterr().out
    assert main(["convert", folder, str(tmp_path / "own.safetensors")]) == 0
    case, out = str(write_case(tmp_path / "case")), str(tmp_path / "out")
    words = ["--out", out, "--timesteps", "2", "--device", "cpu", "--members"]
    assert main(["predict", case, "--checkpoint", folder, *words, "1"]) == 0
    assert main(["predict", case, "--checkpoint", folder, *words, "2", "--resume"]) == 0
    record = json.loads(next((tmp_path / "out").rglob("run.json")).read_text())
    assert record["recipe"]["value_range"] == [-1.0, 1.0]
    assert record["network"]["num_head_channels"] == 8
