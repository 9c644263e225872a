"""Whatever fails, the old content or the new is there, whole, and nothing else."""

import errno
import json
import os
import stat
from pathlib import Path
from types import SimpleNamespace

import pytest

from napari_diffseg.errors import OutputExists, OutputFailed
from napari_diffseg.imaging import atomic
from napari_diffseg.imaging.atomic import atomic_write, make_folder, write_json


def new(file):
    file.write(b"new")


@pytest.fixture
def target(tmp_path):
    path = tmp_path / "mask.nii.gz"
    path.write_bytes(b"old")
    return path


def names(folder):
    return sorted(p.name for p in folder.iterdir())


def no_space(*_args, **_kwargs):
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def test_a_new_file_holds_what_was_written_and_nothing_lies_beside_it(tmp_path):
    atomic_write(tmp_path / "a", new)
    assert (tmp_path / "a").read_bytes() == b"new"
    assert names(tmp_path) == ["a"]


def test_what_is_there_is_replaced_only_when_asked(target):
    with pytest.raises(OutputExists, match=r"mask.nii.gz exists in .*: choose another name, or allow overwriting"):
        atomic_write(target, new)
    assert target.read_bytes() == b"old"
    atomic_write(target, new, overwrite=True)
    assert target.read_bytes() == b"new"
    assert names(target.parent) == [target.name]


@pytest.mark.parametrize("overwrite", [False, True])
def test_the_content_is_not_under_its_name_before_it_is_whole(tmp_path, overwrite):
    path = tmp_path / "a"

    def write(file):
        file.write(b"half")
        file.flush()
        assert not path.exists()
        (part,) = names(tmp_path)
        assert part.startswith(".a.")
        assert part.endswith(".part")

    atomic_write(path, write, overwrite=overwrite)
    assert path.read_bytes() == b"half"


def test_of_two_writers_at_once_one_wins_and_the_other_is_told(tmp_path):
    path = tmp_path / "a"

    def write(file):
        atomic_write(path, lambda other: other.write(b"first"))
        file.write(b"second")

    with pytest.raises(OutputExists):
        atomic_write(path, write)
    assert path.read_bytes() == b"first"
    assert names(tmp_path) == ["a"]


@pytest.mark.parametrize("call", ["fsync", "replace"])
def test_a_disk_that_fills_up_at_any_call_leaves_the_old_file(target, monkeypatch, call):
    monkeypatch.setattr(atomic.os, call, no_space)
    with pytest.raises(OutputFailed, match=r"^Disk full: mask.nii.gz .* need 3\.0 MB, have \d+\.\d MB: make room"):
        atomic_write(target, new, overwrite=True, size=3_000_000)
    assert target.read_bytes() == b"old"
    assert names(target.parent) == [target.name]


@pytest.mark.skipif(not hasattr(os, "statvfs"), reason="the system does not count files")
def test_a_disk_without_inodes_is_told_as_such_and_not_by_its_room(tmp_path, monkeypatch):
    monkeypatch.setattr(atomic.os, "statvfs", lambda _: SimpleNamespace(f_files=1000, f_favail=0))
    monkeypatch.setattr(atomic.os, "open", no_space)
    with pytest.raises(OutputFailed, match=r"^a could not be written .* no inodes left.*: delete files"):
        atomic_write(tmp_path / "a", new, size=2200)
    monkeypatch.setattr(Path, "mkdir", no_space)
    with pytest.raises(OutputFailed, match=r"b.c cannot be made: .* no inodes left"):
        make_folder(tmp_path / "b" / "c")
    monkeypatch.setattr(
        atomic.os,
        "statvfs",
        lambda _: SimpleNamespace(f_files=0, f_favail=0, f_bavail=9, f_blocks=9, f_bfree=9, f_frsize=9),
    )  # btrfs has no number
    with pytest.raises(OutputFailed, match=r"^Disk full: a .* need 2\.2 kB, have"):
        atomic_write(tmp_path / "a", new, size=2200)


@pytest.mark.parametrize("overwrite", [False, True])
def test_a_disk_that_fills_up_while_writing_leaves_no_trace(tmp_path, overwrite):
    def write(file):
        file.write(b"a lot")
        no_space()

    with pytest.raises(OutputFailed, match="Disk full"):
        atomic_write(tmp_path / "a", write, overwrite=overwrite)
    assert names(tmp_path) == []


def test_a_file_beyond_the_limit_of_the_process_leaves_the_old_one(target):
    resource = pytest.importorskip("resource")
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1000, hard))
    try:
        with pytest.raises(OutputFailed, match=r"^File too large: mask.*: need .* kB, more than .*: raise the limit"):
            atomic_write(target, lambda file: file.write(bytes(100_000)), overwrite=True)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert target.read_bytes() == b"old"
    assert names(target.parent) == [target.name]


def test_a_quota_that_is_used_up_is_no_full_disk(target, monkeypatch):
    def fsync(_descriptor):
        raise OSError(errno.EDQUOT, os.strerror(errno.EDQUOT))

    monkeypatch.setattr(atomic.os, "fsync", fsync)
    with pytest.raises(OutputFailed, match=r"^Quota used up: mask.nii.gz .*: need 3\.0 MB: delete files"):
        atomic_write(target, new, overwrite=True, size=3_000_000)
    assert target.read_bytes() == b"old"


@pytest.mark.parametrize("error", [KeyboardInterrupt, ValueError, MemoryError])
def test_an_interruption_passes_through_and_leaves_the_old_file(target, error):
    def write(file):
        file.write(b"half")
        raise error

    with pytest.raises(error):
        atomic_write(target, write, overwrite=True)
    assert target.read_bytes() == b"old"
    assert names(target.parent) == [target.name]


@pytest.mark.parametrize("code", [errno.EPERM, errno.ENOTSUP])
def test_a_file_system_without_hard_links_does_as_well(tmp_path, monkeypatch, code):
    def link(*_args):
        raise OSError(code, os.strerror(code))

    monkeypatch.setattr(atomic.os, "link", link)
    atomic_write(tmp_path / "a", new)
    assert (tmp_path / "a").read_bytes() == b"new"
    with pytest.raises(OutputExists):
        atomic_write(tmp_path / "a", new)
    assert names(tmp_path) == ["a"]


def test_a_name_taken_meanwhile_is_respected_without_hard_links(tmp_path, monkeypatch):
    def link(*_args):
        (tmp_path / "a").write_bytes(b"theirs")
        raise OSError(errno.EPERM, "")

    monkeypatch.setattr(atomic.os, "link", link)
    with pytest.raises(OutputExists):
        atomic_write(tmp_path / "a", new)
    assert (tmp_path / "a").read_bytes() == b"theirs"


def test_a_folder_that_cannot_be_synced_is_no_failure(tmp_path, monkeypatch):
    real = os.fsync

    def fsync(descriptor):
        if stat.S_ISDIR(os.fstat(descriptor).st_mode):
            no_space()
        real(descriptor)

    monkeypatch.setattr(atomic.os, "fsync", fsync)
    atomic_write(tmp_path / "a", new)
    assert (tmp_path / "a").read_bytes() == b"new"


def test_a_link_is_replaced_and_not_what_it_points_to(target):
    link = target.with_name("link")
    link.symlink_to(target)
    with pytest.raises(OutputExists):
        atomic_write(link, new)
    atomic_write(link, new, overwrite=True)
    assert target.read_bytes() == b"old"
    assert link.read_bytes() == b"new"
    assert not link.is_symlink()


def test_a_link_to_nothing_counts_as_there(tmp_path):
    (tmp_path / "link").symlink_to(tmp_path / "nothing")
    with pytest.raises(OutputExists):
        atomic_write(tmp_path / "link", new)


@pytest.mark.skipif(os.name == "nt", reason="permissions of POSIX")
@pytest.mark.parametrize(("mask", "mode"), [(0o022, 0o644), (0o077, 0o600), (0o002, 0o664)])
def test_permissions_follow_the_umask(tmp_path, mask, mode):
    before = os.umask(mask)
    try:
        atomic_write(tmp_path / "a", new)
    finally:
        os.umask(before)
    assert stat.S_IMODE((tmp_path / "a").stat().st_mode) == mode


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("absent/a", "there is no such folder: make it"),
        ("file/a", "choose another place"),
        ("x" * 300, "choose another place or name"),
        ("a\0b", "no possible file name"),
    ],
)
def test_a_place_that_cannot_be_is_refused(tmp_path, name, text):
    (tmp_path / "file").touch()
    with pytest.raises(OutputFailed, match=text):
        atomic_write(tmp_path / name, new)


def test_a_folder_is_not_overwritten(tmp_path):
    (tmp_path / "a").mkdir()
    with pytest.raises(OutputFailed, match="could not be written"):
        atomic_write(tmp_path / "a", new, overwrite=True)
    assert names(tmp_path) == ["a"]


def test_json_is_readable_text(tmp_path):
    record = {"case": "Müller", "members": [1, 2]}
    write_json(tmp_path / "run.json", record)
    assert json.loads((tmp_path / "run.json").read_text("utf-8")) == record
    assert "Müller" in (tmp_path / "run.json").read_text("utf-8")
    with pytest.raises(OutputExists):
        write_json(tmp_path / "run.json", {})
    with pytest.raises(ValueError, match="not JSON compliant"):
        write_json(tmp_path / "nan.json", {"x": float("nan")})
    assert names(tmp_path) == ["run.json"]
