"""The RPC of a healthy simulated device: which method is called, and what it answers."""

import json
import time
from dataclasses import dataclass, field
from typing import Any, Protocol
from urllib.parse import parse_qs

from core.simulator.devices import METER, SimulatedDevice
from core.simulator.lights import SimulatedCover, SimulatedLight

LONGEST_TIMER_SECONDS = 1e8
SWITCHES = {"Switch.Set": "switch", "Light.Set": "light", "CCT.Set": "cct"}
"""Methods, and the components that have them."""
BARE: Any = object()


class RpcError(Exception):
    """An error as a device tells it: code and message."""


class Order(Protocol):
    """Switches a device or a channel, with a timer if one is given. Returns how it was before."""

    def __call__(self, device: SimulatedDevice, on: bool, toggle_after: float | None) -> bool: ...


@dataclass(frozen=True, slots=True)
class Call:
    """A method and its parameters. `frame_id` is that of the frame it came in; BARE: it came
    without one."""

    method: str
    params: dict[str, Any] = field(default_factory=dict)
    frame_id: Any = BARE

    @property
    def is_write(self) -> bool:
        return self.method in (*SWITCHES, "Cover.GoToPosition")


def read_call(http_method: str, path: str, query: str, body: bytes) -> Call | None:
    """What a request calls, None if there is nothing. `path` is what follows the device's
    prefix."""
    if path == "rpc/Shelly.GetStatus" and not query:
        return GET_STATUS
    if path == "shelly":
        return Call("Shelly.GetDeviceInfo")
    if path.startswith("rpc/"):
        return Call(
            path[4:], {key: _read_json(values[0]) for key, values in parse_qs(query).items()}
        )
    frame = (
        _read_json(body.decode(errors="replace"))
        if path == "rpc" and http_method == "POST"
        else None
    )
    if not isinstance(frame, dict) or not isinstance(frame.get("method"), str):
        return None
    params = frame.get("params")
    return Call(frame["method"], params if isinstance(params, dict) else {}, frame.get("id", 0))


GET_STATUS = Call("Shelly.GetStatus")


def answer(
    device: SimulatedDevice, call: Call, order: Order, is_protected: bool
) -> tuple[int, str]:
    """HTTP status and body. An error in a frame comes with 200, a bare one with 404 or 500."""
    try:
        result = _result(device, call, order, is_protected)
    except RpcError as failure:
        code, message = failure.args
        error = json.dumps({"code": code, "message": message})
        if call.frame_id is BARE:
            return (404 if code == 404 else 500), error
        return 200, _frame(device, call, "error", error)
    return 200, result if call.frame_id is BARE else _frame(device, call, "result", result)


def _frame(device: SimulatedDevice, call: Call, key: str, content: str) -> str:
    return f'{{"id":{json.dumps(call.frame_id)},"src":"{device.id}","{key}":{content}}}'


def _result(device: SimulatedDevice, call: Call, order: Order, is_protected: bool) -> str:
    if call.method == "Shelly.GetStatus":
        return device.status(time.time())
    if call.method == "Shelly.GetDeviceInfo":
        return device.info(is_protected)
    if call.method == "Shelly.GetConfig":
        return device.config()
    if kind := SWITCHES.get(call.method):
        return _set(_channel(device, kind, call), call.params, order)
    if call.method == "Cover.GoToPosition":
        return _go_to(_channel(device, "cover", call), call.params)
    if call.method == "EM1Data.GetData" and device.kind is METER:
        return _records(device, call.params)
    raise RpcError(404, f"No handler for {call.method}")


def _records(device: SimulatedDevice, params: dict[str, Any]) -> str:
    ts, end_ts = params.get("ts"), params.get("end_ts")
    if params.get("id") != 0:
        raise RpcError(-105, "Argument 'id', value not found!")
    if type(ts) is not int or not isinstance(end_ts, int | None):
        raise RpcError(-103, "Missing or bad argument 'ts'!")
    return device.records(ts, end_ts, time.time())


def _channel(device: SimulatedDevice, kind: str, call: Call) -> SimulatedDevice:
    """The channel that an order is for."""
    if not any(one.kind.component.startswith(f"{kind}:") for one in device.channels):
        raise RpcError(404, f"No handler for {call.method}")
    component_id = call.params.get("id")
    channel = device.channel(f"{kind}:{component_id}") if type(component_id) is int else None
    if channel is None:
        raise RpcError(-105, "Argument 'id', value not found!")
    return channel


def _set(device: SimulatedDevice, params: dict[str, Any], order: Order) -> str:
    on, toggle_after = params.get("on"), params.get("toggle_after")
    brightness, color_temperature = params.get("brightness"), params.get("ct")
    if isinstance(device, SimulatedLight):
        device.adjust(brightness, color_temperature)
        if on is None and (brightness, color_temperature) != (None, None):
            return "null"
    if not isinstance(on, bool):
        raise RpcError(-103, "Missing or bad argument 'on'!")
    if toggle_after is not None and not (
        isinstance(toggle_after, int | float) and 0 <= toggle_after <= LONGEST_TIMER_SECONDS
    ):
        raise RpcError(-103, "Bad argument 'toggle_after'!")
    return json.dumps({"was_on": order(device, on, toggle_after)})


def _go_to(device: SimulatedDevice, params: dict[str, Any]) -> str:
    position = params.get("pos")
    if not isinstance(device, SimulatedCover) or type(position) is not int:
        raise RpcError(-103, "Missing or bad argument 'pos'!")
    if not 0 <= position <= 100:
        raise RpcError(-103, "Bad argument 'pos'!")
    device.go_to(position, time.time())
    return "null"


def _read_json(text: str) -> Any:
    """JSON, or the text itself."""
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        return text
