"""Contents are kept by their SHA-256, within a quota, and only whole."""

import hashlib
import os
import stat
from pathlib import Path

import pytest

from napari_diffseg.errors import EngineFailed
from napari_diffseg.remote.blob_store import PIECE, BlobStore, _part_name


def put(store, data, *, name=None, step=10):
    digest = name or hashlib.sha256(data).hexdigest()
    for start in range(0, len(data), step):
        store.put(digest, data[start : start + step], offset=start, size=len(data))
    return digest


def test_a_content_is_missing_until_it_has_come_whole(tmp_path):
    store = BlobStore(tmp_path / "kept")
    data = bytes(range(100))
    digest = hashlib.sha256(data).hexdigest()
    assert store.missing([digest]) == (digest,)
    store.put(digest, data[:40], offset=0, size=100)
    assert store.missing([digest]) == (digest,)
    store.put(digest, data[40:], offset=40, size=100)
    assert store.missing([digest]) == ()
    assert store.path(digest).read_bytes() == data
    assert BlobStore(tmp_path / "kept").missing([digest]) == ()


def test_only_the_user_can_read_what_is_kept(tmp_path):
    store = BlobStore(tmp_path / "kept")
    path = store.path(put(store, b"x" * 30))
    assert stat.S_IMODE(path.stat().st_mode) & 0o077 == 0
    assert stat.S_IMODE(path.parent.stat().st_mode) & 0o077 == 0


def test_what_is_damaged_or_lacks_a_piece_is_not_kept(tmp_path):
    store = BlobStore(tmp_path)
    with pytest.raises(EngineFailed, match="damaged"):
        put(store, b"other", name="0" * 64)
    with pytest.raises(EngineFailed, match="missing"):
        store.put("1" * 64, b"late", offset=4, size=8)
    store.put("2" * 64, b"half", offset=0, size=8)
    store.give_up()
    assert list(tmp_path.iterdir()) == []


def test_what_was_not_used_for_longest_gives_way_but_not_what_is_needed_now(tmp_path):
    earlier = BlobStore(tmp_path, quota=250)
    old, new = put(earlier, b"a" * 100), put(earlier, b"b" * 100)
    os.utime(tmp_path / old, (1, 1))
    os.utime(tmp_path / new, (2, 2))
    store = BlobStore(tmp_path, quota=250)
    assert store.missing([old]) == ()
    third = put(store, b"c" * 100)
    assert store.missing([old, new, third]) == (new,)


def test_an_engine_that_stays_for_many_cases_keeps_within_the_quota(tmp_path):
    store = BlobStore(tmp_path, quota=250)
    for k in range(5):
        data = bytes([k]) * 100
        assert store.missing([hashlib.sha256(data).hexdigest()])
        assert store.path(put(store, data))
        store.release()  # it has been read
    assert len(list(tmp_path.iterdir())) == 2


def test_a_full_disk_is_one_sentence(tmp_path, monkeypatch):
    store = BlobStore(tmp_path)

    def full(*_args, **_more):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("napari_diffseg.remote.blob_store._Coming.write", full)
    with pytest.raises(EngineFailed, match="No space left on device"):
        put(store, b"x" * 30)
    assert list(tmp_path.iterdir()) == []


def test_a_disk_that_fills_while_pieces_come_is_one_sentence_and_nothing_stays(tmp_path):
    resource = pytest.importorskip("resource")
    store = BlobStore(tmp_path)
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (15, limits[1]))
    try:
        with pytest.raises(EngineFailed, match="could not keep what was sent"):
            put(store, b"x" * 30)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert list(tmp_path.iterdir()) == []


def test_what_a_killed_engine_had_begun_to_keep_is_removed_but_not_what_comes_now(tmp_path):
    killed, living = BlobStore(tmp_path), BlobStore(tmp_path)
    killed.put("1" * 64, b"half", offset=0, size=8)
    (left_over,) = tmp_path.iterdir()
    os.utime(left_over, (1, 1))
    living.put("2" * 64, b"half", offset=0, size=8)
    put(BlobStore(tmp_path), b"x" * 30)
    assert not left_over.exists()
    assert len(list(tmp_path.glob(".part-*"))) == 1
    killed.give_up()
    living.give_up()


def test_another_store_goes_on_with_what_was_interrupted_unless_somebody_writes_it(tmp_path):
    data = bytes(range(256)) * (PIECE // 256) * 3
    digest = hashlib.sha256(data).hexdigest()
    cut = BlobStore(tmp_path)
    for k in range(2):
        cut.put(digest, data[k * PIECE : (k + 1) * PIECE], offset=k * PIECE, size=len(data))
    assert cut.begun(digest) == 2 * PIECE
    other = BlobStore(tmp_path)
    if os.name == "posix":
        assert other.begun(digest) == 0
    put(other, data, step=PIECE)  # two clients at once: each whole, none in the other's way
    cut.close()
    (tmp_path / digest).unlink()
    third = BlobStore(tmp_path)
    start = third.begun(digest)
    assert start == (PIECE if os.name == "posix" else 0)
    for offset in range(start, len(data), PIECE):
        third.put(digest, data[offset : offset + PIECE], offset=offset, size=len(data))
    assert third.path(digest).read_bytes() == data
    third.close()
    other.close()
    assert [path.name for path in tmp_path.iterdir()] == [digest]


def test_pieces_that_were_changed_on_disk_are_noticed_and_come_anew(tmp_path):
    data = os.urandom(2 * PIECE)
    digest = hashlib.sha256(data).hexdigest()
    (tmp_path / _part_name(digest)).write_bytes(bytes(PIECE + 1))
    store = BlobStore(tmp_path)
    start = store.begun(digest)
    if start:
        with pytest.raises(EngineFailed, match="damaged"):
            store.put(digest, data[start:], offset=start, size=len(data))
    assert store.begun(digest) == 0
    put(store, data, step=PIECE)
    assert store.missing([digest]) == ()


@pytest.mark.skipif(os.name != "posix", reason="an open file cannot be renamed there")
def test_a_content_has_its_name_before_another_engine_can_go_on_with_it(tmp_path, monkeypatch):
    data = os.urandom(3 * PIECE)
    digest = hashlib.sha256(data).hexdigest()
    store, other, begun, rename = BlobStore(tmp_path), BlobStore(tmp_path), [], Path.replace

    def replace(self, target):
        begun.append(other.begun(digest))
        return rename(self, target)

    monkeypatch.setattr(Path, "replace", replace)
    put(store, data, step=PIECE)
    assert begun == [0]
    assert store.path(digest).read_bytes() == data
    other.close()
    assert [path.name for path in tmp_path.iterdir()] == [digest]


def test_another_computer_does_not_go_on_with_a_file_whose_lock_it_may_not_see(tmp_path, monkeypatch):
    data = os.urandom(3 * PIECE)
    digest = hashlib.sha256(data).hexdigest()
    store = BlobStore(tmp_path)
    for k in range(2):
        store.put(digest, data[k * PIECE : (k + 1) * PIECE], offset=k * PIECE, size=len(data))
    with monkeypatch.context() as elsewhere:
        elsewhere.setattr("platform.node", lambda: "gpu2")
        elsewhere.setattr("napari_diffseg.remote.blob_store._is_mine", lambda *_: True)
        other = BlobStore(tmp_path)
        assert other.begun(digest) == 0
        other.put(digest, data[:PIECE], offset=0, size=len(data))
    store.put(digest, data[2 * PIECE :], offset=2 * PIECE, size=len(data))
    assert store.path(digest).read_bytes() == data
    other.give_up()
