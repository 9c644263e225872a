"""What `predict` and `export --names bids` write is valid BIDS, as its own validator says."""

import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from builders import write_case, write_tiny_checkpoint
from napari_diffseg.cli import main

VALIDATOR = shutil.which("bids-validator-deno", path=str(Path(sys.executable).parent)) or shutil.which(
    "bids-validator-deno"
)
pytestmark = [pytest.mark.slow, pytest.mark.skipif(VALIDATOR is None, reason="bids-validator-deno is not installed")]


def faults(folder):
    """Errors that the validator finds, as code and place."""
    done = subprocess.run([VALIDATOR, str(folder), "--json"], capture_output=True, text=True, check=False, timeout=300)
    issues = json.loads(done.stdout)["issues"]["issues"]
    return [(issue["code"], issue.get("location")) for issue in issues if issue["severity"] == "error"]


@pytest.mark.parametrize("labels", [("lesion",), ("Tumour core", "enhancing-tumour", "腫瘍")])
def test_an_export_is_valid_with_pictures_page_and_several_labels(tmp_path, labels):
    checkpoint = write_tiny_checkpoint(tmp_path / "tiny.safetensors", labels=labels)
    cases = ("sub-01_ses-pre_acq-3d_run-1_space-T1w", "sub-01_ses-post", "p-11", "患者一")
    folders = [str(write_case(tmp_path / "in" / case, case_id=case)) for case in cases]
    runs, out = tmp_path / "runs", tmp_path / "out"
    options = ["--checkpoint", str(checkpoint), "--members", "2", "--device", "cpu"]
    assert main(["predict", *folders, *options, "--out", str(runs)]) == 0
    assert main(["export", str(runs), "--out", str(out), "--names", "bids", "--report", "--pictures"]) == 0
    assert len(list(out.rglob("*_mask.nii.gz"))) == len(cases) * len(labels) * 3
    assert list(out.rglob("*.png"))
    assert faults(out) == []


def test_the_validator_finds_what_is_wrong(tmp_path):
    (tmp_path / "sub-01" / "anat").mkdir(parents=True)
    (tmp_path / "dataset_description.json").write_text(
        json.dumps({"Name": "x", "BIDSVersion": "1.10.0", "DatasetType": "derivative", "GeneratedBy": [{"Name": "x"}]})
    )
    (tmp_path / "sub-01" / "anat" / "sub-01_label-a_dseg.json").write_text("{}")
    assert faults(tmp_path)
