"""What can be known before the cases are encoded is said before; what was encoded is kept."""

import json
import os

import nibabel as nib
import numpy as np
import pytest

from napari_diffseg.errors import BadCase, BadRecipe, BadRequest, GridMismatch
from napari_diffseg.recipe import Recipe
from napari_diffseg.training.checks import check_batch, check_network
from napari_diffseg.training.config import DataSettings
from napari_diffseg.training.config_file import changed
from napari_diffseg.training.folders import FolderSource, find_cases
from napari_diffseg.training.pool import build_pool, open_pool
from napari_diffseg.training.presets import DEFAULT, PRESETS
from napari_diffseg.training.split import Split

SPLIT = Split(("p1", "p2", "p3"), ("p4",))
RECIPE = Recipe(modalities=("t1", "flair"), size=(16, 16))


def source(folder, **data):
    return FolderSource(find_cases(folder), RECIPE, DataSettings(**data), seed=0)


@pytest.fixture
def refused(train, settings, tmp_path, capsys, monkeypatch):
    """What `train` says with these lines of settings more, before any case is encoded."""

    def never(*args, **more):
        raise AssertionError("a case was encoded")

    def run(lines="", *words, data=None):
        monkeypatch.setattr(FolderSource, "slices", never)
        monkeypatch.setattr(FolderSource, "read", never)
        settings.write_text(settings.read_text() + lines)
        assert train(tmp_path / "out", *words, **({} if data is None else {"data": data})) != 0
        return capsys.readouterr().err.strip().splitlines()[-1]

    return run


@pytest.mark.parametrize("config", PRESETS.values(), ids=PRESETS)
def test_the_network_of_a_preset_is_built_without_memory_for_its_size(config):
    check_network(config)


def test_channels_that_cannot_be_are_refused_before_a_case_is_encoded(refused, settings):
    settings.write_text(settings.read_text().replace("channel_mult = [1]", "channel_mult = [1]\nmodel_channels = 44"))
    assert "gives 44 channels" in refused()


def test_a_size_that_the_levels_cannot_halve_names_the_setting_and_one_that_would_do(refused, settings):
    settings.write_text(settings.read_text().replace("channel_mult = [1]", "channel_mult = [1, 1, 1, 1, 1, 1]"))
    line = refused()
    assert "recipe.size 16 x 16 cannot be halved 5 times" in line
    assert "multiples of 32, such as 32 x 32" in line
    assert "[recipe] size = [32, 32] in a --config file" in line


def test_a_network_is_checked_with_its_recipe():
    with pytest.raises(BadRecipe, match="attention_factors"):
        check_network(changed(DEFAULT, {"network": {"attention_factors": [3]}}, where="test"))
    with pytest.raises(BadRequest, match="cannot be shared by 5 processes"):
        check_batch(DEFAULT, 5)
    check_batch(DEFAULT, 4)


def test_labels_that_no_case_has_are_refused(refused):
    line = refused("[data]\nlesion_labels = [2, 7]\n")
    assert "No mask that is trained on holds label 7: their labels are 1, 2" in line
    assert "[data] lesion_labels in a --config file" in line


def test_slices_that_a_case_has_not_are_refused_with_an_option_that_helps(refused):
    line = refused("", "--slices", "80:129")
    assert "hold none of its 5 slices" in line
    assert line.endswith("(--slices :)")


def test_a_missing_mask_or_modality_is_found_before_any_case_is_encoded(refused, cases, write_labelled):
    write_labelled(cases / "x1", "x1", seg=False)
    write_labelled(cases / "x2", "x2", modalities=("t1",))
    line = refused()
    assert "x2: no flair among its images (t1)" in line


def test_grids_that_differ_are_refused_with_the_setting_of_this_verb(refused, cases):
    path = next(cases.glob("*3/*_flair.nii.gz"))
    nib.save(nib.Nifti1Image(np.ones((14, 12, 6), np.int16), np.diag([-1.0, -1.0, 1.0, 1.0])), path)
    line = refused()
    assert "flair is 14 x 12 x 6 voxels" in line
    assert line.endswith("([data] resample = t1 in a --config file)")


def test_a_mask_of_another_grid_is_found_by_its_header(tmp_path, write_labelled):
    write_labelled(tmp_path / "p1", "p1")
    mask = nib.load(tmp_path / "p1" / "p1_seg.nii.gz")
    nib.save(nib.Nifti1Image(np.asarray(mask.dataobj)[:, :, :4], mask.affine), tmp_path / "p1" / "p1_seg.nii.gz")
    with pytest.raises(GridMismatch, match="the mask p1_seg"):
        source(tmp_path).check("p1")
    source(tmp_path, resample="t1").check("p1")


def test_a_mask_that_runs_along_other_directions_is_turned(tmp_path, write_labelled):
    write_labelled(tmp_path / "p1", "p1")
    before = source(tmp_path).read("p1").readers
    path = tmp_path / "p1" / "p1_seg.nii.gz"
    mask = nib.load(path)
    nib.save(nib.as_closest_canonical(mask), path)
    source(tmp_path).check("p1")
    np.testing.assert_array_equal(source(tmp_path).read("p1").readers, before)


@pytest.mark.parametrize("name", ["p1_T1_bet_mask", "p1_brain_mask"])
def test_a_mask_of_the_brain_beside_the_images_is_never_the_lesion(tmp_path, write_labelled, name):
    write_labelled(tmp_path / "p1", "p1", seg=False)
    image = nib.load(tmp_path / "p1" / "p1_t1.nii.gz")
    brain = nib.Nifti1Image((np.asarray(image.dataobj) != 0).astype(np.uint8), image.affine)
    nib.save(brain, tmp_path / "p1" / f"{name}.nii.gz")
    with pytest.raises(BadCase, match="there is no mask"):
        source(tmp_path).check("p1")


def test_a_lesion_that_fills_most_of_the_brain_is_asked_about(tmp_path, write_labelled):
    write_labelled(tmp_path / "p1", "p1")
    for name in ("t1", "flair", "seg"):
        path = tmp_path / "p1" / f"p1_{name}.nii.gz"
        image = nib.load(path)
        nib.save(nib.Nifti1Image(np.repeat(np.asarray(image.dataobj), 2, axis=2), image.affine), path)
    image = nib.load(tmp_path / "p1" / "p1_t1.nii.gz")
    seg = (np.asarray(image.dataobj) != 0).astype(np.uint8)
    nib.save(nib.Nifti1Image(seg, image.affine), tmp_path / "p1" / "p1_seg.nii.gz")
    with pytest.raises(BadCase, match=r"fills 100% of the brain") as error:
        source(tmp_path).read("p1")
    assert error.value.remedies[0].setting == "data.largest_share"
    assert source(tmp_path, largest_share=1).read("p1").readers.any()


class Counted(FolderSource):
    """Counts what is encoded."""

    def slices(self, case_id):
        with open(os.environ["COUNTED"], "a") as file:
            file.write(f"{case_id}\n")
        return super().slices(case_id)


@pytest.fixture
def counted(tmp_path, monkeypatch, write_labelled):
    """Builds a pool of p1 to p4; gives what was encoded for it, and what was refused."""
    monkeypatch.setenv("COUNTED", str(tmp_path / "counted"))
    for k in range(1, 5):
        write_labelled(tmp_path / "in" / f"p{k}", f"p{k}")

    def build(split=SPLIT, key="k", out="pool", **data):
        cases = Counted(find_cases(tmp_path / "in"), RECIPE, DataSettings(**data), seed=0)
        (tmp_path / "counted").write_text("")
        refusal = ""
        try:
            build_pool(tmp_path / out, cases, split, key=key, told=lambda done, total: None)
        except BadCase as err:
            refusal = str(err)
        return (tmp_path / "counted").read_text().split(), refusal

    return build


def damage(tmp_path, name):
    path = tmp_path / "in" / name / f"{name}_t1.nii.gz"
    whole = path.read_bytes()
    path.write_bytes(whole[:-30])
    return lambda: path.write_bytes(whole)


def test_what_was_encoded_is_kept_when_one_case_is_bad_and_the_rest_comes_after(counted, tmp_path):
    assert counted(out="clean") == (["p1", "p2", "p3"], "")
    mend = damage(tmp_path, "p1")
    encoded, refusal = counted()
    assert encoded == ["p1", "p2", "p3"]
    assert refusal.startswith("Case p1")
    mend()
    assert counted() == (["p1"], "")
    for name in ("images", "masks"):  # in the order of the split, as if nothing had been
        assert (tmp_path / "pool" / name).read_bytes() == (tmp_path / "clean" / name).read_bytes()
    (one, split), (other, _) = open_pool(tmp_path / "pool"), open_pool(tmp_path / "clean")
    np.testing.assert_array_equal(one.first, other.first)
    assert split == Split(("p1", "p2", "p3"), ("p4",))


def test_a_case_that_was_changed_meanwhile_is_encoded_again(counted, tmp_path):
    mend = damage(tmp_path, "p3")
    counted()
    mend()
    seg = tmp_path / "in" / "p2" / "p2_seg.nii.gz"
    image = nib.load(seg)
    nib.save(nib.Nifti1Image(np.asarray(image.dataobj) * 0, image.affine), seg)
    assert counted()[0] == ["p2", "p3"]
    pool = open_pool(tmp_path / "pool")[0]
    assert pool.has_lesion().tolist() == [False, True, True, True, *[False] * 4, False, True, True, True]


def test_other_settings_or_a_damaged_part_encode_everything_again(counted, tmp_path):
    for spoil in ("key", "line", "short"):
        mend = damage(tmp_path, "p3")
        counted(out=spoil)
        mend()
        part = tmp_path / f".{spoil}.part"
        if spoil == "line":
            (part / "done.jsonl").write_text((part / "done.jsonl").read_text().replace('"slices":4', '"slices":1e99'))
        if spoil == "short":
            (part / "images").write_bytes(b"")
        assert counted(key="other" if spoil == "key" else "k", out=spoil)[0] == ["p1", "p2", "p3"]


def test_half_a_case_that_a_killed_process_left_is_cut_off(counted, tmp_path):
    counted(out="clean")
    mend = damage(tmp_path, "p3")
    counted()
    mend()
    with (tmp_path / ".pool.part" / "images").open("ab") as file:
        file.write(b"half a case")
    counted()
    assert (tmp_path / "pool" / "images").read_bytes() == (tmp_path / "clean" / "images").read_bytes()


def test_who_is_held_out_now_is_not_trained_on_though_it_was_encoded(counted, tmp_path):
    mend = damage(tmp_path, "p3")
    counted()
    mend()
    assert counted(split=Split(("p3", "p4"), ("p1", "p2")))[0] == ["p3", "p4"]
    assert len(open_pool(tmp_path / "pool")[0]) == 8


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("readers", [2**70]),
        ("readers", "many"),
        ("shape", [2, 2**70, 16]),
        ("shape", [2, -1, 16]),
        ("train", 5),
        ("labels", 1e300),
        ("stamps", [1]),
    ],
)
def test_a_damaged_description_of_a_pool_is_one_sentence(counted, tmp_path, name, value):
    counted()
    path = tmp_path / "pool" / "pool.json"
    told = json.loads(path.read_text())
    path.write_text(json.dumps(told | {name: value}))
    with pytest.raises(BadRequest, match="are damaged") as error:
        open_pool(tmp_path / "pool")
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("text", ["", "[" * 100_000, "5", "\x00", '{"shape": ' + "9" * 5000 + "}"])
def test_a_description_that_is_none_is_one_sentence(counted, tmp_path, text):
    counted()
    (tmp_path / "pool" / "pool.json").write_text(text)
    with pytest.raises(BadRequest, match="are damaged"):
        open_pool(tmp_path / "pool")


def test_a_pool_that_was_made_before_there_were_regions_is_opened(counted, tmp_path):
    counted()
    path = tmp_path / "pool" / "pool.json"
    told = json.loads(path.read_text())
    path.write_text(json.dumps({k: v for k, v in told.items() if k in ("shape", "readers", "train", "held_out")}))
    pool, split = open_pool(tmp_path / "pool")
    assert pool.masks.shape == (12, 1, 16, 16)
    assert split.held_out == ("p4",)


def test_cases_are_encoded_once_though_a_setting_of_the_optimiser_is_changed(train, tmp_path, monkeypatch, capsys):
    from napari_diffseg.training import trainer

    def fails(self, network, batch):
        raise MemoryError

    monkeypatch.setattr(trainer.TrainingLoss, "__call__", fails)
    assert train(tmp_path / "out") == 1
    monkeypatch.undo()
    capsys.readouterr()
    assert train(tmp_path / "out", "--batch-size", 2, "--stop-after", 1) == 0
    assert "Encoding" not in capsys.readouterr().err


def test_a_voxel_that_is_nearly_whole_ends_no_training(tmp_path, write_labelled):
    write_labelled(tmp_path / "p1", "p1")
    before = source(tmp_path).read("p1").readers
    path = tmp_path / "p1" / "p1_seg.nii.gz"
    mask = nib.load(path)
    data = np.asarray(mask.dataobj, np.float32)
    data[4, 5, 1] -= 6e-8 * 4
    assert data[4, 5, 1] != 2
    nib.save(nib.Nifti1Image(data, mask.affine), path)
    np.testing.assert_array_equal(source(tmp_path).read("p1").readers, before)


def test_cases_without_a_slice_to_learn_from_are_named(train, tmp_path, write_labelled, cases, capsys):
    folder = write_labelled(cases / "x1", "x1")
    for name in ("t1", "flair", "seg"):
        image = nib.load(folder / f"x1_{name}.nii.gz")
        turned = np.asarray(image.dataobj)[:, :, [4, *range(4)]]  # its empty slice is the first one
        nib.save(nib.Nifti1Image(turned, image.affine), folder / f"x1_{name}.nii.gz")
    assert train(tmp_path / "out", "--slices", "0:1", "--held-out", 0, "--stop-after", 1) == 0
    assert "Nothing is learned of x1: none of the slices that are allowed has brain" in capsys.readouterr().err
