"""Several regions at once: what they are, what is read of them, what is learned of those that nobody drew."""

import csv
import json

import nibabel as nib
import numpy as np
import pytest
import torch

from napari_diffseg.checkpoint import load_checkpoint
from napari_diffseg.cli import main
from napari_diffseg.diffusion.schedule import make_schedule
from napari_diffseg.ensemble.ensemble import Ensemble
from napari_diffseg.errors import BadCase, BadRequest
from napari_diffseg.events import Sampled, SegmentRequest, Started
from napari_diffseg.imaging.case import read_case
from napari_diffseg.networks.unet import UNet
from napari_diffseg.regions import regions_named
from napari_diffseg.segmenting.segmenter import LocalSegmenter
from napari_diffseg.training.checks import check_labels, settled
from napari_diffseg.training.config import LossSettings
from napari_diffseg.training.config_file import changed, read_config, write_config
from napari_diffseg.training.draw import PhantomSource
from napari_diffseg.training.examples import draw_reader
from napari_diffseg.training.folders import FolderSource, find_cases
from napari_diffseg.training.loss import TrainingLoss
from napari_diffseg.training.presets import DEFAULT, PAPER, TINY
from napari_diffseg.training.source import UNKNOWN, encode_slices
from napari_diffseg.training.split import Split
from napari_diffseg.training.validate import CaseFigures, Figures, RegionFigures, measured, summary

NAMES = ("whole tumour", "tumour core", "enhancing tumour")
THREE = changed(
    DEFAULT,
    {"regions": "brats2021", "recipe": {"modalities": ["t1", "flair"], "size": [16, 16], "spacing_mm": "none"}},
    where="test",
)


@pytest.fixture
def write_regions(tmp_path):
    """Writes a case whose mask has oedema 2, core 1 and an enhancing part of the label given."""

    def write(case_id, *, enhancing=4, **more):
        folder = tmp_path / "in" / case_id
        folder.mkdir(parents=True)
        labels = np.zeros((14, 12, 5), np.uint8)
        labels[3:9, 3:9, 1:4], labels[4:8, 4:8, 1:4], labels[5:7, 5:7, 1:4] = 2, 1, enhancing
        brain = np.zeros(labels.shape, np.int16)
        brain[1:13, 1:11, :4] = np.random.default_rng(len(case_id)).integers(40, 60, (12, 10, 4))
        arrays = {"t1": brain + 40 * (labels == enhancing), "flair": brain + 60 * (labels > 0), "seg": labels, **more}
        for name, data in arrays.items():
            if data is not None:
                image = nib.Nifti1Image(np.asarray(data, np.int16), np.diag([-1.0, -1.0, 1.0, 1.0]))
                nib.save(image, folder / f"{case_id}_{name}.nii.gz")
        return tmp_path / "in"

    return write


def source(folder, config=THREE):
    return FolderSource(find_cases(folder), config.recipe, config.data, config.seed)


@pytest.mark.parametrize("base", [DEFAULT, PAPER], ids=["default", "paper"])
@pytest.mark.parametrize("word", ["brats", "brats2018", "brats2023", "decathlon"])
def test_a_preset_takes_the_regions_of_a_data_set(base, word, tmp_path):
    config = changed(base, {"regions": word}, where="test")
    assert config.recipe.labels == NAMES
    assert config.network.unet_config(config.recipe).out_channels == (3 if base is DEFAULT else 6)
    assert word in config.recipe.title
    write_config(tmp_path / "config.toml", config)
    assert read_config(tmp_path / "config.toml") == config


def test_own_regions_are_defined_by_their_labels(tmp_path):
    path = tmp_path / "mine.toml"
    path.write_text('[recipe]\nlabels = ["lesion", "black hole"]\nlabel_values = [[1, 2], [2]]\n')
    config = read_config(path)
    assert config.recipe.regions[1].values == (2,)
    path.write_text('[recipe]\nlabels = ["a", "b"]\nlabel_values = [[1, 2], [2, 3]]\n')
    with pytest.raises(BadRequest, match="neither lies within the other"):
        read_config(path)


@pytest.mark.parametrize(("year", "enhancing"), [("brats2021", 4), ("brats2023", 3)])
def test_the_regions_of_a_label_map_are_read_nested(write_regions, year, enhancing):
    folder = write_regions("p1", enhancing=enhancing)
    labelled = source(folder, changed(THREE, {"regions": year}, where="test")).read("p1")
    assert labelled.readers.shape == (1, 3, 14, 12, 5)
    assert labelled.readers[0].sum(axis=(1, 2, 3)).tolist() == [108, 48, 12]


@pytest.mark.parametrize(("enhancing", "year"), [(4, "brats2021"), (3, "brats2023")])
def test_the_year_is_told_by_the_labels_of_the_data(write_regions, enhancing, year):
    write_regions("p1", enhancing=enhancing)
    folder = write_regions("p2", enhancing=enhancing)
    said = []
    config = settled(changed(THREE, {"regions": "brats"}, where="test"), source(folder), say=said.append)
    assert config.regions == year
    assert config.recipe.regions == regions_named(year)
    assert year in said[-1]
    drawn = settled(changed(TINY, {"regions": "brats"}, where="test"), PhantomSource(TINY.recipe, 1, 0, 1), say=print)
    assert drawn.regions == "brats2021"


def test_labels_that_fit_two_years_are_asked_about(write_regions):
    write_regions("p1", enhancing=4)
    folder = write_regions("p2", enhancing=3)
    with pytest.raises(BadRequest, match="Say which year") as error:
        settled(changed(THREE, {"regions": "brats"}, where="test"), source(folder), say=lambda text: None)
    assert [r.value for r in error.value.remedies] == ["brats2016", "brats2024"]


def test_a_region_that_no_case_has_is_refused_with_the_labels_that_there_are(write_regions):
    cases = source(write_regions("p1", enhancing=3))
    with pytest.raises(BadRequest, match=r"enhancing tumour \(label 4\): their labels are 1, 2, 3"):
        check_labels(THREE, cases, Split(("p1",), ()))


FILES = {"enhancing tumour": "{case}_et_*.nii.gz"}


def test_a_region_has_its_own_readers_and_may_be_missing(write_regions):
    small, large = np.zeros((2, 14, 12, 5), np.int16)
    small[5:6, 5:6, 1:4], large[5:7, 5:7, 1:4] = 1, 1
    write_regions("p1", et_a=small, et_b=large, reader1=np.where(large > 0, 1, 0))
    folder = write_regions("p2")
    cases = source(folder, changed(THREE, {"data": {"region_files": FILES}}, where="test"))
    cases.check("p1")
    one, other = cases.read("p1"), cases.read("p2")
    assert one.known.tolist() == [[True, True, True], [False, False, True]]
    assert [one.of_region(m).shape[0] for m in range(3)] == [1, 1, 2]
    assert one.of_region(2).sum(axis=(1, 2, 3)).tolist() == [3, 12]
    assert other.known.tolist() == [[True, True, False]]
    slices = encode_slices(one, THREE.recipe)
    assert (slices.masks[:, 1, :2] == UNKNOWN).all()
    assert set(np.unique(slices.masks[:, :, 2])) == {0, 1}
    rng = np.random.default_rng(0)
    drawn = [draw_reader(slices.masks[1], rng) for _ in range(400)]
    assert {float(mask[0].sum()) for mask, _ in drawn} == {4.0}  # always of the one who drew it
    sizes = [float(mask[2].sum()) for mask, _ in drawn]
    assert sizes.count(1.0) == pytest.approx(200, abs=50)  # of each reader as often
    assert all(known.tolist() == [1, 1, 1] for _, known in drawn)
    mask, known = draw_reader(encode_slices(other, THREE.recipe).masks[1], rng)
    assert known.tolist() == [1, 1, 0]
    assert not mask[2].any()


def test_a_case_of_which_nothing_is_known_is_refused(write_regions):
    folder = write_regions("p1", seg=None)
    every = {name: f"{{case}}_{name.split()[0]}*.nii.gz" for name in NAMES}
    cases = source(folder, changed(THREE, {"data": {"region_files": every}}, where="test"))
    with pytest.raises(BadCase, match="there is no mask"):
        cases.check("p1")


def batch(known):
    g = torch.Generator().manual_seed(0)
    n, regions = known.shape
    square = (torch.rand(n, regions, 8, 8, generator=g) > 0.5).float()
    return {
        "image": torch.rand(n, 2, 8, 8, generator=g),
        "mask": 2 * square - 1,
        "timestep": torch.arange(n) * 3,
        "noise": torch.randn(n, regions, 8, 8, generator=g),
        "known": known,
    }


@pytest.mark.parametrize("base", [DEFAULT, PAPER], ids=["default", "paper"])
def test_nothing_is_learned_of_a_region_that_nobody_drew_and_the_network_does_not_see_it(base):
    config = changed(base, {"regions": "brats2021", "recipe": {"mask_low": -1.0}}, where="test")
    known = torch.tensor([[1.0, 1, 0], [1, 1, 1]])
    shown, seen = batch(known), []
    channels = config.recipe.out_channels
    out = torch.full((2, channels, 8, 8), 0.3, requires_grad=True)

    def network(x, t):
        seen.append(x)
        return out

    loss = TrainingLoss(config.recipe, make_schedule("cosine", 1000), config.loss)
    (gradient,) = torch.autograd.grad(loss(network, shown), out)
    assert gradient[0, 2::3].abs().max() == 0
    assert gradient[1, 2::3].abs().min() > 0
    torch.testing.assert_close(seen[0][0, 4], shown["noise"][0, 2])
    shown["mask"][0, 2] *= -1  # whatever stands there
    loss(network, shown)
    torch.testing.assert_close(seen[1], seen[0])


def test_the_loss_is_the_mean_of_the_regions_by_their_weights():
    shown, recipe, schedule = batch(torch.ones(2, 3)), THREE.recipe, make_schedule("cosine", 1000)
    out = torch.rand(2, 3, 8, 8, generator=torch.Generator().manual_seed(1))

    def loss(**settings):
        return TrainingLoss(recipe, schedule, LossSettings(**settings))(lambda x, t: out, shown).item()

    each = [loss(region_weights=tuple(float(m == k) for m in range(3))) for k in range(3)]
    assert len({round(v, 6) for v in each}) == 3
    assert loss() == pytest.approx(np.mean(each), rel=1e-5)
    assert loss(region_weights=(2, 1, 1)) == pytest.approx((2 * each[0] + each[1] + each[2]) / 4, rel=1e-5)
    assert loss(dice_weight=0) == pytest.approx(((out - shown["mask"]) ** 2).mean().item(), rel=1e-5)


def test_weights_and_files_of_regions_must_fit_them():
    with pytest.raises(BadRequest, match="one for each of"):
        changed(THREE, {"loss": {"region_weights": [1.0]}}, where="test")
    with pytest.raises(BadRequest, match="which is none of"):
        changed(THREE, {"data": {"region_files": {"cyst": "x"}}}, where="test")
    with pytest.raises(BadRequest, match="of several"):
        changed(THREE, {"data": {"lesion_labels": [1]}}, where="test")


def test_figures_are_of_each_region_over_the_cases_that_know_it():
    readers = np.zeros((1, 4, 4, 2), np.bool_)
    readers[:, :2] = True
    brain = np.ones(readers.shape[1:], np.bool_)
    right, wrong = measured(readers, readers, brain), measured(~readers, readers, brain)
    assert isinstance(right, RegionFigures)
    figures = summary([CaseFigures((right, None)), CaseFigures((wrong, None))], ("a", "b"))
    assert figures.regions["a"].dice == 0.5
    assert np.isnan(figures.regions["b"].dice)
    assert figures.dice == 0.5
    both = summary([CaseFigures((right, wrong))], ("a", "b"))
    assert (both.dice, both.regions["b"].dice) == (0.5, 0)
    assert Figures.from_columns(both.columns()) == both
    alone = summary([CaseFigures((right,))])
    assert list(alone.columns()) == ["dice", "ece", "ged_squared"]
    assert Figures.from_columns(alone.columns()) == alone


def test_phantoms_have_no_other_labels_than_their_own():
    recipe = changed(TINY, {"regions": "brats2023"}, where="test").recipe
    with pytest.raises(BadRequest, match="phantoms have the labels 1, 2 and 4"):
        PhantomSource(recipe, 1, 0, 1).check("1")


def test_a_checkpoint_of_three_regions_is_trained_validated_and_sampled_nested(write_regions, settings, tmp_path):
    for k in range(4):
        folder = write_regions(f"BraTS2021_{k:05d}")
    given = ["train", "--data", folder, "--config", settings, "--out", tmp_path / "out", "--device", "cpu"]
    assert main([str(word) for word in (*given, "--regions", "brats", "--stop-after", 3)]) == 0
    assert main([str(word) for word in (*given, "--regions", "brats", "--resume")]) == 0
    checkpoint = load_checkpoint(tmp_path / "out" / "last.safetensors")
    assert checkpoint.recipe.regions == regions_named("brats2021")
    assert "enhancing tumour" in checkpoint.card["figures"]
    with (tmp_path / "out" / "log.csv").open(newline="") as file:
        rows = [row for row in csv.DictReader(file) if row["dice"]]
    assert [row["step"] for row in rows] == ["3", "6"]
    for row in rows:
        each = [float(row[f"dice {name}"]) for name in NAMES]
        assert float(row["dice"]) == pytest.approx(np.mean(each), abs=1e-5)
    case = read_case(folder / "BraTS2021_00000", modalities=("t1", "flair"))
    ensemble = None
    for event in LocalSegmenter(checkpoint).segment(case, SegmentRequest(members=3, device="cpu")):
        if isinstance(event, Started):
            ensemble = Ensemble.for_run(event)
        elif isinstance(event, Sampled):
            ensemble.add(event.member, event.slices, event.mask)
    for volume in (*(ensemble.member(k) for k in ensemble.members), ensemble.mean(), ensemble.consensus()):
        assert (volume[0] >= volume[1]).all()
        assert (volume[1] >= volume[2]).all()
    assert ensemble.mean().any()


@pytest.mark.slow
def test_regions_of_phantoms_are_learned(tmp_path):
    given = ["train", "--data", "phantoms", "--preset", "tiny", "--regions", "brats", "--steps", 120, "--phantoms", 6]
    assert main([str(word) for word in (*given, "--out", tmp_path / "out", "--device", "cpu")]) == 0
    with (tmp_path / "out" / "log.csv").open(newline="") as file:
        losses = [float(row["loss"]) for row in csv.DictReader(file) if row["loss"]]
    assert losses[-1] < 0.5 * losses[0]


def test_what_the_data_set_calls_its_labels_counts_before_what_labels_there_are(write_regions):
    write_regions("p1", enhancing=3)
    folder = write_regions("p2", enhancing=3)
    told = {"labels": {"0": "background", "1": "edema", "2": "non-enhancing tumor", "3": "enhancing tumour"}}
    (folder / "dataset.json").write_text(json.dumps(told))
    asked = changed(THREE, {"regions": "brats"}, where="test")
    assert settled(asked, source(folder), say=lambda text: None).regions == "decathlon"
    told["labels"] = {"background": 0, "edema": 7, "necrosis": 8, "enhancing": 9}
    (folder / "dataset.json").write_text(json.dumps(told))
    config = settled(asked, source(folder), say=lambda text: None)
    assert config.regions is None
    assert config.recipe.label_values == ((7, 8, 9), (8, 9), (9,))
    (folder / "dataset.json").write_text('{"labels": [1e999, {}]}')
    assert settled(asked, source(folder), say=lambda text: None).regions == "brats2023"


@pytest.mark.parametrize("base", [DEFAULT, PAPER], ids=["default", "paper"])
def test_three_regions_cost_hardly_more_arithmetic_than_one(base):
    from torch.utils.flop_counter import FlopCounterMode

    cost = []
    for config in (base, changed(base, {"regions": "brats2021"}, where="test")):
        shape = config.network.unet_config(config.recipe)
        with torch.device("meta"), torch.no_grad(), FlopCounterMode(display=False) as counter:
            UNet(shape)(torch.zeros(1, shape.in_channels, *config.recipe.size), torch.zeros(1))
        cost.append(counter.get_total_flops())
    assert 1 < cost[1] / cost[0] < 1.01
