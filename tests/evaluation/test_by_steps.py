"""The same cases in other steps (`--also`): what is compared, and what is said of all that is not."""

from __future__ import annotations

import json

import pytest
from evaluation_folders import box, write, write_prediction

from napari_diffseg.cli import main
from napari_diffseg.cli.evaluate import evaluate
from napari_diffseg.errors import BadCase
from napari_diffseg.evaluation.run import Evaluation, run_evaluation


def predict(folder, steps, **others):
    """Cases a, b and c in so many steps; `others` says which have other ones, or None for no such case."""
    for name, n in ({"a": steps, "b": steps, "c": steps} | others).items():
        if n is not None:
            record = {"sampler": "ddim", "timesteps": n} if n else {}
            write_prediction(folder / name, [box(8)] * 2, **record)
    return folder


@pytest.fixture
def folders(tmp_path):
    for name in ("a", "b", "c"):
        write(tmp_path / "truth" / f"{name}_seg.nii.gz", box(8))
    return tmp_path


def run(folders, *also):
    """The report of the cases in `runs`, and the lines that were told on the way."""
    told = []
    done = run_evaluation(Evaluation(folders / "runs", folders / "truth", also=also), tell=told.append)
    return done.report, told


def points(report):
    return [(s.timesteps, s.cases) for s in report.by_steps]


def notes_of(report):
    return {case.case: case.notes for case in report.cases if case.notes}


def cover(folder, *names, slices):
    """Say of cases that they were predicted on so many slices alone."""
    for name in names:
        path = folder / name / "run.json"
        path.write_text(json.dumps(json.loads(path.read_text("utf-8")) | {"slices": list(slices)}), "utf-8")
    return folder


def left_out(told):
    return [line for line in told if "left out" in line]


def test_cases_predicted_in_other_steps_are_compared_where_all_have_them(tmp_path):
    for name, steps, start in (("few", 2, 12), ("runs", 10, 10), ("many", 50, 8)):
        write_prediction(tmp_path / name / "a", [box(start)] * 2, sampler="ddim", timesteps=steps)
    write_prediction(tmp_path / "runs" / "only here", [box(8)] * 2, sampler="ddim", timesteps=10)
    write_prediction(tmp_path / "many" / "untold", [box(8)] * 2)
    for name in ("a", "only here", "untold"):
        write(tmp_path / "truth" / name / f"{name}_seg.nii.gz", box(8))
    also = [tmp_path / "many", tmp_path / "few"]
    assert evaluate(tmp_path / "runs", truth=tmp_path / "truth", out=tmp_path / "out", also=also) == 0
    report = json.loads((tmp_path / "out" / "report.json").read_text("utf-8"))
    assert {case["case"] for case in report["cases"]} == {"a", "only here"}  # of the first folder
    found = [(s["sampler"], s["timesteps"], s["cases"], s["mean_dice"]) for s in report["by_steps"]]
    assert found == [("ddim", 2, 1, 0.5), ("ddim", 10, 1, 0.75), ("ddim", 50, 1, 1)]
    page = (tmp_path / "out" / "report.html").read_text("utf-8")
    assert "By steps" in page
    assert 'alt="Dice by number of steps"' in page


def test_where_all_folders_have_all_cases_nothing_is_said_to_be_left_out(folders):
    predict(folders / "runs", 10)
    report, told = run(folders, predict(folders / "many", 50))
    assert points(report) == [(10, 3), (50, 3)]
    assert not left_out(told)
    assert not notes_of(report)


def test_a_folder_of_equal_steps_is_said_to_be_left_out_on_the_screen_and_on_the_page(folders, capsys):
    predict(folders / "runs", 10)
    seed = predict(folders / "seed 2", 10)
    assert evaluate(folders / "runs", truth=folders / "truth", out=folders / "out", also=[seed]) == 0
    line = f"{seed} is left out of the comparison by steps: its cases are of ddim in 10 steps, as those of"
    assert line in capsys.readouterr().err
    report = json.loads((folders / "out" / "report.json").read_text("utf-8"))
    assert report["by_steps"] == []
    assert line in report["notes"][0]
    assert [case["notes"] for case in report["cases"]] == [[]] * 3
    assert line in (folders / "out" / "report.html").read_text("utf-8")


def test_a_folder_of_equal_steps_takes_nothing_from_the_others(folders):
    predict(folders / "runs", 10)
    report, told = run(folders, predict(folders / "seed", 10, c=None), predict(folders / "many", 50))
    assert points(report) == [(10, 3), (50, 3)]
    assert [str(folders / "seed") in line for line in left_out(told)] == [True]


@pytest.mark.parametrize(("odd", "usual"), [("runs", 10), ("many", 50)])
@pytest.mark.parametrize("steps", [2, 30])
def test_a_case_in_other_steps_than_its_folder_is_left_out_alone(folders, odd, usual, steps):
    predict(folders / "runs", 10)
    predict(folders / "many", 50)
    predict(folders / odd, usual, b=steps)
    report, told = run(folders, folders / "many")
    assert points(report) == [(10, 2), (50, 2)]
    why = f"{folders / odd} has it of ddim in {steps} steps, not of ddim in {usual} steps"
    assert left_out(told) == [f"b: left out of the comparison by steps: {why}"]
    assert notes_of(report) == {"b": (f"left out of the comparison by steps: {why}",)}


def test_a_case_of_the_steps_of_another_folder_is_left_out_alone(folders):
    predict(folders / "runs", 10, b=50)
    report, _ = run(folders, predict(folders / "many", 50))
    assert points(report) == [(10, 2), (50, 2)]


def test_of_as_many_cases_in_one_number_of_steps_as_in_another_those_count_that_no_folder_has_yet(folders):
    predict(folders / "runs", 10)
    report, _ = run(folders, predict(folders / "many", 50, a=10, b=None))
    assert points(report) == [(10, 1), (50, 1)]


def test_cases_that_are_left_out_for_one_reason_share_a_line(folders):
    predict(folders / "runs", 10)
    report, told = run(folders, predict(folders / "many", 50, b=None, c=None))
    assert points(report) == [(10, 1), (50, 1)]
    assert left_out(told) == [f"b, c: left out of the comparison by steps: {folders / 'many'} has not measured it"]
    assert notes_of(report).keys() == {"b", "c"}


def test_a_case_that_does_not_state_its_steps_is_left_out_alone(folders):
    predict(folders / "runs", 10, a=0)
    report, _ = run(folders, predict(folders / "many", 50))
    assert points(report) == [(10, 2), (50, 2)]
    assert [f"{folders / 'runs'} has it without its steps" in note for note in notes_of(report)["a"]] == [True]


def test_a_folder_that_states_no_steps_is_left_out_and_the_others_are_compared(folders):
    predict(folders / "runs", 0)
    report, told = run(folders, predict(folders / "many", 50), predict(folders / "few", 2))
    assert points(report) == [(2, 3), (50, 3)]
    why = "no run.json in it states sampler and steps"
    assert left_out(told) == [f"{folders / 'runs'} is left out of the comparison by steps: {why}"]


def test_a_folder_of_other_cases_is_left_out_and_the_others_are_compared(folders):
    predict(folders / "runs", 10, c=None)
    other = predict(folders / "other", 2, a=None, b=None)
    report, told = run(folders, other, predict(folders / "many", 50))
    assert points(report) == [(10, 2), (50, 2)]
    assert left_out(told)[0] == (
        f"{other} is left out of the comparison by steps: it has none of the cases of {folders / 'runs'}"
    )


def test_a_folder_that_is_not_there_is_refused_before_any_case_is_measured(folders):
    predict(folders / "runs", 10)
    told = []
    asked = Evaluation(folders / "runs", folders / "truth", also=(folders / "runs", folders / "mistyped"))
    with pytest.raises(BadCase, match="mistyped cannot be read"):
        run_evaluation(asked, tell=told.append)
    assert told == []


def test_what_cannot_be_measured_of_further_folders_is_named_by_the_path_that_was_given(folders):
    predict(folders / "runs", 10)
    also = [predict(folders / name / "out", 50) for name in ("first", "second")]
    for folder in also:
        write_prediction(folder / "nobody", [box(8)] * 2, sampler="ddim", timesteps=3)
    report, told = run(folders, *also)
    assert report.failed.keys() == {f"nobody in {folder}" for folder in also}
    assert [any(line.startswith(f"{folder}: Case nobody") for line in told) for folder in also] == [True, True]


def test_a_run_with_failures_in_a_further_folder_is_not_all_well(folders):
    predict(folders / "runs", 10)
    write_prediction(folders / "more" / "nobody", [box(8)] * 2, sampler="ddim", timesteps=3)
    also = [folders / "more"]
    assert evaluate(folders / "runs", truth=folders / "truth", out=folders / "out", also=also) == 1


def test_a_folder_of_other_slices_is_left_out_and_the_others_are_compared(folders):
    predict(folders / "runs", 1)
    short = cover(predict(folders / "short", 10), "a", "b", "c", slices=(2, 3))
    report, told = run(folders, short, predict(folders / "few", 2))
    assert points(report) == [(1, 3), (2, 3)]
    why = "it has its cases on other slices than other folders, such as a on slices 2 to 3, not slices 0 to 5"
    assert left_out(told) == [f"{short} is left out of the comparison by steps: {why}"]
    assert report.notes == tuple(left_out(told))
    assert not notes_of(report)


def test_the_first_folder_is_left_out_where_the_others_cover_more(folders):
    runs = cover(predict(folders / "runs", 10), "a", "b", "c", slices=(2, 3))
    report, told = run(folders, predict(folders / "one", 1), predict(folders / "few", 2))
    assert points(report) == [(1, 3), (2, 3)]
    assert [line.startswith(str(runs)) for line in left_out(told)] == [True]


def test_folders_that_cover_the_same_few_slices_are_compared(folders):
    cover(predict(folders / "runs", 1), "a", "b", "c", slices=(2, 3))
    also = cover(predict(folders / "many", 50), "a", "b", "c", slices=(2, 3))
    report, told = run(folders, also)
    assert points(report) == [(1, 3), (50, 3)]
    assert not left_out(told)


@pytest.mark.parametrize("odd", ["runs", "many"])
def test_a_case_of_other_slices_than_in_the_other_folder_is_left_out_alone(folders, odd):
    predict(folders / "runs", 1)
    predict(folders / "many", 50)
    cover(folders / odd, "b", slices=(2,))
    report, told = run(folders, folders / "many")
    assert points(report) == [(1, 2), (50, 2)]
    assert [f"{folders / 'many'} has it on" in line for line in left_out(told)] == [True]
    assert notes_of(report)["b"][-1].startswith("left out of the comparison by steps")


def test_a_folder_of_equal_steps_that_covers_what_the_others_do_takes_the_place_of_one_that_does_not(folders):
    predict(folders / "runs", 1)
    short = cover(predict(folders / "short", 10), "a", "b", "c", slices=(2, 3))
    report, _ = run(folders, short, predict(folders / "few", 10))
    assert points(report) == [(1, 3), (10, 3)]


def test_what_is_left_out_of_a_case_that_the_report_has_not_is_a_note_of_the_report(folders):
    predict(folders / "runs", 10, c=None)
    report, told = run(folders, predict(folders / "many", 50))
    assert points(report) == [(10, 2), (50, 2)]
    assert report.notes == tuple(left_out(told))
    assert [line.startswith("c: ") for line in report.notes] == [True]


def test_help_offers_no_option_that_means_nothing(capsys):
    assert main(["evaluate", "--help"]) == 0
    text = capsys.readouterr().out
    assert "--also" in text
    assert "--empty" not in text
