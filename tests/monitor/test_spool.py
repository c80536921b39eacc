from __future__ import annotations

import json
import os
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.examples import examples
from tests.monitor.frames import frame_of
from veracity.core import wire
from veracity.monitor import spool
from veracity.monitor.spool import Damage, SpoolReader

NAME = "123-00000abc"


def frame(seq: int, size: int = 0) -> bytes:
    return wire.pack("bye", seq, seq, {"records": seq}, bytes(size))


def place(folder: Path, segment: int = 0, name: str = NAME) -> Path:
    return folder / f"{name}.{segment:06d}.spool"


def write(folder: Path, *seqs: int, segment: int = 0, name: str = NAME) -> None:
    with place(folder, segment, name).open("ab") as file:
        file.write(b"".join(frame(seq) for seq in seqs))


def taken(reader: SpoolReader) -> list[int | str]:
    """Sequence numbers of the frames read, and the reasons of damage."""
    found: list[int | str] = []
    for item in reader.read():
        if isinstance(item, Damage):
            assert (item.stream, item.pid) == (NAME, 123)
            found.append(item.reason)
        else:
            assert (item[0].name, item[0].pid) == (NAME, 123)
            found.append(json.loads(item[1].header)["s"])
    return found


def test_each_record_is_read_once_as_the_file_grows(tmp_path: Path) -> None:
    reader = SpoolReader(tmp_path)
    assert taken(reader) == []
    write(tmp_path, 0, 1)
    assert taken(reader) == [0, 1]
    assert taken(reader) == []
    write(tmp_path, 2)
    assert taken(reader) == [2]
    assert reader.torn() == []


def test_a_folder_that_is_not_there_has_no_records(tmp_path: Path) -> None:
    assert taken(SpoolReader(tmp_path / "none")) == []
    (tmp_path / "file").write_text("")
    assert taken(SpoolReader(tmp_path / "file")) == []


@pytest.mark.parametrize(
    "name",
    ["x", "123-00000abc.spool", "123-00000abc.0.spool", "-00000abc.000000.spool", "123-00000ABC.000000.spool",
     "123-00000abc.000000.spool.tmp", "12345678901-00000abc.000000.spool"],
)  # fmt: skip
def test_other_files_are_not_spools(tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_bytes(frame(0))
    assert taken(SpoolReader(tmp_path)) == []


def test_processes_are_kept_apart(tmp_path: Path) -> None:
    write(tmp_path, 0, 1)
    write(tmp_path, 0, name="124-00000abc")
    streams = {
        item[0].pid: item[0].name for item in SpoolReader(tmp_path).read() if not isinstance(item, Damage)
    }
    assert streams == {123: NAME, 124: "124-00000abc"}


def test_a_finished_segment_is_removed_once_it_is_recorded_and_durable(tmp_path: Path) -> None:
    write(tmp_path, 0, 1)
    reader = SpoolReader(tmp_path)
    assert taken(reader) == [0, 1]
    write(tmp_path, 2, segment=1)
    write(tmp_path, 3, segment=2)
    assert [seq for _ in range(4) for seq in taken(reader)] == [2, 3]
    names = [place(tmp_path, segment).name for segment in range(4)]
    assert sorted(path.name for path in tmp_path.iterdir()) == names[:3]
    reader.release()  # nothing of them was recorded
    assert sorted(path.name for path in tmp_path.iterdir()) == names[:3]
    reader.recorded()
    write(tmp_path, 4, segment=3)
    assert [seq for _ in range(2) for seq in taken(reader)] == [4]
    reader.release()  # the third was read after that
    assert sorted(path.name for path in tmp_path.iterdir()) == names[2:]
    assert taken(SpoolReader(tmp_path)) == [3]


def test_a_reader_that_comes_late_begins_at_the_first_segment_left(tmp_path: Path) -> None:
    write(tmp_path, 5, segment=3)
    write(tmp_path, 6, segment=4)
    reader = SpoolReader(tmp_path)
    assert [seq for _ in range(3) for seq in taken(reader)] == [5, 6]


def test_a_second_reader_finds_all_that_is_left(tmp_path: Path) -> None:
    whole = frame(1)
    write(tmp_path, 0)
    with place(tmp_path).open("ab") as file:
        file.write(whole[:9])
    assert taken(SpoolReader(tmp_path)) == [0]
    second = SpoolReader(tmp_path)
    assert taken(second) == [0]
    with place(tmp_path).open("ab") as file:
        file.write(whole[9:])
    assert taken(second) == [1]


def test_bytes_taken_in_are_counted_until_nothing_is_left(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(spool, "READ_BYTES", 20)
    write(tmp_path, 0)
    write(tmp_path, 1, segment=1)
    reader = SpoolReader(tmp_path)
    found: list[int | str] = []
    before = -1
    while before != reader.taken:
        before = reader.taken
        found += taken(reader)
    assert found == [0, 1]
    assert reader.taken == len(frame(0) + frame(1))


def test_a_torn_tail_is_reported_only_when_asked_for(tmp_path: Path) -> None:
    write(tmp_path, 0)
    with place(tmp_path).open("ab") as file:
        file.write(frame(1)[:-1])
    reader = SpoolReader(tmp_path)
    assert taken(reader) == [0]
    assert taken(reader) == []
    (damage,) = reader.torn()
    assert "cut after" in damage.reason


def test_a_finished_segment_that_ends_within_a_record(tmp_path: Path) -> None:
    with place(tmp_path).open("wb") as file:
        file.write(frame(0)[:-1])
    write(tmp_path, 1, segment=1)
    reader = SpoolReader(tmp_path)
    assert [item for _ in range(3) for item in taken(reader)] == ["segment 0 ends within a record"]
    assert reader.torn() == []


def test_what_was_taken_in_is_discarded_and_not_missed(tmp_path: Path) -> None:
    write(tmp_path, 0)
    reader = SpoolReader(tmp_path)
    assert taken(reader) == [0]
    reader.discard("124-00000abc")
    reader.discard(NAME)
    assert list(tmp_path.iterdir()) == []
    assert taken(reader) == []


@pytest.mark.parametrize("tail", [b"VF01", b"no frame at all"])
def test_what_could_not_be_read_is_kept(tmp_path: Path, tail: bytes) -> None:
    place(tmp_path).write_bytes(frame(0) + tail)
    reader = SpoolReader(tmp_path)
    assert taken(reader)[0] == 0
    reader.discard(NAME)
    assert place(tmp_path).exists()


def once_damaged(reader: SpoolReader, reason: str) -> None:
    (found,) = taken(reader)
    assert reason in str(found)
    assert taken(reader) == []
    assert reader.torn() == []


def test_a_spool_that_was_cut(tmp_path: Path) -> None:
    write(tmp_path, 0, 1)
    reader = SpoolReader(tmp_path)
    assert taken(reader) == [0, 1]
    os.truncate(place(tmp_path), 5)
    once_damaged(reader, "cut from")


@pytest.mark.parametrize("records", [0, 1])
def test_a_spool_that_was_removed(tmp_path: Path, records: int) -> None:
    write(tmp_path, *range(records))
    reader = SpoolReader(tmp_path)
    assert taken(reader) == list(range(records))
    place(tmp_path).unlink()
    once_damaged(reader, "removed")


def test_a_next_segment_that_was_removed(tmp_path: Path) -> None:
    write(tmp_path, 0)
    place(tmp_path, 1).touch()
    reader = SpoolReader(tmp_path)
    assert [seq for _ in range(3) for seq in taken(reader)] == [0]
    place(tmp_path, 1).unlink()
    once_damaged(reader, "removed")


def test_a_spool_that_was_overwritten(tmp_path: Path) -> None:
    write(tmp_path, 0)
    reader = SpoolReader(tmp_path)
    assert taken(reader) == [0]
    with place(tmp_path).open("ab") as file:
        file.write(b"no frame at all, and long enough to see it")
    once_damaged(reader, "no frame")


def test_damage_of_one_spool_leaves_the_others_alone(tmp_path: Path) -> None:
    place(tmp_path, name="100-00000abc").write_bytes(b"x" * 64)
    write(tmp_path, 0)
    items = list(SpoolReader(tmp_path).read())
    assert isinstance(items[0], Damage)
    assert not isinstance(items[1], Damage)


def test_what_is_no_regular_file_is_never_opened_or_waited_for(tmp_path: Path) -> None:
    (tmp_path / "elsewhere").write_bytes(frame(0))
    place(tmp_path).symlink_to(tmp_path / "elsewhere")
    once_damaged(SpoolReader(tmp_path), "cannot be opened")
    place(tmp_path).unlink()
    os.mkfifo(place(tmp_path))
    once_damaged(SpoolReader(tmp_path), "no regular file")
    place(tmp_path).unlink()
    place(tmp_path).mkdir()
    once_damaged(SpoolReader(tmp_path), "no regular file")


def test_a_segment_that_cannot_be_removed_is_passed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(path: Path) -> None:
        raise PermissionError(1, "Operation not permitted", str(path))

    monkeypatch.setattr(Path, "unlink", refuse)
    write(tmp_path, 0)
    write(tmp_path, 1, segment=1)
    reader = SpoolReader(tmp_path)
    assert [seq for _ in range(3) for seq in taken(reader)] == [0, 1]


def test_streams_are_bounded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(spool, "MAX_STREAMS", 2)
    for number in range(5):
        write(tmp_path, 0, name=f"{number}-00000abc")
    reader = SpoolReader(tmp_path)
    assert len(list(reader.read())) == 2
    write(tmp_path, 1, name="4-00000abc")
    assert list(reader.read()) == []


def test_a_large_record_arrives_in_portions(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(spool, "READ_BYTES", 1000)
    place(tmp_path).write_bytes(frame(0, 2500) + frame(1))
    reader = SpoolReader(tmp_path)
    assert [taken(reader) for _ in range(4)] == [[], [], [0, 1], []]


def test_a_record_read_from_a_consumer_that_stops_is_not_read_again(tmp_path: Path) -> None:
    write(tmp_path, 0, 1, 2)
    reader = SpoolReader(tmp_path)
    reading = reader.read()
    assert next(reading)
    reading.close()  # type: ignore[attr-defined]
    write(tmp_path, 3)
    assert taken(reader) == [1, 2, 3]


@given(
    st.lists(st.tuples(st.integers(0, 40), st.booleans()), min_size=1, max_size=12),
    st.lists(st.integers(10, 120), min_size=1, max_size=30),
    st.lists(st.booleans(), max_size=30),
)
@settings(max_examples=examples(40))
def test_frames_cut_anywhere_arrive_once_and_in_order(
    tmp_path_factory: pytest.TempPathFactory,
    records: list[tuple[int, bool]],
    cuts: list[int],
    restarts: list[bool],
) -> None:
    """Writes arrive in pieces of any size, segments end anywhere, the monitor is replaced now and then."""
    folder = tmp_path_factory.mktemp("spool")
    pieces: list[tuple[int, bytes]] = []
    segment = 0
    for seq, (size, new_segment) in enumerate(records):
        if new_segment and seq:
            segment += 1
        data = frame(seq, size)
        cut = cuts[seq % len(cuts)]
        pieces += [(segment, data[at : at + cut]) for at in range(0, len(data), cut)]
    reader = SpoolReader(folder)
    by_reader: list[list[int | str]] = [[]]
    for number, (at, piece) in enumerate(pieces):
        with place(folder, at).open("ab") as file:
            file.write(piece)
        by_reader[-1] += taken(reader)
        if number % 2:
            reader.recorded()
        if number % 3:
            reader.release()
        if number < len(restarts) and restarts[number]:
            reader = SpoolReader(folder)
            by_reader.append([])
    for _ in range(segment + 2):
        by_reader[-1] += taken(reader)
    for found in by_reader:
        # A later reader begins with the first segment left, which may hold records taken in before.
        assert found == list(range(int(found[0]), int(found[0]) + len(found))) if found else True
    assert {seq for found in by_reader for seq in found} == set(range(len(records)))
    assert len(by_reader) > 1 or by_reader[0] == list(range(len(records)))
    assert reader.torn() == []


@given(st.lists(st.binary(max_size=60) | st.sampled_from([frame_of("bye"), frame(1)]), max_size=5))
@settings(max_examples=examples(60))
def test_no_bytes_raise(tmp_path_factory: pytest.TempPathFactory, pieces: list[bytes]) -> None:
    folder = tmp_path_factory.mktemp("spool")
    reader = SpoolReader(folder)
    damaged = 0
    for piece in pieces:
        with place(folder).open("ab") as file:
            file.write(piece)
        damaged += sum(isinstance(item, Damage) for item in reader.read())
    assert damaged <= 1
