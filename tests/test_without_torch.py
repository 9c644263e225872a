"""An installation without PyTorch reads, shows, exports and reports, and says what to install to compute."""

import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

import napari_diffseg
from builders import write_case, write_tiny_checkpoint

WITHOUT = """
import sys
from importlib.machinery import PathFinder


class WithoutTorch(PathFinder):
    @classmethod
    def find_spec(cls, name, path=None, target=None):
        if name.partition(".")[0] in ("torch", "safetensors"):
            return None
        return super().find_spec(name, path, target)


sys.meta_path = [WithoutTorch if finder is PathFinder else finder for finder in sys.meta_path]
"""


def run(code, *arguments):
    """Run lines in an interpreter that has no torch; what it prints."""
    source = str(Path(napari_diffseg.__file__).parents[1])
    text = f"{WITHOUT}\nsys.path.insert(0, {source!r})\n{textwrap.dedent(code)}\nassert 'torch' not in sys.modules"
    done = subprocess.run(
        [sys.executable, "-c", text, *map(str, arguments)],
        capture_output=True,
        encoding="utf-8",
        timeout=300,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def kept_run(tmp_path_factory):
    from napari_diffseg.checkpoint import load_checkpoint
    from napari_diffseg.events import SegmentRequest
    from napari_diffseg.imaging.case import read_case
    from napari_diffseg.runs.keep import keep_run
    from napari_diffseg.runs.run_folder import RunFolder
    from napari_diffseg.segmenting.segmenter import LocalSegmenter

    folder = tmp_path_factory.mktemp("kept")
    checkpoint = load_checkpoint(write_tiny_checkpoint(folder / "tiny.safetensors"))
    case = read_case(write_case(folder / "case"))
    run = RunFolder(folder / "run", case, checkpoint, SegmentRequest(device="cpu", members=2))
    list(keep_run(LocalSegmenter(checkpoint), run))
    return folder


def test_reading_exporting_and_the_panels_session_do_without(kept_run, tmp_path):
    said = run(
        """
        from pathlib import Path
        from napari_diffseg.cli import main
        from napari_diffseg.plugin.files.reader import get_reader
        from napari_diffseg.plugin.session.session import Session
        import napari_diffseg.plugin.panel.panel
        import napari_diffseg.plugin.explore.what_if

        kept, out = map(Path, sys.argv[1:])
        layers = get_reader(str(kept / "run"))(str(kept / "run"))
        assert len(layers) > 2
        assert main(["export", str(kept / "run"), "--out", str(out), "--report"]) == 0
        assert main(["predict", str(kept / "case"), "--checkpoint", "demo", "--out", str(out / "p")]) == 2
        session = Session(launch=lambda target, stop: target(), runs_folder=out / "runs")
        session.failed.connect(lambda text, _kind: print("panel:", text))
        session.choose_checkpoint(str(kept / "tiny.safetensors"))
        session.poll()
        """,
        kept_run,
        tmp_path / "out",
    )
    assert "pip install 'napari-diffseg[local]'" in said
    assert list((tmp_path / "out").rglob("*.html"))
    assert list((tmp_path / "out").rglob("*mask*.nii.gz"))


@pytest.mark.slow
def test_a_run_on_another_computer_does_without_here(kept_run, tmp_path):
    run(
        """
        from napari_diffseg import RunFolder, SegmentRequest, keep_run, read_case
        from napari_diffseg.remote.computer import Computer
        from napari_diffseg.remote.segmenter import RemoteSegmenter

        kept, out = sys.argv[1:]
        segmenter = RemoteSegmenter(Computer(), f"{kept}/tiny.safetensors")
        request = SegmentRequest(device="cpu", members=2)
        folder = RunFolder(out, read_case(f"{kept}/case"), segmenter.checkpoint(), request)
        list(keep_run(segmenter, folder))
        segmenter.close()
        assert folder.is_complete()
        assert folder.record().versions["torch"] not in (None, "unknown")
        """,
        kept_run,
        tmp_path / "out",
    )


@pytest.mark.slow
def test_the_command_line_samples_where_there_is_torch(kept_run, tmp_path):
    run(
        """
        from napari_diffseg.cli import main

        case, checkpoint, out = sys.argv[1:]
        words = ["predict", case, "--checkpoint", checkpoint, "--device", "cpu", "--members", "2", "--out", out]
        assert main([*words, "--compute", "process"]) == 0
        """,
        kept_run / "case",
        kept_run / "tiny.safetensors",
        tmp_path / "out",
    )
    assert len(list(tmp_path.glob("out/*/members/*.nii.gz"))) == 2
    mine, other = (next(folder.rglob("mask.nii.gz")).read_bytes() for folder in (tmp_path / "out", kept_run / "run"))
    assert mine == other
