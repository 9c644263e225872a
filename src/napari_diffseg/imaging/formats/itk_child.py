"""A program of its own, started by `itk_process`: answers what files hold, and reads them, through SimpleITK.

It imports nothing of this package. A line of JSON on its standard input is a question, a line on its standard output
the answer; what ITK prints goes nowhere.
"""

import json
import os
import sys

import numpy as np
import SimpleITK as sitk


def main() -> None:
    """Answer until the input ends."""
    answers = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
    for line in sys.stdin:
        question = json.loads(line)
        answer = _inform(question["files"], question["tags"]) if "tags" in question else _read(question)
        answers.write(json.dumps(answer) + "\n")
        answers.flush()


def _inform(files: list[str], tags: list[str]) -> list[dict[str, object]]:
    """Of each file its header: sizes, place, kind of value and the fields asked for; or the error."""
    found: list[dict[str, object]] = []
    for file in files:
        reader = sitk.ImageFileReader()
        reader.SetFileName(file)
        try:
            reader.ReadImageInformation()
        except RuntimeError as err:
            found.append({"error": str(err)})
            continue
        found.append(
            {
                "size": reader.GetSize(),
                "spacing": reader.GetSpacing(),
                "origin": reader.GetOrigin(),
                "direction": reader.GetDirection(),
                "components": reader.GetNumberOfComponents(),
                "kind": sitk.GetPixelIDValueAsString(reader.GetPixelIDValue()),
                "tags": {tag: reader.GetMetaData(tag) for tag in tags if reader.HasMetaDataKey(tag)},
            }
        )
    return found


def _read(question: dict[str, object]) -> dict[str, object]:
    """Read files of one size into one file of raw values, the first index fastest, channels or slices last."""
    arrays = []
    files = question["files"]
    for file in files if isinstance(files, list) else []:
        try:
            image = sitk.ReadImage(file)
        except RuntimeError as err:
            return {"error": str(err), "file": file}
        values = sitk.GetArrayFromImage(image)
        arrays.append(np.moveaxis(values, -1, 0) if image.GetNumberOfComponentsPerPixel() > 1 else values)
    stacked = np.stack(arrays)
    stacked.tofile(str(question["into"]))
    return {"dtype": stacked.dtype.str}


if __name__ == "__main__":
    main()
