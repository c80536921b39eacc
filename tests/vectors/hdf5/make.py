"""Makes the files of this folder: make.py (pip install h5py==3.16.0). The code in them is four bytes."""

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


if __name__ == "__main__":
    made("dense-fixed.h5", DENSE, fixed=True)
    made("dense.h5", DENSE)
    made("lambda-fixed.h5", LAMBDA, fixed=True)
    made("lambda.h5", DENSE, LAMBDA)
    made("lambda-newest.h5", LAMBDA, libver="latest")
    made("lambda-newest-fixed.h5", LAMBDA, fixed=True, libver="latest")
    made("lambda-behind.h5", LAMBDA, userblock_size=1024)
    with h5py.File("weights.h5", "w") as weights:
        weights["x"] = numpy.zeros(10)
