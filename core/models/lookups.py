"""A lookup for many values at once."""

import json
from typing import Any

from django.db.models import Field, Lookup


@Field.register_lookup
class Among(Lookup):
    """`pk__among=keys` finds what `pk__in=keys` finds, with one parameter however many they are.

    With 500 parameters, Django and the driver take longer than the database does. The values are
    numbers or strings.
    """

    lookup_name = "among"
    prepare_rhs = False

    def as_sql(self, compiler: Any, connection: Any) -> tuple[str, tuple[Any, ...]]:
        column, params = self.process_lhs(compiler, connection)
        if connection.vendor == "sqlite":
            values = json.dumps(list(self.rhs))
            found = "SELECT value FROM json_each(%s)"
            return f"{column} IN ({found})", (*params, values)
        # An array, not a subquery: on a new table without statistics that has a bad plan.
        kind = self.lhs.output_field.cast_db_type(connection)
        return f"{column} = ANY(%s::{kind}[])", (*params, list(self.rhs))
