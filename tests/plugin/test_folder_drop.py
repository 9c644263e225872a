"""A folder that is dropped on napari's canvas: of one case it opens as layers, of many the panel lists them."""

import json
from types import SimpleNamespace

import napari
import pytest
from panel_clicks import find, settle

from napari_diffseg.errors import BadCase
from napari_diffseg.imaging import case_files
from napari_diffseg.plugin.panel.panel import DiffsegPanel
from napari_diffseg.plugin.reading import get_reader, read_folder
from plugin_fakes import write_images


@pytest.fixture
def opened(monkeypatch):
    """What a panel of a window in front is asked to open."""
    asked = []
    panel = SimpleNamespace(open_case=asked.append)
    dock = SimpleNamespace(show=lambda: None, raise_=lambda: None)
    window = SimpleNamespace(add_plugin_dock_widget=lambda *_: (dock, panel))
    monkeypatch.setattr(napari, "current_viewer", lambda: SimpleNamespace(window=window))
    return asked


def bids(folder):
    for session in ("ses-1", "ses-2"):
        write_images(folder / "sub-1" / session / "anat", case_id=f"sub-1_{session}")


def flat(folder):
    for name in ("anna", "berta"):
        write_images(folder, case_id=name)


def nnunet(folder):
    write_images(folder / "imagesTr", case_id="c1")
    for number, path in enumerate(sorted((folder / "imagesTr").glob("*.nii.gz"))):
        path.rename(path.with_name(f"c1_{number:04d}.nii.gz"))
    said = {"channel_names": {"0": "flair", "1": "t1", "2": "t1ce", "3": "t2"}, "labels": {"background": 0}}
    (folder / "dataset.json").write_text(json.dumps(said))


@pytest.mark.parametrize("layout", [bids, flat, nnunet])
def test_a_folder_of_cases_opens_in_the_panel(tmp_path, opened, layout):
    layout(tmp_path / "all")
    reader = get_reader(str(tmp_path / "all"))
    assert reader is not None
    assert reader(str(tmp_path / "all")) == [(None,)]
    assert opened == [[str(tmp_path / "all")]]


def test_the_window_does_not_wait_for_a_folder_of_thousands_to_be_sorted(tmp_path, opened, monkeypatch):
    for n in range(101):
        (tmp_path / f"BraTS_{n:05d}_t1.nii.gz").touch()
    monkeypatch.setattr(case_files, "cases_in_folder", lambda folder: pytest.fail("napari waits meanwhile"))
    assert get_reader(str(tmp_path))(str(tmp_path)) == [(None,)]
    assert opened == [[str(tmp_path)]]


def test_a_folder_of_one_case_opens_as_layers(case_folder, opened):
    assert len(get_reader([str(case_folder)])([str(case_folder)])) == 4
    assert opened == []


def test_a_folder_without_images_is_none_of_ours(tmp_path):
    (tmp_path / "texts" / "more").mkdir(parents=True)
    (tmp_path / "texts" / "more" / "notes.txt").write_text("no image")
    assert get_reader(str(tmp_path / "texts")) is None


def test_without_a_window_several_cases_are_refused(tmp_path, monkeypatch):
    flat(tmp_path / "all")
    monkeypatch.setattr(napari, "current_viewer", lambda: None)
    with pytest.raises(BadCase, match="holds 2 cases"):
        read_folder(str(tmp_path / "all"))


@pytest.mark.slow
def test_in_a_real_window_the_list_of_cases_opens_on_it(registered, viewer, many, qtbot):
    viewer.open(str(many), plugin="napari-diffseg")
    [panel] = viewer.window._qt_window.findChildren(DiffsegPanel)
    settle(panel, qtbot)
    assert [find(panel, "cases").itemText(n).split()[0] for n in range(3)] == ["alice", "bob", "carol"]
    panel.session.close()
