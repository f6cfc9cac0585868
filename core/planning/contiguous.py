"""Find the cheapest single run.

As a run of fixed length moves, its cost changes at a steady rate until its start or its end passes
into another piece. So a cheapest one starts where a piece starts or ends where a piece ends: for n
pieces at most 2n runs are compared, each priced in O(log n).
"""

from core.planning.curve import Curve, Span


def contiguous_run(curve: Curve, amount: int, latest: bool = False) -> list[Span]:
    """Return one run of that length, or the longest that fits; empty if no rate is given."""
    longest = max((end - start for start, end in curve.stretches), default=0)
    amount = min(amount, longest)
    if amount <= 0:
        return []
    runs = [(start, start + amount) for start in _starts(curve, amount)]
    side = -1 if latest else 1
    return [min(runs, key=lambda run: (curve.integral(run), side * run[0]))]


def _starts(curve: Curve, amount: int) -> set[int]:
    first_starts = {start for start, _, _ in curve.pieces}
    last_starts = {end - amount for _, end, _ in curve.pieces}
    bounds = first_starts | last_starts
    if len(curve.stretches) == 1:
        # The usual case, without a search for the stretch of each run.
        first, last = curve.stretches[0]
        return {start for start in bounds if first <= start <= last - amount}
    return {start for start in bounds if curve.covers((start, start + amount))}
