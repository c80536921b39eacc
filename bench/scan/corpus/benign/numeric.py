"""Arrays, tables and sparse matrices of numpy, scipy and pandas."""

from __future__ import annotations

import pickle
from pathlib import Path

from .group import Group


def _numpy(folder: Path, scratch: Path) -> None:
    import numpy as np

    kinds = (
        "f2",
        "f4",
        "f8",
        "i1",
        "i2",
        "i4",
        "i8",
        "u1",
        "u8",
        "c8",
        "c16",
        "?",
        "U5",
        "S5",
        "M8[s]",
        "m8[ms]",
        ">f4",
    )
    for kind in kinds:
        name = kind.replace("[", "-").replace("]", "").replace(">", "big-").replace("?", "bool")
        values: np.ndarray = np.zeros((3, 4), dtype=kind)
        np.save(folder / f"{name}.npy", values)
        if kind in ("f4", "i8", "U5", "M8[s]", "c8"):
            for protocol in (2, 4, 5):
                (folder / f"{name}-{protocol}.pkl").write_bytes(pickle.dumps(values, protocol))
    rows: np.ndarray = np.zeros(4, dtype=[("id", "i4"), ("name", "U8"), ("box", "f4", (2, 2))])
    np.save(folder / "structured.npy", rows)
    np.save(folder / "fortran.npy", np.asfortranarray(np.eye(5)))
    np.save(folder / "empty.npy", np.zeros((0, 3)))
    np.save(
        folder / "objects.npy", np.array(["a", None, 3, (1, 2), {"k": 1.5}], dtype=object), allow_pickle=True
    )
    np.savez(folder / "several.npz", a=np.eye(3), b=np.arange(9), names=np.array(["x", "y"]))
    np.savez_compressed(folder / "packed.npz", a=np.eye(30), objects=np.array([[1], [2, 3]], dtype=object))
    others: dict[str, object] = {
        "scalars": [np.float32(1.5), np.int64(3), np.bool_(True), np.datetime64("2026-11-01"), np.str_("a")],
        "masked": np.ma.masked_array([1.0, 2.0], mask=[False, True]),
        "records": rows.view(np.recarray),
        "generator": np.random.default_rng(3),
        "random-state": np.random.RandomState(3),
        "state": np.random.RandomState(3).get_state(),
        "streams": [np.random.Generator(np.random.Philox(3)), np.random.SeedSequence(3)],
        "dtypes": [np.dtype("f4"), rows.dtype, np.dtype("M8[ns]"), np.float32],
        "polynomial": np.polynomial.Polynomial([1, 2, 3]),
        "objects": np.array([None, "text", [1, 2]], dtype=object),
        "matrix": np.asmatrix(np.eye(2)),
    }
    for name, value in others.items():
        (folder / f"{name}.pkl").write_bytes(pickle.dumps(value))


def _scipy(folder: Path, scratch: Path) -> None:
    import numpy as np
    import scipy.interpolate
    import scipy.sparse
    import scipy.spatial
    import scipy.stats

    dense = np.eye(6)
    for form in ("csr", "csc", "coo", "bsr", "dia", "lil", "dok"):
        matrix = getattr(scipy.sparse, f"{form}_matrix")(dense)
        (folder / f"{form}.pkl").write_bytes(pickle.dumps(matrix))
    scipy.sparse.save_npz(folder / "csr.npz", scipy.sparse.csr_matrix(dense))
    (folder / "array.pkl").write_bytes(pickle.dumps(scipy.sparse.csr_array(dense)))
    (folder / "kdtree.pkl").write_bytes(pickle.dumps(scipy.spatial.KDTree(dense)))
    spline = scipy.interpolate.CubicSpline([0, 1, 2], [0, 1, 4])
    (folder / "spline.pkl").write_bytes(pickle.dumps(spline))
    (folder / "normal.pkl").write_bytes(pickle.dumps(scipy.stats.norm(0, 2)))
    (folder / "rotation.pkl").write_bytes(pickle.dumps(scipy.spatial.transform.Rotation.from_euler("x", 0.3)))


def _pandas(folder: Path, scratch: Path) -> None:
    import pandas as pd

    table = pd.DataFrame({
        "a": [1, 2, 3], "b": [0.1, None, 0.3], "c": ["x", "y", None], "d": pd.Categorical(["p", "q", "p"]),
        "e": pd.date_range("2026-01-01", periods=3, tz="UTC"), "f": pd.array([1, None, 3], dtype="Int64"),
    })  # fmt: skip
    frames: dict[str, object] = {
        "table": table,
        "series": table["a"],
        "texts": table[["c"]].astype("string"),
        "grouped": table.set_index(["a", "c"]),
        "periods": pd.Series(pd.period_range("2026-01", periods=3, freq="M")),
        "intervals": pd.Series(pd.interval_range(0, 3)),
        "deltas": pd.Series(pd.to_timedelta([1, 2], unit="h")),
        "sparse": pd.DataFrame({"a": pd.arrays.SparseArray([0, 0, 1])}),
        "empty": pd.DataFrame(),
        "wide": pd.DataFrame({f"column {number}": range(3) for number in range(200)}),
        "indexes": [pd.RangeIndex(3), pd.Index(["a"]), pd.MultiIndex.from_product([[1], ["a"]])],
        "stamps": [pd.Timestamp("2026-11-01", tz="Europe/Paris"), pd.Timedelta(1, "h"), pd.NaT, pd.NA],
    }
    for number, (name, value) in enumerate(frames.items()):
        pd.to_pickle(value, folder / f"{name}.pkl", protocol=5 - number % 4)
    for ending in ("gz", "bz2", "zip", "xz", "tar"):
        pd.to_pickle(table, folder / f"table.pkl.{ending}")


GROUPS = (
    Group("numpy", "numpy", _numpy),
    Group("scipy", "scipy", _scipy),
    Group("pandas", "pandas", _pandas),
)
