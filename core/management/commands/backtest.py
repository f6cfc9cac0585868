from datetime import date
from pathlib import Path
from typing import Any

from django.core.management.base import CommandError, CommandParser

from core import rules
from core.management.arguments import DAY_MINUTES, minutes, zone
from core.management.command import Command as Base
from core.tasks.backtesting import backtest, svg

CSV = (
    "history with the columns from, to, forecast, actual and perhaps issued, or gzipped "
    "(default: the database)"
)


class Command(Base):
    help = "Run a rule over past days, deciding as it would have then, and say what that saved."

    def add_arguments(self, parser: CommandParser) -> None:
        add = parser.add_argument
        day = date.fromisoformat
        add("rule", choices=rules.names())
        add("options", nargs="*", metavar="NAME=VALUE", help="options of the rule: minutes=180")
        add("--from", dest="since", type=day, required=True, metavar="DAY", help="2023-01-01")
        add("--to", dest="until", type=day, required=True, metavar="DAY", help="last day")
        add("--zone", type=zone, help="time zone of the device (default: the home's)")
        add("--file", type=Path, metavar="CSV", help=CSV)
        add("--currency", default="", metavar="GBP", help="of the prices in the file")
        add("--region", default="", metavar="FEED:REGION", help="default: as FEEDS says")
        add("--every", type=minutes(DAY_MINUTES), default="10", help="minutes between decisions")
        add("--svg", type=Path, metavar="FILE", help="draw the last week as a chart")
        add("--json", action="store_true", help="print the result as JSON")

    def create_parser(self, *args: Any, **named: Any) -> CommandParser:
        parser = super().create_parser(*args, **named)
        # NAME=VALUE may stand anywhere, also after the options of the command. Django calls
        # `parse_args`, and argparse has no other way to choose (hence the ignore).
        parser.parse_args = parser.parse_intermixed_args  # type: ignore[method-assign]
        return parser

    def handle(self, *args: Any, **options: Any) -> None:
        days, every, zone = (options["since"], options["until"]), options["every"], options["zone"]
        try:
            rule = rules.load(options["rule"])
            chosen, named = backtest.read_options(rule, rules.read_pairs(options["options"]))
            settings = backtest.settings_of(rule, chosen, *days, every, zone)
            source = [options[name] for name in ("file", "region", "currency")]
            histories, others = backtest.load(settings, named, *source)
            with self.progress("decision") as progress:
                result = backtest.backtest(settings, histories, progress, others)
            if options["svg"]:
                options["svg"].write_text(svg.draw_svg(result, histories), encoding="utf-8")
        except (LookupError, ValueError, OSError) as error:
            raise CommandError(str(error)) from error
        if options["json"]:
            self.write_json(result.as_json())
        else:
            self.stdout.write(result.in_words())
