"""Averages of weights, and what is measured of them."""

from __future__ import annotations

import sys

import pytest
import torch
import weight_averages

from napari_diffseg.checkpoint import load_checkpoint, resolve_checkpoint, save_checkpoint


@pytest.fixture
def shifted(tmp_path):
    """The shipped weights, and a file of them with 0.5 added to each."""
    shipped = load_checkpoint(resolve_checkpoint("demo"))
    state = {name: value.float() + 0.5 for name, value in shipped.state.items()}
    path = tmp_path / "shifted.safetensors"
    save_checkpoint(path, state, recipe=shipped.recipe, config=shipped.config, card={}, guesses=(), dtype="float32")
    return shipped.state, path


def test_an_average_counts_each_file_as_much_as_it_is_named(shifted):
    state, path = shifted
    mean = weight_averages.averaged(["demo", "demo", str(path), "demo"])
    assert mean.keys() == state.keys()
    for name, value in state.items():
        torch.testing.assert_close(mean[name], value.float() + 0.125)


@pytest.mark.slow
def test_an_average_of_the_same_is_measured_as_the_same_and_noise_alone_is_worse(shifted, tmp_path, monkeypatch):
    out = tmp_path / "out.json"
    words = ["--phantoms", "1", "--precision", "fp32", "--out", str(out), "--weights", "shipped=demo"]
    words += ["--weights", "twice=demo,demo", "--weights", f"broken={shifted[1]}"]
    monkeypatch.setattr(sys, "argv", ["weight_averages.py", *words])
    monkeypatch.setattr(weight_averages, "_EVERY_OF_PHANTOMS", 20)
    weight_averages.main()
    rows = {row["weights"]: row for row in weight_averages.earlier(out)}
    assert rows["shipped"]["grown"] == rows["twice"]["grown"]
    assert rows["shipped"]["mixture"] == rows["twice"]["mixture"]
    assert rows["shipped"]["grown"]["mean"] > 0.5 > rows["broken"]["grown"]["mean"]
