"""The engine's events, and what its members depend on."""

import pickle
import threading
from dataclasses import replace

import numpy as np
import pytest
import torch

from builders import write_case, write_tiny_checkpoint
from napari_diffseg import encode as encode_module
from napari_diffseg.checkpoint import load_checkpoint
from napari_diffseg.encode import Conditioning, encode
from napari_diffseg.ensemble.ensemble import Ensemble
from napari_diffseg.errors import BadCase, BadRequest, RunFailed
from napari_diffseg.events import Expected, Finished, Sampled, SegmentRequest, Started, Stepped
from napari_diffseg.imaging.case import Case, read_case
from napari_diffseg.networks.fast_unet import FastUNet
from napari_diffseg.segmenting import run as run_module
from napari_diffseg.segmenting.decoding import Decoder
from napari_diffseg.segmenting.device import threads as threads_module
from napari_diffseg.segmenting.rows import Row
from napari_diffseg.segmenting.segmenter import LocalSegmenter


def events(checkpoint, case, *, preview_interval_s=None, **settings):
    request = SegmentRequest(**({"device": "cpu", "members": 2} | settings))
    return list(LocalSegmenter(checkpoint, preview_interval_s=preview_interval_s).segment(case, request))


def ensemble_of(seen):
    ensemble = Ensemble.for_run(next(e for e in seen if isinstance(e, Started)))
    for e in seen:
        if isinstance(e, Sampled):
            ensemble.add(e.member, e.slices, e.mask)
    return ensemble


def members(checkpoint, case, **settings):
    ensemble = ensemble_of(events(checkpoint, case, **settings))
    return {k: ensemble.member(k) for k in ensemble.members}


def test_a_run_is_started_stepped_sampled_finished_and_accounts_for_all_its_work(tiny_checkpoint, tiny_case):
    seen = events(tiny_checkpoint, tiny_case, members=3)
    started = seen[0]
    assert isinstance(started, Started)
    assert started.sampled == (0, 1, 2, 3)  # the last slice holds no brain
    assert started.evaluations == 3 * 4 * 4
    assert [e.done for e in seen if isinstance(e, Stepped)][-1] == started.evaluations
    assert isinstance(seen[-1], Finished)
    assert seen[-1].members == ensemble_of(seen).members == (0, 1, 2)


def test_masks_are_neither_empty_nor_full_and_members_differ(tiny_checkpoint, tiny_case):
    both = members(tiny_checkpoint, tiny_case)
    assert 0.01 < both[0][..., :4].mean() < 0.99
    assert (both[0] != both[1]).any()


@pytest.mark.parametrize("sampler", ["ddpm", "ddim", "dpmpp"])
@pytest.mark.parametrize("settings", [{"batch_size": 1}, {"batch_size": 5}, {"focus": 2}, {"first_member": 1}])
def test_a_member_is_the_same_mask_in_any_batch_any_order_and_alone(tiny_checkpoint, tiny_case, sampler, settings):
    reference = members(tiny_checkpoint, tiny_case, members=3, batch_size=4, sampler=sampler)
    for k, mask in members(tiny_checkpoint, tiny_case, members=2, sampler=sampler, **settings).items():
        np.testing.assert_array_equal(mask, reference[k])


def test_a_slice_range_gives_the_same_voxels_as_the_whole_volume(tiny_checkpoint, tiny_case):
    whole = members(tiny_checkpoint, tiny_case)[1]
    part = members(tiny_checkpoint, tiny_case, slices="1:3")[1]
    np.testing.assert_array_equal(part[..., 1:3], whole[..., 1:3])
    assert not part[..., [0, 3, 4]].any()


def test_a_window_gives_the_same_voxels_inside_and_none_outside(tiny_checkpoint, tiny_case):
    reference = members(tiny_checkpoint, tiny_case)
    seen = events(tiny_checkpoint, tiny_case, window="5:,:9", slices="1:3", preview_interval_s=0)
    assert seen[0].window == ((5, tiny_case.shape[0]), (0, 9))
    assert "Only slices 1:3 within 5:" in seen[0].warnings[-1]
    outside = np.ones(tiny_case.shape, bool)
    outside[5:, :9, 1:3] = False
    for k in range(2):
        mask = ensemble_of(seen).member(k)
        assert mask.any()
        assert not mask[..., outside].any()
        np.testing.assert_array_equal(mask[..., ~outside], reference[k][..., ~outside])
    for event in seen:
        if isinstance(event, Stepped):
            assert not event.preview.mask[:5].any()
            assert not event.preview.mask[:, 9:].any()
        if isinstance(event, Expected):
            assert not event.probability[..., :5, :].any()


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"eta": 1, "sampler": "ddpm"}, "Eta 1 changes nothing: it is of the sampler ddim, and this run's is ddpm."),
        ({"focus": 5}, "Focus 5 is none of the volume's slices, 0 to 4: the run begins at the nearest."),
        ({"eta": 1, "sampler": "ddim", "focus": 4}, None),
        ({"eta": 0, "sampler": "dpmpp"}, None),
    ],
)
def test_a_setting_without_effect_is_a_warning(tiny_checkpoint, tiny_case, settings, said):
    request = SegmentRequest(device="cpu", members=1, **settings)
    started = next(iter(LocalSegmenter(tiny_checkpoint).segment(tiny_case, request)))
    usual = next(iter(LocalSegmenter(tiny_checkpoint).segment(tiny_case, SegmentRequest(device="cpu"))))
    assert started.warnings == ((*usual.warnings, said) if said else usual.warnings)


def test_another_seed_gives_another_mask(tiny_checkpoint, tiny_case):
    assert (members(tiny_checkpoint, tiny_case, seed=1)[0] != members(tiny_checkpoint, tiny_case, seed=2)[0]).any()


def test_reproducible_runs_give_the_same_masks_and_leave_torchs_settings_alone(tiny_checkpoint, tiny_case):
    threads = torch.get_num_threads()
    first = members(tiny_checkpoint, tiny_case, reproducible=True)
    second = members(tiny_checkpoint, tiny_case, reproducible=True, focus=3)
    np.testing.assert_array_equal(first[1], second[1])
    assert torch.get_num_threads() == threads
    assert not torch.are_deterministic_algorithms_enabled()


def test_the_focused_slice_of_every_member_comes_first(tiny_checkpoint, tiny_case):
    seen = events(tiny_checkpoint, tiny_case, members=3, focus=2, batch_size=3)
    first = [e for e in seen if isinstance(e, Sampled)][:3]
    assert [(e.member, e.slices) for e in first] == [(0, (2,)), (1, (2,)), (2, (2,))]


def test_a_run_turns_to_the_slice_that_is_looked_at_and_its_masks_stay_the_same(tiny_checkpoint, tiny_case):
    looked_at = iter([None, 3, 3, 0])
    request = SegmentRequest(device="cpu", members=2, focus=1, batch_size=2)
    seen = list(LocalSegmenter(tiny_checkpoint).segment(tiny_case, request, focus=lambda: next(looked_at)))
    order = [(e.member, e.slices) for e in seen if isinstance(e, Sampled)]
    assert order == [(0, (1,)), (1, (1,)), (0, (3,)), (1, (3,)), (0, (2, 0)), (1, (0, 2))]
    reference = members(tiny_checkpoint, tiny_case)
    for k, mask in enumerate(reference.values()):
        np.testing.assert_array_equal(ensemble_of(seen).member(k), mask)


def test_previews_are_on_the_source_plane_within_zero_and_one(tiny_checkpoint, tiny_case):
    seen = events(tiny_checkpoint, tiny_case, preview_interval_s=0)
    previews = [e.preview for e in seen if isinstance(e, Stepped)]
    assert all(p is not None for p in previews)
    assert {p.mask.shape for p in previews} == {tiny_case.shape[:2]}
    assert all(p.mask.min() >= 0 and p.mask.max() <= 1 for p in previews)


def test_the_first_preview_waits_for_one_row_and_not_for_a_batch(tiny_checkpoint, tiny_case, monkeypatch):
    evaluated, encoded = [], []
    chain, image_of = run_module.chain, Conditioning.image_of
    monkeypatch.setattr(
        run_module, "chain", lambda run, batch, *rest: evaluated.append(batch) or chain(run, batch, *rest)
    )
    monkeypatch.setattr(Conditioning, "image_of", lambda self, s: encoded.extend(s) or image_of(self, s))
    request = SegmentRequest(device="cpu", members=3, focus=2, threads=1)
    run = LocalSegmenter(tiny_checkpoint, preview_interval_s=1000).segment(tiny_case, request)
    first = next(event for event in run if isinstance(event, Stepped))
    assert (first.preview.member, first.preview.slice_index, first.done) == (0, 2, 0)
    assert evaluated == [(Row(0, 2),)]
    assert encoded == [2]
    rest = [event for event in run if isinstance(event, Stepped)]
    assert [event.preview for event in rest] == [None] * len(rest), "the next one is due an interval later"
    expected = first_preview_of_batches(tiny_checkpoint, tiny_case, request)
    np.testing.assert_allclose(first.preview.mask, expected, atol=1e-3)


def test_beside_a_device_that_works_by_itself_the_next_batch_is_encoded_in_a_thread(
    tiny_checkpoint, tiny_case, monkeypatch
):
    reference = members(tiny_checkpoint, tiny_case, batch_size=2)
    asked, image_of = [], Conditioning.image_of

    def recorded(self, slices):
        asked.append((threading.current_thread().name, tuple(slices)))
        return image_of(self, slices)

    monkeypatch.setattr(run_module, "works_by_itself", lambda device: True)
    monkeypatch.setattr(Conditioning, "image_of", recorded)
    got = members(tiny_checkpoint, tiny_case, batch_size=2)
    assert all((got[k] == mask).all() for k, mask in reference.items())
    ahead = [slices for name, slices in asked if name.startswith("encode")]
    assert ahead[:2] == [(2, 3), (0, 1)]
    run = LocalSegmenter(tiny_checkpoint).segment(tiny_case, SegmentRequest(device="cpu", batch_size=2))
    next(run), next(run)
    run.close()
    assert not [t for t in threading.enumerate() if t.name.startswith("encode") and (t.join(10), t.is_alive())[1]]


@pytest.fixture
def works_by_itself(monkeypatch):
    """A processor that the host takes for a GPU."""
    monkeypatch.setattr(run_module, "works_by_itself", lambda device: True)


def test_results_of_a_device_that_works_by_itself_come_once_its_next_step_is_in_its_queue(
    tiny_checkpoint, tiny_case, works_by_itself, monkeypatch
):
    queued = []
    chain = run_module.chain

    def watched(run, batch, *rest):
        for step in chain(run, batch, *rest):
            queued.append(step)
            yield step

    monkeypatch.setattr(run_module, "chain", watched)
    request = SegmentRequest(device="cpu", members=2, batch_size=3, timesteps=2)
    run = LocalSegmenter(tiny_checkpoint, preview_interval_s=None).segment(tiny_case, request)
    order = [(type(event).__name__, len(queued)) for event in run]
    assert order == [
        ("Started", 0),
        ("Stepped", 1),
        ("Expected", 2),
        ("Stepped", 2),
        ("Sampled", 3),
        ("Stepped", 3),
        ("Expected", 4),
        ("Stepped", 4),
        ("Sampled", 5),
        ("Sampled", 5),
        ("Stepped", 5),
        ("Stepped", 6),
        ("Sampled", 6),
        ("Finished", 6),
    ]


def kept_of(run, kept):
    for event in run:
        if isinstance(event, Sampled):
            kept.append(event)


def test_a_batch_that_was_done_is_not_lost_when_memory_runs_out_in_the_next(
    tiny_checkpoint, tiny_case, works_by_itself, monkeypatch
):
    reference = members(tiny_checkpoint, tiny_case)
    chain, batches = run_module.chain, []

    def short_of_memory(run, batch, *rest):
        batches.append(len(batch))
        if len(batches) > 1 and len(batch) > least:
            raise torch.OutOfMemoryError("CUDA out of memory")
        return chain(run, batch, *rest)

    monkeypatch.setattr(run_module, "chain", short_of_memory)
    least = 1
    seen = events(tiny_checkpoint, tiny_case, batch_size=3)
    assert ensemble_of(seen).members == (0, 1)
    assert all((ensemble_of(seen).member(k) == mask).all() for k, mask in reference.items())
    slices = [(e.member, s) for e in seen if isinstance(e, Sampled) for s in e.slices]
    assert len(slices) == len(set(slices)), "each comes once"

    least = 0
    batches.clear()
    request = SegmentRequest(device="cpu", members=2, batch_size=3)
    run, kept = LocalSegmenter(tiny_checkpoint, preview_interval_s=None).segment(tiny_case, request), []
    with pytest.raises(RunFailed, match="single slice"):
        kept_of(run, kept)
    assert [event.slices for event in kept] == [(0, 1, 2)]


def test_masks_that_find_no_memory_end_the_run_and_are_not_left_out(
    tiny_checkpoint, tiny_case, works_by_itself, monkeypatch
):
    def full(self, x, slices):
        def wait():
            raise MemoryError("Unable to allocate 4 bytes")

        return wait

    monkeypatch.setattr(Decoder, "masks", full)
    with pytest.raises(RunFailed, match="Memory ran out for the masks from slice 0, member 0 on"):
        events(tiny_checkpoint, tiny_case, batch_size=3)


def test_slices_are_brought_to_a_device_once_and_members_share_them(tiny_checkpoint, tiny_case, monkeypatch):
    reference = members(tiny_checkpoint, tiny_case)
    brought, image_of = [], Conditioning.image_of

    def recorded(self, slices):
        brought.extend(slices)
        return image_of(self, slices)

    monkeypatch.setattr(encode_module, "is_apart", lambda device: True)
    monkeypatch.setattr(Conditioning, "image_of", recorded)
    got = members(tiny_checkpoint, tiny_case, batch_size=3, focus=2)
    assert sorted(brought) == [0, 1, 2, 3]
    assert all((got[k] == mask).all() for k, mask in reference.items())
    coding = encode(tiny_case, tiny_checkpoint.recipe)
    expected = image_of(coding, [3, 1, 3])
    with torch.inference_mode():  # whose tensors may be written to nowhere else
        coding.image_on(torch.device("cpu"), [3])
    assert torch.equal(coding.image_on(torch.device("cpu"), [3, 1, 3]), expected)
    monkeypatch.setattr(encode_module, "_MOST_BYTES_THERE", 0)
    assert torch.equal(coding.image_on(torch.device("cpu"), [3, 1, 3]), expected)


def first_preview_of_batches(checkpoint, case, request):
    """The first preview of a run whose first batch is a row, which nothing comes before."""
    one = request.model_copy(update={"batch_size": 1})
    run = LocalSegmenter(checkpoint, preview_interval_s=0).segment(case, one)
    first = next(event for event in run if isinstance(event, Stepped))
    assert first.done == 1
    return first.preview.mask


def test_no_first_look_is_taken_where_nobody_looks_or_memory_is_short(tiny_checkpoint, tiny_case, monkeypatch):
    reference = members(tiny_checkpoint, tiny_case, preview_interval_s=None)
    chain = run_module.chain

    def short_for_one(run, batch, *rest):
        if len(batch) == 1:
            raise RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried to allocate 4 bytes.")
        return chain(run, batch, *rest)

    monkeypatch.setattr(run_module, "chain", short_for_one)
    for interval in (None, 0):
        again = members(tiny_checkpoint, tiny_case, preview_interval_s=interval)
        assert all((again[k] == mask).all() for k, mask in reference.items())


def test_every_event_crosses_a_pickle(tiny_checkpoint, tiny_case):
    for event in events(tiny_checkpoint, tiny_case, preview_interval_s=0):
        assert type(pickle.loads(pickle.dumps(event))) is type(event)


def test_closing_the_iterator_stops_the_run(tiny_checkpoint, tiny_case):
    run = LocalSegmenter(tiny_checkpoint).segment(tiny_case, SegmentRequest(device="cpu", members=50))
    next(run), next(run)
    run.close()
    assert next(run, None) is None


@pytest.mark.parametrize(("threads", "rows"), [(1, 1), (2, 1), (3, 2)])
def test_beside_a_viewer_the_first_mask_comes_with_as_many_as_take_no_longer_and_is_the_same(
    tiny_checkpoint, tiny_case, monkeypatch, threads, rows
):
    monkeypatch.setattr(threads_module, "_usable_cores", lambda: 4)
    request = SegmentRequest(device="cpu", members=3, focus=2, threads=threads)
    watched = list(LocalSegmenter(tiny_checkpoint, beside_viewer=True).segment(tiny_case, request))
    steps = watched[0].timesteps
    stepped = [event.done for event in watched if isinstance(event, Stepped)]
    assert stepped[:steps] == list(range(rows, rows * (steps + 1), rows))
    assert stepped[steps] > stepped[steps - 1] + rows
    first = next(event for event in watched if isinstance(event, Sampled))
    assert (first.member, first.slices) == (0, (2,))
    alone = list(LocalSegmenter(tiny_checkpoint).segment(tiny_case, request))
    np.testing.assert_array_equal(ensemble_of(watched).mean(), ensemble_of(alone).mean())


def test_running_out_of_memory_halves_the_batch_and_changes_no_mask(tiny_checkpoint, tiny_case, monkeypatch):
    reference = members(tiny_checkpoint, tiny_case)
    original = run_module.chain

    def short_of_memory(run, batch, *rest):
        if len(batch) > 2:
            raise RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried to allocate 4 bytes.")
        return original(run, batch)

    monkeypatch.setattr(run_module, "chain", short_of_memory)
    seen = events(tiny_checkpoint, tiny_case, batch_size=8)
    assert seen[-1].batch_size == 2
    np.testing.assert_array_equal(ensemble_of(seen).member(1), reference[1])


@pytest.mark.slow
def test_what_fitted_when_memory_ran_out_is_tried_first_by_the_next_run(tiny_checkpoint, tiny_case, monkeypatch):
    tried = []
    original = run_module.chain

    def short_of_memory(run, batch, *rest):
        tried.append(len(batch))
        if len(batch) > 2:
            raise RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried to allocate 4 bytes.")
        return original(run, batch)

    monkeypatch.setattr(run_module, "chain", short_of_memory)
    segmenter = LocalSegmenter(tiny_checkpoint)
    first = list(segmenter.segment(tiny_case, SegmentRequest(device="cpu", members=4)))
    assert max(tried) > first[-1].batch_size
    tried.clear()
    list(segmenter.segment(tiny_case, SegmentRequest(device="cpu", members=4)))
    assert max(tried) == first[-1].batch_size
    tried.clear()
    list(segmenter.segment(tiny_case, SegmentRequest(device="cpu", members=4, batch_size=8)))
    assert max(tried) == 8, "what is asked for is tried"


def test_memory_too_short_for_one_slice_is_one_sentence(tiny_checkpoint, tiny_case, monkeypatch):
    def none_left(run, batch, *rest):
        raise torch.OutOfMemoryError("CUDA out of memory")

    monkeypatch.setattr(run_module, "chain", none_left)
    with pytest.raises(RunFailed, match="Memory ran out for a single slice"):
        events(tiny_checkpoint, tiny_case)


def test_a_runtime_error_inside_never_leaves_as_one(tiny_checkpoint, tiny_case, monkeypatch):
    def broken(run, batch, *rest):
        raise RuntimeError("device-side assert\nwith a second line")

    monkeypatch.setattr(run_module, "chain", broken)
    with pytest.raises(RunFailed, match=r"sampling stopped: device-side assert$"):
        events(tiny_checkpoint, tiny_case)


def test_numbers_that_are_not_finite_are_refused_with_slice_and_member(tiny_case, tmp_path):
    path = write_tiny_checkpoint(tmp_path / "huge.safetensors", prediction="epsilon", clip=None)
    checkpoint = load_checkpoint(path)
    for value in checkpoint.state.values():
        if value.ndim > 1:
            value.mul_(1e18)
    with pytest.raises(RunFailed, match="Slice 0, member 0"):
        events(checkpoint, tiny_case)


@pytest.mark.parametrize(
    ("settings", "text"),
    [
        ({"slices": "9:12"}, "hold none of the volume's 5"),
        ({"window": "90:99,:"}, "holds nothing of slices of"),
        ({"timesteps": 9}, "exceed the 8 that the checkpoint was trained with"),
        ({"device": "cuda:7"}, "Device cuda:7"),
    ],
)
def test_settings_that_cannot_be_honoured_are_refused(tiny_checkpoint, tiny_case, settings, text):
    with pytest.raises(BadRequest, match=text):
        events(tiny_checkpoint, tiny_case, **settings)


def test_a_missing_modality_is_named(tiny_checkpoint, tmp_path):
    case = read_case(write_case(tmp_path, modalities=("t1", "t2")))
    with pytest.raises(BadCase, match="no t1ce, flair image"):
        events(tiny_checkpoint, case)


def test_a_range_without_brain_gives_empty_members_without_sampling(tiny_checkpoint, tiny_case):
    seen = events(tiny_checkpoint, tiny_case, slices="4:5")
    assert not any(isinstance(e, Stepped) for e in seen)
    assert ensemble_of(seen).members == (0, 1)


def test_two_mask_channels_are_two_volumes(tiny_case, tmp_path):
    path = write_tiny_checkpoint(tmp_path / "two.safetensors", labels=("core", "oedema"))
    mask = members(load_checkpoint(path), tiny_case)[0]
    assert mask.shape == (2, *tiny_case.shape)
    assert (mask[0] != mask[1]).any()


def test_bf16_agrees_with_fp32_on_nearly_all_voxels(tiny_checkpoint, tiny_case):
    fp32 = members(tiny_checkpoint, tiny_case, precision="fp32")[0]
    bf16 = members(tiny_checkpoint, tiny_case, precision="bf16")[0]
    assert (fp32 == bf16).mean() > 0.9


def test_a_background_that_is_not_zero_is_said_to_be_taken_for_brain(tiny_checkpoint, tiny_case):
    volumes = {name: replace(v, data=v.data - 1, path=None) for name, v in tiny_case.volumes.items()}
    shifted = Case("shifted", volumes, None)
    for case, expected in ((tiny_case, 0), (shifted, 1)):
        warnings = encode(case, tiny_checkpoint.recipe).warnings
        assert sum("the background is taken for brain" in w for w in warnings) == expected


def test_calibrating_times_the_batch_of_a_run_and_leaves_the_network_ready(tiny_checkpoint, monkeypatch):
    segmenter, rows = LocalSegmenter(tiny_checkpoint), []
    evaluate = FastUNet.conditioned_on

    def seen(network, image):
        rows.append(len(image))
        return evaluate(network, image)

    monkeypatch.setattr(FastUNet, "conditioned_on", seen)
    seconds = segmenter.calibrate(SegmentRequest(batch_size=3))
    assert sum(rows) == 3
    assert 0 < seconds < 10
    network = segmenter._loaded
    segmenter.calibrate(SegmentRequest(batch_size=1))
    assert segmenter._loaded is network


def test_calibrating_on_a_device_that_is_absent_is_refused(tiny_checkpoint):
    with pytest.raises(BadRequest, match="cuda:77"):
        LocalSegmenter(tiny_checkpoint).calibrate(SegmentRequest(device="cuda:77"))
