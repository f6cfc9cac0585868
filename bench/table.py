"""What a benchmark prints: a table in Markdown, ratios with their targets."""

import argparse
from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class Row:
    """One row of a table of results. `met` is None where there is no target.

    Targets are set for the full numbers, not the quick ones.
    """

    what: str
    measured: str
    ratio: str = ""
    target: str = ""
    met: bool | None = None


def show(title: str, rows: Sequence[Row]) -> None:
    verdicts = {} if is_quick() else {True: "met", False: "MISSED"}
    cells = [("what", "measured", "ratio", "target", "")]
    cells += [
        (row.what, row.measured, row.ratio, row.target, verdicts.get(row.met, "")) for row in rows
    ]
    widths = [max(len(line[column]) for line in cells) for column in range(len(cells[0]))]
    lines = [
        " | ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True))
        for line in cells
    ]
    lines.insert(1, " | ".join("-" * width for width in widths))
    print(f"\n### {title}\n", *(f"| {line} |" for line in lines), sep="\n", flush=True)


def is_quick() -> bool:
    parser = argparse.ArgumentParser()
    parser.add_argument("--quick", action="store_true")
    return bool(parser.parse_args().quick)
