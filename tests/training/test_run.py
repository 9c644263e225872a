"""The verb as a user types it: what it leaves, what survives a kill, what it refuses."""

import csv
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch

from napari_diffseg.checkpoint import convert_checkpoint, load_checkpoint
from napari_diffseg.cli import main
from napari_diffseg.extras import LIBRARIES
from napari_diffseg.training import trainer
from napari_diffseg.training.pool import open_pool
from napari_diffseg.training.split import Split
from napari_diffseg.training.state import load_state

SRC = str(Path(__file__).parents[2] / "src")


def rows(folder):
    with (folder / "log.csv").open(newline="") as file:
        return list(csv.DictReader(file))


def same(one, other):
    """Whether two states have the same bytes."""
    if isinstance(one, dict):
        return one.keys() == other.keys() and all(same(one[k], other[k]) for k in one)
    if isinstance(one, list):
        return len(one) == len(other) and all(map(same, one, other))
    return torch.equal(one, other) if isinstance(one, torch.Tensor) else one == other


def same_run(one, other):
    """Whether two runs ended in the same state, weights and record."""
    weights = all((one / n).read_bytes() == (other / n).read_bytes() for n in ("last.safetensors", "best.safetensors"))
    record = [[{k: v for k, v in r.items() if k != "seconds_a_step"} for r in rows(f)] for f in (one, other)]
    return weights and same(load_state(one / "state.pt"), load_state(other / "state.pt")) and record[0] == record[1]


@pytest.fixture
def whole(train, tmp_path):
    assert train(tmp_path / "whole") == 0
    return tmp_path / "whole"


def test_a_run_leaves_settings_record_states_and_two_checkpoints(whole, capsys):
    assert {p.name for p in whole.iterdir() if p.name != ".lock"} == {
        "config.toml", "pool", "log.csv", "events", "state.pt", "best.safetensors", "last.safetensors",
    }  # fmt: skip
    record = rows(whole)
    assert [r["step"] for r in record if r["loss"]] == list("123456")
    assert [r["step"] for r in record if r["dice"]] == ["3", "6"]
    assert list((whole / "events").iterdir())
    loaded = load_checkpoint(whole / "last.safetensors")
    assert loaded.recipe.modalities == ("t1", "flair")
    assert "3 cases trained on, 1 held out" in loaded.card["split"]
    assert loaded.card["steps"] == "6 of 6, batch 4, seed 1000"
    assert loaded.card["figures"].startswith("Dice ")
    assert str(whole.parent) not in (whole / "last.safetensors").read_bytes().decode("latin-1")


@pytest.mark.slow
def test_the_same_settings_give_the_same_bytes(whole, train, tmp_path):
    assert train(tmp_path / "again", "--workers", 2) == 0
    assert same_run(whole, tmp_path / "again")


@pytest.mark.parametrize("stop", [1, 3, 5])
def test_a_run_stopped_and_resumed_ends_in_the_same_bytes(whole, train, tmp_path, stop):
    out = tmp_path / "parts"
    assert train(out, "--stop-after", stop) == 0
    assert load_state(out / "state.pt")["step"] == stop
    assert train(out, "--resume") == 0
    assert same_run(whole, out)


def test_an_error_in_a_step_costs_the_steps_since_the_last_state(whole, train, tmp_path, monkeypatch):
    out, real = tmp_path / "parts", trainer.Trainer._update_average

    def fail_at_five(self):
        if self.step == 4:
            raise OSError(28, "No space left on device", "scratch")
        real(self)

    monkeypatch.setattr(trainer.Trainer, "_update_average", fail_at_five)
    assert train(out) == 1
    assert [r["step"] for r in rows(out) if r["loss"]] == list("1234")
    monkeypatch.undo()
    assert load_state(out / "state.pt")["step"] == 4
    assert train(out, "--resume") == 0
    assert same_run(whole, out)


def command(cases, settings, out, *words):
    given = ["-m", "napari_diffseg", "train", "--data", cases, "--config", settings, "--out", out, "--device", "cpu"]
    return [str(word) for word in (*given, *words)]


ENVIRONMENT = os.environ | {"PYTHONPATH": SRC, "OMP_NUM_THREADS": "1"}


@pytest.mark.slow
def test_kill_9_at_any_moment_costs_no_more_than_the_interval(cases, settings, tmp_path):
    def run(out, *words, kill_after=None):
        process = subprocess.Popen(
            [sys.executable, *command(cases, settings, out, *words)], env=ENVIRONMENT, stderr=subprocess.DEVNULL
        )
        if kill_after is None:
            assert process.wait(120) == 0
            return
        deadline = time.monotonic() + 120
        while not kill_after.exists() and time.monotonic() < deadline and process.poll() is None:
            time.sleep(0.001)
        process.send_signal(signal.SIGKILL)
        process.wait()

    run(tmp_path / "whole", "--steps", 40)
    parts = tmp_path / "parts"
    run(parts, "--steps", 40, kill_after=parts / "pool")
    run(parts, "--steps", 40, "--resume", kill_after=parts / "state.pt")
    before = load_state(parts / "state.pt")["step"]
    assert 2 <= before < 40
    run(parts, "--steps", 40, "--resume", kill_after=parts / "best.safetensors")
    assert load_state(parts / "state.pt")["step"] >= before
    run(parts, "--steps", 40, "--resume")
    assert same_run(tmp_path / "whole", parts)


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_signal_stops_after_the_step_with_a_code_of_its_own(train, tmp_path, monkeypatch, capsys, number, code):
    real = trainer.Trainer._update_average

    def signalled(self):
        real(self)
        if self.step == 1:
            os.kill(os.getpid(), number)

    monkeypatch.setattr(trainer.Trainer, "_update_average", signalled)
    assert train(tmp_path / "out") == code
    assert "stopped after step 2 of 6: --resume goes on" in capsys.readouterr().err
    assert load_state(tmp_path / "out" / "state.pt")["step"] == 2


def test_a_signal_in_the_last_step_stops_nothing(train, tmp_path, monkeypatch):
    real = trainer.Trainer._update_average

    def signalled(self):
        real(self)
        if self.step == 2:
            os.kill(os.getpid(), signal.SIGINT)

    monkeypatch.setattr(trainer.Trainer, "_update_average", signalled)
    assert train(tmp_path / "out", "--steps", 3) == 0


@pytest.mark.slow
def test_sigterm_stops_after_the_step_with_the_state_saved(cases, settings, tmp_path):
    out = tmp_path / "out"
    given = [sys.executable, *command(cases, settings, out, "--steps", 5000)]
    process = subprocess.Popen(given, env=ENVIRONMENT, stderr=subprocess.PIPE, text=True)
    while not (out / "state.pt").exists():
        time.sleep(0.05)
    process.terminate()
    _, error = process.communicate(timeout=120)
    assert process.returncode == 143
    step = load_state(out / "state.pt")["step"]
    assert f"stopped after step {step} of 5000" in error
    assert rows(out)[-1]["step"] == str(step)


def with_processes(count, *words):
    """Train in so many processes."""
    torchrun = ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node", str(count)] if count > 1 else []
    done = subprocess.run(
        [sys.executable, *torchrun, *words], env=ENVIRONMENT, capture_output=True, text=True, timeout=300
    )
    assert done.returncode == 0, done.stderr


@pytest.mark.slow
def test_two_processes_learn_what_one_does(cases, settings, tmp_path):
    settings.write_text(settings.read_text() + "\n[loss]\ndice_weight = 0\n")  # Dice is of a batch, not of a slice
    assert main(command(cases, settings, tmp_path / "one")[2:]) == 0
    with_processes(2, *command(cases, settings, tmp_path / "two"))
    one, two = (load_state(tmp_path / name / "state.pt") for name in ("one", "two"))
    for name, value in one["network"].items():
        torch.testing.assert_close(two["network"][name], value, rtol=0, atol=2e-4)
    losses = [[float(r["loss"]) for r in rows(tmp_path / n) if r["loss"]] for n in ("one", "two")]
    assert losses[1] == pytest.approx(losses[0], rel=1e-3)


@pytest.mark.slow
def test_a_training_is_resumed_with_another_number_of_processes(cases, settings, tmp_path):
    settings.write_text(settings.read_text() + "\n[loss]\ndice_weight = 0\n")  # Dice is of a batch, not of a slice
    assert main(command(cases, settings, tmp_path / "whole")[2:]) == 0
    whole = load_state(tmp_path / "whole" / "state.pt")
    for first, then in ((2, 1), (1, 2)):
        out = tmp_path / f"{first}-{then}"
        with_processes(first, *command(cases, settings, out, "--stop-after", 3))
        assert load_state(out / "state.pt")["step"] == 3
        with_processes(then, *command(cases, settings, out, "--resume"))
        state = load_state(out / "state.pt")
        for name, value in whole["network"].items():
            torch.testing.assert_close(state["network"][name], value, rtol=0, atol=2e-4)
        assert (state["step"], state["best_step"]) == (6, whole["best_step"])
        shown = [(r["step"], float(r["loss"])) for r in rows(out) if r["loss"]]
        assert [step for step, _ in shown] == list("123456")
        expected = [float(r["loss"]) for r in rows(tmp_path / "whole") if r["loss"]]
        assert [loss for _, loss in shown] == pytest.approx(expected, rel=1e-3)
        pool = [(f / "pool" / "pool.json").read_bytes() for f in (out, tmp_path / "whole")]
        assert pool[0] == pool[1]


def test_parts_of_a_step_learn_what_the_whole_does(train, settings, tmp_path):
    text = settings.read_text() + "\n[loss]\ndice_weight = 0\n"
    settings.write_text(text)
    assert train(tmp_path / "whole") == 0
    settings.write_text(text.replace("warmup = 2", "warmup = 2\naccumulate = 2"))
    assert train(tmp_path / "parts") == 0
    whole, parts = (load_state(tmp_path / name / "state.pt") for name in ("whole", "parts"))
    for name, value in whole["network"].items():
        torch.testing.assert_close(parts["network"][name], value, rtol=0, atol=2e-4)


def refusal(capsys):
    """The last line on standard error."""
    return capsys.readouterr().err.strip().splitlines()[-1]


def test_resuming_with_another_setting_is_refused_by_name(train, tmp_path, capsys):
    out = tmp_path / "out"
    assert train(out, "--stop-after", 1) == 0
    assert train(out, "--resume", "--learning-rate", 0.01) == 2
    assert "optimiser.learning_rate 0.01, before 0.0004" in refusal(capsys)


def test_resuming_with_more_steps_is_another_training_that_starts_from_these_weights(train, tmp_path, capsys):
    out = tmp_path / "out"
    assert train(out, "--stop-after", 1) == 0
    assert train(out, "--resume", "--steps", 60) == 2
    assert "(optimiser.steps 60, before 6)" in (line := refusal(capsys))
    assert f"(--start-from {out / 'last.safetensors'})" in line


def test_resuming_on_other_cases_is_refused(train, cases, write_labelled, tmp_path, capsys):
    out = tmp_path / "out"
    assert train(out, "--stop-after", 1) == 0
    write_labelled(cases / "new", "BraTS2021_00099")
    assert train(out, "--resume") == 2
    assert "was trained on other cases" in refusal(capsys)


def test_who_is_held_out_in_a_training_stays_so_though_a_new_one_would_choose_others(train, tmp_path, monkeypatch):
    out = tmp_path / "out"
    assert train(out, "--stop-after", 1) == 0
    before = open_pool(out / "pool")[1]
    names = before.cases
    others = Split(tuple(n for n in names if n != before.train[0]), (before.train[0],))
    assert others != before
    monkeypatch.setattr("napari_diffseg.training.folders.split_cases", lambda *a, **k: others)
    assert train(out, "--resume", "--stop-after", 2) == 0
    assert open_pool(out / "pool")[1] == before


def test_a_folder_with_a_run_is_not_overwritten_and_one_without_not_resumed(train, tmp_path, capsys):
    assert train(tmp_path / "out", "--stop-after", 1) == 0
    assert train(tmp_path / "out") == 1
    assert "--resume" in refusal(capsys)
    assert train(tmp_path / "nothing", "--resume") == 2
    assert "no training to resume" in refusal(capsys)


def test_a_damaged_state_is_one_sentence(train, tmp_path, capsys):
    out = tmp_path / "out"
    assert train(out, "--stop-after", 1) == 0
    state = out / "state.pt"
    state.write_bytes(state.read_bytes()[:-100])
    assert train(out, "--resume") == 1
    assert "state.pt in" in refusal(capsys)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("network", {}),
        ("average", {"no such": 1}),
        ("optimizer", {}),
        ("step", "many"),
        ("validated", {"dice": 1.0}),
        ("validated", {"step": 1.0, "dice": 0.5, "ece": 0.1, "ged_squared": 0.2, "dice a": 0.5}),
        ("best_dice", None),
    ],
)
def test_a_state_with_a_damaged_record_is_one_sentence(train, tmp_path, capsys, name, value):
    out = tmp_path / "out"
    assert train(out, "--stop-after", 1) == 0
    state = torch.load(out / "state.pt", weights_only=True)
    torch.save(state | {name: value}, out / "state.pt")
    assert train(out, "--resume") == 1
    assert "is damaged" in refusal(capsys)


@pytest.mark.parametrize("text", ["step,loss\n1\x00,2\n", '"', "²,1,1,1,1,1,1,1\n", "9" * 5000 + ",1,1,1,1,1,1,1\n"])
def test_a_damaged_record_of_losses_stops_no_training(train, tmp_path, text):
    out = tmp_path / "out"
    assert train(out, "--stop-after", 1) == 0
    (out / "log.csv").write_text(text, encoding="utf-8")
    assert train(out, "--resume", "--stop-after", 2) == 0
    assert [row["step"] for row in rows(out) if row["loss"]] == ["2"]


def test_a_gradient_that_is_not_finite_stops_before_it_does_harm(train, tmp_path, monkeypatch, capsys):
    out, real = tmp_path / "out", trainer.TrainingLoss.__call__

    def poisoned(self, network, batch):
        return real(self, network, batch) * float("nan")

    assert train(out, "--stop-after", 2) == 0
    before = (out / "state.pt").read_bytes()
    monkeypatch.setattr(trainer.TrainingLoss, "__call__", poisoned)
    assert train(out, "--resume") == 1
    assert "Step 3: the gradient is not finite" in refusal(capsys)
    assert (out / "state.pt").read_bytes() == before


def test_memory_that_runs_out_is_one_sentence(train, tmp_path, monkeypatch, capsys):
    def too_large(self, network, batch):
        raise torch.OutOfMemoryError("CUDA out of memory.")

    monkeypatch.setattr(trainer.TrainingLoss, "__call__", too_large)
    assert train(tmp_path / "out") == 1
    assert "Step 1: memory ran out" in refusal(capsys)


def test_a_missing_library_is_named_with_the_command_that_installs_it(train, tmp_path, monkeypatch, capsys):
    monkeypatch.setitem(LIBRARIES, "training", ("accelerate", "no_such_library"))
    assert train(tmp_path / "out") == 2
    assert "no_such_library" in (line := refusal(capsys))
    assert "pip install 'napari-diffseg[training]'" in line


def test_without_held_out_cases_there_is_no_validation_and_no_best(train, tmp_path, capsys):
    assert train(tmp_path / "out", "--held-out", 0, "--stop-after", 3) == 0
    assert "no best.safetensors" in capsys.readouterr().err
    assert not (tmp_path / "out" / "best.safetensors").exists()


def test_phantoms_are_drawn_by_seed_and_named_in_the_card(tmp_path):
    given = ["train", "--data", "phantoms", "--preset", "tiny", "--phantoms", "1", "--stop-after", "1"]
    assert main([*given, "--seed", "77", "--out", str(tmp_path / "out"), "--device", "cpu"]) == 0
    told = json.loads((tmp_path / "out" / "pool" / "pool.json").read_text())
    assert (told["train"], told["held_out"]) == (["77"], ["78"])
    assert len(told["readers"]) == 10
    assert set(told["readers"]) == {4}
    assert "no patient data" in load_checkpoint(tmp_path / "out" / "last.safetensors").card["data"]


@pytest.mark.parametrize(
    ("data", "option"), [("phantoms", "--held-out"), ("phantoms", "--slices"), ("folder", "--phantoms")]
)
def test_an_option_that_would_do_nothing_is_refused(data, option, tmp_path, capsys):
    given = ["train", "--data", data, option, {"--slices": ":"}.get(option, "1"), "--out", str(tmp_path / "out")]
    assert main(given) == 2
    assert option in refusal(capsys)
    assert not (tmp_path / "out").exists()


PAPER = """
preset = "paper"
[network]
model_channels = 32
[validation]
timesteps = 2
"""


@pytest.mark.slow
def test_the_papers_recipe_learns_and_goes_through_convert(train, settings, tmp_path):
    settings.write_text(PAPER)  # its depth, its 224 x 224 and its loss, a quarter of its width
    words = ["--modalities", "t1,flair", "--slices", ":", "--batch-size", 1, "--steps", 1]
    assert train(tmp_path / "out", *words) == 0
    last = tmp_path / "out" / "last.safetensors"
    converted = convert_checkpoint(last, tmp_path / "converted.safetensors")
    assert converted.config.channel_mult == (1, 1, 2, 2, 4, 4)
    assert (converted.recipe.variance, converted.recipe.mask_low, converted.recipe.schedule) == (
        "learned_range", 0.0, "linear",
    )  # fmt: skip
    assert any("unpublished" in guess for guess in converted.guesses)
    for name, value in load_checkpoint(last).state.items():
        assert torch.equal(value, converted.state[name])


@pytest.mark.slow
@pytest.mark.cases
def test_the_papers_preset_trains_on_six_slices_of_a_real_case(cases_folder, tmp_path):
    given = ["train", "--data", cases_folder / "case_301", "--preset", "paper", "--slices", ":", "--held-out", 0]
    given += ["--batch-size", 1, "--steps", 2, "--out", tmp_path / "out", "--device", "cpu"]
    assert main([str(word) for word in given]) == 0
    loaded = load_checkpoint(tmp_path / "out" / "last.safetensors")
    assert loaded.parameters == 113_674_370
    assert convert_checkpoint(loaded.path, tmp_path / "converted.safetensors").recipe == loaded.recipe
