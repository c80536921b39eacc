"""Makes the files of this folder: make.py (pip install h5py==3.16.0). The code in them is four bytes.

What they name outside of themselves is not there: nothing lies below ``/dev/null``.
"""

from __future__ import annotations

import json

import h5py
import numpy

DENSE = {"class_name": "Dense", "config": {"name": "d", "units": 4}}
LAMBDA = {"class_name": "Lambda", "config": {"name": "l", "function": ["4wEAAAA=", None, None]}}


def made(path: str, *layers: object, fixed: bool = False, **how: object) -> None:
    """``fixed``: as a text of fixed length, as Keras of old wrote it."""
    text = json.dumps({"class_name": "Sequential", "config": {"layers": layers}})
    with h5py.File(path, "w", **how) as file:
        file.attrs["keras_version"] = "2.9.0"
        file.attrs["model_config"] = numpy.bytes_(text) if fixed else text
        if "libver" in how:  # more than eight attributes lie in a heap
            for number in range(20):
                file.attrs[f"a{number}"] = number
        file.create_group("model_weights")["w"] = numpy.zeros((4, 4), "float32")


def outside(path: str, where: str, kind: str, **how: object) -> None:
    """A file that takes a dataset from ``where``, in one of the ways there are."""
    with h5py.File(path, "w", **how) as file:
        for number in range(20):
            file[f"layer{number}"] = numpy.ones(2)
        if kind == "link":
            file["model/weights"] = h5py.ExternalLink(where, "/weights")
        elif kind == "raw":
            file.create_dataset("weights", (4,), "f4", external=[("beside.bin", 0, 8), (where, 0, 8)])
        else:
            layout = h5py.VirtualLayout((2, 2), "f8")
            layout[0] = h5py.VirtualSource(".", "layer0", (2,))
            layout[1] = h5py.VirtualSource(where, "weights", (2,))
            file.create_virtual_dataset("weights", layout)


if __name__ == "__main__":
    for kind in ("link", "raw", "virtual"):
        outside(f"outside-{kind}.h5", "/dev/null/elsewhere.h5", kind)
        outside(f"outside-{kind}-newest.h5", "../elsewhere.h5", kind, libver="latest")
        outside(f"beside-{kind}.h5", "elsewhere.h5", kind)
    outside("outside-behind.h5", "/dev/null/elsewhere.h5", "raw", userblock_size=1024)
    made("dense-fixed.h5", DENSE, fixed=True)
    made("dense.h5", DENSE)
    made("lambda-fixed.h5", LAMBDA, fixed=True)
    made("lambda.h5", DENSE, LAMBDA)
    made("lambda-newest.h5", LAMBDA, libver="latest")
    made("lambda-newest-fixed.h5", LAMBDA, fixed=True, libver="latest")
    made("lambda-behind.h5", LAMBDA, userblock_size=1024)
    with h5py.File("weights.h5", "w") as weights:
        weights["x"] = numpy.zeros(10)
