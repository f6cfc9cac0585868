from argparse import ArgumentParser, ArgumentTypeError
from datetime import UTC, date, datetime, time, timedelta
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from django.conf import settings
from django.core.management.base import CommandError, CommandParser

from core import rules
from core.management.command import Command as Base
from core.tasks.backtesting import backtest, svg
from core.tasks.backtesting.device import BacktestSettings


class Command(Base):
    help = "Run a rule over the past, as it would have decided then, with a device that obeys. Was it worth it?"

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("rule", choices=rules.names())
        parser.add_argument(
            "options",
            nargs="*",
            type=option,
            metavar="NAME=VALUE",
            help="of the rule: minutes=180 before=07:00",
        )
        parser.add_argument(
            "--from",
            type=date.fromisoformat,
            required=True,
            metavar="DAY",
            dest="since",
            help="2023-01-01",
        )
        parser.add_argument(
            "--to",
            type=date.fromisoformat,
            required=True,
            metavar="DAY",
            dest="until",
            help="the last day",
        )
        parser.add_argument(
            "--zone", type=zone, default=settings.TIME_ZONE, help="of the device: Europe/London"
        )
        parser.add_argument(
            "--file",
            type=Path,
            metavar="CSV",
            help="columns from, to, forecast, actual; .gz is fine",
        )
        parser.add_argument(
            "--region",
            default="",
            metavar="FEED:REGION",
            help="of what is stored; without: as FEEDS says",
        )
        parser.add_argument(
            "--every",
            type=minutes,
            default="10",
            metavar="MINUTES",
            help="between two decisions (10)",
        )
        parser.add_argument(
            "--svg", type=Path, metavar="FILE", help="draw the last week of what it did"
        )
        parser.add_argument("--json", action="store_true", help="print the result for a program")

    def create_parser(self, *args: Any, **options: Any) -> CommandParser:
        parser = super().create_parser(*args, **options)
        parser.parse_args = parser.parse_intermixed_args  # type: ignore[method-assign]  # NAME=VALUE may stand anywhere
        return parser

    def handle(self, *args: Any, **options: Any) -> None:
        since = datetime.combine(options["since"], time(), options["zone"]).astimezone(UTC)
        until = datetime.combine(
            options["until"] + timedelta(days=1), time(), options["zone"]
        ).astimezone(UTC)
        try:
            rule = rules.load(options["rule"])
            terms = BacktestSettings(
                rule,
                rule.read(dict(options["options"])),
                since,
                until,
                options["every"],
                options["zone"],
            )
            pasts = backtest.load_histories(terms, options["file"], options["region"])
            with self.progress("decision") as show:
                result = backtest.backtest(terms, pasts, show)
            if options["svg"]:
                options["svg"].write_text(svg.draw_svg(result, pasts), encoding="utf-8")
        except (LookupError, ValueError, OSError) as error:
            raise CommandError(str(error)) from error
        if options["json"]:
            self.write_json(result.as_json())
        else:
            self.stdout.write(result.in_words())


def option(word: str) -> tuple[str, str]:
    name, _, value = word.partition("=")
    if not name or "=" not in word:
        raise ArgumentTypeError(f"{word!r} is not of the form NAME=VALUE")
    return name, value


def zone(name: str) -> ZoneInfo:
    try:
        return ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError) as error:
        raise ArgumentTypeError(f"{name!r} is no time zone. Example: Europe/London") from error


def minutes(word: str) -> timedelta:
    if not word.isdigit() or not 1 <= int(word) <= 1440:
        raise ArgumentTypeError(f"{word!r} is not a number of minutes, 1 to 1440")
    return timedelta(minutes=int(word))
