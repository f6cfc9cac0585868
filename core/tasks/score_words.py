"""How a score is said to people, and to programs."""

from typing import Any

from core import words
from core.score import Costs, Warned

Json = dict[str, Any]


def costs_json(costs: Costs) -> Json:
    return {
        "actual": costs.actual,
        "at_once": costs.at_once,
        "ideal": costs.ideal,
        "saving": costs.saving,
        "share_of_ideal": costs.share,
    }


def costs_words(costs: Costs, predicted: float | None = None) -> list[str]:
    if costs.actual is None or costs.at_once is None or costs.ideal is None or costs.saving is None:
        return []
    unit = costs.unit
    told = "" if predicted is None else f" ({cost_text(predicted, unit)} were predicted)"
    compared = f"{cost_text(costs.at_once, unit)} switched on at once, {cost_text(costs.ideal, unit)} with hindsight"
    verb = "saved" if costs.saving >= 0 else "lost"
    share = "" if costs.share is None else f", {costs.share:.0%} of what hindsight would have saved"
    return [f"{cost_text(costs.actual, unit)}{told}; {compared}", f"{verb} {cost_text(abs(costs.saving), unit)}{share}"]


def cost_text(cost: float, unit: str) -> str:
    """1.42 kgCO2, 310 gCO2, 4.12 GBP."""
    if unit == "gCO2" and abs(cost) >= 1000:
        return f"{words.number_text(cost / 1000)} kgCO2"
    return f"{words.number_text(cost)} {unit}" if unit == "gCO2" else f"{cost:,.2f} {unit}"


def warned_json(warned: Warned) -> Json:
    return {
        "hits": warned.hits,
        "misses": warned.misses,
        "of_them_late": warned.late,
        "false_alarms": warned.false_alarms,
        "pod": warned.pod,
        "far": warned.far,
        "csi": warned.csi,
        "lead_minutes": warned.lead.total_seconds() / 60 if warned.lead is not None else None,
    }


def warned_words(warned: Warned) -> str:
    late = f" ({warned.late} warned of late)" if warned.late else ""
    table = f"{counted(warned.hits, 'hit')}, {counted(warned.misses, 'miss', 'misses')}{late}, "
    ratios = {"POD": warned.pod, "FAR": warned.far, "CSI": warned.csi}
    told = ", ".join(f"{name} {'–' if ratio is None else f'{ratio:.2f}'}" for name, ratio in ratios.items())
    lead = "" if warned.lead is None else f"; {warned.lead.total_seconds() / 60:.0f} min ahead on average"
    return f"{table}{counted(warned.false_alarms, 'false alarm')}; {told}{lead}"


def counted(count: int, one: str, more: str = "") -> str:
    return f"{count:,} {one if count == 1 else more or one + 's'}"
