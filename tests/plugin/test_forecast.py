"""What a run will cost, said before it begins: arithmetic, what is learned from runs, and what is remembered."""

import json
from dataclasses import replace
from pathlib import Path

import pytest

from napari_diffseg.errors import RunFailed
from napari_diffseg.events import SegmentRequest
from napari_diffseg.plugin.background import stopwatch
from napari_diffseg.plugin.background.job import run_guarded
from napari_diffseg.plugin.background.mailbox import Ended, Ending, Mailbox, Timed
from napari_diffseg.plugin.background.stopwatch import Stopwatch
from napari_diffseg.plugin.panel.remembered import Remembered
from napari_diffseg.plugin.session.forecast import describe_forecast, forecast
from napari_diffseg.plugin.session.jobs import load_job
from napari_diffseg.plugin.session.progress import describe_seconds
from plugin_fakes import fake_engine, poll_to_end, ready

MEASURED = Path(__file__).parents[2] / "benchmarks" / "results" / "memory.json"


def test_time_is_evaluations_times_seconds_each():
    cost = forecast(voxels=1000, slices=35, members=5, timesteps=10, seconds_each=0.02)
    assert cost.seconds == pytest.approx(7)
    assert replace(cost, seconds=None) == forecast(voxels=1000, slices=35, members=5, timesteps=10, seconds_each=None)


def test_memory_is_within_a_quarter_of_what_was_measured():
    record = json.loads(MEASURED.read_text("utf-8"))
    voxels = record["shape"][0] * record["shape"][1] * record["shape"][2]
    rows = [row for row in record["rows"] if row["way"] == "viewer"]
    assert rows
    for row in rows:
        said = forecast(voxels=voxels, slices=1, members=row["members"], timesteps=1, seconds_each=None).bytes
        assert said == pytest.approx(row["above_loaded_mib"] * 2**20, rel=0.25)


def test_it_warns_where_memory_will_not_do():
    cost = forecast(voxels=8_928_000, slices=155 * 200, members=200, timesteps=10, seconds_each=0.02)
    assert describe_forecast(cost, free_bytes=10**10) == "About 1 h 43 min, 3.0 GB of memory."
    assert describe_forecast(cost, free_bytes=2 * 10**9) == (
        "About 1 h 43 min, 3.0 GB of memory, but 2.0 GB are free: choose fewer members."
    )


@pytest.mark.parametrize(
    ("seconds", "text"), [(0, "0 s"), (59.4, "59 s"), (90, "2 min"), (3600, "1 h 0 min"), (7500, "2 h 5 min")]
)
def test_a_duration_is_written_as_people_say_it(seconds, text):
    assert describe_seconds(seconds) == text


def test_rests_are_not_counted(monkeypatch):
    clock = iter([0.0, 2.0, 100.0, 104.0])
    monkeypatch.setattr(stopwatch.time, "perf_counter", lambda: next(clock))
    watch = Stopwatch()
    watch.see(5)
    assert watch.seconds_each is None
    watch.see(10)
    watch.rest()
    watch.see(15)
    watch.see(20)
    assert watch.seconds_each == pytest.approx((2 + 4) / 10)


def test_a_run_tells_how_long_an_evaluation_took(session, segmenter, layers):
    segmenter.pause = 0.01
    told = []
    session.timed.connect(told.append)
    ready(session, layers, members=2, threads=1)
    session.start()
    session.poll()
    (timed,) = told
    assert (timed.checkpoint, timed.request.threads, timed.sampling) == ("demo", 1, True)
    assert 0.01 <= timed.seconds < 0.2


def _loaded(engine, **values):
    mailbox, job = Mailbox(), load_job(lambda *_: engine, "demo", {}, values=values)
    run_guarded(job, mailbox, None)
    return mailbox.take_items()


def test_loading_a_checkpoint_times_it_with_the_settings_chosen(segmenter):
    engine = replace(fake_engine(segmenter), calibrate=lambda request: 0.5 / request.threads)
    items = _loaded(engine, threads=2)
    assert [item for item in items if isinstance(item, Timed)] == [
        Timed("demo", SegmentRequest(threads=2), 0.25, sampling=False)
    ]


def test_a_checkpoint_whose_speed_cannot_be_measured_is_loaded_all_the_same(segmenter):
    def fail(_request):
        raise RunFailed("Measuring the speed stopped: no such device.")

    ended = _loaded(replace(fake_engine(segmenter), calibrate=fail))[-1]
    assert isinstance(ended, Ended)
    assert ended.ending is Ending.DONE


@pytest.fixture
def panel(viewer, session):
    from napari_diffseg.plugin.panel.panel import DiffsegPanel

    made = DiffsegPanel(viewer, session, Remembered(None))
    viewer.window.add_dock_widget(made, name="Diffusion ensemble", area="right")
    return made


def _add_case(panel, case_folder):
    panel.session.choose_checkpoint("demo")
    panel.session.poll()
    panel.session.open_case([str(case_folder)])
    poll_to_end(panel.session)


@pytest.mark.slow
def test_the_panel_says_what_the_next_run_takes_and_learns_from_runs(panel, case_folder):
    label = panel.settings.forecast
    assert not label.text()
    _add_case(panel, case_folder)
    assert label.text() == "Time unknown before the first run, 0.01 GB of memory."
    panel.session.timed.emit(Timed("demo", SegmentRequest(), 0.2, sampling=False))
    assert label.text() == "About 20 s, 0.01 GB of memory."  # 5 members, 5 slices, 4 timesteps
    panel.session.timed.emit(Timed("demo", SegmentRequest(), 0.4, sampling=True))
    assert label.text() == "About 40 s, 0.01 GB of memory."
    panel.session.timed.emit(Timed("demo", SegmentRequest(), 0.1, sampling=False))
    assert label.text() == "About 40 s, 0.01 GB of memory.", "a try says less than a run"


def test_the_forecast_follows_sliders_and_scope_and_knows_one_arithmetic_from_another(panel, case_folder):
    _add_case(panel, case_folder)
    panel.session.timed.emit(Timed("demo", SegmentRequest(), 0.2, sampling=True))
    label, controls = panel.settings.forecast, panel.settings.controls
    controls["members"].set_value(10)
    assert label.text().startswith("About 40 s")
    controls["timesteps"].set_value(8)
    assert label.text().startswith("About 1 min")
    controls["slices"].set_value("1:3")
    assert label.text().startswith("About 32 s")
    controls["precision"].set_value("fp32")
    assert label.text().startswith("Time unknown")


def test_a_speed_is_remembered_and_nonsense_is_not_believed(remembered_path):
    Remembered(remembered_path).remember_speed("demo|cpu", 0.25)
    kept = Remembered(remembered_path)
    assert kept.speed_of("demo|cpu") == 0.25
    assert kept.speed_of("demo|cuda") is None
    for nonsense in (-1, 0, "fast", None, 1e300):
        kept._write("speeds", {"demo|cpu": nonsense})
        assert kept.speed_of("demo|cpu") is None
