from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from veracity.core.errors import EvidenceError
from veracity.core.observation import TensorDigest
from veracity.ledger.blobs import Blobs
from veracity.ledger.entry import Entry
from veracity.ledger.keys import SigningKey
from veracity.ledger.store import Ledger
from veracity.monitor import lineage as module
from veracity.monitor.lineage import FILE_NAME, Lineage, Recorded, described, described_digest

RUN, OTHER = "run-20250301-080000-00000a", "run-20250302-080000-00000b"
DIGEST, ELSE = "ab" * 32, "cd" * 32
TENSORS = [TensorDigest("model.w", "0" * 64, "float32", [2])]


class Runs:
    """Ledgers of runs in one home."""

    def __init__(self, home: Path) -> None:
        self.home = home
        self.signer = SigningKey.generate("veracity.local")
        self.ledgers: dict[str, Ledger] = {}

    def save(
        self,
        run: str,
        path: str,
        digest: str = DIGEST,
        *,
        at: int = 5,
        commit: bool = True,
        by: Lineage | None = None,
    ) -> Recorded:
        """What the monitor does when a run has saved a checkpoint."""
        if run not in self.ledgers:
            folder = self.home / "runs" / run
            folder.mkdir(parents=True)
            self.ledgers[run] = Ledger.create(folder / "ledger", f"veracity.local/{run}", self.signer)
            self.ledgers[run].commit()
        recorded = Recorded(digest, path, run, at, TENSORS)
        said = str(Blobs(self.home / "runs" / run / "blobs").put(described(TENSORS).encode()))
        assert said == described_digest(described(TENSORS))
        body: dict[str, object] = {"digest": digest, "path": path, "at": at, "tensors": said}
        index = self.ledgers[run].append(Entry("checkpoint", body).encode())  # type: ignore[arg-type]
        if commit:
            self.ledgers[run].commit()
        (by or Lineage(self.home, run)).remember(recorded, index)
        return recorded


@pytest.fixture
def runs(tmp_path: Path) -> Iterator[Runs]:
    made = Runs(tmp_path)
    yield made
    for ledger in made.ledgers.values():
        ledger.close()


def edit(home: Path, statement: str, *values: object) -> None:
    with closing(sqlite3.connect(home / FILE_NAME)) as database, database:
        database.execute(statement, values)


def test_a_saved_file_is_found_by_digest_and_by_path_from_another_run(runs: Runs) -> None:
    recorded = runs.save(RUN, "/data/a.pt")
    lineage = Lineage(runs.home, OTHER)
    assert lineage.by_digest(DIGEST) == [recorded]
    assert lineage.by_path("/data/a.pt") == [recorded]
    assert lineage.by_digest(ELSE) == []
    assert lineage.by_path("/data/b.pt") == []


def test_the_newest_record_comes_first(runs: Runs) -> None:
    runs.save(RUN, "/data/a.pt", at=5)
    runs.save(OTHER, "/data/a.pt", ELSE, at=9)
    assert [one.digest for one in Lineage(runs.home, RUN).by_path("/data/a.pt")] == [ELSE, DIGEST]


def test_an_empty_home_knows_nothing(tmp_path: Path) -> None:
    assert Lineage(tmp_path, RUN).by_digest(DIGEST) == []


def test_names_are_values_and_never_statements(runs: Runs) -> None:
    for path in ("/data/a'; DROP TABLE checkpoint; --.pt", "/data/é.pt", "/data/\udcff.pt", "/data/\ud800"):
        runs.save(RUN, path)
        assert len(Lineage(runs.home, OTHER).by_path(path)) == 1


@pytest.mark.parametrize(
    "row",
    [
        (ELSE, "/data/a.pt", RUN, 5, 0, "[]"),
        (DIGEST, "/data/b.pt", RUN, 5, 0, "[]"),
        (DIGEST, "/data/b.pt", RUN, 5, 1, "[]"),
        (DIGEST, "/data/b.pt", RUN, 5, 10**9, "[]"),
        (DIGEST, "/data/b.pt", RUN, 5, -1, "[]"),
        (DIGEST, "/data/b.pt", OTHER, 5, 0, "[]"),
        (DIGEST, "/data/b.pt", OTHER, 5, 10**9, "[]"),
        (DIGEST, "/data/b.pt", "../../elsewhere", 5, 0, "[]"),
        (DIGEST, "/data/b.pt", "..", 5, 0, "[]"),
        (DIGEST, "/data/b.pt", "no-run", 5, 0, "[]"),
        (DIGEST, "/data/b.pt", "\0", 5, 0, "[]"),
        (DIGEST, "/data/b.pt", b"bytes", 5, 0, "[]"),
        (DIGEST, "/data/b.pt", None, 5, 0, "[]"),
        (DIGEST, "/data/b.pt", RUN, "late", 0, "[]"),
        (DIGEST, "/data/b.pt", RUN, 5, "zero", "[]"),
        (DIGEST, "/data/b.pt", RUN, 5, 0.5, "[]"),
        (DIGEST, "/data/b.pt", RUN, 5, 0, None),
        (DIGEST, "/data/b.pt", RUN, 5, 0, "nonsense"),
        (DIGEST, "/data/b.pt", RUN, 5, 0, "[" * 100_000),
        (DIGEST, "/data/b.pt", RUN, 5, 0, '[{"key": 3}]'),
        (None, "/data/b.pt", RUN, 5, 0, "[]"),
    ],
)
def test_a_row_without_its_entry_in_the_ledger_is_ignored(runs: Runs, row: tuple[object, ...]) -> None:
    recorded = runs.save(RUN, "/data/a.pt")
    edit(runs.home, "INSERT INTO checkpoint VALUES (?, ?, ?, ?, ?, ?)", *row)
    for current in (RUN, OTHER):
        lineage = Lineage(runs.home, current)
        assert lineage.by_digest(DIGEST) == [recorded]
        assert lineage.by_digest(ELSE) == []
        assert lineage.by_path("/data/b.pt") == []


def test_tensors_edited_in_the_table_are_not_believed(runs: Runs) -> None:
    saved = runs.save(RUN, "/data/a.pt")
    edit(runs.home, "UPDATE checkpoint SET tensors = replace(tensors, '0000', '1111')")
    assert Lineage(runs.home, OTHER).by_digest(DIGEST) == [saved]  # as the ledger has them


def test_an_entry_of_another_kind_is_no_record(runs: Runs) -> None:
    runs.save(RUN, "/data/a.pt")
    body: dict[str, object] = {"digest": ELSE, "path": "/data/b.pt"}
    index = runs.ledgers[RUN].append(Entry("record", body).encode())  # type: ignore[arg-type]
    runs.ledgers[RUN].commit()
    edit(
        runs.home, "INSERT INTO checkpoint VALUES (?, ?, ?, ?, ?, ?)", ELSE, "/data/b.pt", RUN, 5, index, "[]"
    )
    assert Lineage(runs.home, OTHER).by_digest(ELSE) == []


def test_what_this_run_has_not_committed_yet_is_known_to_itself_only(runs: Runs) -> None:
    current = Lineage(runs.home, RUN)
    runs.save(RUN, "/data/a.pt", by=current)
    recorded = runs.save(RUN, "/data/b.pt", ELSE, commit=False, by=current)
    assert current.by_digest(ELSE) == [recorded]
    assert Lineage(runs.home, OTHER).by_digest(ELSE) == []


@pytest.mark.parametrize("data", [b"", b"no database", b"SQLite format 3\0" + bytes(200)])
def test_a_table_that_is_no_table_is_said_with_a_remedy(tmp_path: Path, data: bytes) -> None:
    (tmp_path / FILE_NAME).write_bytes(data)
    lineage = Lineage(tmp_path, RUN)
    if not data:
        assert lineage.by_digest(DIGEST) == []
        return
    for use in (
        lambda: lineage.by_digest(DIGEST),
        lambda: lineage.remember(Recorded(DIGEST, "/a", RUN, 5, []), 0),
    ):
        with pytest.raises(EvidenceError, match="table of checkpoints") as caught:
            use()
        assert "delete it" in caught.value.diagnostics().remedy


@pytest.mark.parametrize("columns", ["digest TEXT", "digest, path, run, at, entry, tensors, more"])
def test_a_table_of_other_columns_is_said(tmp_path: Path, columns: str) -> None:
    edit(tmp_path, f"CREATE TABLE checkpoint ({columns})")
    with pytest.raises(EvidenceError, match="table of checkpoints"):
        Lineage(tmp_path, RUN).remember(Recorded(DIGEST, "/a", RUN, 5, []), 0)


def test_a_view_that_never_ends_is_left(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MAX_TURNS", 5)
    endless = "WITH RECURSIVE n(x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM n)"
    columns = "x AS digest, x AS path, x AS run, x AS at, x AS entry, x AS tensors"
    edit(tmp_path, f"CREATE VIEW checkpoint AS {endless} SELECT {columns} FROM n")
    with pytest.raises(EvidenceError, match="interrupted"):
        Lineage(tmp_path, RUN).by_digest(DIGEST)


def test_a_home_that_cannot_be_written_is_said(tmp_path: Path) -> None:
    with pytest.raises(EvidenceError, match="table of checkpoints"):
        Lineage(tmp_path / "none", RUN).by_digest(DIGEST)


@pytest.mark.parametrize("how", ["the table", "its rows", "the right rows, pushed out by others"])
def test_what_was_taken_out_of_the_table_is_found_in_the_ledgers(runs: Runs, how: str) -> None:
    saved = runs.save(RUN, "/w/a.pt")
    runs.save(RUN, "/w/b.pt", ELSE)
    if how == "the table":
        (runs.home / FILE_NAME).unlink()
    elif how == "its rows":
        edit(runs.home, "DELETE FROM checkpoint")
    else:
        for number in range(module.MAX_MATCHES):
            edit(
                runs.home,
                "INSERT INTO checkpoint VALUES (?, ?, ?, 99, 1, '[]')",
                DIGEST,
                "/w/a.pt",
                f"run-{number}",
            )
    here = Lineage(runs.home, OTHER)
    assert here.by_path("/w/a.pt") == [saved]
    assert here.by_digest(DIGEST) == [saved]
    assert here.by_path("/w/c.pt") == []


def test_a_search_that_could_not_look_everywhere_says_so(runs: Runs, monkeypatch: pytest.MonkeyPatch) -> None:
    runs.save(RUN, "/w/a.pt")
    runs.save(OTHER, "/w/b.pt")
    monkeypatch.setattr("veracity.monitor.recordedfiles.MAX_RUNS", 1)
    with pytest.raises(EvidenceError, match="was not found"):
        Lineage(runs.home, "run-20250303-080000-00000c").by_path("/w/nowhere.pt")


def test_one_long_ledger_does_not_hold_the_search_up(runs: Runs, monkeypatch: pytest.MonkeyPatch) -> None:
    saved = runs.save(RUN, "/w/a.pt")
    monkeypatch.setattr("veracity.monitor.recordedfiles.MAX_SECONDS", -1.0)
    here = Lineage(runs.home, OTHER)
    assert here.by_path("/w/a.pt") == [saved]
    assert here.by_digest(ELSE, search=False) == []  # a file just saved: nothing is searched for it
    with pytest.raises(EvidenceError, match="was not found"):
        here.by_digest(ELSE)


def test_a_description_that_was_altered_is_no_description(runs: Runs) -> None:
    runs.save(RUN, "/w/a.pt")
    (runs.home / FILE_NAME).unlink()
    for blob in (runs.home / "runs" / RUN / "blobs").iterdir():
        blob.write_bytes(b"[]")
    (found,) = Lineage(runs.home, OTHER).by_path("/w/a.pt")
    assert (found.digest, found.tensors) == (DIGEST, [])
