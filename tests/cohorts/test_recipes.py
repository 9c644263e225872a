"""The recipes for other launchers in `docs/cohorts.md`, read from there, and run as far as they go without these."""

import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from builders import write_case, write_tiny_checkpoint
from napari_diffseg.cohorts.cohort_folder import CohortFolder

PAGE = (Path(__file__).parents[2] / "docs" / "cohorts.md").read_text("utf-8")
SHARDS = 8


def recipe(title):
    """The first block below the recipe's title."""
    return re.search(rf"\*\*{title}\*\*.*?```\w*\n(.*?)```", PAGE, re.DOTALL).group(1)


@pytest.fixture
def place(tmp_path):
    """A folder with cases, a checkpoint and the command in the path."""
    for name in ("DATA", "cases"):
        for k in range(3):
            write_case(tmp_path / name / f"p{k}", case_id=f"p{k}", seed=k)
    write_tiny_checkpoint(tmp_path / "model.safetensors")
    command = tmp_path / "bin" / "napari-diffseg"
    command.parent.mkdir()
    command.write_text(
        f'#!/bin/sh\nexec {shlex.quote(sys.executable)} -m napari_diffseg "$@" --members 1 --device cpu\n'
    )
    command.chmod(0o755)
    return tmp_path


def run(place, *words, **environment):
    env = os.environ | {"PATH": f"{place / 'bin'}{os.pathsep}{os.environ['PATH']}"} | environment
    done = subprocess.run(words, env=env, cwd="/", capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr


def states(place):
    return [(row.name, row.state.value, row.attempts) for row in CohortFolder(place / "results").table()]


DONE = [("p0", "done", 1), ("p1", "done", 1), ("p2", "done", 1)]


@pytest.mark.slow
@pytest.mark.skipif(sys.platform == "win32", reason="shell scripts")
def test_the_tasks_of_the_pbs_array_share_the_cases(place):
    script = place / "job.pbs"
    script.write_text(recipe("PBS").replace(f"/{SHARDS}", "/2"))
    for index in (1, 2):
        run(place, "bash", str(script), PBS_O_WORKDIR=str(place), PBS_ARRAY_INDEX=str(index), PBS_JOBID=f"7[{index}]")
    assert states(place) == DONE


@pytest.mark.slow
@pytest.mark.skipif(sys.platform == "win32", reason="shell scripts")
def test_the_pods_of_the_kubernetes_job_share_the_cases(place):
    job = yaml.safe_load(recipe("Kubernetes"))
    (container,) = job["spec"]["template"]["spec"]["containers"]
    *shell, text = container["command"]
    text = text.replace("/data/", f"{place}/").replace(f"/{SHARDS}", "/2")
    for index in (0, 1):
        run(place, *shell, text, JOB_COMPLETION_INDEX=str(index))
    assert states(place) == DONE


def test_each_recipe_starts_as_many_tasks_as_it_has_shards():
    job = yaml.safe_load(recipe("Kubernetes"))["spec"]
    pod = job["template"]["spec"]
    assert job["completions"] == SHARDS
    assert job["completionMode"] == "Indexed"
    assert {m["name"] for m in pod["containers"][0]["volumeMounts"]} == {v["name"] for v in pod["volumes"]}
    assert f"$((JOB_COMPLETION_INDEX + 1))/{SHARDS}" in pod["containers"][0]["command"][-1]
    assert f"#PBS -J 1-{SHARDS}\n" in recipe("PBS")
    assert f'--shard "$PBS_ARRAY_INDEX/{SHARDS}"' in recipe("PBS")
    assert f"range(1, {SHARDS + 1})" in recipe("Snakemake")
    assert f"--shard {{wildcards.i}}/{SHARDS}" in recipe("Snakemake")
