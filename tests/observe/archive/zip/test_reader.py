"""Zip archives: every reading is read, what differs between them is said, and honest archives are silent."""

from __future__ import annotations

import io
import os
import random
import shutil
import struct
import subprocess
import warnings
import zipfile
import zlib
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.examples import examples
from tests.observe.archive.looking import Looked, look, look_at
from tests.observe.archive.torchfiles import torch_files
from tests.observe.archive.zip.making import Member, archive, end
from veracity.core.observation import ArchiveOdd, LimitReached, Oddity
from veracity.observe.artifact.budget import Budget
from veracity.observe.artifact.input import Input, open_file

GOOD, BAD = b"what a scanner is shown", b"what is loaded instead"


def written(*members: tuple[str, bytes], method: int = zipfile.ZIP_DEFLATED) -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", method) as made:
        for name, data in members:
            made.writestr(name, data)
    return file.getvalue()


def is_silent(looked: Looked) -> bool:
    odd = [one for one in looked.said if isinstance(one, (ArchiveOdd, LimitReached))]
    return looked.result.status == "clean" and not odd and looked.archive.between == 0


# --- honest archives ------------------------------------------------------------------------------


@pytest.mark.parametrize("method", [0, zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA])
@pytest.mark.parametrize("streamed", [False, True])
def test_what_zipfile_writes_is_read_and_silent(method: int, streamed: bool) -> None:
    class Pipe(io.BytesIO):
        def seekable(self) -> bool:
            return False

        def seek(self, *_: int) -> int:
            raise io.UnsupportedOperation

        def tell(self) -> int:
            raise io.UnsupportedOperation

    file = Pipe() if streamed else io.BytesIO()
    with zipfile.ZipFile(file, "w", method) as made:
        made.writestr("folder/", b"")
        made.writestr("folder/a.txt", b"a" * 5000)
        made.writestr("grün.txt", b"b")
        with made.open("wide.bin", "w", force_zip64=True) as member:
            member.write(b"c" * 100)
        made.comment = b"made for a test"

    looked = look(file.getvalue())

    assert is_silent(looked)
    assert looked.all == {b"a" * 5000, b"b", b"c" * 100}


@pytest.mark.parametrize(
    "before", [b"#!/usr/bin/env python3\n", b"\x7fELF" + bytes(3000), b"PK\x03\x04 in it "]
)
def test_a_program_that_carries_its_archive_is_silent(before: bytes) -> None:
    made = written(("__main__.py", b"print('hello')"))
    shifted = archive(Member(b"__main__.py", b"print('hello')"), before=before)

    for data in (before + made, shifted):
        looked = look(data)
        assert looked.result.status == "clean"
        assert not looked.oddities
        assert looked.all == {b"print('hello')"}
        assert looked.archive.before == len(before) - before.count(0)


@pytest.mark.skipif(not shutil.which("zip"), reason="the zip command is not installed")
def test_what_the_zip_command_writes_is_silent(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_bytes(b"a" * 3000)
    (tmp_path / "link").symlink_to("a.txt")
    subprocess.run(["zip", "-qy", "made.zip", "a.txt", "link"], cwd=tmp_path, check=True)
    piped = subprocess.run(
        ["zip", "-q", "-", "a.txt"], cwd=tmp_path, check=True, capture_output=True, stdin=subprocess.DEVNULL
    ).stdout

    assert is_silent(look((tmp_path / "made.zip").read_bytes()))
    assert is_silent(look(piped))
    assert look(piped).all == {b"a" * 3000}


def test_an_archive_in_an_archive_is_no_second_end() -> None:
    inner = written(("inner.txt", b"inner"))

    looked = look(written(("inner.zip", inner), ("b", b"b"), method=0))

    assert looked.result.status == "clean"
    assert not looked.oddities
    assert looked.contents["inner.zip!inner.txt"] == [b"inner"]


@pytest.mark.parametrize("length", range(20, 40))
def test_records_as_long_as_those_of_zip64_are_no_second_directory(length: int) -> None:
    """torch writes zip64 records always; a reader that passes over them does not look so far behind."""
    members = [Member(b"n" * length, b"1"), Member(b"m" * length, b"2")]
    plain = archive(*members)
    at = plain.index(b"PK\x01\x02")
    size = plain.index(b"PK\x05\x06") - at
    wide = struct.pack("<4sQ2H2I4Q", b"PK\x06\x06", 44, 20, 20, 0, 0, 2, 2, size, at)
    locator = struct.pack("<4sIQI", b"PK\x06\x07", 0, at + size, 1)

    assert is_silent(look(plain[: at + size] + wide + locator + plain[at + size :]))


def test_an_empty_archive_is_clean() -> None:
    assert look(written()).result.status == "clean"


def test_the_same_member_twice_is_no_ambiguity_and_another_of_its_name_is_a_warning() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        same = look(written(("a", GOOD), ("a", GOOD)))
        other = look(written(("a", GOOD), ("a", BAD)))

    assert is_silent(same)
    assert other.rules == {("checkpoint-archive-ambiguous", "warning")}
    assert other.all == {GOOD, BAD}


# --- what torch writes ----------------------------------------------------------------------------


def torch_zip(*more: Member, pickle: bytes = GOOD) -> bytes:
    storage = Member(b"m/data/0", struct.pack("<f", 1.5) * 64, descriptor=True)
    return archive(
        Member(b"m/data.pkl", pickle, descriptor=True), Member(b"m/byteorder", b"little"), storage, *more
    )


def test_storages_of_torch_are_plain_numbers() -> None:
    looked = look(torch_zip())

    assert looked.archive.layout == "torch"
    assert is_silent(looked)
    assert set(looked.contents) == {"m/data.pkl", "m/byteorder"}


def test_numbers_outside_of_torchs_places_are_read() -> None:
    names = (b"m/data/x", b"other/data/0", b"m/data/0/a", b"data/0")
    more = [Member(name, b"%d" % number) for number, name in enumerate(names, 1)]

    looked = look(torch_zip(*more))

    assert {b"1", b"2", b"3", b"4"} <= looked.all


def test_a_storage_with_a_second_name_is_read() -> None:
    storage = Member(b"m/data/1", BAD, local={"name": b"m/data.pkl"})

    looked = look(torch_zip(storage))

    assert BAD in looked.all
    assert Oddity.NAMES in looked.oddities


@pytest.mark.parametrize(
    ("name", "layout"),
    [
        ("saved.pt", "torch"),
        ("unsummed.pt", "torch"),
        ("Honest.pt", "torchscript"),
        ("Honest.ptl", "torchscript"),
        ("package.pt", "torch-package"),
        ("exported.pt2", "torch-export"),
    ],
)
def test_what_torch_writes_is_silent(
    name: str, layout: str, tmp_path_factory: pytest.TempPathFactory
) -> None:
    looked = look((torch_files(tmp_path_factory) / name).read_bytes())

    assert is_silent(looked)
    assert looked.archive.layout == layout
    assert not any(one.rpartition("/")[2].isdigit() for one in looked.contents)


def test_in_an_archive_of_torch_less_is_honest() -> None:
    with_more = look(torch_zip() + b"!" * 5)
    twins = look(torch_zip(Member(b"m/DATA.pkl", BAD)))
    twice = look(torch_zip(Member(b"m/data.pkl", BAD)))

    assert with_more.rules == {("checkpoint-archive-hidden", "warning")}
    assert twins.rules == {("checkpoint-archive-ambiguous", "error")}
    assert twice.rules == {("checkpoint-archive-ambiguous", "error")}
    assert BAD in twins.all
    assert BAD in twice.all


# --- readers that differ --------------------------------------------------------------------------

SAME = Member(b"same", b"aaa")


@pytest.mark.parametrize("method", [0, 8])
@pytest.mark.parametrize("described", [False, True])
@pytest.mark.parametrize("place", [0, 1, 2])
def test_a_member_that_no_directory_lists(method: int, described: bool, place: int) -> None:
    members = [SAME, Member(b"b", GOOD * 9, 8, descriptor=True)]
    members.insert(place, Member(b"hidden", BAD, method, descriptor=described, listed=False))

    looked = look(archive(*members))

    assert Oddity.UNLISTED in looked.oddities
    assert BAD in looked.all
    assert ("checkpoint-archive-ambiguous", "error") in looked.rules


def test_a_member_among_other_data_is_found() -> None:
    hidden = Member(b"hidden", BAD, 8).header()

    looked = look(archive(SAME, b"\x90" * 50 + hidden + b"\x90" * 50, Member(b"b", b"bb")))

    assert looked.oddities == {Oddity.CARVED}
    assert BAD in looked.all
    assert looked.rules == {("checkpoint-archive-ambiguous", "warning")}
    assert looked.archive.between == 100


@pytest.mark.parametrize(
    ("local", "oddity"),
    [
        ({"name": b"other"}, Oddity.NAMES),
        ({"name": b"a\0b"}, Oddity.NUL),
        ({"packed": 3, "size": 3}, Oddity.SIZES),
        ({"packed": 9999, "size": 9999}, Oddity.SIZES),
        ({"method": 8}, Oddity.METHODS),
        ({"flags": 1}, Oddity.FLAGS),
    ],
)
def test_a_header_that_says_other_things(local: dict[str, int | bytes], oddity: Oddity) -> None:
    for member in (Member(b"a", BAD, local=local), Member(b"a", BAD, central=local)):
        looked = look(archive(member, Member(b"b", b"bb")))

        assert oddity in looked.oddities
        assert BAD in looked.all
        assert ("checkpoint-archive-ambiguous", "error") in looked.rules


def test_a_shorter_size_in_the_header_leads_to_other_members() -> None:
    hidden = Member(b"hidden", BAD, 8).header()
    outer = Member(b"a", b"short" + hidden, local={"packed": 5, "size": 5})

    looked = look(archive(outer, SAME))

    assert BAD in looked.all
    assert b"short" in looked.all
    assert {Oddity.SIZES, Oddity.UNLISTED} <= looked.oddities


def test_a_packed_member_that_ends_early_leads_to_other_members() -> None:
    hidden = Member(b"hidden", BAD).header()
    outer = Member(b"a", GOOD, 8)
    packed = outer.packed + hidden
    stored = Member(b"a", packed, central={"method": 8, "size": len(GOOD), "crc": zlib.crc32(GOOD)})
    stored.local = dict(stored.central or {})

    looked = look(archive(stored, SAME))

    assert {GOOD, BAD} <= looked.all
    assert Oddity.LEFT in looked.oddities


@pytest.mark.parametrize("flag", [1, 0x20, 0x40, 0x2000])
def test_flag_bits_hide_nothing(flag: int) -> None:
    both = Member(b"a", BAD, flags=flag)
    one = Member(b"a", BAD, central={"flags": flag})

    assert look(archive(both)).all == {BAD} or flag == 1
    assert look(archive(one)).all == {BAD}
    if flag == 1:
        assert look(archive(both)).result.status == "incomplete"


def test_a_wrong_checksum_hides_nothing() -> None:
    for method in (0, 8):
        wrong = {"crc": 7}
        looked = look(archive(Member(b"a", BAD, method, local=wrong, central=wrong)))  # type: ignore[arg-type]
        assert looked.all == {BAD}
        assert looked.oddities == {Oddity.CHECKSUM}
        assert looked.rules == {("checkpoint-archive-damaged", "warning")}


def test_a_second_archive_in_front_or_behind_is_read_and_said() -> None:
    first, second = written(("a", GOOD)), written(("a", BAD))

    looked = look(first + second)

    assert {GOOD, BAD} <= looked.all
    assert ("checkpoint-archive-ambiguous", "error") in looked.rules


def test_an_end_in_the_comment_is_followed() -> None:
    """The comment holds a directory of its own, and an end that leads there."""
    hidden = Member(b"a", BAD)
    record = hidden.record(0)
    data = archive(hidden, Member(b"b", GOOD))
    closing = data.rindex(b"PK\x05\x06")
    comment = record + end(1, len(record), closing + 22)

    looked = look(data[: closing + 20] + struct.pack("<H", len(comment)) + comment)

    assert Oddity.ENDS in looked.oddities
    assert {GOOD, BAD} <= looked.all


def test_two_directories_of_one_end_are_both_read() -> None:
    bad, good = Member(b"a", BAD), Member(b"a", GOOD)
    data = bad.header() + good.header()
    at = len(bad.header())
    first, second = bad.record(0), good.record(at)
    # zipfile takes the one before the end, miniz the one at the offset told.
    whole = data + first + second + end(1, len(second), len(data))

    looked = look(whole)

    assert {GOOD, BAD} <= looked.all
    assert looked.oddities & {Oddity.ENDS, Oddity.COUNT}
    assert zlib.crc32(GOOD) == zipfile.ZipFile(io.BytesIO(whole)).infolist()[0].CRC


@pytest.mark.parametrize("told", [0, 1, 3])
def test_an_end_that_counts_other_members(told: int) -> None:
    looked = look(archive(Member(b"a", GOOD), Member(b"b", BAD), told=told))

    assert Oddity.COUNT in looked.oddities
    assert {GOOD, BAD} <= looked.all


def test_offsets_of_two_kinds_are_both_followed() -> None:
    """zipfile adds what must stand in front to each offset; others take the offset as it is."""
    real = Member(b"a", GOOD)
    shifted = Member(b"a", BAD)
    front = shifted.header()
    body = real.header()
    record = real.record(0)
    whole = front + body + record + end(1, len(record), len(body))

    looked = look(whole)

    assert {GOOD, BAD} <= looked.all
    assert looked.oddities


def test_overlapping_members_are_said() -> None:
    inner = Member(b"b", b"b" * 50)
    outer = Member(b"a", inner.header() + b"more")
    inside = len(outer.header()) - len(outer.data)
    data = outer.header()
    directory = outer.record(0) + inner.record(inside)

    looked = look(data + directory + end(2, len(directory), len(data)))

    assert Oddity.OVERLAP in looked.oddities
    assert b"b" * 50 in looked.all


def test_one_member_under_many_records_overlaps_itself() -> None:
    member = Member(b"a", bytes(1000), 8)
    records = member.record(0) * 50
    header = member.header()

    looked = look(header + records + end(50, len(records), len(header)))

    assert looked.oddities == {Oddity.OVERLAP}
    assert looked.contents == {"a": [bytes(1000)]}


def test_beginnings_of_members_everywhere_are_a_limit() -> None:
    assert look(b"PK\x03\x04" * 50_000).limits


def test_names_that_lead_outside() -> None:
    looked = look(archive(Member(b"../a", b"1"), Member(b"/b", b"2"), Member(rb"c\..\..\d", b"3")))

    assert looked.rules == {
        ("checkpoint-archive-escapes", "error"),
        ("checkpoint-archive-escapes", "warning"),
    }


def test_a_member_through_a_link_of_the_archive() -> None:
    link = Member(b"out", b"/etc", mode=0o120777)
    inside = Member(b"in", b"folder/file", mode=0o120777)

    through = look(archive(link, Member(b"out/passwd", b"x")))
    alone = look(archive(inside, Member(b"in/file", b"x")))
    packed = look(archive(Member(b"out", b"/etc" + b"/." * 50, 8, mode=0o120777)))

    assert ("checkpoint-archive-escapes", "error") in through.rules
    assert alone.result.status == "clean"
    assert packed.oddities == {Oddity.LINK_OUTSIDE}


# --- bad input ------------------------------------------------------------------------------------


def test_what_is_cut_off_is_read_as_far_as_it_goes_and_never_clean() -> None:
    whole = written(("a", GOOD), ("b", random.Random(1).randbytes(5000)), ("c", BAD))

    for length in range(10, len(whole) - 1, 37):
        looked = look(whole[:length])
        assert looked.result.status != "clean"
    assert GOOD in look(whole[:3000]).all
    assert "has no directory" in look(whole[:3000]).result.gaps[0].reason


@pytest.mark.parametrize("method", [1, 6, 9, 98, 99, 1234])
def test_what_cannot_be_unpacked_is_said(method: int) -> None:
    looked = look(archive(Member(b"a", GOOD, method), SAME))

    assert looked.result.status == "incomplete"
    assert looked.all == {b"aaa"}
    assert looked.result.gaps[0].remedy


def test_a_hundred_thousand_members_are_read_or_refused() -> None:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as made:
        for number in range(2000):
            made.writestr(f"{number}", b"x")

    assert look(file.getvalue()).result.status == "clean"
    bounded = look(file.getvalue(), Budget(members=1000))
    assert bounded.limits
    assert bounded.result.status == "incomplete"


def test_a_bomb_is_bounded() -> None:
    bomb = written(("a", bytes(3 << 20)), ("b", b"b"))
    nested = written(*((f"{number}.zip", bomb) for number in range(10)))

    looked = look(nested, Budget(unpacked=5 << 20))

    assert looked.limits
    assert looked.result.status == "incomplete"


def test_what_is_used_up_is_not_begun_again_for_each_member() -> None:
    inner = written(*((f"{number}", bytes(2 << 20)) for number in range(8)))
    hidden = b"".join(Member(b"h", bytes(2 << 20), 8, descriptor=True).header() for _ in range(8))
    for data in (written(*((f"{number}.zip", inner) for number in range(8))), archive(SAME, hidden, SAME)):
        budget = Budget(unpacked=3 << 20)
        looked = look(data, budget)
        assert looked.limits
        assert budget.unpacked > -(3 << 20)


def test_an_archive_that_holds_itself_ends() -> None:
    """A stored member may be the whole file when its header says so."""
    member = Member(b"self", b"")
    header = member.header()
    size = len(header) + len(member.record(0)) + 22
    told: dict[str, int | bytes] = {"packed": size, "size": size}
    member.central = {**told, "at": 0}
    data = header + member.record(0) + end(1, len(member.record(0)), len(header))

    looked = look(data)

    assert looked.result.status != "clean"


def test_names_of_other_encodings_and_controls_are_shown_safely() -> None:
    looked = look(archive(Member(b"\xff\x1b[31m", b"1"), Member("a\u202eb".encode(), b"2", flags=0x800)))

    assert looked.all == {b"1", b"2"}
    assert all(one.isprintable() for one in looked.contents)


@given(st.binary(max_size=300), st.integers(0, 3))
@settings(max_examples=examples(100))
def test_any_bytes_are_read_to_an_end(data: bytes, where: int) -> None:
    whole = (data, b"PK\x03\x04" + data, data + end(1, 46, 0), b"PK\x01\x02" + data + end(1, 46, 0))[where]
    assert look(whole, Budget(seconds=20)).result.inputs >= 0


@given(st.data())
@settings(max_examples=examples(100))
def test_a_changed_archive_never_hides_what_zipfile_reads(data: st.DataObject) -> None:
    original = [("a.txt", GOOD), ("b/c", b"xyz" * 20), ("d", b"")]
    whole = bytearray(written(*original, method=data.draw(st.sampled_from([0, 8]))))
    for _ in range(data.draw(st.integers(1, 4))):
        at = data.draw(st.integers(0, len(whole) - 1))
        whole[at] = data.draw(st.integers(0, 255))
    if data.draw(st.booleans()):
        at = data.draw(st.integers(0, len(whole)))
        whole[at:at] = data.draw(st.binary(max_size=8))

    looked = look(bytes(whole))

    try:
        with zipfile.ZipFile(io.BytesIO(bytes(whole))) as archive_:
            read = [archive_.read(one) for one in archive_.infolist()]
    except Exception:
        return
    assert looked.all >= set(read) - {b""}


@given(
    st.lists(
        st.tuples(
            st.text(st.characters(codec="utf-8", exclude_characters="\0"), min_size=1, max_size=30),
            st.binary(max_size=200),
        ),
        max_size=8,
        unique_by=lambda one: one[0],
    ),
    st.sampled_from([0, 8, 12, 14]),
    st.binary(max_size=20).filter(lambda one: b"PK" not in one),  # zipfile finds ends in comments, too
)
@settings(max_examples=examples(100))
def test_it_reads_what_zipfile_reads(members: list[tuple[str, bytes]], method: int, comment: bytes) -> None:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", method) as made:
        for name, data in members:
            made.writestr(name, data)
        made.comment = comment

    looked = look(file.getvalue())

    with zipfile.ZipFile(file) as read:
        expected = {read.read(one) for one in read.infolist()} - {b""}
    assert expected <= looked.all
    assert not looked.oddities - {Oddity.PARENT, Oddity.ABSOLUTE, Oddity.TWINS}


def test_two_gigabytes_of_torch_are_not_read(tmp_path: Path) -> None:
    """A sparse storage: what is read is counted."""
    size = 2 << 30
    pickle, storage = Member(b"m/data.pkl", GOOD), Member(b"m/data/0", b"")
    storage.local = storage.central = {"packed": size, "size": size, "crc": 0}
    front = pickle.header() + storage.header()
    directory = pickle.record(0) + storage.record(len(pickle.header()))
    path = tmp_path / "m.pt"
    with path.open("wb") as file:
        file.write(front)
        file.seek(size, os.SEEK_CUR)
        file.write(directory + end(2, len(directory), len(front) + size))
    source = open_file(path)
    read = []

    class Counting:
        @property
        def size(self) -> int:
            return source.size

        def read(self, at: int, length: int) -> bytes:
            read.append(length)
            return source.read(at, length)

    try:
        looked = look_at(Input.of("m.pt", Counting()))
    finally:
        source.close()
    assert is_silent(looked)
    assert GOOD in looked.all
    assert sum(read) < 1 << 20
