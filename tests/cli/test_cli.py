"""The verbs as a user types them: what they write, print and return."""

import gzip
import io
import json
import os
import sys

import nibabel as nib
import numpy as np
import pytest
import torch

from builders import tiny_config, write_case, write_tiny_checkpoint
from napari_diffseg.cli import main
from napari_diffseg.cli.demo import has_display


@pytest.fixture(scope="session")
def checkpoint(tmp_path_factory):
    return write_tiny_checkpoint(tmp_path_factory.mktemp("checkpoint") / "tiny.safetensors")


@pytest.fixture
def case(tmp_path):
    return write_case(tmp_path / "case_1")


def predict(*words, checkpoint, out):
    arguments = ["predict", *words, "--checkpoint", checkpoint, "--out", out, "--device", "cpu", "--members", 2]
    return main([str(word) for word in arguments])


def test_predict_writes_each_cases_results_and_prints_where(checkpoint, tmp_path, capsys):
    cases = [write_case(tmp_path / f"case_{k}", case_id=f"case_{k}", seed=k) for k in (1, 2)]
    assert predict(*cases, checkpoint=checkpoint, out=tmp_path / "out") == 0
    printed = capsys.readouterr()
    assert printed.out.splitlines() == [str(tmp_path / "out" / f"case_{k}") for k in (1, 2)]
    assert "case_1" in printed.err
    for k in (1, 2):
        image = nib.load(tmp_path / "out" / f"case_{k}" / "mask.nii.gz")
        assert image.shape == (14, 12, 5)
        assert json.loads((tmp_path / "out" / f"case_{k}" / "run.json").read_text())["status"] == "complete"


def test_a_case_that_fails_is_named_and_the_others_are_done(checkpoint, tmp_path, capsys):
    good = write_case(tmp_path / "good", case_id="good")
    bad = write_case(tmp_path / "bad", case_id="bad", modalities=("t1",))
    assert predict(bad, good, checkpoint=checkpoint, out=tmp_path / "out") == 1
    error = capsys.readouterr().err
    assert "bad" in error
    assert "Traceback" not in error
    assert (tmp_path / "out" / "good" / "mask.nii.gz").exists()
    assert not (tmp_path / "out" / "bad").exists()


def test_a_case_without_an_image_is_segmented_and_said_to_be_where_the_checkpoint_can(tmp_path, capsys):
    tolerant = write_tiny_checkpoint(tmp_path / "tolerant.safetensors", may_miss=True)
    case = write_case(tmp_path / "case_1", modalities=("t1", "flair"))
    assert predict(case, checkpoint=tolerant, out=tmp_path / "out") == 0
    assert "without t1ce, t2" in capsys.readouterr().err
    record = json.loads((tmp_path / "out" / "case_1" / "run.json").read_text())
    assert list(record["inputs"]) == ["t1", "flair"]
    assert any("without t1ce, t2" in warning for warning in record["warnings"])


def _truncate(case):
    path = case / "case_1_t2.nii.gz"
    path.write_bytes(path.read_bytes()[:-20])
    return "cut short"


def _duplicate(case):
    (case / "case_1_t1n.nii.gz").write_bytes((case / "case_1_t1.nii.gz").read_bytes())
    return "t1"


def _remove(case):
    (case / "case_1_flair.nii.gz").unlink()
    return "flair"


def _replace(case, data, affine=None):
    image = nib.Nifti1Image(data, np.diag([-1, -1, 1, 1]) if affine is None else affine)
    nib.save(image, case / "case_1_t2.nii.gz")


def _other_grid(case):
    _replace(case, np.arange(14 * 12 * 6, dtype=np.int16).reshape(14, 12, 6))
    return "14 x 12 x 6"


def _five_dimensions(case):
    _replace(case, np.ones((14, 12, 5, 2, 2), np.int16))
    return "5"


def _all_zero(case):
    _replace(case, np.zeros((14, 12, 5), np.int16))
    return "case_1_t2"


def _all_nan(case):
    _replace(case, np.full((14, 12, 5), np.nan, np.float32))
    return "case_1_t2"


def _not_an_image(case):
    (case / "case_1_t2.nii.gz").write_bytes(gzip.compress(b"<html>not found</html>"))
    return "case_1_t2"


@pytest.mark.parametrize(
    "spoil",
    [_truncate, _duplicate, _remove, _other_grid, _five_dimensions, _all_zero, _all_nan, _not_an_image],
)
def test_a_bad_case_is_one_sentence_a_code_and_nothing_written(spoil, case, checkpoint, tmp_path, capsys):
    named = spoil(case)
    assert predict(case, checkpoint=checkpoint, out=tmp_path / "out") == 1
    error = capsys.readouterr().err
    assert named in error
    assert "Traceback" not in error
    assert len([line for line in error.splitlines() if line.startswith(str(case))]) == 1
    assert not (tmp_path / "out").exists()


def test_a_few_nan_voxels_are_counted_in_a_warning(case, checkpoint, tmp_path, capsys):
    data = np.asarray(nib.load(case / "case_1_t2.nii.gz").dataobj, np.float32)
    data[5, 5, 2] = np.nan
    _replace(case, data)
    assert predict(case, checkpoint=checkpoint, out=tmp_path / "out") == 0
    assert "t2: 1 " in capsys.readouterr().err


@pytest.mark.parametrize(
    "content",
    [b"", b"<html></html>", b"\x80\x04\x95 garbage", b"version https://git-lfs.github.com/spec/v1\n"],
)
def test_a_file_that_is_no_checkpoint_is_one_sentence(content, case, tmp_path, capsys):
    path = tmp_path / "model.pt"
    path.write_bytes(content)
    assert predict(case, checkpoint=path, out=tmp_path / "out") == 1
    error = capsys.readouterr().err
    assert "model.pt" in error
    assert len(error.strip().splitlines()) == 1


def test_a_pickle_with_code_is_refused_and_not_run(case, tmp_path, capsys):
    class Evil:
        def __reduce__(self):
            return (open, (str(tmp_path / "ran"), "w"))

    torch.save({"weights": Evil()}, tmp_path / "model.pt")
    assert predict(case, checkpoint=tmp_path / "model.pt", out=tmp_path / "out") == 1
    assert not (tmp_path / "ran").exists()
    assert "open" in capsys.readouterr().err


def test_results_that_are_there_are_refused_then_overwritten_when_asked(case, checkpoint, tmp_path, capsys):
    assert predict(case, checkpoint=checkpoint, out=tmp_path / "out") == 0
    assert predict(case, checkpoint=checkpoint, out=tmp_path / "out") == 1
    assert "--overwrite" in capsys.readouterr().err
    assert predict(case, "--overwrite", checkpoint=checkpoint, out=tmp_path / "out") == 0


@pytest.mark.parametrize(
    ("words", "named"),
    [
        (["predict"], "--checkpoint"),
        (["frobnicate"], "frobnicate"),
        (["predict", "x", "--checkpoint", "demo", "--out", "o", "--members", "0"], "members"),
        (["predict", "x", "--checkpoint", "demo", "--out", "o", "--slices", "a:b"], "slices"),
        (["predict", "x", "--checkpoint", "demo", "--out", "o", "--sampler", "euler"], "sampler"),
        (["predict", "x", "--checkpoint", "demo", "--out", "o", "--device", "gpu"], "device"),
    ],
)
def test_usage_errors_have_code_two_and_name_what_is_wrong(words, named, capsys):
    assert main(words) == 2
    error = capsys.readouterr().err
    assert named in error
    assert "Traceback" not in error


def test_every_field_of_a_request_is_an_option(capsys):
    from napari_diffseg.events import SegmentRequest

    assert main(["predict", "--help"]) == 0
    text = capsys.readouterr().out
    for name in SegmentRequest.model_fields:
        assert f"--{name.replace('_', '-')}" in text


def test_info_names_architecture_recipe_guesses_and_digest(checkpoint, capsys):
    assert main(["info", str(checkpoint)]) == 0
    text = capsys.readouterr().out
    for expected in ("t1ce", "ddim", "cosine", "16"):
        assert expected in text


def test_convert_writes_the_same_weights_with_a_recipe(tmp_path, capsys):
    from safetensors.torch import load_file

    from napari_diffseg.networks.unet import UNet

    state = UNet(tiny_config(learned=True)).state_dict()
    torch.save(state, tmp_path / "emasavedmodel_0.9999_000010.pt")
    out = tmp_path / "model.safetensors"
    source = str(tmp_path / "emasavedmodel_0.9999_000010.pt")
    assert main(["convert", source, str(out), "--num-heads", "2", "--normalisation", "zscore"]) == 0
    printed = capsys.readouterr()
    assert "guessed" in printed.err
    assert printed.out.count("\n") == 1
    written = load_file(out)
    assert set(written) == set(state)
    assert all(torch.equal(written[name], state[name]) for name in state)
    assert main(["info", str(out)]) == 0
    assert "zscore" in capsys.readouterr().out
    assert main(["convert", source, str(out)]) == 1


def test_interrupting_keeps_members_and_says_how_to_go_on(case, checkpoint, tmp_path, capsys, monkeypatch):
    from napari_diffseg.cli import progress

    def interrupted(events, case_id):
        for n, _ in enumerate(events):
            if n == 6:
                raise KeyboardInterrupt

    monkeypatch.setattr(progress, "show_progress", interrupted)
    words = ["--batch-size", "4"]
    assert predict(case, *words, checkpoint=checkpoint, out=tmp_path / "out") == 130
    assert "--resume" in capsys.readouterr().err
    monkeypatch.undo()
    assert predict(case, *words, "--resume", checkpoint=checkpoint, out=tmp_path / "out") == 0


def test_a_display_is_needed_on_linux_only(monkeypatch):
    monkeypatch.delenv("DISPLAY", raising=False)
    monkeypatch.delenv("WAYLAND_DISPLAY", raising=False)
    monkeypatch.setattr("sys.platform", "linux")
    assert not has_display()
    monkeypatch.setenv("DISPLAY", ":0")
    assert has_display()


def test_a_batch_cut_short_is_resumed_whole_done_and_not_begun_cases_included(checkpoint, tmp_path, capsys):
    cases = [write_case(tmp_path / f"case_{k}", case_id=f"case_{k}", seed=k) for k in (1, 2)]
    assert predict(cases[0], checkpoint=checkpoint, out=tmp_path / "out") == 0
    before = (tmp_path / "out" / "case_1" / "run.json").read_bytes()
    assert predict(*cases, "--resume", checkpoint=checkpoint, out=tmp_path / "out") == 0
    assert "case_1: nothing is missing" in capsys.readouterr().err
    assert (tmp_path / "out" / "case_1" / "run.json").read_bytes() == before
    assert (tmp_path / "out" / "case_2" / "mask.nii.gz").exists()


@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere names are Unicode")
def test_a_file_name_that_is_no_text_is_segmented(checkpoint, tmp_path, capsys):
    source = write_case(tmp_path / "case_1")
    for path in source.iterdir():
        path.rename(source / path.name.replace("case_1", "b\udcffd"))
    assert predict(source, checkpoint=checkpoint, out=tmp_path / "out") == 0
    assert json.loads((tmp_path / "out" / "b_d" / "run.json").read_text())["files"]["t1"] == "b?d_t1.nii.gz"


def test_a_target_with_an_impossible_name_is_one_sentence(checkpoint, tmp_path, capsys):
    assert main(["convert", str(checkpoint), str(tmp_path / f"{'x' * 300}.safetensors")]) == 1
    assert "could not be written" in capsys.readouterr().err


def test_a_value_may_begin_with_a_minus(checkpoint, capsys):
    assert main(["info", str(checkpoint), "--clip", "-2,2", "--mask-low", "-1.5"]) == 0
    assert "-1.5" in capsys.readouterr().out


def test_a_case_that_the_disk_refuses_is_one_sentence_and_the_others_are_done(case, checkpoint, tmp_path, capsys):
    assert predict(tmp_path / ("x" * 300), case, checkpoint=checkpoint, out=tmp_path / "out") == 1
    assert "cannot be looked at: File name too long" in capsys.readouterr().err
    assert (tmp_path / "out" / "case_1" / "mask.nii.gz").exists()


def test_closed_streams_do_not_stop_a_run(case, checkpoint, tmp_path, monkeypatch):
    monkeypatch.setattr("sys.stdout", None)
    monkeypatch.setattr("sys.stderr", None)
    assert predict(case, checkpoint=checkpoint, out=tmp_path / "out") == 0
    assert (tmp_path / "out" / "case_1" / "mask.nii.gz").exists()


@pytest.mark.skipif(os.name == "nt", reason="pipes of POSIX")
@pytest.mark.parametrize("how", [{"buffering": 1}, {"write_through": True}])
def test_a_reader_that_has_gone_costs_no_case_and_no_word(how, checkpoint, tmp_path, capsys, monkeypatch):
    cases = [write_case(tmp_path / f"case_{k}", case_id=f"case_{k}", seed=k) for k in (1, 2)]
    reading, writing = os.pipe()
    os.close(reading)
    with _text_stream(writing, **how) as pipe:
        monkeypatch.setattr("sys.stdout", pipe)
        assert predict(*cases, checkpoint=checkpoint, out=tmp_path / "out") == 0
        assert main(["info", str(checkpoint)]) == 0
        assert main(["predict", "--help"]) == 0
        monkeypatch.undo()
    assert "pipe" not in capsys.readouterr().err.lower()
    assert all((tmp_path / "out" / f"case_{k}" / "mask.nii.gz").exists() for k in (1, 2))


def _text_stream(descriptor, *, buffering=-1, write_through=False):
    """As Python opens its own, or as `python -u` does."""
    if not write_through:
        return open(descriptor, "w", buffering=buffering, encoding="utf-8")
    return io.TextIOWrapper(io.FileIO(descriptor, "wb"), encoding="utf-8", write_through=True)


@pytest.mark.skipif(sys.platform != "linux", reason="needs a device that is always full")
def test_a_full_output_stream_is_one_sentence(checkpoint, capsys, monkeypatch):
    with open("/dev/full", "w", buffering=1, encoding="utf-8") as full:
        monkeypatch.setattr("sys.stdout", full)
        assert main(["info", str(checkpoint)]) == 1
        monkeypatch.undo()
    assert "No space left" in capsys.readouterr().err


def test_phantom_writes_a_case_that_predict_takes(checkpoint, tmp_path, capsys):
    words = ["phantom", "--out", str(tmp_path), "--spacing-mm", "8", "--readers", "2", "--seed", "3"]
    assert main(words) == 0
    folder = tmp_path / "phantom_glioma_0003"
    assert capsys.readouterr().out.strip() == str(folder)
    assert len(list(folder.glob("*_reader*.nii.gz"))) == 2
    assert main(words) == 1
    assert "allow overwriting (--overwrite)" in capsys.readouterr().err
    assert predict(folder, "--slices", "8:10", checkpoint=checkpoint, out=tmp_path / "out") == 0


def test_phantoms_with_faint_oedema_and_lookalikes_have_names_and_images_of_their_own(tmp_path):
    words = ["phantom", "--out", str(tmp_path), "--spacing-mm", "8", "--readers", "0", "--seed", "3"]
    assert main(words) == main([*words, "--faint", "--lookalikes"]) == 0
    plain, other = "phantom_glioma_0003", "phantom_faint_lookalikes_glioma_0003"
    images = [nib.load(tmp_path / name / f"{name}_flair.nii.gz").get_fdata() for name in (plain, other)]
    masks = [nib.load(tmp_path / name / f"{name}_seg.nii.gz").get_fdata() for name in (plain, other)]
    assert (images[0] != images[1]).any()
    np.testing.assert_array_equal(*masks)


@pytest.mark.parametrize("size", ["0", "nan", "inf", "-3", "1e-300", "30"])
def test_a_phantom_of_impossible_voxels_is_refused_by_name(size, tmp_path, capsys):
    assert main(["phantom", "--out", str(tmp_path / "out"), f"--spacing-mm={size}"]) == 2
    assert f"spacing_mm {float(size)} is not within 0.2..20" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_an_override_that_cannot_be_is_a_usage_error(checkpoint, capsys):
    assert main(["info", str(checkpoint), "--schedule", "triangle"]) == 2
    assert "schedule" in capsys.readouterr().err


def test_a_folder_of_cases_is_segmented_case_by_case_and_counted(checkpoint, tmp_path, capsys):
    for k in (1, 2):
        write_case(tmp_path / "all" / f"case_{k}", case_id=f"case_{k}", seed=k)
    assert predict(tmp_path / "all", "--slices", "2:3", checkpoint=checkpoint, out=tmp_path / "out") == 0
    printed = capsys.readouterr()
    assert "2 cases found: case_1, case_2." in printed.err
    assert printed.out.splitlines() == [str(tmp_path / "out" / f"case_{k}") for k in (1, 2)]


def test_cases_of_one_name_are_called_by_their_folders(checkpoint, tmp_path, capsys):
    cases = [write_case(tmp_path / f"p{k}", case_id="one", seed=k) for k in (1, 2)]
    assert predict(*cases, "--slices", "2:3", checkpoint=checkpoint, out=tmp_path / "out") == 0
    printed = capsys.readouterr()
    assert "called one: they take the names of their folders: p1_one, p2_one" in printed.err
    assert printed.out.splitlines() == [str(tmp_path / "out" / f"p{k}_one") for k in (1, 2)]
    assert predict(cases[0], cases[0], checkpoint=checkpoint, out=tmp_path / "twice") == 1
    assert "Two cases are called one" in capsys.readouterr().err


def test_channels_of_nnunet_are_segmented_by_the_words_of_the_user(checkpoint, tmp_path, capsys):
    folder = write_case(tmp_path / "imagesTs")
    for n, name in enumerate(("flair", "t1", "t1ce", "t2")):
        (folder / f"case_1_{name}.nii.gz").rename(folder / f"BRATS_{n:04d}.nii.gz")
    assert predict(folder, checkpoint=checkpoint, out=tmp_path / "out") == 1
    assert "--channels" in capsys.readouterr().err
    words = ["--channels", "FLAIR,T1,T1gd,T2", "--slices", "2:3"]
    assert predict(folder, *words, checkpoint=checkpoint, out=tmp_path / "out") == 0
    record = json.loads((tmp_path / "out" / "BRATS" / "run.json").read_text())
    assert record["files"]["t1ce"] == "BRATS_0002.nii.gz"


def test_images_are_named_one_by_one_where_their_names_say_nothing(checkpoint, tmp_path, capsys):
    folder = write_case(tmp_path / "p7")
    words = ["--slices", "2:3", "--name", "anna"]
    for n, name in enumerate(("t1", "t1ce", "t2", "flair")):
        (folder / f"case_1_{name}.nii.gz").rename(folder / f"scan{n}.nii.gz")
        words += ["--image", f"{name.upper()}={folder / f'scan{n}.nii.gz'}"]
    assert predict(*words, checkpoint=checkpoint, out=tmp_path / "out") == 0
    record = json.loads((tmp_path / "out" / "anna" / "run.json").read_text())
    assert record["files"]["t1ce"] == "scan1.nii.gz"
    assert predict(folder, "--name", "anna", checkpoint=checkpoint, out=tmp_path / "out") == 2
