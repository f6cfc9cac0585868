"""Run benchmarks: `python -m bench [NAME ...] [--quick]`.

Each runs in a process of its own, on each database that answers.
"""

import argparse
import os
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import AbstractContextManager

from bench.databases import environment, postgresql, sqlite

Database = Callable[[], AbstractContextManager[str]]
BENCHMARKS: dict[str, tuple[Database, ...]] = {
    "start_up": (sqlite,),
    "planning": (sqlite,),
    "recording": (sqlite, postgresql),
    "status_page": (sqlite, postgresql),
    "polling": (sqlite, postgresql),
    "workers": (postgresql,),
    "backtest": (sqlite,),
    "prices": (sqlite,),
    "sun": (sqlite,),
    "looking_back": (sqlite, postgresql),
    "export": (sqlite, postgresql),
    "live": (sqlite, postgresql),
    "listen": (sqlite, postgresql),
    "best_window": (sqlite, postgresql),
    "api": (sqlite, postgresql),
    "wrong_tokens": (sqlite, postgresql),
    "cache": (sqlite, postgresql),
    "roll_up": (sqlite, postgresql),
    "at_size": (postgresql,),
}


def main() -> None:
    parser = argparse.ArgumentParser(
        prog="python -m bench", description="Ratios, each measured in one run. See bench/README.md."
    )
    parser.add_argument(
        "names", nargs="*", metavar="NAME", help=f"of {', '.join(BENCHMARKS)} (all)"
    )
    parser.add_argument(
        "--quick",
        action="store_true",
        help="smaller numbers, under a minute; targets are set for the full ones",
    )
    options = parser.parse_args()
    if unknown := set(options.names) - set(BENCHMARKS):
        names = ", ".join(sorted(unknown))
        parser.error(f"there is no benchmark {names}: choose from {', '.join(BENCHMARKS)}")
    began = time.monotonic()
    for name in options.names or BENCHMARKS:
        for database in BENCHMARKS[name]:
            run(name, database, options.quick)
    load = f"load of this machine {os.getloadavg()[0]:.1f} on {os.cpu_count()} cores"
    print(f"\n{time.monotonic() - began:.0f} s in all; {load}.")


def run(name: str, database: Database, quick: bool) -> None:
    try:
        with database() as url:
            environ = environment(url)
            subprocess.run([sys.executable, "manage.py", "migrate", "-v0"], env=environ, check=True)
            subprocess.run(
                [sys.executable, "-m", f"bench.{name}", *(["--quick"] if quick else [])],
                env=environ,
                check=True,
            )
    except ConnectionError as error:
        print(f"\n{name} is left out on PostgreSQL: {error}")


if __name__ == "__main__":
    main()
