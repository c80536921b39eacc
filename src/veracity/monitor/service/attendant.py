"""The job's parent as seen from the service: ``veracity run`` of another account, over its connection."""

from __future__ import annotations

import contextlib
import os
import select
import signal
import time

from ...core.errors import Error
from ...core.observation import Gap
from ...core.origin import monitor_origin
from ..accounts import recorder
from .protocol import Channel, Signalled

MAX_TOLD = 200


class Attendant:
    """Stands in for being the job's parent: hears of signals, and of the parent's end.

    ``channel`` is None for a run that is taken up while its parent has gone. ``root`` is the command's
    process.
    """

    def __init__(self, channel: Channel | None, root: int) -> None:
        self._channel = channel
        self._handle = -1
        with contextlib.suppress(OSError):
            self._handle = os.pidfd_open(root)
        self._silent, self._writer = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
        self._gaps: list[Gap] = []
        self._told = 0
        self.leaves = False
        """Set when the service ends: the job goes on, and the record is taken up later."""

    @property
    def reader(self) -> int:
        """A descriptor that is readable when there is something to take."""
        # Numbers of a selector stay as they are, so the connection keeps its own until the end.
        return self._silent if self._channel is None else self._channel.connection.fileno()

    def take(self) -> list[tuple[int, bool]]:
        """Signals that the parent told of since the last call."""
        arrived: list[tuple[int, bool]] = []
        while self._channel is not None and self._has_more(self._channel):
            try:
                message = self._channel.receive(0)
            except Error as error:
                self._lost(f"it sent what is no message: {error}")
                break
            if message is None:
                self._lost("it was killed or has failed: how the job ends is seen from outside alone")
            elif isinstance(message, Signalled) and self._told < MAX_TOLD:
                self._told += 1
                if message.number in set(signal.Signals):
                    arrived.append((message.number, message.sent))
        return arrived

    @property
    def is_alone(self) -> bool:
        """Whether there is no parent to speak to."""
        return self._channel is None

    def gaps(self) -> list[Gap]:
        """What was lost sight of since the last call."""
        gaps, self._gaps = self._gaps, []
        return gaps

    def end(self) -> None:
        """Ask the job to end: SIGTERM, as the job's own account."""
        if self._handle >= 0:
            with contextlib.suppress(OSError):
                signal.pidfd_send_signal(self._handle, signal.SIGTERM)

    def close(self) -> None:
        """The job has ended. The connection stays: the verdict goes over it."""
        for number in (self._silent, self._writer, self._handle):
            if number >= 0:
                os.close(number)
        self._handle = -1

    @staticmethod
    def _has_more(channel: Channel) -> bool:
        return bool(select.select([channel.connection], [], [], 0)[0])

    def _lost(self, why: str) -> None:
        channel, self._channel = self._channel, None
        if channel is not None:
            # Its number is known to the selector and must not become anything else's.
            os.dup2(self._silent, channel.connection.fileno())
        held = recorder()
        who = f" to {held.name}" if held is not None else ""
        what = f"`veracity run` does not speak{who} any more, while its command was not seen to end"
        self._gaps.append(Gap(monitor_origin(time.time_ns()), what, why, law="life"))
