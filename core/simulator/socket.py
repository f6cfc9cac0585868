"""The WebSocket of a simulated device: RPC, and what it tells by itself once a request named a
source. Each minute it tells its meter, as devices do."""

import asyncio
import json
import time
from typing import TYPE_CHECKING

from websockets.frames import Frame, Opcode
from websockets.http11 import Request
from websockets.protocol import State
from websockets.server import ServerProtocol

from core.simulator.devices import SimulatedDevice
from core.simulator.rpc import answer, read_call

if TYPE_CHECKING:
    from core.simulator import Simulator

LARGEST_MESSAGE = 65_536
TELLS_EVERY = 60.0


class Socket:
    """One open connection to a device. Everything happens in the serving thread."""

    def __init__(
        self,
        simulator: "Simulator",
        transport: asyncio.Transport,
        device: SimulatedDevice,
        head: bytes,
        refuses: bool,
    ) -> None:
        """`head` is that of the HTTP request. With `refuses` every password is wrong."""
        self.simulator = simulator
        self.transport = transport
        self.device = device
        self.refuses = refuses
        self.source = ""
        self._minute: asyncio.TimerHandle | None = None
        self._protocol = ServerProtocol(max_size=LARGEST_MESSAGE)
        self.receive(head + b"\r\n\r\n")

    def receive(self, data: bytes) -> None:
        self._protocol.receive_data(data)
        for event in self._protocol.events_received():
            if isinstance(event, Request):
                self._protocol.send_response(self._protocol.accept(event))
            elif isinstance(event, Frame) and event.opcode is Opcode.TEXT:
                self._answer(bytes(event.data))
        self._flush()

    def notify(self) -> None:
        """Tell the client of its device, once it has named a source."""
        if not self.source or self._protocol.state is not State.OPEN:
            return
        params = self.device.changes(time.time())
        self._protocol.send_text(
            f'{{"src":"{self.device.id}","dst":{json.dumps(self.source)},'
            f'"method":"NotifyStatus","params":{params}}}'.encode()
        )
        self._flush()

    def close(self) -> None:
        if self._minute:
            self._minute.cancel()

    def _answer(self, text: bytes) -> None:
        call = read_call("POST", "rpc", "", text)
        if call is None:
            return
        frame = json.loads(text)
        is_open = not self.simulator.guard.password and not self.refuses
        admits = self.simulator.guard.admits_frame
        if not is_open and (self.refuses or not admits(frame.get("auth"), self.device.id)):
            challenge = json.dumps(self.simulator.guard.frame_challenge(self.device.id))
            error = json.dumps({"code": 401, "message": challenge})
            self._send(f'{{"id":{json.dumps(call.frame_id)},"error":{error}}}')
            return
        self.device.requests += 1
        self.device.writes += call.is_write
        _, body = answer(
            self.device, call, self.simulator.order, bool(self.simulator.guard.password)
        )
        self._send(body)
        if isinstance(frame.get("src"), str) and not self.source:
            self.source = frame["src"]
            self._tell_in_a_minute()

    def _tell_in_a_minute(self) -> None:
        loop = asyncio.get_running_loop()
        self._minute = loop.call_later(TELLS_EVERY, self._tell_again)

    def _tell_again(self) -> None:
        self.notify()
        self._tell_in_a_minute()

    def _send(self, text: str) -> None:
        self._protocol.send_text(text.encode())

    def _flush(self) -> None:
        for data in self._protocol.data_to_send():
            if data:
                self.transport.write(data)
            else:
                self.transport.close()
