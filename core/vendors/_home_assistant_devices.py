"""Which device of Home Assistant each entity is of.

REST tells it by templates alone, https://developers.home-assistant.io/docs/api/rest/ (POST
/api/template) and https://www.home-assistant.io/docs/configuration/templating/#devices.
"""

from typing import Any, NamedTuple

from core.net.errors import ApiError, ApiRefused
from core.net.http import Http
from core.readings import clean_name

TEMPLATE = (
    "[{% for state in states %}{{ [state.entity_id, device_id(state.entity_id),"
    " device_attr(state.entity_id, 'name_by_user') or device_attr(state.entity_id, 'name')]"
    " | to_json }}{{ '' if loop.last else ',' }}{% endfor %}]"
)
"""A list of [entity, its device's id, its device's name], null where it is of no device."""


class Hardware(NamedTuple):
    id: str = ""
    name: str = ""


def hardware_by_entity(http: Http) -> dict[str, Hardware]:
    """Ask which device each entity is of, in one call.

    Home Assistant answers administrators alone: to whom it refuses this, every entity stands alone.
    """
    try:
        answer = http.post("/api/template", {"template": TEMPLATE})
    except (ApiError, ApiRefused) as failure:
        if failure.status is None:  # nobody answered
            raise
        return {}
    rows = answer if isinstance(answer, list) else []
    return dict(filter(None, map(_read, rows)))


def _read(row: Any) -> tuple[str, Hardware] | None:
    if not isinstance(row, list) or len(row) != 3:
        return None
    entity_id, device_id, name = row
    if not isinstance(entity_id, str) or not isinstance(device_id, str):
        return None
    return entity_id, Hardware(clean_name(device_id), clean_name(name))
