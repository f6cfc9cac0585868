"""One HTTP/1.1 connection to the simulator, with as little parsing as common clients need, for the
sake of speed."""

import asyncio
import json
from collections.abc import Callable
from dataclasses import asdict, dataclass
from http import HTTPStatus
from typing import TYPE_CHECKING

from core.simulator.devices import SimulatedDevice
from core.simulator.faults import FAULTS, Fault, use
from core.simulator.rpc import Call, answer, read_call

if TYPE_CHECKING:
    from core.simulator import Simulator
    from core.simulator.socket import Socket

LARGEST_HEAD = 32_768
LARGEST_BODY = 65_536


def response(status: int, body: str, header: str = "") -> bytes:
    payload = body.encode()
    head = (
        f"HTTP/1.1 {status} {PHRASES[status]}\r\n"
        "Server: ShellyHTTP/1.0.0\r\nContent-Type: application/json\r\n"
        f"Content-Length: {len(payload)}\r\n{header}\r\n"
    )
    return head.encode() + payload


PHRASES = {status.value: status.phrase for status in HTTPStatus}


@dataclass(frozen=True, slots=True)
class Request:
    method: str
    target: str
    head: bytes
    body: bytes

    @property
    def authorization(self) -> str:
        for line in self.head.split(b"\r\n"):
            key, _, value = line.partition(b":")
            if key.lower() == b"authorization":
                return value.strip().decode("latin-1")
        return ""

    @property
    def wants_socket(self) -> bool:
        return b"\r\nupgrade: websocket" in self.head.lower()


class Connection(asyncio.Protocol):
    """Answers one request at a time, in order. `later` is what it waits for before it may answer
    the next."""

    transport: asyncio.Transport

    def __init__(self, simulator: "Simulator") -> None:
        self.simulator = simulator
        self.buffer = b""
        self.later: asyncio.TimerHandle | None = None
        self.closing = False
        self.socket: Socket | None = None
        """Once it is a WebSocket."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = transport  # type: ignore[assignment]  # a stream server's transports are asyncio.Transport
        self.simulator.connections.add(self)

    def connection_lost(self, exc: Exception | None) -> None:
        self.simulator.connections.discard(self)
        if self.later:
            self.later.cancel()
        if self.socket:
            self.socket.close()

    def data_received(self, data: bytes) -> None:
        if self.socket:
            self.socket.receive(data)
            return
        self.buffer += data
        self.advance()

    def advance(self) -> None:
        while self.buffer and self.later is None and not self.transport.is_closing():
            request = self.next_request()
            if request is None:
                return
            self.route(request)

    def next_request(self) -> Request | None:
        """The next request, if it is here in full. A bad one gets its answer here and closes the
        connection."""
        end = self.buffer.find(b"\r\n\r\n")
        if end < 0:
            if len(self.buffer) > LARGEST_HEAD:
                self.refuse(431)
            return None
        head = self.buffer[:end]
        length = _body_length(head.lower())
        if length is None or length > LARGEST_BODY:
            self.refuse(413)
            return None
        if len(self.buffer) < end + 4 + length:
            return None
        words = head.partition(b"\r\n")[0].decode("latin-1").split(" ")
        if len(words) != 3 or not words[1].startswith("/"):
            self.refuse(400)
            return None
        body, self.buffer = self.buffer[end + 4 : end + 4 + length], self.buffer[end + 4 + length :]
        self.closing = b"\r\nconnection: close" in head.lower()
        return Request(words[0], words[1], head, body)

    def refuse(self, status: int) -> None:
        self.closing = True
        self.send(response(status, "", "Connection: close\r\n"))

    def send(self, data: bytes) -> None:
        self.transport.write(data)
        if self.closing:
            self.transport.close()

    def wait(self, seconds: float, then: Callable[[], None]) -> None:
        """Do `then` later, and answer nothing else before."""
        self.later = asyncio.get_running_loop().call_later(seconds, self.wake, then)

    def wake(self, then: Callable[[], None]) -> None:
        self.later = None
        then()
        self.advance()

    def route(self, request: Request) -> None:
        path, _, query = request.target.partition("?")
        first, _, rest = path[1:].partition("/")
        devices = self.simulator.devices
        if first in ("counts", "fault") and not rest:
            return self.send(self.control(request, first, None))
        number = (
            int(first) if first.isascii() and first.isdigit() and len(first) < 6 else len(devices)
        )
        if number >= len(devices):
            return self.send(response(404, "There is no such device."))
        if rest in ("counts", "fault"):
            return self.send(self.control(request, rest, devices[number]))
        if rest == "rpc" and request.wants_socket:
            return self.open_socket(devices[number], request)
        return self.ask(
            devices[number], request, read_call(request.method, rest, query, request.body)
        )

    def open_socket(self, device: SimulatedDevice, request: Request) -> None:
        """Go on as a WebSocket, unless what is wrong on purpose keeps it from that."""
        from core.simulator.socket import Socket  # loads a library that few simulators need

        device.requests += 1
        faults = use(device.faults, False) if device.faults else {}
        kind = next((kind for kind in faults if kind in SPOILED and kind != "unauthorised"), "")
        if kind:
            return self.send(SPOILED[kind](faults[kind].amount, ""))
        if "unreachable" in faults:
            return self.transport.abort()
        if "hang" not in faults:
            refuses = "unauthorised" in faults
            self.socket = Socket(self.simulator, self.transport, device, request.head, refuses)
        return None

    def control(self, request: Request, what: str, device: SimulatedDevice | None) -> bytes:
        if what == "counts":
            return response(200, json.dumps((device or self.simulator).counts()))
        if request.method == "POST":
            try:
                body = json.loads(request.body)
                faults = [Fault.read(row) for row in (body if isinstance(body, list) else [body])]
            except (ValueError, TypeError, AttributeError) as error:
                return response(400, json.dumps({"error": str(error)}))
            if device:
                device.faults = [fault for fault, _ in faults]
            else:
                self.simulator.spread(faults)
        shown = (
            [device] if device else [device for device in self.simulator.devices if device.faults]
        )
        return response(
            200, json.dumps({one.number: [asdict(fault) for fault in one.faults] for one in shown})
        )

    def ask(self, device: SimulatedDevice, request: Request, call: Call | None) -> None:
        is_write = call is not None and call.is_write
        device.requests += 1
        device.writes += is_write
        faults = use(device.faults, is_write) if device.faults else {}
        latency = faults.pop("latency", None)
        seconds = latency.amount if latency else self.simulator.latency
        if seconds:
            self.wait(seconds, lambda: self.answer(device, request, call, faults))
        else:
            self.answer(device, request, call, faults)

    def answer(
        self, device: SimulatedDevice, request: Request, call: Call | None, faults: dict[str, Fault]
    ) -> None:
        if not faults:
            return self.send(self.healthy(device, request, call))
        kind = next(kind for kind in FAULTS if kind in faults)
        amount = faults[kind].amount
        if kind in SPOILED:
            return self.send(SPOILED[kind](amount, self.simulator.guard.challenge(device.id)))
        if kind == "hang":
            return self.wait(1e6, self.transport.abort)
        if kind == "lying":
            return self.send(self.healthy(device, request, call, is_lying=True))
        if kind in ("lost_command", "unreachable"):
            return self.wait(amount, self.transport.abort)
        data = self.healthy(device, request, call)
        if kind == "lost_answer":
            return self.wait(amount, self.transport.abort)
        start = data.index(b"\r\n\r\n") + 4 if kind == "drip_body" else 0
        self.transport.write(data[:start])
        return self.drip(data[start:], amount)

    def healthy(
        self, device: SimulatedDevice, request: Request, call: Call | None, is_lying: bool = False
    ) -> bytes:
        if call is None:
            return response(404, "Not Found")
        guard = self.simulator.guard
        is_open = not guard.password or call.method == "Shelly.GetDeviceInfo"
        if not is_open and not guard.admits(
            request.authorization, request.method, request.target, device.id
        ):
            return unauthorised(0, guard.challenge(device.id))
        order = self.simulator.pretend if is_lying else self.simulator.order
        return response(*answer(device, call, order, bool(guard.password)))

    def drip(self, data: bytes, gap: float) -> None:
        if len(data) > 1:
            self.transport.write(data[:1])
            self.wait(gap, lambda: self.drip(data[1:], gap))
        else:
            self.send(data)


def _body_length(lower_head: bytes) -> int | None:
    """Content-Length, None if it is no number or the body comes in chunks, which no client of ours
    sends."""
    if b"\r\ntransfer-encoding:" in lower_head:
        return None
    _, found, rest = lower_head.partition(b"\r\ncontent-length:")
    digits = rest.partition(b"\r\n")[0].strip()
    if not found:
        return 0
    return int(digits) if digits.isdigit() and len(digits) < 8 else None


def unauthorised(_amount: float, challenge: str) -> bytes:
    return response(401, "", f"WWW-Authenticate: {challenge}\r\n")


SPOILED: dict[str, Callable[[float, str], bytes]] = {
    "429": lambda amount, _: response(429, "", f"Retry-After: {amount:.0f}\r\n"),
    "500": lambda _amount, _: response(500, '{"code":-1,"message":"simulated"}'),
    "503": lambda _amount, _: response(503, ""),
    "unauthorised": unauthorised,
    "garbage": lambda _amount, _: response(
        200, "<!doctype html><title>Welcome</title><p>This is no JSON."
    ),
    "nan": lambda _amount, _: response(
        200, '{"switch:0":{"id":0,"output":true,"apower":NaN},"sys":{"mac":"02A803000000"}}'
    ),
}
