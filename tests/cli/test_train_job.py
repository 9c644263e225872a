"""`train --on slurm`: the script that it writes and submits."""

import subprocess
from types import SimpleNamespace

import pytest

from napari_diffseg.cli import main, train_job
from napari_diffseg.cli.train_job import TrainingJob, script_text


def test_the_script_starts_the_same_training_by_torchrun_and_is_one_that_bash_reads(tmp_path):
    data = tmp_path / "my data"
    data.mkdir()
    job = TrainingJob(on="slurm", nodes=2, gpus=4, time="8:00:00", slurm=["account=lab"])
    text = script_text(job, tmp_path / "run", {"data": str(data), "steps": 100, "pick": ["a*", "b"], "seed": None})
    for line in ("--nodes=2", "--gpus-per-node=4", "--time=480", "--account=lab", "--requeue"):
        assert f"#SBATCH {line}\n" in text
    assert "--nnodes 2 --nproc-per-node 4" in text
    assert f"--data '{data}' --steps 100 --pick 'a*' --pick b" in text
    assert "--seed" not in text
    subprocess.run(["bash", "-n"], input=text, text=True, check=True)


def test_it_is_submitted_and_one_that_is_there_only_resumed_when_asked(tmp_path, monkeypatch, capsys):
    def sbatch(words, **_):
        assert words[:2] == ["sbatch", "--parsable"]
        return subprocess.CompletedProcess(words, 0, stdout="41;cluster\n", stderr="")

    monkeypatch.setattr(train_job.shutil, "which", lambda _name: "sbatch")
    monkeypatch.setattr(train_job, "subprocess", SimpleNamespace(run=sbatch))
    words = ["train", "--data", "phantoms", "--out", str(tmp_path / "run"), "--on", "slurm", "--gpus", "0"]
    assert main(words) == 0
    assert capsys.readouterr().out == "41\n"
    assert (tmp_path / "run" / "train.sbatch").exists()
    (tmp_path / "run" / "config.toml").write_text("")
    assert main(words) == 2
    assert "--resume" in capsys.readouterr().err
    assert main([*words, "--resume"]) == 0


def test_a_scheduler_that_does_not_answer_is_one_sentence(tmp_path, monkeypatch, capsys):
    def sbatch(words, timeout, **_):
        raise subprocess.TimeoutExpired(words, timeout)

    monkeypatch.setattr(train_job.shutil, "which", lambda _name: "sbatch")
    there = SimpleNamespace(run=sbatch, TimeoutExpired=subprocess.TimeoutExpired)
    monkeypatch.setattr(train_job, "subprocess", there)
    assert main(["train", "--data", "phantoms", "--out", str(tmp_path / "run"), "--on", "slurm"]) == 1
    err = capsys.readouterr().err
    assert "SLURM does not answer" in err
    assert "Traceback" not in err


@pytest.mark.parametrize("option", [("--gpus", "2"), ("--time", "10")])
def test_options_of_a_job_without_one_are_refused(option, tmp_path, capsys):
    assert main(["train", "--data", "phantoms", "--out", str(tmp_path / "run"), *option]) == 2
    assert "would do nothing without --on slurm" in capsys.readouterr().err
