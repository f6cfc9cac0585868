"""Shelly devices of any generation, asked through Shelly's cloud: works from anywhere, one gateway
is one account.

After https://shelly-api-docs.shelly.cloud/cloud-control-api/communication-v2 (ten devices a call,
one call a second). That API lists no devices: `/device/all_status` of the older one does, which
Shelly means to remove some day. Devices that are known are read and ordered without it.
"""

import base64
import hashlib
import re
from collections.abc import Collection, Iterator
from dataclasses import replace
from datetime import timedelta
from typing import Any, ClassVar

from core.net.errors import ApiError, ApiRefused
from core.net.http import Http, in_query
from core.readings import DeviceSpec, Reading, Value, clean_name
from core.vendors import Identity, RateLimit, Vendor
from core.vendors._shelly import NO_VALUE, devices, hardware_of, order, readings

MOST_AT_ONCE = 10
PATHS = {
    "Switch.Set": "switch",
    "Cover.GoToPosition": "cover",
    **dict.fromkeys(("Light.Set", "CCT.Set", "RGB.Set", "RGBW.Set"), "light"),
}
ARGUMENTS = {"pos": "position", "ct": "temperature"}
COLOUR_ARGUMENTS = {"brightness": "gain"}
"""Where the cloud's word for an argument is not the device's."""

MAY_PASS = ("DEVICE_FAILED_COMMAND", "INSTANCE_NOT_FOUND")
"""These come with status 400 and 404, and yet nobody's mistake: failed for whatever reason, or lost
inside the cloud."""
WORDS = {
    "DEVICE_OFFLINE": "the cloud cannot reach it",
    "DEVICE_INVALID_MODE": "it is not in the mode for that",
    "DEVICE_INVALID_CHANNEL": "it has no such channel",
    "DEVICE_NOT_FOUND": "the cloud does not know it",
}


class Client(Vendor):
    """One account. Readings carry no time: the cloud tells the last state it heard of, not when."""

    label = "Shelly Cloud"
    address_example = "https://shelly-77-eu.shelly.cloud"
    credential_hint = "the authorization cloud key, from the user settings of the Shelly app"
    settle = timedelta(seconds=3)  # nothing is promised: the device has to tell the cloud
    has_timer = True
    rate_limit: ClassVar[RateLimit | None] = RateLimit(
        per=timedelta(seconds=1.2),  # what leaves a second apart may arrive closer
        devices_a_call=MOST_AT_ONCE,
    )

    def __init__(self, http: Http) -> None:
        super().__init__(http)
        if http.credential:
            http.auth = in_query("auth_key", http.credential)

    def identify(self) -> Identity:
        count = len(self._listed())
        return Identity(
            _account(self.http.credential),
            f"Shelly account with {count} device{'' if count == 1 else 's'}",
        )

    def devices(self) -> Iterator[DeviceSpec]:
        """What the account lists and we understand: buttons and bridges, which tell no value, are
        left out."""
        for hardware, state in self._states(self._listed(), {"select": ["status", "settings"]}):
            name, model = _name(state) or hardware, clean_name(state.get("code"))
            for device in devices(hardware, name, _status(state), _config(state), model):
                if device.attributes:
                    yield device

    def read(self, vendor_ids: Collection[str]) -> Iterator[Reading]:
        """One call for the hardware of ten. Our own orders and the app's look alike to a device:
        both come from the cloud."""
        wanted = set(vendor_ids)
        hardware_ids = dict.fromkeys(map(hardware_of, vendor_ids))
        for hardware, state in self._states(hardware_ids, {"select": ["status"]}):
            for reading in readings(hardware, _status(state), by_cloud=None):
                if not _is_online(state):
                    # What the cloud tells of it is from before, however long ago.
                    reading = replace(reading, value=None, cause=None, reachable=False)
                if reading.vendor_id in wanted:
                    yield reading

    def write(
        self, vendor_id: str, attribute: str, value: Value, revert_after: timedelta | None = None
    ) -> None:
        """Two calls: the first finds the channel, and whether the cloud reaches the device at
        all."""
        hardware = hardware_of(vendor_id)
        state = dict(self._states([hardware], {"select": ["status"]})).get(hardware)
        if state is None:
            raise ApiRefused(f"The Shelly cloud knows no device {vendor_id} in this account.")
        if not _is_online(state):
            raise ApiRefused(f"The Shelly cloud cannot reach {vendor_id}.")
        part, arguments = order(vendor_id, _status(state), attribute, value, revert_after)
        is_colour = part.field.method in ("RGB.Set", "RGBW.Set")
        words = ARGUMENTS | COLOUR_ARGUMENTS if is_colour else ARGUMENTS
        arguments = {words.get(name, name): argument for name, argument in arguments.items()}
        answer = self._post(
            f"set/{PATHS[part.field.method]}",
            {"id": hardware, "channel": part.component_id, **arguments},
        )
        # An empty answer is a yes as well.
        is_yes = isinstance(answer, dict) and answer.get("isok", True) is True
        if answer is not None and not is_yes:
            raise ApiError("The Shelly cloud's answer is no yes: nobody knows whether it did it.")

    def _states(
        self, hardware_ids: Collection[str], select: dict[str, Any]
    ) -> Iterator[tuple[str, dict[str, Any]]]:
        """Each hardware of these that the account has, by our id for it, with what the cloud says
        of it."""
        wanted = list(hardware_ids)
        for start in range(0, len(wanted), MOST_AT_ONCE):
            ids = wanted[start : start + MOST_AT_ONCE]
            states = self._post("get", {"ids": ids, **select})
            if not isinstance(states, list):
                raise ApiError("The Shelly cloud's answer is no list of devices.")
            by_id = {_id(state): state for state in states if isinstance(state, dict)}
            for hardware in ids:
                # Hexadecimal, in either case: the stored id stays as it is.
                if state := by_id.get(hardware.lower()):
                    yield hardware, state

    def _post(self, path: str, body: dict[str, Any]) -> Any:
        try:
            answer = self.http.post(f"/v2/devices/api/{path}", body)
        except (ApiError, ApiRefused) as failure:
            raise self._in_words(failure) from None
        if isinstance(answer, dict) and answer.get("error"):
            sentence = f"The Shelly cloud answers with an error{_word(answer['error'])}."
            raise self._in_words(ApiRefused(sentence, status=400))
        return answer

    def _in_words(self, failure: ApiError | ApiRefused) -> ApiError | ApiRefused:
        """The failure, as its documented word means it."""
        if failure.status == 401:
            return self._key_refused()
        message = str(failure)
        if failure.status in (400, 404) and any(word in message for word in MAY_PASS):
            return ApiError(message, status=failure.status)
        reason = next((reason for word, reason in WORDS.items() if word in message), "")
        if not reason:
            return failure
        sentence = f"The Shelly cloud did nothing for the device: {reason}."
        return ApiRefused(sentence, status=failure.status)

    def _key_refused(self) -> ApiRefused:
        what = "wants a key"
        if self.http.credential:
            what = "does not accept this key, which changes with the account's password"
        sentence = f"The Shelly cloud {what}: get one in the user settings of the app."
        return ApiRefused(sentence, status=401)

    def _listed(self) -> list[str]:
        """The ids of the account's own devices, in one call."""
        try:
            answer = self.http.get("/device/all_status", {"show_info": "true", "no_shared": "true"})
        except ApiRefused as refusal:
            raise self._key_refused() if refusal.status == 401 else refusal from None
        answer = answer if isinstance(answer, dict) else {}
        if answer.get("isok") is False:
            self._raise_error(answer.get("errors"))
        data = answer.get("data")
        found = data.get("devices_status") if isinstance(data, dict) else None
        # An account without devices answers with an empty list instead of an object.
        if found != [] and not isinstance(found, dict):
            raise ApiError("The Shelly cloud's answer is no list of devices.")
        return list(dict.fromkeys(filter(None, (_listed_id(key, found[key]) for key in found))))

    def _raise_error(self, errors: object) -> None:
        """The older API answers with HTTP 200 even to those it refuses, and its words are written
        down nowhere."""
        words = [key for key in errors if isinstance(key, str)] if isinstance(errors, dict) else []
        if any("auth" in word or "token" in word for word in words):
            raise self._key_refused()
        raise ApiError(f"The Shelly cloud answers with an error{_word(*words)}.")


def _word(*codes: object) -> str:
    """The words of an error for the end of a sentence, if they are words: anything else might
    repeat the key."""
    texts = (code for code in codes if isinstance(code, str))
    words = [text for text in texts if re.fullmatch("[A-Za-z_]{1,60}", text)]
    return f": {', '.join(words)}" if words else ""


def _account(key: str) -> str:
    """What stays of a key when the password changes: it begins with the account's number, as far as
    anybody has seen."""
    try:
        account = base64.b64decode(key[:12], validate=True).decode("ascii")
    except ValueError:
        account = ""
    is_number = account.endswith("uid") and account.isalnum()
    return account if is_number else hashlib.sha256(key.encode()).hexdigest()[:16]


def _id(state: dict[str, Any]) -> str:
    value = state.get("id")
    return str(value).lower() if isinstance(value, str | int) else ""


def _listed_id(key: str, status: object) -> str:
    """The key is not always the id that the other calls want."""
    info = status.get("_dev_info") if isinstance(status, dict) else None
    return (_id(info) if isinstance(info, dict) else "") or key


def _name(state: dict[str, Any]) -> str:
    """As the device was named: each generation keeps it elsewhere."""
    settings = _settings(state)
    system = settings.get("sys")
    device = system.get("device") if isinstance(system, dict) else None
    return clean_name(device.get("name") if isinstance(device, dict) else settings.get("name"))


def _settings(state: dict[str, Any]) -> dict[str, Any]:
    settings = state.get("settings")
    return settings if isinstance(settings, dict) else {}


def _config(state: dict[str, Any]) -> dict[str, Any]:
    """The settings by component."""
    settings = _settings(state)
    if state.get("gen") != "G1":
        return settings
    lists = {"cover": "rollers", "switch": "relays", "light": "lights"}
    return {
        f"{kind}:{number}": item
        for kind, key in lists.items()
        for number, item in _numbered(settings, key)
    }


def _is_online(state: dict[str, Any]) -> bool:
    return state.get("online") in (1, True)


def _status(state: dict[str, Any]) -> dict[str, Any]:
    status = state.get("status")
    if not isinstance(status, dict):
        return {}
    return from_first_generation(status) if state.get("gen") == "G1" else status


def from_first_generation(status: dict[str, Any]) -> dict[str, Any]:
    """A status after https://shelly-api-docs.shelly.cloud/gen1/ in the words of the second
    generation, as far as it has them. In roller mode the relays drive the roller and are nothing to
    switch."""
    found: dict[str, Any] = {}
    for number, roller in _numbered(status, "rollers"):
        found[f"cover:{number}"] = _renamed(
            roller, current_pos="current_pos", pos_control="positioning", source="source"
        )
    for number, relay in _numbered(status, "relays") if not found else ():
        found[f"switch:{number}"] = _renamed(relay, output="ison", source="source")
    for number, light in _numbered(status, "lights"):
        found[f"light:{number}"] = _renamed(
            light, output="ison", brightness="brightness", source="source"
        )
    for number, meter in _numbered(status, "meters"):
        # Whose meter it is, is told by its number alone.
        for component in ("switch", "light", "cover"):
            found.get(f"{component}:{number}", {}).update(_metered(meter))
    for number, meter in _numbered(status, "emeters"):
        found[f"em1:{number}"] = _renamed(
            meter, act_power="power", voltage="voltage", current="current"
        )
        found[f"em1data:{number}"] = _renamed(
            meter, total_act_energy="total", total_act_ret_energy="total_returned"
        )
    for component, key, names in (
        ("temperature", "tmp", {"tC": "tC"}),
        ("humidity", "hum", {"rh": "value"}),
    ):
        if isinstance(status.get(key), dict):
            found[f"{component}:0"] = _renamed(status[key], **names)
    if isinstance(battery := status.get("bat"), dict):
        found["devicepower:0"] = {"battery": _renamed(battery, percent="value", V="voltage")}
    return found


def _numbered(status: dict[str, Any], key: str) -> Iterator[tuple[int, dict[str, Any]]]:
    items = status.get(key)
    for number, item in enumerate(items if isinstance(items, list) else ()):
        if isinstance(item, dict):
            yield number, item


def _renamed(item: dict[str, Any], **names: str) -> dict[str, Any]:
    """The values under their new names. `is_valid` false beside them: none of them is known."""
    is_valid = item.get("is_valid") is not False
    return {new: item[old] if is_valid else None for new, old in names.items() if old in item}


def _metered(meter: dict[str, Any]) -> dict[str, Any]:
    """Power in W. The first generation counts watt-minutes, the second watt-hours."""
    total = meter.get("total")
    if meter.get("is_valid") is False or total == NO_VALUE:
        total = None
    elif isinstance(total, int | float) and not isinstance(total, bool):
        total = total / 60
    counted = {"aenergy": {"total": total}} if "total" in meter else {}
    return _renamed(meter, apower="power") | counted
