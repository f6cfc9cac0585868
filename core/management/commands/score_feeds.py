from argparse import ArgumentParser
from typing import Any

from django.utils import timezone

from core.management.arguments import days
from core.management.command import Command as Base
from core.tasks.score_feeds import score_feeds

NOTHING = "No forecast is stored of these days. Run: python manage.py fetch_forecasts"


class Command(Base):
    help = "Show how right the forecasts of each feed were: errors by lead time, warnings."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument(
            "--days", type=days, default=30, metavar="N", help="back from now (default: 30)"
        )
        parser.add_argument("--json", action="store_true", help="print the scores as JSON")

    def handle(self, *args: Any, **options: Any) -> None:
        scores = score_feeds(timezone.now(), options["days"])
        if options["json"]:
            self.write_json([score.as_json() for score in scores])
        else:
            self.stdout.write("\n".join(score.in_words() for score in scores) or NOTHING)
