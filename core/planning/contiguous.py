"""The cheapest single run. As it moves, its cost changes at a steady rate until its start or its end passes into another
piece, so that a cheapest one starts where a piece starts or ends where a piece ends."""

from core.planning.curve import Curve, Span


def single(curve: Curve, amount: int, latest: bool = False) -> list[Span]:
    """One run of that length, or the longest that fits if none does. Empty where no rate is known."""
    longest = max((end - start for start, end in curve.stretches), default=0)
    amount = min(amount, longest)
    spans = [(start, start + amount) for start in _starts(curve, amount)] if amount > 0 else []
    side = -1 if latest else 1
    return [min(spans, key=lambda span: (curve.integral(span), side * span[0]))] if spans else []


def _starts(curve: Curve, amount: int) -> set[int]:
    if len(curve.stretches) == 1:
        first, last = curve.stretches[0]
        starts = {start for start, _, _ in curve.pieces if start <= last - amount}
        return starts | {end - amount for _, end, _ in curve.pieces if end >= first + amount}
    bounds = {start for start, _, _ in curve.pieces} | {end - amount for _, end, _ in curve.pieces}
    return {start for start in bounds if curve.covers((start, start + amount))}
