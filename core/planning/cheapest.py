"""The cheapest runs, as many as it takes: the cheapest pieces first, of the dearest rate only what is left."""

from itertools import groupby
from operator import itemgetter

from core.planning.curve import Curve, Span, length, merged


def split(curve: Curve, amount: int, latest: bool = False, running: bool = False) -> list[Span]:
    """Runs of that length in all, or everything there is; of equally cheap answers one with the fewest runs.

    `running`: something runs already where the curve begins, and going on is no new run.
    """
    taken: list[Span] = []
    for _, pieces in groupby(sorted(curve.pieces, key=itemgetter(2, 0)), key=itemgetter(2)):
        blocks = merged((start, end) for start, end, _ in pieces)
        if length(blocks) >= amount:
            return merged(
                [
                    *taken,
                    *_fill(blocks, taken, amount, latest, curve.pieces[0][0] if running else None),
                ]
            )
        taken = merged([*taken, *blocks])
        amount -= length(blocks)
    return taken


def _fill(
    blocks: list[Span], taken: list[Span], amount: int, latest: bool, going_on: int | None
) -> list[Span]:
    """Some of equally dear blocks. Those that close a gap between two runs save a run if taken whole, the shortest first;
    those that touch one run make it longer; those that stand alone are a run more each, so that the longest go first."""
    ends, starts = {going_on, *(end for _, end in taken)}, {start for start, _ in taken}
    touches = {block: (block[0] in ends) + (block[1] in starts) for block in blocks}
    side = -1 if latest else 1
    result: list[Span] = []
    for block in sorted(
        (one for one in blocks if touches[one] == 2),
        key=lambda one: (one[1] - one[0], side * one[0]),
    ):
        if block[1] - block[0] <= amount:
            result.append(block)
            amount -= block[1] - block[0]
    rest = [block for block in blocks if block not in result]
    by_size = {block: 0 if touches[block] else block[0] - block[1] for block in rest}
    for block in sorted(rest, key=lambda one: (not touches[one], by_size[one], side * one[0])):
        size = min(amount, block[1] - block[0])
        at_end = (
            block[1] in starts and (latest or block[0] not in ends) or not touches[block] and latest
        )
        result.append((block[1] - size, block[1]) if at_end else (block[0], block[0] + size))
        amount -= size
    return result
