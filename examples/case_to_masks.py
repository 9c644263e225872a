"""A case to masks: `python case_to_masks.py CASE OUT [CHECKPOINT]`.

CASE is a folder of one patient's images. Each member, the consensus mask, the mean and the uncertainty are written into
OUT as NIfTI on the voxels of the images, each member as soon as it is finished, with a run.json that makes the run
again. The shipped checkpoint is used unless another one is given.
"""

import sys
from pathlib import Path

from napari_diffseg import (
    Finished,
    LocalSegmenter,
    RunFolder,
    Sampled,
    SegmentRequest,
    keep_run,
    load_checkpoint,
    read_case,
)


def main(source: str, out: str, checkpoint: str = "demo") -> None:
    """Segment one case."""
    loaded = load_checkpoint(checkpoint)
    case = read_case(source, modalities=loaded.recipe.modalities, may_miss=loaded.recipe.may_miss)
    request = SegmentRequest(members=5, seed=0)
    folder = RunFolder(Path(out), case, loaded, request)
    for event in keep_run(LocalSegmenter(loaded), folder):
        match event:
            case Sampled():
                print(f"member {event.member}: slices {event.slices[0]} to {event.slices[-1]}")
            case Finished():
                print(f"{len(event.members)} members in {event.seconds:.1f} s: {out}")


if __name__ == "__main__":
    main(*sys.argv[1:])
