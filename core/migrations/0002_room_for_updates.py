"""On PostgreSQL, leave room in the pages of rows that every poll updates: the new version of a row then stays in its page,
and no index hears of it. Rows that exist move as they are updated. Measured in bench/README.md."""

from django.db import migrations

TABLES = ("core_attribute", "core_device", "core_gateway")


def set_fillfactor(schema_editor, setting):
    if schema_editor.connection.vendor == "postgresql":
        for table in TABLES:
            schema_editor.execute(f"ALTER TABLE {table} {setting}")


def forwards(apps, schema_editor):
    set_fillfactor(schema_editor, "SET (fillfactor = 50)")


def backwards(apps, schema_editor):
    set_fillfactor(schema_editor, "RESET (fillfactor)")


class Migration(migrations.Migration):
    dependencies = [("core", "0001_initial")]

    operations = [migrations.RunPython(forwards, backwards)]
