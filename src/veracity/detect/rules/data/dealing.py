"""What one rank is dealt of an order: accelerate's BatchSamplerShard and SkipBatchSampler, re-derived.

The order is cut into batches as BatchSampler does it. Dealt whole, rank p of P receives the batches p, p + P,
p + 2P and so on; dealt in pieces, each batch is cut into P pieces and it receives the p-th. With ``even``
each rank receives as many batches, all full: what is missing at the end is taken from the beginning of the
order, which is repeated as often as needed. Without, the ranks divide what there is. With ``drop_last`` only
full batches are dealt, and only when each rank receives one.
"""

from __future__ import annotations

from array import array
from collections.abc import Iterator

from ....core.contract import LoaderDeclaration
from .sampling import MAX_DERIVED, Order, Unknown


def is_dealt(loader: LoaderDeclaration) -> bool:
    """Whether a loader receives only a part of its sampler's order."""
    return loader.parts > 1 or loader.skipped > 0 or loader.even


def piece_size(loader: LoaderDeclaration) -> int:
    """Indices per delivered batch; 1 for a loader that does not collate."""
    if loader.split:
        return max(1, loader.batch_size // loader.parts)
    return loader.batch_size or 1


def dealt(loader: LoaderDeclaration, order: Order) -> Order | Unknown:
    """The part of ``order`` that ``loader`` receives, in order."""
    if not is_dealt(loader):
        return order
    if not (0 <= loader.part < loader.parts <= MAX_DERIVED and loader.batch_size > 0):
        return Unknown("how the batches are dealt out to the ranks could not be read")
    if loader.split and loader.batch_size % loader.parts:
        return Unknown("batches are split among more ranks than divide them")
    length, size = len(order.indices), piece_size(loader)
    if length == 0:
        return Order((), 0)
    if length + loader.parts * loader.batch_size > MAX_DERIVED:
        return Unknown("batches dealt to so many ranks are not re-derived")
    indices, settled, whole = array("q"), 0, True
    for begin, end in list(_pieces(loader, length))[loader.skipped :]:
        if end - begin > size:
            return Unknown("how the batches are dealt out to the ranks could not be read")
        for place in range(begin, end):
            indices.append(order.indices[place % length])
            whole = whole and place % length < order.settled
            settled += whole
    return Order(indices, settled)


def _pieces(loader: LoaderDeclaration, length: int) -> Iterator[tuple[int, int]]:
    """Begin and end of each of this rank's batches in the order, which beyond its end begins anew."""
    size, parts, part = loader.batch_size, loader.parts, loader.part
    if loader.split:
        yield from _split(loader, length)
        return
    if loader.drop_last:
        rounds = length // size // parts
    elif loader.even:
        rounds = -(-length // (size * parts))
    else:
        rounds = (-(-length // size) - part + parts - 1) // parts
    for number in range(rounds):
        begin = (number * parts + part) * size
        yield begin, begin + size if loader.even else min(begin + size, length)


def _split(loader: LoaderDeclaration, length: int) -> Iterator[tuple[int, int]]:
    size, piece = loader.batch_size, loader.batch_size // loader.parts
    batches = length // size if loader.drop_last else -(-length // size)
    for number in range(batches):
        begin = number * size + loader.part * piece
        end = begin + piece
        if not loader.even and not loader.drop_last:
            end = min(end, length)
        if begin < end:
            yield begin, end
