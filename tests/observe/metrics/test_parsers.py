"""Each format as it is written, in pieces of any size, damaged, and not at all what it should be."""

from __future__ import annotations

import json
import math
import struct
from collections.abc import Callable

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.examples import examples
from tests.observe.metrics.writing import history, record, scalar, tensor, wandb_file
from veracity.core.observation import LoggedValue
from veracity.observe.metrics import Parser, parser_for
from veracity.observe.metrics.lines import CsvLines, JsonLines, MlflowLines
from veracity.observe.metrics.protobuf import fields
from veracity.observe.metrics.tensorboard import EventFile, masked_crc32c
from veracity.observe.metrics.trainerstate import TrainerState
from veracity.observe.metrics.wandb import WandbFile

KINDS: tuple[Callable[[], Parser], ...] = (
    JsonLines, CsvLines, lambda: MlflowLines("loss"), EventFile, WandbFile, TrainerState,
)  # fmt: skip


def middles(parser: Parser, data: bytes) -> list[tuple[str, int | None, float]]:
    return [_short(one) for one in parser.feed(data)]


def _short(one: LoggedValue) -> tuple[str, int | None, float]:
    return one.key, one.step, round((one.low + one.high) / 2, 6)


# --- lines ------------------------------------------------------------------------------------------


def test_json_lines() -> None:
    rows = (
        b'{"step": 3, "loss": 2.5, "lr": 1e-3, "name": "a", "done": true}\n'
        b"not json\n[1, 2]\n{broken\n"
        b'{"global_step": 4, "train": {"loss": 2.25}, "split": "val", "x": NaN}\r\n'
        b'{"step": 5, "loss": 2.1'
    )
    parser = JsonLines()
    found = middles(parser, rows)
    assert found[:2] == [("loss[name=a]", 3, 2.5), ("lr[name=a]", 3, 0.001)]
    assert found[2] == ("train/loss[split=val]", 4, 2.25)
    assert found[3][:2] == ("x[split=val]", 4)
    assert math.isnan(found[3][2])
    assert len(found) == 4
    assert middles(parser, b"25}\n") == [("loss", 5, 2.125)]


def test_separated_values() -> None:
    rows = "\ufeffepoch,step,train_loss,val_loss\n0,10,2.5,\n0,20,2.25,2.75\nshort,row\n1,30,x,1.5\n"
    found = middles(CsvLines(), rows.encode())
    assert ("train_loss", 10, 2.5) in found
    assert ("val_loss", 20, 2.75) in found
    assert ("train_loss", 30, 2.25) not in found
    assert [one[:2] for one in found if one[0] == "epoch"] == [("epoch", 10), ("epoch", 20)]


def test_mlflow_lines() -> None:
    path = "/job/mlruns/0/abc/metrics/train/loss"
    parser = parser_for(path)
    assert isinstance(parser, MlflowLines)
    assert middles(parser, b"1700000000000 2.5 7\nx\n1 2 3 4\n1700000000001 2.25\n") == [
        ("train/loss", 7, 2.5),
        ("train/loss", None, 2.25),
    ]


def test_a_line_without_end_is_not_kept() -> None:
    parser = JsonLines()
    for _ in range(5):
        assert middles(parser, b"x" * (1 << 20)) == []
    assert middles(parser, b'tail of it\n{"loss": 1.5}\n') == [("loss", None, 1.5)]


@pytest.mark.parametrize(
    ("path", "kind"),
    [
        ("/o/metrics.jsonl", JsonLines),
        ("/o/Log.CSV", CsvLines),
        ("/o/runs/events.out.tfevents.170.host.1.0", EventFile),
        ("/o/wandb/offline-run-1/run-1.wandb", WandbFile),
        ("/o/checkpoint-5/trainer_state.json", TrainerState),
        ("/o/config.json", None),
        ("/o/metrics/loss", None),
        ("/o/model.pt", None),
        ("/o/mlruns/0/a/params/lr", None),
    ],
)
def test_who_reads_what(path: str, kind: type | None) -> None:
    assert type(parser_for(path)) is (kind or type(None))


# --- event files ------------------------------------------------------------------------------------


def test_checksum_of_the_standard() -> None:
    """CRC-32C of "123456789" is 0xE3069283 (RFC 3720's polynomial)."""
    value = 0xE3069283
    assert masked_crc32c(b"123456789") == ((value >> 15 | value << 17) + 0xA282EAD8) & 0xFFFFFFFF


def test_event_file() -> None:
    data = (
        record(b"\x1a\x0dbrain.Event:2")
        + record(scalar("train/loss", 5, 2.5))
        + record(tensor("loss", 6, 1, struct.pack("<f", 1.25)))
        + record(tensor("exact", 7, 2, struct.pack("<d", 0.1)))
        + record(tensor("text", 8, 7, b"words"))
        + record(scalar("big", 9, 0.0) + b"\x7a\xff\x7f" + b"p" * 16383)
    )
    found = middles(EventFile(), data)
    assert found == [("train/loss", 5, 2.5), ("loss", 6, 1.25), ("exact", 7, 0.1)]


@settings(max_examples=examples(25))
@given(st.lists(st.integers(1, 400), min_size=1, max_size=40))
def test_event_file_in_pieces(sizes: list[int]) -> None:
    data = b"".join(record(scalar("loss", step, step / 4)) for step in range(20))
    whole = middles(EventFile(), data)
    assert len(whole) == 20
    assert in_pieces(EventFile(), data, sizes) == whole


@pytest.mark.parametrize("at", [3, 9, 20, -2])
def test_a_damaged_record_ends_the_reading(at: int) -> None:
    good, bad = record(scalar("loss", 0, 1.0)), bytearray(record(scalar("loss", 1, 1.0)))
    bad[at] ^= 1
    parser = EventFile()
    assert middles(parser, good + bytes(bad) + good) == [("loss", 0, 1.0)]
    assert "checksum" in parser.damaged
    assert middles(parser, good) == []


def test_a_record_too_large_is_passed_over() -> None:
    head = struct.pack("<Q", 9 << 20)
    data = head + struct.pack("<I", masked_crc32c(head)) + b"\0" * (9 << 20) + b"\0" * 4
    parser = EventFile()
    found = in_pieces(parser, data + record(scalar("loss", 1, 1.5)), [1 << 20] * 12)
    assert found == [("loss", 1, 1.5)]


# --- W&B ----------------------------------------------------------------------------------------------


def test_wandb_file() -> None:
    rows = [
        history({"loss": 4.0 - step / 100, "note": "x" * 900, "_runtime": 1.5}, step) for step in range(100)
    ]
    data = wandb_file([b"\x08\x01\x8a\x01\x03run", *rows])
    parser = WandbFile()
    found = [one for one in middles(parser, data) if one[0] == "loss"]
    assert parser.damaged == ""
    assert found == [("loss", step, round(4.0 - step / 100, 6)) for step in range(100)]


@settings(max_examples=examples(25))
@given(st.lists(st.integers(1, 9000), min_size=1, max_size=40))
def test_wandb_file_in_pieces(sizes: list[int]) -> None:
    data = wandb_file([history({"loss": step / 8, "pad": "x" * 4000}, step) for step in range(30)])
    whole = middles(WandbFile(), data)
    assert in_pieces(WandbFile(), data, sizes) == whole


def test_wandb_damage_is_said() -> None:
    data = bytearray(wandb_file([history({"loss": 1.5}, 0)]))
    for at in (0, 8, len(data) - 1):
        bad = bytearray(data)
        bad[at] ^= 1
        parser = WandbFile()
        assert middles(parser, bytes(bad)) == []
        assert parser.damaged


# --- trainer_state.json ---------------------------------------------------------------------------------


def test_trainer_state_gives_each_row_once() -> None:
    rows = [{"epoch": 0.5, "loss": 2.5, "step": 10}, {"eval_loss": 2.75, "step": 10}]
    parser = TrainerState()
    assert middles(parser, b'{"log_history": [{"lo') == []
    first = middles(parser, json.dumps({"log_history": rows}).encode())
    assert first == [("epoch", 10, 0.5), ("loss", 10, 2.5), ("eval_loss", 10, 2.75)]
    rows.append({"loss": 2.25, "step": 20})
    assert middles(parser, json.dumps({"log_history": rows, "global_step": 20}).encode()) == [
        ("loss", 20, 2.25)
    ]


# --- anything -----------------------------------------------------------------------------------------------


def in_pieces(parser: Parser, data: bytes, sizes: list[int]) -> list[tuple[str, int | None, float]]:
    found = []
    at = 0
    for size in sizes:
        found += middles(parser, data[at : at + size])
        at += size
    return found + middles(parser, data[at:])


@settings(max_examples=examples(60))
@given(st.sampled_from(KINDS), st.lists(st.binary(max_size=300), max_size=6))
def test_random_bytes(kind: Callable[[], Parser], pieces: list[bytes]) -> None:
    parser = kind()
    for piece in pieces:
        for one in parser.feed(piece):
            assert isinstance(one.key, str)
            assert one.step is None or 0 <= one.step < 10**15


@settings(max_examples=examples(60))
@given(st.binary(max_size=200))
def test_random_bytes_within_good_frames(data: bytes) -> None:
    list(EventFile().feed(record(data)))
    list(EventFile().feed(record(b"\x2a" + bytes([len(data) & 0x7F]) + data)))
    list(WandbFile().feed(wandb_file([data, b"\x12" + bytes([len(data) & 0x7F]) + data])))
    for _, _, value in fields(data):
        assert isinstance(value, (int, bytes))


@settings(max_examples=examples(60))
@given(
    st.recursive(
        st.none() | st.booleans() | st.floats() | st.text(max_size=5),
        lambda inner: st.lists(inner) | st.dictionaries(st.text(max_size=5), inner),
        max_leaves=12,
    )
)
def test_any_json(value: object) -> None:
    text = json.dumps(value).encode()
    list(JsonLines().feed(text + b"\n"))
    list(TrainerState().feed(text))
    list(TrainerState().feed(b'{"log_history": ' + text + b"}"))


def test_deep_nesting() -> None:
    text = b'{"a":' * 50_000 + b"1" + b"}" * 50_000
    assert list(JsonLines().feed(text + b"\n")) == []
