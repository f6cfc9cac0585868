"""Find the cheapest runs without minimum times: the cheapest pieces first.

This greedy choice is exact: a minute in one piece costs the same wherever else the job runs, so
that only of the dearest rate used is there anything to choose. O(n log n) for n pieces.
"""

from itertools import groupby
from operator import itemgetter

from core.planning.curve import Curve, Span, length, merged


def cheapest_runs(
    curve: Curve, amount: int, latest: bool = False, running: bool = False
) -> list[Span]:
    """Return runs of that length in all, or everything there is.

    Of equally cheap answers it is one with the fewest runs. `running`: something runs already where
    the curve begins, and going on is no new run.
    """
    taken: list[Span] = []
    going_on = curve.pieces[0][0] if running and curve.pieces else None
    # All pieces of one rate at once: among them only the number of runs differs.
    for _, pieces in groupby(sorted(curve.pieces, key=itemgetter(2, 0)), key=itemgetter(2)):
        blocks = merged((start, end) for start, end, _ in pieces)
        if length(blocks) >= amount:
            return merged([*taken, *_fill(blocks, taken, amount, latest, going_on)])
        taken = merged([*taken, *blocks])
        amount -= length(blocks)
    return taken


def _fill(
    blocks: list[Span], taken: list[Span], amount: int, latest: bool, going_on: int | None
) -> list[Span]:
    """Choose `amount` out of blocks of equal rate, with as few runs more as possible.

    Blocks that close a gap between two runs save a run if taken whole: the shortest go first, so
    that as many as possible fit. Blocks that touch one run make it longer, at no run more. Blocks
    that stand alone are a run more each: the longest go first.
    """
    # What runs already counts as a run that ends where the curve begins.
    ends, starts = {going_on, *(end for _, end in taken)}, {start for start, _ in taken}
    touches = {block: (block[0] in ends) + (block[1] in starts) for block in blocks}
    side = -1 if latest else 1
    result: list[Span] = []
    gaps = [block for block in blocks if touches[block] == 2]
    for start, end in sorted(gaps, key=lambda gap: (gap[1] - gap[0], side * gap[0])):
        if end - start <= amount:
            result.append((start, end))
            amount -= end - start

    def rank(block: Span) -> tuple[bool, int, int]:
        alone = not touches[block]
        return alone, block[0] - block[1] if alone else 0, side * block[0]

    rest = [block for block in blocks if block not in result]
    for block in sorted(rest, key=rank):
        start, end = block
        size = min(amount, end - start)
        at_end = latest
        if touches[block]:
            # The part that is taken must lie against the run that the block touches.
            at_end = end in starts and (latest or start not in ends)
        result.append((end - size, end) if at_end else (start, start + size))
        amount -= size
    return result
