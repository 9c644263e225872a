"""The ablation changes what it says, and nothing else."""

import json
import sys

import ablation
import pytest
from ablation import VARIANTS, varied

from napari_diffseg.training.presets import preset


@pytest.mark.parametrize("name", VARIANTS)
def test_a_variant_differs_from_the_default_in_one_value(name):
    default, other = (varied(change, seed=1, steps=5).model_dump() for change in ({}, VARIANTS[name]))
    [(section, values)] = VARIANTS[name].items()
    [(key, value)] = values.items()
    assert other[section][key] == value != default[section][key]
    other[section][key] = default[section][key]
    assert other == default


def test_in_small_the_default_keeps_the_presets_choices():
    small, shipped = varied({}, seed=1, steps=5), preset("default")
    assert (small.loss, small.augmentation, small.data) == (shipped.loss, shipped.augmentation, shipped.data)
    changed = {"title", "size", "spacing_mm"}
    assert small.recipe.model_dump(exclude=changed) == shipped.recipe.model_dump(exclude=changed)


@pytest.mark.slow
def test_the_command_trains_measures_and_goes_on_where_it_was(tmp_path, monkeypatch):
    words = ["--steps", "3", "--phantoms", "2", "--held-out", "1", "--workers", "0", "--only", "default,predicts v"]
    monkeypatch.setattr(
        sys, "argv", ["ablation.py", *words, "--work", str(tmp_path), "--out", str(tmp_path / "out.json")]
    )
    ablation.main()
    first = json.loads((tmp_path / "out.json").read_text("utf-8"))
    assert [(row["variant"], row["seed"]) for row in first["rows"]] == [
        ("default", 1), ("default", 2), ("default", 3), ("predicts v", 1),
    ]  # fmt: skip
    states = {path: path.stat().st_mtime_ns for path in tmp_path.glob("*/state.pt")}
    assert len(states) == 4
    ablation.main()
    assert json.loads((tmp_path / "out.json").read_text("utf-8"))["rows"] == first["rows"]
    assert {path: path.stat().st_mtime_ns for path in states} == states
    record = json.loads((tmp_path / "out.json").read_text("utf-8"))
    later = {**first["rows"][0], "variant": "without Dice"}
    (tmp_path / "out.json").write_text(json.dumps(record | {"rows": [*record["rows"], later]}), "utf-8")
    words[-1] = "linear schedule"
    again = ["ablation.py", *words, "--work", str(tmp_path / "new"), "--out", str(tmp_path / "out.json"), "--resume"]
    monkeypatch.setattr(sys, "argv", again)
    ablation.main()
    rows = json.loads((tmp_path / "out.json").read_text("utf-8"))["rows"]
    assert (rows[:4], rows[4]["variant"], rows[5:]) == (first["rows"], "linear schedule", [later])
    assert len(list((tmp_path / "new").glob("*/state.pt"))) == 1
