"""Feeds know when they failed, and silences that hide stored values are cut.

Before silences began after what was stored, a poll by a clock that was behind wrote some over it.
"""

from datetime import timedelta

from django.db import migrations, models
from django.db.models import Exists, Max, OuterRef

LEAST = timedelta(minutes=25)
"""Shorter ones are none: two polls of ten minutes were missed."""


def cut_silences(apps, schema_editor):
    Silence = apps.get_model("core", "Silence")
    Observation = apps.get_model("core", "Observation")
    hidden = Observation.objects.filter(
        attribute=OuterRef("attribute"),
        observed_at__gt=OuterRef("starts_at"),
        observed_at__lt=OuterRef("ends_at"),
    )
    for silence in list(Silence.objects.filter(Exists(hidden)).order_by("attribute", "-ends_at")):
        seen = Observation.objects.filter(
            attribute=silence.attribute_id,
            observed_at__gt=silence.starts_at,
            observed_at__lt=silence.ends_at,
        )
        starts_at = seen.aggregate(newest=Max("observed_at"))["newest"]
        begins_so = Silence.objects.filter(attribute=silence.attribute_id, starts_at=starts_at)
        if silence.ends_at - starts_at <= LEAST or begins_so.exists():
            silence.delete()
        else:
            silence.starts_at = starts_at
            silence.save(update_fields=["starts_at"])


class Migration(migrations.Migration):
    dependencies = [
        ("core", "0013_usage"),
    ]

    operations = [
        migrations.AddField(
            model_name="feedsource",
            name="asked_at",
            field=models.DateTimeField(help_text="When it last failed to answer", null=True),
        ),
        migrations.RunPython(cut_silences, migrations.RunPython.noop, elidable=True),
    ]
