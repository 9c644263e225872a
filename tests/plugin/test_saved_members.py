"""Members that share a layer, saved from napari's menu: which, under which numbers, and all of them or none."""

from dataclasses import replace
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
from napari.components import ViewerModel
from napari.layers import Labels
from played_runs import SHAPE, add_sampled, begin_run, catch_up, events_of, extend_run, volume

from napari_diffseg.ensemble.summary import Summary
from napari_diffseg.errors import BadImage, OutputExists, OutputFailed
from napari_diffseg.events import Sampled
from napari_diffseg.imaging import save
from napari_diffseg.plugin.files.writer import write_labels
from napari_diffseg.plugin.grid.frame import Frame
from napari_diffseg.plugin.layers.result_layers import ResultLayers
from plugin_fakes import fake_member

SHARED = "diffseg 1 | members"


@pytest.fixture
def results():
    return ResultLayers(ViewerModel())


def by_member(events):
    """What was sampled, one member after the other."""
    return sorted((e for e in events if isinstance(e, Sampled)), key=lambda e: e.member)


def show(results, sampled):
    add_sampled(results, sampled)
    results.end()
    catch_up(results)


def begin(results, events):
    begin_run(results, events[0], Frame.of_volume(volume()))


def save_to(folder, layer):
    """The members' numbers, as the names say them, and their masks."""
    data, attributes, _ = layer.as_layer_data_tuple()
    paths = write_labels(str(folder / "m.nii.gz"), data, attributes)
    assert sorted(paths) == sorted(str(path) for path in folder.iterdir())
    return {int(Path(p).name[len("m_member") : -len(".nii.gz")]): np.asanyarray(nib.load(p).dataobj) for p in paths}


def assert_are_members(saved, numbers):
    """Members by their number from 0; the files count from 1."""
    assert list(saved) == [k + 1 for k in numbers]
    for k in numbers:
        np.testing.assert_array_equal(saved[k + 1], fake_member(SHAPE, k))


def test_of_a_run_that_was_cancelled_only_whole_members_are_saved_and_under_their_own_numbers(results, tmp_path):
    events = events_of(members=20, first_member=10)
    begin(results, events)
    show(results, by_member(events)[: 3 * SHAPE[2] + 2])  # the fourth is there on two slices
    assert_are_members(save_to(tmp_path, results.view.together), [10, 11, 12])


def test_while_no_member_is_whole_there_is_nothing_to_save(results, tmp_path):
    events = events_of(members=20)
    begin(results, events)
    show(results, by_member(events)[:1])
    with pytest.raises(BadImage, match=r"diffseg 1 \| members: no member is whole yet"):
        save_to(tmp_path, results.view.together)
    assert not list(tmp_path.iterdir())


def test_members_that_are_hidden_are_not_saved(results, tmp_path):
    events = events_of(members=13, first_member=4)
    begin(results, events)
    show(results, by_member(events))
    results.summarise(Summary(), first=2)
    catch_up(results)
    assert_are_members(save_to(tmp_path, results.view.together), [4, 5])


def test_members_that_come_to_share_a_layer_by_choice_keep_their_numbers(results, tmp_path):
    events = events_of(members=3, first_member=7)
    begin(results, events)
    show(results, by_member(events)[: 2 * SHAPE[2]])
    results.share_layer(True)
    assert_are_members(save_to(tmp_path, results.view.together), [7, 8])


@pytest.mark.parametrize(("before", "later"), [((0, 2, 3), (1, 4)), ((*range(5), *range(6, 14)), (5,))])
def test_members_added_among_others_are_saved_under_their_own_numbers(results, tmp_path, before, later):
    results.share_layer(True)
    events = events_of(members=14)
    sampled = by_member(events)
    begin(results, [replace(events[0], members=before)])
    show(results, [e for e in sampled if e.member in before])
    extend_run(results, replace(events[0], members=later))
    show(results, [e for e in sampled if e.member in later])
    assert_are_members(save_to(tmp_path, results.view.together), sorted({*before, *later}))


@pytest.fixture
def three():
    """A layer of three members that nobody's run has made."""
    return Labels(np.stack([fake_member(SHAPE, k) for k in range(3)]).astype(np.int32), name="mine")


def test_where_one_members_file_is_there_none_is_written(three, tmp_path):
    (tmp_path / "m_member3.nii.gz").write_bytes(b"mine")
    with pytest.raises(OutputExists, match=r"m_member3\.nii\.gz exists"):
        save_to(tmp_path, three)
    assert [path.read_bytes() for path in tmp_path.iterdir()] == [b"mine"]


@pytest.mark.parametrize("value", [-1, 256])
def test_where_one_member_holds_a_label_too_large_none_is_written(three, tmp_path, value):
    three.data[2, 0, 0, 0] = value
    with pytest.raises(BadImage, match="renumber the labels"):
        save_to(tmp_path, three)
    assert not list(tmp_path.iterdir())


def test_where_one_member_cannot_be_written_none_is_left(three, tmp_path, monkeypatch):
    write = save.write_nifti

    def fill_up(path, *args, **kwargs):
        if "member3" in path.name:
            raise OutputFailed(f"{path.name} does not fit on the disk: free some space.")
        write(path, *args, **kwargs)

    monkeypatch.setattr(save, "write_nifti", fill_up)
    with pytest.raises(OutputFailed, match="member3"):
        save_to(tmp_path, three)
    assert not list(tmp_path.iterdir())


def test_a_name_that_is_no_niftis_is_refused_for_all(three, tmp_path):
    data, attributes, _ = three.as_layer_data_tuple()
    with pytest.raises(OutputFailed, match="is no NIfTI name"):
        write_labels(str(tmp_path / "m.tif"), data, attributes)
    assert not list(tmp_path.iterdir())
