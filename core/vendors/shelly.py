"""Shelly devices of the second generation and newer, asked directly over RPC on HTTP.

After https://shelly-api-docs.shelly.cloud/gen2/. One gateway is one piece of hardware, and one
device, or one for each of its channels. What its status means stands in core/vendors/_shelly.py.
"""

from collections.abc import Collection, Iterator
from datetime import datetime, timedelta
from typing import Any

from core.net.errors import ApiError, ApiRefused
from core.net.http import Http, digest
from core.readings import DeviceSpec, Reading, Value, clean_name
from core.vendors import Identity, Update, Vendor
from core.vendors._shelly import channels, devices, hardware_of, name_of, order, parts, readings
from core.vendors._shelly_history import METHODS, columns_of, meters, minutes

LONGEST_ID = 200
LONGEST_SLEEP_SECONDS = 7 * 86_400

NOT_FOUND = 404
"""The firmware has no such method. It says so by HTTP status, or by the code of an error."""
FINAL_CODES = {NOT_FOUND, 401, 403, -103, -105, -109}
"""No such method, not allowed, invalid argument, no such component, failed precondition: asking
again changes nothing. The others (-104 deadline exceeded, -108 resource exhausted, -114
unavailable, and unknown ones) may pass."""


class Client(Vendor):
    """One Shelly device. The password, if one is set, belongs to its only user, `admin`."""

    label = "Shelly (local, Gen2 and newer)"
    address_example = "http://192.168.1.20"
    credential_hint = "the device's admin password, if one is set"
    settle = timedelta(seconds=0.5)
    history_span = timedelta(hours=3)  # a device tells some 50 minutes of its memory a second
    has_timer = True
    listens = True

    def __init__(self, http: Http) -> None:
        super().__init__(http)
        if http.credential:
            http.auth = digest("admin", http.credential)

    def identify(self) -> Identity:
        info = self._device_info()
        if info.get("auth_en"):  # GetDeviceInfo answers to anybody, so it proves no password
            self._status([info["id"]])
        return Identity(info["id"], clean_name(info.get("name")) or info["id"])

    def devices(self) -> list[DeviceSpec]:
        info = self._device_info()
        hardware = info["id"]
        status, _ = self._status([hardware])
        name = clean_name(info.get("name"))
        # The configuration is one more call: only where it holds a name or a range that is needed.
        has_several = len(channels(status)) > 1
        has_range = any(part.field.path == ("ct",) for part in parts(status))
        config = self._config() if has_several or has_range or not name else {}
        name = name or _configured_name(config, has_several) or hardware
        model = clean_name(info.get("app")) or clean_name(info.get("model"))
        return list(devices(hardware, name, status, config, model, _wakes_every(status)))

    def read(self, vendor_ids: Collection[str]) -> list[Reading]:
        """One call. No reading carries a time: the answer is the state at the moment of the call,
        and the device's own clock (`sys.unixtime`) counts whole seconds, is null until it was set,
        and may be wrong."""
        status, hardware = self._status(vendor_ids)
        wanted = set(vendor_ids)
        found = readings(hardware, status)
        return [reading for reading in found if reading.vendor_id in wanted]

    def write(
        self, vendor_id: str, attribute: str, value: Value, revert_after: timedelta | None = None
    ) -> None:
        """Two calls: the first finds the component, and makes sure that no other device took over
        the address."""
        status, _ = self._status([vendor_id])
        part, params = order(vendor_id, status, attribute, value, revert_after)
        self._order(part.field.method, {"id": part.component_id, **params})

    def history(self, vendor_id: str, since: datetime, until: datetime) -> Iterator[Reading]:
        """What meters of energy kept of each minute; other components keep nothing."""
        if hardware_of(vendor_id) != vendor_id:  # meters are the hardware's, not a channel's
            return
        status, _ = self._status([vendor_id])
        for kind, component_id in meters(status):

            def pages(ts: int, kind: str = kind, component_id: int = component_id) -> Any:
                end_ts = int(until.timestamp())
                return self._call(METHODS[kind], {"id": component_id, "ts": ts, "end_ts": end_ts})

            columns = columns_of(status, kind, component_id)
            for minute in minutes(pages, since, until):
                for name, value in minute.values(columns):
                    yield Reading(vendor_id, name, value, minute.at)

    def listen(self, vendor_ids: Collection[str], whole_every: timedelta) -> Iterator[Update]:
        from core.vendors._shelly_socket import listen  # loads a library that only listeners need

        def owner(status: dict[str, Any]) -> str:
            return self._owner(status, vendor_ids)

        return listen(self.http, owner, frozenset(vendor_ids), whole_every)

    def _order(self, method: str, params: dict[str, Any]) -> None:
        answer = self.http.post("/rpc", {"id": 1, "method": method, "params": params})
        _raise_error(answer, method)
        is_ours = isinstance(answer, dict) and answer.get("id") == 1
        if not is_ours or not isinstance(answer.get("result", ""), dict | None):
            raise ApiError(
                f"The device's answer to {method} is no result: nobody knows whether it did it."
            )

    def _call(self, method: str, params: dict[str, str | int] | None = None) -> dict[str, Any]:
        try:
            answer = self.http.get(f"/rpc/{method}", params)
        except ApiRefused as refusal:
            if refusal.status != 401:
                raise
            wants = "wants its admin password"
            if self.http.credential:
                wants = "does not accept this password"
            raise ApiRefused(f"The device {wants}.", status=401) from refusal
        _raise_error(answer, method)
        if not isinstance(answer, dict):
            raise ApiError(f"The device's answer to {method} is no object.")
        return answer

    def _device_info(self) -> dict[str, Any]:
        try:
            info = self._call("Shelly.GetDeviceInfo")
        except (ApiError, ApiRefused) as failure:
            if failure.status not in (401, NOT_FOUND):
                raise
            info = self._introduction(failure)
        if "type" in info and not info.get("gen"):
            raise ApiRefused(
                "This Shelly is of the first generation, which has another API. "
                "Only Gen2 and newer are supported."
            )
        return self._checked(info)

    def _introduction(self, failure: ApiError | ApiRefused) -> dict[str, Any]:
        """What `/shelly` says, which every generation answers to anybody, with or without the RPC
        method."""
        try:
            answer = self.http.get("/shelly")
        except (ApiError, ApiRefused):
            raise failure from None
        if not isinstance(answer, dict):
            raise failure
        return answer

    def _checked(self, info: dict[str, Any]) -> dict[str, Any]:
        """The id must end in the MAC address: by that each later answer is recognised."""
        vendor_id, mac = info.get("id"), _mac(info.get("mac"))
        if not isinstance(vendor_id, str) or not vendor_id.isprintable() or not mac:
            raise ApiError(
                "The device does not say who it is: no id or no MAC address in its answer."
            )
        if len(vendor_id) > LONGEST_ID or not vendor_id.lower().endswith(mac):
            raise ApiRefused(
                f"The device's id, {vendor_id:.80}, does not end in its MAC address, {mac}: "
                "it is no Shelly we know."
            )
        return info

    def _status(self, vendor_ids: Collection[str]) -> tuple[dict[str, Any], str]:
        """The status, and the id of the hardware it is of. GetStatus tells the MAC address, not the
        id."""
        status = self._call("Shelly.GetStatus")
        return status, self._owner(status, vendor_ids)

    def _owner(self, status: dict[str, Any], vendor_ids: Collection[str]) -> str:
        """The hardware of these devices that a status is of."""
        system = status.get("sys")
        mac = _mac(system.get("mac")) if isinstance(system, dict) else ""
        if not mac:
            raise ApiError("The device's status does not say whose it is: no MAC address in it.")
        for hardware in map(hardware_of, vendor_ids):
            if hardware.lower().endswith(mac):
                return hardware
        expected = ", ".join(sorted(vendor_ids))
        raise ApiRefused(
            f"Another device answers at this address: its MAC address is {mac}, "
            f"expected was {expected:.200}."
        )

    def _config(self) -> dict[str, Any]:
        """The configuration. A device that refuses to tell it, with whatever code, has none."""
        try:
            config = self.http.get("/rpc/Shelly.GetConfig")
        except (ApiError, ApiRefused) as failure:
            if failure.status is None:  # nobody answered
                raise
            return {}
        return config if isinstance(config, dict) else {}


def _configured_name(config: dict[str, Any], has_several: bool) -> str:
    """The name of the hardware. Where it is one device, also that of its only named component: old
    firmware tells it nowhere else."""
    system = config.get("sys")
    device = system.get("device") if isinstance(system, dict) else None
    if isinstance(device, dict) and (name := clean_name(device.get("name"))):
        return name
    names = set(map(name_of, config.values())) - {""}
    return names.pop() if len(names) == 1 and not has_several else ""


def _raise_error(answer: Any, method: str) -> None:
    """Errors may come with HTTP 200, in a frame (`{"error": {...}}`) or bare (`{"code": -105,
    "message": "..."}`)."""
    if not isinstance(answer, dict):
        return
    error = answer if "code" in answer and "message" in answer else answer.get("error")
    if error is None:
        return
    code = error.get("code") if isinstance(error, dict) else None
    words = error.get("message") if isinstance(error, dict) else error
    sentence = f"The device answers {method} with an error: {str(words):.200} ({str(code):.20})."
    failure = ApiRefused if isinstance(code, int) and code in FINAL_CODES else ApiError
    raise failure(sentence, status=NOT_FOUND if code == NOT_FOUND else None)


def _wakes_every(status: dict[str, Any]) -> timedelta | None:
    """How often a device on battery wakes, from `sys.wakeup_period` (seconds); others have none."""
    system = status.get("sys")
    seconds = system.get("wakeup_period") if isinstance(system, dict) else None
    if type(seconds) is not int or not 0 < seconds <= LONGEST_SLEEP_SECONDS:
        return None
    return timedelta(seconds=seconds)


def _mac(value: object) -> str:
    """Twelve hexadecimal digits in lower case, or nothing."""
    text = value.lower() if isinstance(value, str) else ""
    return text if len(text) == 12 and all(digit in "0123456789abcdef" for digit in text) else ""
