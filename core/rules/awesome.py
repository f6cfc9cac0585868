"""Your idea goes here. This one: on when the grid is clean."""

from dataclasses import dataclass

from core.rules import Decision, Situation, Undecided


@dataclass(frozen=True)
class Options:
    clean_below: float = 180  # gCO2/kWh


def decide(situation: Situation) -> Decision | None:
    grid = situation.outside
    if grid is None:
        raise Undecided("nothing is known of the grid now: fetch_forecasts says why")
    if grid.value < situation.options.clean_below:
        return Decision(True, f"the grid is clean: {grid.value:g} {grid.unit}")
    limit = f"{situation.options.clean_below:g}"
    reason = f"the grid is not clean: {grid.value:g} {grid.unit}, more than {limit}"
    return Decision(False, reason)
