"""Is what a loader delivered what the model is trained on? Compared when a backward pass begins.

Where a delivered tensor is kept in the loss' graph (a loss' target, a first layer's input) is found once, by
its values, and looked up there at each later backward pass. A tensor that is found nowhere is read again
itself, which shows only what was written into it. Counts are shipped with each step's record.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, field
from time import perf_counter
from typing import TYPE_CHECKING

from . import saved
from .delivered import Deliveries, Item, Owner, Spots, Values, elements
from .schedule import Schedule
from .tensors import is_plain

if TYPE_CHECKING:
    import torch

MAX_ROOTS = 4
MAX_PLACES = 16
MAX_OWNERS = 8
MAX_NODES = 2048
SEARCHES = 6
CONFIRMATIONS = 32
RENEWED_EVERY = 16
OTHER_DEVICE_EVERY = 16
OTHER_DEVICE_FIRST = 12
MAX_USES = 16
MAX_PAIRS = 8
MAX_UNREAD = 16
LEAST_PART = 4
NEAR = 12
NO_NUMBER = 1e300

GRAPH, MEMORY = "graph", "memory"


@dataclass(slots=True)
class _Use:
    """What became of one tensor of a loader's batches since the last step (``core.observation.BatchUse``)."""

    loader: int
    tensor: str
    view: str
    iteration: int = 0
    number: int = 0
    same: int = 0
    compared: int = 0
    groups: int = 0
    again: int = 0
    newer: bool = False
    part: int = 0
    rows: int = 0
    of_rows: int = 0
    differs: int = 0
    changed: int = 0
    groups_changed: int = 0
    spared: int = 0
    pairs: list[list[float]] = field(default_factory=list)
    whole: bool = False
    low: float | None = None
    high: float | None = None

    def body(self) -> dict[str, object]:
        """As the record holds it."""
        body: dict[str, object] = {
            "loader": self.loader, "tensor": self.tensor, "view": self.view, "iteration": self.iteration,
            "number": self.number, "same": self.same, "compared": self.compared,
            "groups": self.groups,
        }  # fmt: skip
        if self.again:
            body |= {"again": self.again, "newer": self.newer}
        if self.part:
            body |= {"part": self.part, "rows": self.rows, "of_rows": self.of_rows}
        if self.differs:
            body |= {"differs": self.differs, "changed": self.changed, "pairs": self.pairs}
            body |= {
                "groups_changed": self.groups_changed,
                "whole": self.whole,
                "low": self.low,
                "high": self.high,
                "spared": self.spared,
            }
        return body

    def is_same(self, spots: Spots) -> None:
        """It is what was delivered, as far as these elements show."""
        self.same += 1
        self.compared += spots.count
        self.groups += spots.groups

    def is_other(self, due: Item, values: Values) -> None:
        """It differs: which elements do, in exact numbers, and the range of those that do not."""
        kept: list[float] = []
        found = values.tensor()
        self.differs += 1
        self.compared += due.spots.count
        self.groups += due.spots.groups
        groups: set[int] = set()
        self.whole = not found.is_floating_point()
        before = due.values.tensor().to(found.dtype).tolist()
        for position, (was, now) in enumerate(zip(before, found.tolist(), strict=True)):
            if was == now or (was != was and now != now):
                kept.append(_number(was))
                continue
            self.changed += 1
            groups.add(due.spots.group(position))
            if len(self.pairs) < MAX_PAIRS:
                self.pairs.append([_number(was), _number(now)])
        self.groups_changed += len(groups)
        if kept:
            touched = {pair[0] for pair in self.pairs}
            self.low, self.high = min(kept), max(kept)
            self.spared += sum(value in touched for value in kept)


class Contents:
    """What became of the batches of this process."""

    def __init__(self, key: bytes, deeply: Schedule) -> None:
        self._key = key + b"content"
        self._deeply = deeply
        self._deliveries = Deliveries(key)
        self._places: dict[saved.Place, list[Owner]] = {}
        self._latest: list[Item] = []
        self._found: set[Owner] = set()
        self._unread: list[Item] = []
        self._window = 0
        self._searches = SEARCHES
        self._confirmations = CONFIRMATIONS
        self._uses: dict[tuple[Owner, str], _Use] = {}
        self._unseen = ""
        self._ahead = self._unknown = 0
        self._blind: bool | None = None

    def delivered(self, loader: int, iteration: int, number: int, batch: object) -> None:
        """A batch was handed to the program."""
        self._latest = self._deliveries.add(loader, iteration, number, batch)
        unread = [item for item in self._latest if item.owner not in self._found]
        if unread:
            self._unread = [*self._unread, *unread][-MAX_UNREAD:]

    def resumed(self) -> None:
        """What came before was not followed: deliveries are known from now on.

        A program that fetches ahead will train on some that are not, as many as it is ahead by.
        """
        self._deliveries.clear()
        self._latest, self._unread, self._uses, self._unseen = [], [], {}, ""
        self._unknown = self._ahead

    def backward_begins(self, of: object) -> None:
        """A backward pass begins at a loss, or at several."""
        import torch

        if self._unknown:
            self._unknown -= 1
            self._unseen = "the batch was delivered while steps were passed over"
            return
        if not self._deliveries:
            self._unseen = "no loader has delivered anything that can be compared"
            return
        if self._blind is None:
            self._blind = not saved.can_see()
        losses = of if isinstance(of, (list, tuple)) else (of,)
        if self._blind:
            self._unseen = "this torch does not tell whether a tensor in the graph was packed by hooks"
        else:
            for loss in losses[:MAX_ROOTS]:
                if isinstance(loss, torch.Tensor) and loss.grad_fn is not None:
                    self._look_in_graph(loss.grad_fn)
        if self._unread:
            self._look_in_memory()

    def taken(self) -> tuple[list[dict[str, object]], str]:
        """A step ends: what was seen since the one before, and why nothing was."""
        found, why = [use.body() for use in self._uses.values()], self._unseen
        self._uses, self._unseen = {}, ""
        self._window += 1
        if self._window % RENEWED_EVERY == 0:
            self._searches = min(self._searches + 1, SEARCHES)
            self._confirmations = min(self._confirmations + 1, CONFIRMATIONS)
        return found, why

    # --- in the graph ----------------------------------------------------------------------------

    def _look_in_graph(self, root: saved.Node) -> None:
        settled: set[Owner] = set()
        doubtful: list[tuple[saved.Place, torch.Tensor]] = []
        kept, passed_over = self._kept(root)
        for place, tensor in kept:
            owners = self._places[place]
            if tensor is None or not self._is_readable(tensor):
                continue
            item = self._due(tensor, owners[0]) or self._match(tensor, owners)
            if item is None or 0 <= item.trained < self._window:
                if item is not None or any(self._deliveries.last_of(owner) for owner in owners):
                    doubtful.append((place, tensor))
            elif item.owner not in settled:
                self._trained(item)
                settled.add(item.owner)
                if item.owner != owners[0]:
                    self._lies_at(place, item.owner)
        complete = False
        if doubtful and self._confirmations:
            self._confirmations -= 1
            complete = self._search(root, settled)
        elif self._searches and any(
            item.trained < 0 and item.owner not in passed_over for item in self._latest
        ):
            self._searches -= 1
            self._search(root, settled)
        for place, tensor in doubtful:
            # The graph may be another one, so that something else now lies there.
            if complete or place[1] in saved.LOSSES:
                self._differs(tensor, self._places[place], settled)

    def _kept(self, root: saved.Node) -> tuple[list[tuple[saved.Place, torch.Tensor | None]], set[Owner]]:
        """What the known places keep now, and who is passed over: far from the loss, and not drawn."""
        near = [place for place in self._places if len(place[0]) <= NEAR]
        found = [(place, saved.at(root, place)) for place in near]
        if len(near) == len(self._places):
            return found, set()
        far = [place for place in self._places if len(place[0]) > NEAR]
        if not self._deeply.draws(0, self._window):
            return found, {owner for place in far for owner in self._places[place]}
        began = perf_counter()
        found += [(place, saved.at(root, place)) for place in far]
        self._deeply.looked(perf_counter() - began)
        return found, set()

    def _due(self, tensor: torch.Tensor, owner: Owner) -> Item | None:
        """The owner's newest delivery, when that is what this tensor is, as in most programs."""
        item = self._deliveries.last_of(owner)
        if item is None or tensor.numel() != item.spots.numel:
            return None
        found = elements(tensor, item.spots)
        return item if found is not None and item.values.alike(found) else None

    def _search(self, root: saved.Node, settled: set[Owner]) -> bool:
        """Look for deliveries anywhere in the graph; whether all of it was seen."""
        for found in saved.walk(root, MAX_NODES):
            if found is None:
                return True
            place, tensor = found
            if place in self._places or not self._is_readable(tensor):
                continue
            item = self._match(tensor, ())
            if item is None or item.owner in settled or item.values.are_constant():
                continue
            if 0 <= item.trained < self._window:
                continue
            self._trained(item)
            settled.add(item.owner)
            self._lies_at(place, item.owner)
        return False

    def _lies_at(self, place: saved.Place, owner: Owner) -> None:
        """Note whose tensors a place keeps, the one seen last first: other loaders' may come to the same."""
        owners = self._places.get(place)
        if owners is None:
            if len(self._places) >= MAX_PLACES:
                return
            owners = self._places[place] = []
        elif owner in owners:
            owners.remove(owner)
        owners.insert(0, owner)
        if len(owners) > MAX_OWNERS:
            self._found.discard(owners.pop())
        self._found.add(owner)

    def _is_readable(self, tensor: torch.Tensor) -> bool:
        """Reading from another device waits for it: that is done at a few steps only."""
        if not is_plain(tensor):
            return False
        if tensor.is_cpu or self._window < OTHER_DEVICE_FIRST:
            return True
        drawn = hashlib.sha256(self._key + self._window.to_bytes(8, "little")).digest()[0]
        return drawn % OTHER_DEVICE_EVERY == 0

    def _match(self, tensor: torch.Tensor, owners: Sequence[Owner]) -> Item | None:
        """The delivery that this tensor is: if possible one that was not trained on, or of these owners."""
        candidates = list(self._deliveries.all(tensor.numel()))

        def rank(item: Item) -> tuple[int, bool]:
            order = 0 if item.trained < 0 else 1 if item.trained == self._window else 2
            return order, item.owner not in owners

        spots: Spots | None = None
        found: Values | None = None
        for item in sorted(candidates, key=rank) if len(candidates) > 1 else candidates:
            if item.spots is not spots:
                spots, found = item.spots, elements(tensor, item.spots)
            if found is not None and item.values.alike(found):
                return item
        return None

    def _trained(self, item: Item) -> None:
        use = self._use(item, GRAPH)
        if use is not None:
            use.is_same(item.spots)
        if item.trained < 0:
            item.trained = self._window
            self._ahead = max(self._ahead, self._deliveries.since(item))

    def _differs(self, tensor: torch.Tensor, owners: list[Owner], settled: set[Owner]) -> None:
        """What lies at a place is no delivery that was due: say how it differs from what was."""
        again = self._match(tensor, owners)
        if again is not None:
            if again.owner not in settled and (use := self._use(again, GRAPH)) is not None:
                settled.add(again.owner)
                use.again += 1
                use.newer = self._deliveries.last_of(again.owner) is not None
            return
        for owner in owners:
            due = self._deliveries.last_of(owner)
            if due is None or owner in settled:
                continue
            if tensor.numel() != due.spots.numel:
                self._part(due, tensor, settled)
                continue
            found = elements(tensor, due.spots)
            if found is not None and (use := self._use(due, GRAPH)) is not None:
                use.is_other(due, found)
                settled.add(owner)

    def _part(self, due: Item, tensor: torch.Tensor, settled: set[Owner]) -> None:
        """Whether a tensor with fewer elements is the first rows of the one that was delivered."""
        numel, row = tensor.numel(), due.spots.row
        spots = due.spots.within(numel)
        if numel >= due.spots.numel or spots.count < LEAST_PART or numel % row:
            return
        found = elements(tensor, spots)
        if found is None or not due.values.first(spots.count).alike(found):
            return
        use = self._use(due, GRAPH)
        if use is not None:
            settled.add(due.owner)
            use.part += 1
            use.rows, use.of_rows = numel // row, due.spots.numel // row

    # --- in memory -------------------------------------------------------------------------------

    def _look_in_memory(self) -> None:
        """The tensors that are found in no graph, once for each delivery, while the program has them."""
        unread, self._unread = self._unread, []
        for item in unread:
            if item.owner in self._found:
                continue
            tensor = item.alive()
            if tensor is None or tensor.numel() != item.spots.numel or not is_plain(tensor):
                continue
            read = elements(tensor, item.spots)
            use = self._use(item, MEMORY) if read is not None else None
            if use is None or read is None:
                continue
            if item.values.alike(read):
                use.is_same(item.spots)
            else:
                use.is_other(item, read)

    def _use(self, item: Item, view: str) -> _Use | None:
        key = item.owner, view
        use = self._uses.get(key)
        if use is None:
            if len(self._uses) >= MAX_USES:
                return None
            use = self._uses[key] = _Use(item.owner[0], item.owner[1][:80], view)
        use.iteration, use.number = item.iteration, item.number
        return use


def _number(value: float) -> float:
    """A number that JSON holds: what is none is told by one that no data has."""
    value = float(value)
    return value if abs(value) < NO_NUMBER else NO_NUMBER
