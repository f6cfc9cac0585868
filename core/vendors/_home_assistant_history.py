"""What Home Assistant's recorder kept of one entity.

After https://developers.home-assistant.io/docs/api/rest/, `/api/history/period`. The recorder keeps
states for ten days unless told otherwise. With each it keeps the attributes of then, so that units,
brightness and temperatures are those of then; it leaves out what only describes the entity, such as
the modes of a thermostat.
"""

from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

from core.net.http import Http

THEN = ("unit_of_measurement", "device_class", "state_class")
"""What says of which kind a state is. It is as it was then, or not at all."""


def recorded(
    http: Http, entity_id: str, since: datetime, until: datetime
) -> Iterator[dict[str, Any]]:
    """Yield the entity's states in order of time; the first is what held at `since`.

    `significant_changes_only` would leave out changes of attributes.
    """
    answer = http.get(
        f"/api/history/period/{since.astimezone(UTC):%Y-%m-%dT%H:%M:%S.%fZ}",
        {
            "filter_entity_id": entity_id,
            "end_time": until.astimezone(UTC).isoformat(),
            "significant_changes_only": 0,
        },
    )
    # A list for each entity that was asked for, and none for one without any state.
    states = answer[0] if isinstance(answer, list) and answer else []
    for state in states if isinstance(states, list) else []:
        if isinstance(state, dict) and isinstance(state.get("state"), str):
            yield state


def attributes_then(state: dict[str, Any], now: dict[str, Any]) -> dict[str, Any]:
    """Return an entity's attributes as they were with a recorded state, given those of now.

    What the recorder does not keep is taken from now.
    """
    then = state.get("attributes")
    if not isinstance(then, dict):
        return now
    return {key: value for key, value in now.items() if key not in THEN} | then
