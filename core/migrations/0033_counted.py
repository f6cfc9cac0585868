from django.db import migrations, models
from django.db.models import F, Q

# Units of energy, of which hours have to tell what was counted.
COUNTERS = ["Wh", "mWh", "kWh", "MWh", "GWh", "J", "kJ", "MJ", "GJ"]


def sum_up_again(apps, schema_editor):
    """Let the next polls make the hours of counters anew, as far back as observations are kept."""
    counters = apps.get_model('core', 'Attribute').objects.filter(unit__in=COUNTERS)
    counters = counters.exclude(rolled_until=None)
    counters.filter(Q(pruned_until=None) | Q(rolled_until__gt=F('pruned_until'))).update(
        rolled_until=F('pruned_until'), roll_up_at='1970-01-01T00:00:00Z'
    )


class Migration(migrations.Migration):

    dependencies = [
        ('core', '0032_strikes'),
    ]

    operations = [
        migrations.AddField(
            model_name='hourlystatistics',
            name='counted_kwh',
            field=models.FloatField(help_text='By a counter of energy, after its start, before its end', null=True),
        ),
        migrations.AddField(
            model_name='hourlystatistics',
            name='counted_before_kwh',
            field=models.FloatField(help_text='What its first observation tells of the time before: at its start, or after a silence', null=True),
        ),
        migrations.RunPython(sum_up_again, migrations.RunPython.noop, elidable=True),
    ]
