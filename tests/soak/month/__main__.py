"""Live a month in a process of its own, on the database of DATABASE_URL.

Its arguments: the season, how many days, a folder, and whether that is a small disk.
"""

import gc
import json
import sys
from dataclasses import asdict
from datetime import timedelta
from pathlib import Path

import django
from django.core.management import call_command

DAY = timedelta(days=1)


def main(season: str, days: int, folder: Path, has_disk: bool) -> None:
    django.setup()
    gc.freeze()
    gc.set_threshold(150_000)  # as manage.py has it
    from tests.soak.month import judge, script
    from tests.soak.month.life import Life
    from tests.soak.month.small_disk import SmallDisk

    call_command("migrate", verbosity=0)
    begins_at = now = script.BEGINNINGS[season]
    ends_at = begins_at + days * DAY
    life = Life(begins_at, SmallDisk(folder) if has_disk else None)
    verdict = judge.Month(season, has_disk)
    plug_ins = folder.parent / "plug_ins"
    plug_ins.mkdir()
    with life.running(plug_ins):
        while now < ends_at and not verdict.faults:
            life.live(now)
            now += script.TICK
            if (now - begins_at) % DAY == timedelta():
                verdict.look(life, now)
                verdict.judge(life, now)
                print("so far", verdict, file=sys.stderr, flush=True)
    print("result", json.dumps(asdict(verdict)), flush=True)


if __name__ == "__main__":
    season, days, folder, has_disk = sys.argv[1:]
    main(season, int(days), Path(folder), has_disk == "True")
