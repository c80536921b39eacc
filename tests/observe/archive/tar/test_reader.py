"""Tar archives: all flavours as tarfile reads them, and every place where readers go on differently."""

from __future__ import annotations

import io
import shutil
import subprocess
import tarfile
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.examples import examples
from tests.observe.archive.looking import look
from veracity.core.observation import Oddity
from veracity.observe.artifact.budget import Budget

GOOD, BAD = b"what a scanner is shown", b"what is unpacked instead"
FORMATS = [tarfile.USTAR_FORMAT, tarfile.GNU_FORMAT, tarfile.PAX_FORMAT]


def member(name: str, data: bytes = b"", **fields: object) -> tuple[tarfile.TarInfo, bytes]:
    info = tarfile.TarInfo(name)
    info.size = len(data)
    for key, value in fields.items():
        setattr(info, key, value)
    return info, data


def written(*members: tuple[tarfile.TarInfo, bytes], form: int = tarfile.GNU_FORMAT) -> bytes:
    file = io.BytesIO()
    with tarfile.open(fileobj=file, mode="w", format=form) as made:
        for info, data in members:
            made.addfile(info, io.BytesIO(data))
    return file.getvalue()


def with_size(header: bytes, size: int) -> bytes:
    """A header block that says another size."""
    block = bytearray(header)
    block[124:136] = b"%011o\0" % size
    block[148:156] = b" " * 8
    block[148:156] = b"%06o\0 " % sum(block)
    return bytes(block)


def truth(data: bytes) -> set[bytes]:
    with tarfile.open(fileobj=io.BytesIO(data)) as made:
        files = [made.extractfile(one) for one in made.getmembers() if one.isreg()]
        return {file.read() for file in files if file is not None} - {b""}


@pytest.mark.parametrize("form", FORMATS)
def test_all_flavours_are_read_and_silent(form: int) -> None:
    long = "folder/" * 12 + "a" * 90
    data = written(
        member("folder", type=tarfile.DIRTYPE),
        member("folder/a", GOOD),
        member(long, BAD),
        member("link", type=tarfile.SYMTYPE, linkname="folder/a"),
        member("hard", type=tarfile.LNKTYPE, linkname="folder/a"),
        member("pipe", type=tarfile.FIFOTYPE),
        member("empty"),
        form=form,
    )

    looked = look(data)

    assert looked.all == truth(data) == {GOOD, BAD}
    assert looked.result.status == "clean"
    assert not looked.oddities
    assert long[-50:] in next(name for name, some in looked.contents.items() if some == [BAD])


@pytest.mark.skipif(not shutil.which("tar"), reason="the tar command is not installed")
@pytest.mark.parametrize(
    "form", ["--format=oldgnu", "--sparse-version=0.0", "--sparse-version=0.1", "--sparse-version=1.0"]
)
def test_sparse_members_are_read_with_their_holes(form: str, tmp_path: Path) -> None:
    with (tmp_path / "holes").open("wb") as file:
        for number in range(30):
            file.seek(number * 16384 + 4096)
            file.write(b"%d" % number * 100)
        file.truncate(1 << 19)
    flavour = [form] if "format" in form else ["--format=pax", form]
    subprocess.run(["tar", "-S", *flavour, "-cf", "made.tar", "holes"], cwd=tmp_path, check=True)

    looked = look((tmp_path / "made.tar").read_bytes())

    assert (tmp_path / "holes").read_bytes() in looked.all
    assert looked.result.status == "clean"
    assert not looked.oddities


def test_archives_one_behind_the_other_are_read_and_said() -> None:
    looked = look(written(member("a", GOOD)) + written(member("b", BAD)))

    assert looked.all == {GOOD, BAD}
    assert looked.oddities == {Oddity.BEHIND}
    assert looked.rules == {("checkpoint-archive-ambiguous", "warning")}


@pytest.mark.parametrize("kind", [tarfile.LNKTYPE, tarfile.SYMTYPE, tarfile.DIRTYPE])
def test_what_a_link_or_folder_is_said_to_hold_hides_nothing(kind: bytes) -> None:
    """tarfile goes on right behind such a header, others step over data."""
    hidden = written(member("hidden", BAD))[:1024]
    header = with_size(written(member("a", type=kind, linkname="b"))[:512], len(hidden))

    looked = look(header + hidden + written(member("b", GOOD)))

    assert {GOOD, BAD} <= looked.all


def test_two_sizes_of_one_member_are_both_followed() -> None:
    """A size in an extended header, another in the header itself: readers have differed in which counts."""
    hidden = written(member("hidden", BAD))[:1024]
    info, data = member("a", hidden)
    info.pax_headers = {"size": str(len(hidden))}
    made = bytearray(written((info, data), member("b", GOOD), form=tarfile.PAX_FORMAT))
    at = made.index(hidden) - 512
    made[at : at + 512] = with_size(bytes(made[at : at + 512]), 0)

    looked = look(bytes(made))

    assert {GOOD, BAD, hidden} <= looked.all
    assert ("checkpoint-archive-ambiguous", "error") in looked.rules

    info, data = member("a", BAD)
    info.pax_headers = {"size": "0"}
    assert BAD in look(written((info, data), form=tarfile.PAX_FORMAT)).all


def test_names_and_links_that_lead_outside() -> None:
    def found(*members: tuple[tarfile.TarInfo, bytes]) -> set[tuple[str, str]]:
        return look(written(*members)).rules

    rule = "checkpoint-archive-escapes"
    out = member("out", type=tarfile.SYMTYPE, linkname="/etc")
    assert found(member("../a", GOOD)) == {(rule, "error")}
    assert found(member("/a", GOOD)) == {(rule, "warning")}
    assert found(out) == {(rule, "note")}
    assert (rule, "error") in found(out, member("out/passwd", GOOD))
    assert (rule, "error") in found(out, member("out", GOOD))
    assert (rule, "error") in found(member("h", type=tarfile.LNKTYPE, linkname="../../etc/passwd"))
    assert found(member("rootfs/dev/null", type=tarfile.CHRTYPE)) == {(rule, "note")}
    assert found(member("null", type=tarfile.CHRTYPE)) == {(rule, "warning")}
    for name in ("run/model.safetensors", "pytorch_model-1.bin", "a.PKL"):
        assert (rule, "warning") in found(member(name, type=tarfile.SYMTYPE, linkname="/etc/hostname"))
    for name in ("usr/lib/firmware.bin", "model.so", "bin/python"):
        assert found(member(name, type=tarfile.SYMTYPE, linkname="/usr/x")) == {(rule, "note")}
    assert found(member("s/model.pt", type=tarfile.SYMTYPE, linkname="../blobs/a")) == set()
    assert found(member("in", type=tarfile.SYMTYPE, linkname="a"), member("in/b", GOOD)) == set()


def test_what_is_cut_off_or_damaged_is_read_as_far_as_it_goes_and_never_clean() -> None:
    whole = written(member("a", GOOD), member("b", b"x" * 5000), member("c", BAD))

    cut = look(whole[:4000])
    assert cut.result.status == "incomplete"
    assert GOOD in cut.all
    first = bytearray(whole)
    first[10] ^= 1
    looked = look(bytes(first))
    assert looked.result.status != "clean"
    assert BAD in looked.all
    damaged = bytearray(whole)
    damaged[1024 + 10] ^= 1  # the header of b
    looked = look(bytes(damaged))
    assert looked.result.status == "incomplete"
    assert {GOOD, BAD} <= looked.all


def test_members_and_headers_are_bounded() -> None:
    data = written(*(member(f"{number}", b"x") for number in range(300)))
    assert look(data, Budget(members=100)).limits
    long = with_size(written(member("a", type=b"L"))[:512], 1 << 30)
    assert look(long + data).limits
    holes = with_size(written(member("a", type=b"S"))[:512], 0)
    block = bytearray(holes)
    block[483:495] = b"\x80" + b"\xff" * 11
    assert look(with_size(bytes(block), 0)).result.status != "clean"


def test_an_empty_archive_is_nothing() -> None:
    assert look(written()).result.status == "clean"


@given(st.data())
@settings(max_examples=examples(100))
def test_a_changed_archive_never_hides_what_tarfile_reads(data: st.DataObject) -> None:
    form = data.draw(st.sampled_from(FORMATS))
    whole = bytearray(
        written(
            member("a", GOOD),
            member("b" * 80 + "/" + "c" * 80, b"y" * 700),
            member("c", type=tarfile.SYMTYPE, linkname="d" * 90),
            member("d", BAD),
            form=form,
        )
    )
    for _ in range(data.draw(st.integers(1, 3))):
        at = data.draw(st.integers(0, len(whole) - 1))
        whole[at] = data.draw(st.integers(0, 255))
        if data.draw(st.booleans()):
            block = at // 512 * 512
            size = int.from_bytes(data.draw(st.binary(max_size=2)), "big")
            whole[block : block + 512] = with_size(bytes(whole[block : block + 512]), size)

    looked = look(bytes(whole), Budget(seconds=20))

    try:
        read = truth(bytes(whole))
    except Exception:
        return
    assert read <= looked.all


@given(st.binary(max_size=1500), st.booleans())
@settings(max_examples=examples(100))
def test_any_bytes_are_read_to_an_end(data: bytes, behind: bool) -> None:
    whole = (
        written(member("a", GOOD))[:1024] + data if behind else with_size((data + bytes(512))[:512], 5) + data
    )
    assert look(whole, Budget(seconds=20)).result.inputs >= 0
