"""Several cases by `predict`: goes on where it was, takes its share, and `status` tells how far it is."""

import json

import pytest

from builders import write_case, write_tiny_checkpoint
from napari_diffseg.cli import main
from napari_diffseg.cli.cohort import duration


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory):
    return write_tiny_checkpoint(tmp_path_factory.mktemp("checkpoint") / "tiny.safetensors")


@pytest.fixture
def data(tmp_path):
    for k in range(3):
        write_case(tmp_path / "data" / f"p{k}", case_id=f"p{k}", seed=k)
    return tmp_path / "data"


def predict(data, checkpoint, out, *words):
    fixed = ("--checkpoint", checkpoint, "--out", out, "--device", "cpu", "--members", 1)
    return main([str(word) for word in ("predict", data, *fixed, *words)])


def test_the_same_command_goes_on_and_status_tells_what_became_of_each_case(data, checkpoint, tmp_path, capsys):
    (data / "p1" / "p1_t2.nii.gz").unlink()
    out = tmp_path / "out"
    assert predict(data, checkpoint, out) == 1
    assert capsys.readouterr().out.split() == [str(out / "p0"), str(out / "p2")]
    assert main(["status", str(out)]) == 1
    told = capsys.readouterr().out
    assert "no t2 among its images" in told
    assert "3 cases: 2 done, 1 failed, 0 running, 0 waiting" in told
    write_case(data / "p1", case_id="p1", seed=1)
    before = (out / "p0" / "run.json").read_bytes()
    assert predict(data, checkpoint, out) == 0
    assert "p0: nothing is missing" in capsys.readouterr().err
    assert (out / "p0" / "run.json").read_bytes() == before
    assert main(["status", str(out), "--watch"]) == 0  # all is done, so it ends
    assert (out / "cohort.csv").read_text().splitlines()[2].startswith("p1,done,2")


def test_cases_that_are_done_are_summed_up_anew_where_that_is_asked_otherwise(data, checkpoint, tmp_path, capsys):
    out, smooth = tmp_path / "out", ("--smoothing-mm", "1.5")
    assert predict(data, checkpoint, out, *smooth, "--refine-by", "flair") == 0
    assert (out / "p0" / "refined.nii.gz").exists()
    assert predict(data, checkpoint, out, *smooth, "--resume") == 0
    assert "nothing is missing" not in capsys.readouterr().err
    assert not (out / "p0" / "refined.nii.gz").exists()
    assert predict(data, checkpoint, out, *smooth, "--resume") == 0
    assert capsys.readouterr().err.count("nothing is missing") == 3


def test_shards_share_the_cases_and_overwrite_replaces_them(data, checkpoint, tmp_path, capsys):
    out = tmp_path / "out"
    assert predict(data, checkpoint, out, "--shard", "1/2") == 0
    assert capsys.readouterr().out.split() == [str(out / "p0"), str(out / "p2")]
    assert predict(data, checkpoint, out, "--shard", "2/2") == 0
    assert capsys.readouterr().out.split() == [str(out / "p1")]
    assert predict(data, checkpoint, out, "--seed", 4) == 1
    assert "seed 4, before 0" in capsys.readouterr().err
    assert predict(data, checkpoint, out, "--seed", 4, "--overwrite") == 0
    assert json.loads((out / "p1" / "run.json").read_text())["settings"]["seed"] == 4


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (("--shard", "3/2"), "no shard 3/2"),
        (("--shard", "half"), "shard"),
        (("--shard", "1/2", "--jobs", "2"), "--shard is for another launcher"),
        (("--gpus", "1", "--time", "1:00:00"), "--gpus, --time would do nothing without --on slurm"),
        (("--jobs", "0"), "jobs"),
    ],
)
def test_what_makes_no_sense_is_refused_before_anything_is_read(words, told, tmp_path, capsys):
    assert main(["predict", str(tmp_path), "--checkpoint", "no", "--out", str(tmp_path / "out"), *words]) == 2
    assert told in capsys.readouterr().err


def test_status_names_the_options_that_would_help(data, checkpoint, tmp_path, capsys):
    write_case(data / "p1", case_id="p1", shape=(14, 12, 6), modalities=("t2",))
    assert predict(data, checkpoint, tmp_path / "out") == 1
    assert main(["status", str(tmp_path / "out")]) == 1
    assert "(--resample t1)" in capsys.readouterr().out


def test_status_of_a_folder_without_cases_says_so(tmp_path, capsys):
    assert main(["status", str(tmp_path)]) == 1
    assert "holds no cohort" in capsys.readouterr().err


def test_durations_are_told_as_people_do():
    assert [duration(s) for s in (4, 100, 130, 3 * 3600 + 1200)] == ["4 s", "100 s", "2 min", "3 h 20 min"]
