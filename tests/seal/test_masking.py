"""Fifty kinds of secrets, planted in command line, environment, URL and diff: none is in the record."""

from __future__ import annotations

import base64
import random
import string
from collections.abc import Callable

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.examples import examples
from veracity.observe.git import GitState
from veracity.seal.manifest import Ingredients, SealedFile, build_manifest
from veracity.seal.masking import MAX_TEXT, Masker, is_sensitive, looks_random

MASKER = Masker(b"0123456789abcdef")
WORDS = string.ascii_letters + string.digits
HEX = "0123456789abcdef"

Draw = Callable[[str, int], str]

# Kind → the secret itself, drawn at random. All are made up: the shape is what matters.
SHAPED: dict[str, Callable[[Draw], str]] = {
    "aws access key id": lambda d: "AKIA" + d(string.ascii_uppercase + "234567", 16),
    "aws temporary key id": lambda d: "ASIA" + d(string.ascii_uppercase + "234567", 16),
    "aws secret key": lambda d: d(WORDS + "/+", 40),
    "github classic": lambda d: "ghp_" + d(WORDS, 36),
    "github oauth": lambda d: "gho_" + d(WORDS, 36),
    "github server": lambda d: "ghs_" + d(WORDS, 36),
    "github refresh": lambda d: "ghr_" + d(WORDS, 36),
    "github fine-grained": lambda d: "github_pat_" + d(WORDS, 22) + "_" + d(WORDS, 59),
    "gitlab": lambda d: "glpat-" + d(WORDS, 20),
    "model hub": lambda d: "hf_" + d(string.ascii_letters, 34),
    "chat bot": lambda d: f"xoxb-{d(string.digits, 12)}-{d(string.digits, 12)}-{d(WORDS, 24)}",
    "chat user": lambda d: f"xoxp-{d(string.digits, 12)}-{d(WORDS, 24)}",
    "chat app": lambda d: "xapp-1-" + d(WORDS, 24),
    "model API": lambda d: "sk-" + d(WORDS, 48),
    "model API, project": lambda d: "sk-proj-" + d(WORDS, 48),
    "model API, other": lambda d: "sk-ant-api03-" + d(WORDS, 60),
    "payments": lambda d: "sk_live_" + d(WORDS, 24),
    "payments, restricted": lambda d: "rk_live_" + d(WORDS, 24),
    "maps key": lambda d: "AIza" + d(WORDS + "-_", 35),
    "cloud oauth": lambda d: "ya29." + d(WORDS + "-_", 60),
    "oauth client secret": lambda d: "GOCSPX-" + d(WORDS, 28),
    "json web token": lambda d: f"eyJ{d(WORDS, 20)}.eyJ{d(WORDS, 40)}.{d(WORDS + '-_', 43)}",
    "npm": lambda d: "npm_" + d(WORDS, 36),
    "package index": lambda d: "pypi-AgEI" + d(WORDS + "-_", 80),
    "container hub": lambda d: "dckr_pat_" + d(WORDS, 27),
    "droplets": lambda d: "dop_v1_" + d(HEX, 64),
    "mail": lambda d: f"SG.{d(WORDS, 22)}.{d(WORDS, 43)}",
    "mail, other": lambda d: "key-" + d(HEX, 32),
    "shop": lambda d: "shpat_" + d(HEX, 32),
    "vault": lambda d: "hvs." + d(WORDS, 24),
    "issue tracker": lambda d: "lin_api_" + d(WORDS, 40),
    "inference": lambda d: "r8_" + d(WORDS, 37),
    "inference, other": lambda d: "gsk_" + d(WORDS, 52),
    "data platform": lambda d: "dapi" + d(HEX, 32),
    "accelerated API": lambda d: "nvapi-" + d(WORDS, 64),
    "dashboards": lambda d: "glsa_" + d(WORDS, 32),
    "tunnel": lambda d: "tskey-auth-" + d(WORDS, 24),
    "vectors": lambda d: "pcsk_" + d(WORDS, 40),
    "messenger bot": lambda d: f"{d('123456789', 9)}:AA{d(WORDS, 33)}",
    "experiment tracker": lambda d: d(HEX, 40),
    "hexadecimal 256 bits": lambda d: d(HEX, 64),
    "uuid": lambda d: f"{d(HEX, 8)}-{d(HEX, 4)}-{d(HEX, 4)}-{d(HEX, 4)}-{d(HEX, 12)}",
    "base64 of 32 bytes": lambda d: base64.b64encode(d(WORDS, 32).encode()).decode(),
    "random 32": lambda d: d(WORDS, 32),
}

# Kind → text around a secret that no shape gives away.
NAMED: dict[str, str] = {
    "option, next": "--token {}",
    "option, equals": "--password={}",
    "option, underscore": "--api_key {}",
    "hydra": "tracker.api_key={}",
    "hydra, added": "+auth.password={}",
    "shell variable": "DB_PASSWORD={}",
    "camel case": "clientSecret={}",
    "account key": "AccountKey={}",
    "basic credentials": "-u me:{}",
    "url user and password": "postgres://me:{}@db.example/train",
    "url token": "https://{}@git.example/me/repo.git",
    "url query": "https://store.example/blob?sig={}&se=2030",
    "header": "--header=Authorization:{}",
    "json": '{{"secret":"{}"}}',
    "passphrase": "--key-passphrase {}",
    "cookie": "--cookie={}",
}


def shaped_secrets(seed: int) -> dict[str, str]:
    generator = random.Random(seed)
    return {
        kind: make(lambda alphabet, count: "".join(generator.choices(alphabet, k=count)))
        for kind, make in SHAPED.items()
    }


def test_there_are_fifty_kinds() -> None:
    assert len(SHAPED) + len(NAMED) >= 50


@settings(max_examples=examples(60), derandomize=True)  # the last net is statistical
@given(st.integers(0, 2**32), st.text(string.ascii_lowercase + string.digits, min_size=7, max_size=12))
def test_no_planted_secret_is_in_the_manifest(seed: int, plain: str) -> None:
    secrets = shaped_secrets(seed)
    plain = f"q{plain}7z"  # what it looks like tells nothing; only the name in front of it does
    command = ["python", "train.py", "--lr", "0.001"]
    for secret in secrets.values():
        command += [secret, f"--option={secret}", f"name={secret}"]
    for text in NAMED.values():
        command += text.format(plain).split(" ")
    pem = [
        "-----BEGIN RSA PRIVATE KEY-----",
        *[secrets["random 32"]] * 3,
        plain,
        "-----END RSA PRIVATE KEY-----",
    ]
    command.append("\n".join(pem))
    environment = {f"VARIABLE_{number}": secret for number, secret in enumerate([*secrets.values(), plain])}
    environment["PYTHONPATH"] = f"/opt/{secrets['github classic']}"
    environment["MASTER_ADDR"] = f"tcp://me:{plain}@host"
    lines = [f"+{text.format(plain)}" for text in NAMED.values()]
    diff = [f"+x = '{secret}'" for secret in secrets.values()] + [f"+{line}" for line in pem] + lines
    git = GitState("/job", "a" * 40, "main", [], [], diff, False, [f"https://me:{plain}@git.example/r.git"])
    files = [SealedFile(f"s3://me:{plain}@bucket/{secrets['aws access key id']}", "", 0)]
    ingredients = Ingredients(
        "run-1", "host", "me", 1, command, "/job", environment, git, {"path": "/usr/bin/python"}, files=files
    )
    record = build_manifest(ingredients, MASKER).encode().decode("ascii")
    leaked = [kind for kind, secret in {**secrets, "plain": plain}.items() if secret in record]
    assert leaked == []
    # Nor is most of one: halves would do for somebody who can guess.
    halves = [kind for kind, secret in secrets.items() if secret[-16:] in record]
    assert halves == []


@pytest.mark.parametrize("kind", SHAPED)
def test_each_shape_is_masked_inside_a_sentence(kind: str) -> None:
    for seed in range(50):
        secret = shaped_secrets(seed)[kind]
        assert secret not in MASKER.text(f"connect with {secret}, then go on")


HARMLESS = """\
python train.py --lr 1e-3 --model meta-llama/Meta-Llama-3-8B-Instruct --max-tokens 512 --tokenizer gpt2
--out /data/Exp1/runs/ResNet50-Cifar10/seed3/2024-11-02T10-33-21 GPT2TokenizerFast num_attention_heads=12
trainer.precision=bf16-mixed --author me --sort-key loss MixtralForCausalLM
wikitext-103-raw-v1 pin_memory=True
--nproc-per-node 2 --passes 3 --rdzv-endpoint=localhost:29500 token_embedding_dim=64 /usr/lib/x86_64-linux-gnu
run_20241102_103321_chargpt_adamw https://pypi.org/simple --betas=(0.9,0.95) torch.nn.functional.cross_entropy
"""


def test_what_people_write_stays_readable() -> None:
    arguments = HARMLESS.split()
    assert MASKER.command(arguments) == arguments
    assert MASKER.text(HARMLESS) == HARMLESS


def test_masked_values_can_be_compared_under_one_key_only() -> None:
    one = MASKER.command(["x", "--token", "abc"])
    assert one == MASKER.command(["x", "--token", "abc"])
    assert one != MASKER.command(["x", "--token", "abd"])
    assert one != Masker(b"another key of 16").command(["x", "--token", "abc"])


def test_environment_shows_listed_names_only() -> None:
    shown = dict(MASKER.environment({"RANK": "3", "MY_SETTING": "plain", "OMP_NUM_THREADS": "4"}))
    assert shown["RANK"] == "3"
    assert shown["MY_SETTING"].startswith("hmac-sha256:")
    assert "plain" not in shown["MY_SETTING"]


@pytest.mark.parametrize("text", NAMED.values())
def test_masking_again_changes_nothing(text: str) -> None:
    once = MASKER.command(text.format("hunter2").split(" "))
    assert "hunter2" not in " ".join(once)
    assert MASKER.text(once[-1]) == once[-1]


@given(st.lists(st.text(max_size=60), max_size=6))
def test_any_command_line_is_masked_to_as_many_arguments(arguments: list[str]) -> None:
    assert len(MASKER.command(arguments)) == len(arguments)


def test_password_tool() -> None:
    assert "hunter2" not in str(MASKER.command(["/usr/bin/sshpass", "-phunter2", "ssh", "host"]))
    assert "hunter2" not in str(MASKER.command(["sshpass", "-p", "hunter2", "ssh", "host"]))


def test_long_texts_are_cut() -> None:
    assert len(MASKER.text("ab " * MAX_TEXT)) <= MAX_TEXT


def test_short_keys_are_refused() -> None:
    with pytest.raises(ValueError, match="16 bytes"):
        Masker(b"short")


@pytest.mark.parametrize(
    "name", ["--max-tokens", "tokenizer", "num_tokens", "author", "keyboard", "pin_memory", "sort_key"]
)
def test_harmless_names(name: str) -> None:
    assert not is_sensitive(name)


@pytest.mark.parametrize(
    "name", ["--token", "HF_TOKEN", "dbPassword", "api-key", "ssh_key_2", "AWS_SECRET_ACCESS_KEY"]
)
def test_sensitive_names(name: str) -> None:
    assert is_sensitive(name)


def test_words_do_not_look_random() -> None:
    assert not looks_random("TransformerEncoderLayer")
    assert not looks_random("internationalisation")
    assert looks_random("x7Kq2mB9vL4nR8wT")
