"""A home with a seal and a policy of three principals, as files, for tests of approvals."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from veracity.core.approval import Approvable, Standing, standing
from veracity.core.policy import Policy, Principal
from veracity.ledger.keys import KEY_FILE, KEY_NAME, SigningKey
from veracity.seal.approvals import add_to_log, approvable, read_log, sign_approval
from veracity.seal.folder import SealFolder, create_folder, make_home
from veracity.seal.paths import Wanted, make_seal, read_seal
from veracity.seal.policyfile import find_policy

NAMES = ("lead", "second", "security")
TEMPLATE = """\
[policy]
revoke = ["security"]
{top}
[policy.principals.lead]
key = "{lead}"
roles = ["reviewer"]
[policy.principals.second]
key = "{second}"
roles = ["reviewer"]
[policy.principals.security]
key = "{security}"
roles = ["security"]
[policy.approve.code]
roles = ["reviewer"]
needed = {needed}
"""


@dataclass
class Approving:
    """What a test does, in few words."""

    home: Path
    code: Path
    keys: dict[str, SigningKey]
    folder: SealFolder

    @classmethod
    def made(cls, folder: Path) -> Approving:
        """A folder with a script, sealed."""
        home, code = folder / "home", folder / "code"
        code.mkdir()
        (code / "train.py").write_text("print('trained')\n")
        make_home(home)
        keys = {name: SigningKey.load_or_create(folder / f"{name}.pem", name) for name in NAMES}
        made = cls(home, code, keys, SealFolder(home))
        made.write_policy()
        made.folder = made.seal()
        return made

    def write_policy(self, *, needed: int = 2, top: str = "") -> None:
        """The home's policy."""
        lines = {name: key.verifier.vkey for name, key in self.keys.items()}
        (self.home / "veracity.toml").write_text(TEMPLATE.format(**lines, needed=needed, top=top))

    def seal(self, *, without: Sequence[Path] = ()) -> SealFolder:
        """The code as it is now, but for some folders."""
        folder = create_folder(self.home, time.time_ns())
        make_seal(folder, Wanted({"code": self.code}, {"code": without}), self.own)
        return folder

    @property
    def own(self) -> SigningKey:
        """The home's key."""
        return SigningKey.load_or_create(self.home / KEY_FILE, KEY_NAME)

    @property
    def policy(self) -> Policy:
        """As the file says now."""
        found = find_policy(self.home, self.home)
        assert found is not None
        return found.policy

    def sealed(self, folder: SealFolder | None = None) -> Approvable:
        """What an approval is about."""
        key = self.own.verifier
        return approvable(read_seal(folder or self.folder, key), key)

    def principal(self, name: str) -> Principal:
        """By name."""
        return next(one for one in self.policy.principals if one.name == name)

    def envelope(
        self, name: str, *, parts: Sequence[str] = ("code",), at: int = 0, expires_at: int | None = None
    ) -> bytes:
        """An approval, signed."""
        return sign_approval(
            self.keys[name],
            self.principal(name),
            self.policy,
            self.sealed(),
            parts,
            at=at or time.time_ns(),
            expires_at=expires_at,
        )

    def approve(self, *names: str, now: int = 0, expires_at: int | None = None) -> None:
        """In the log."""
        for name in names:
            at = now or time.time_ns()
            add_to_log(self.home, self.own, "approval", self.envelope(name, at=at, expires_at=expires_at), at)

    def stands(self, folder: SealFolder | None = None) -> Standing:
        """By the log as it is now."""
        log = read_log(self.home, self.own.verifier)
        return standing(self.policy, self.sealed(folder), log.approvals, log.revocations, time.time_ns())
