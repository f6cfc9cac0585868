"""A real Mosquitto on a free port, and devices that speak as their vendors document it."""

import json
import os
import shutil
import socket
import ssl
import subprocess
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import paho.mqtt.client as paho
import pytest
from paho.mqtt.enums import CallbackAPIVersion

from tests.waiting import wait_until

MOSQUITTO = shutil.which("mosquitto", path=f"{os.environ.get('PATH', '')}:/usr/sbin")
PAYLOADS = Path(__file__).parent / "vendors" / "payloads"


def payload(name: str) -> Any:
    return json.loads((PAYLOADS / f"{name}.json").read_text())


class Mosquitto:
    """Runs between `start()` and `stop()`, at one port."""

    def __init__(self, folder: Path, *lines: str) -> None:
        with socket.create_server(("127.0.0.1", 0)) as free:
            self.port = free.getsockname()[1]
        self.address = f"mqtt://127.0.0.1:{self.port}"
        self.config = folder / "mosquitto.conf"
        listener = [f"listener {self.port} 127.0.0.1", "persistence false", "user root"]
        self.config.write_text("\n".join([*listener, *(lines or ["allow_anonymous true"])]))
        self.process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        command = [str(MOSQUITTO), "-c", str(self.config)]
        self.process = subprocess.Popen(command, stderr=subprocess.DEVNULL)
        wait_until(self._answers)

    def stop(self) -> None:
        if self.process:
            self.process.terminate()
            self.process.wait()

    def _answers(self) -> bool:
        try:
            socket.create_connection(("127.0.0.1", self.port), 1).close()
        except OSError:
            return False
        return True


@contextmanager
def running(folder: Path, *lines: str) -> Iterator[Mosquitto]:
    if MOSQUITTO is None:
        pytest.skip("Mosquitto is not installed: apt-get install mosquitto")
    broker = Mosquitto(folder, *lines)
    broker.start()
    yield broker
    broker.stop()


class House:
    """Devices at a broker: `answers` says what a topic that is published to is answered by."""

    def __init__(
        self,
        broker: Mosquitto,
        user: str = "",
        password: str = "",
        tls: ssl.SSLContext | None = None,
    ) -> None:
        self.client = paho.Client(CallbackAPIVersion.VERSION2)
        if user:
            self.client.username_pw_set(user, password)
        if tls:
            self.client.tls_set_context(tls)
        self.answers: dict[str, Callable[[str], list[tuple[str, Any]]]] = {}
        self.heard: list[tuple[str, str]] = []
        self._ready = threading.Event()
        self.client.on_message = self._on_message
        self.client.on_connect = lambda *_: self.client.subscribe("#", 1)
        self.client.on_subscribe = lambda *_: self._ready.set()
        self.client.connect("127.0.0.1", broker.port)
        self.client.loop_start()
        assert self._ready.wait(60)

    def __enter__(self) -> "House":
        return self

    def __exit__(self, *error: object) -> None:
        self.client.disconnect()
        self.client.loop_stop()

    def tell(self, topic: str, content: Any, retain: bool = False) -> None:
        """Return when the broker has it."""
        self._publish(topic, content, retain).wait_for_publish(60)

    def _publish(self, topic: str, content: Any, retain: bool = False) -> paho.MQTTMessageInfo:
        text = content if isinstance(content, str) else json.dumps(content)
        return self.client.publish(topic, text, qos=1, retain=retain)

    def _on_message(self, client: Any, data: Any, message: paho.MQTTMessage) -> None:
        said = message.payload.decode()
        self.heard.append((message.topic, said))
        for topic, content in self.answers.get(message.topic, lambda _: [])(said):
            self._publish(topic, content)

    # The four dialects

    def tasmota(self, topic: str = "plug") -> None:
        self.tell(f"tele/{topic}/LWT", "Online", retain=True)
        state = payload("mqtt/tasmota_state")

        def power(said: str) -> list[tuple[str, Any]]:
            state["POWER"] = said
            return [(f"stat/{topic}/RESULT", {"POWER": said}), (f"stat/{topic}/POWER", said)]

        self.answers[f"cmnd/{topic}/STATE"] = lambda _: [(f"stat/{topic}/RESULT", state)]
        sensors = payload("mqtt/tasmota_status_10")
        self.answers[f"cmnd/{topic}/STATUS"] = lambda _: [(f"stat/{topic}/STATUS10", sensors)]
        self.answers[f"cmnd/{topic}/POWER"] = power

    def zigbee(self) -> None:
        self.tell("zigbee2mqtt/bridge/devices", payload("mqtt/zigbee_bridge_devices"), retain=True)
        state: dict[str, Any] = {"state": "OFF", "brightness": 127, "linkquality": 80}

        def change(said: str) -> list[tuple[str, Any]]:
            state.update(json.loads(said))
            return [("zigbee2mqtt/lamp", state)]

        self.answers["zigbee2mqtt/lamp/get"] = lambda _: [("zigbee2mqtt/lamp", state)]
        self.answers["zigbee2mqtt/lamp/set"] = change

    def shelly(
        self, prefix: str = "shellyplus1pm-a8032abe54dc", more: dict[str, Any] | None = None
    ) -> None:
        self.tell(f"{prefix}/online", "true", retain=True)
        status = payload("shelly/plus_1pm_status") | (more or {})

        def rpc(said: str) -> list[tuple[str, Any]]:
            frame = json.loads(said)
            result: Any = status
            if frame["method"] == "Switch.Set":
                status[f"switch:{frame['params']['id']}"]["output"] = frame["params"]["on"]
                result = {"was_on": False}
            answer = {"id": frame["id"], "src": prefix, "dst": frame["src"], "result": result}
            return [(f"{frame['src']}/rpc", answer)]

        self.answers[f"{prefix}/rpc"] = rpc

    def announced(self) -> None:
        config = payload("mqtt/discovery_sensor_config")
        self.tell("homeassistant/sensor/garage/temperature/config", config, retain=True)
        config = payload("mqtt/discovery_switch_config")
        self.tell("homeassistant/switch/fan/config", config, retain=True)

        def fan(said: str) -> list[tuple[str, Any]]:
            return [("garage/fan/state", said)]

        self.answers["garage/fan/set"] = fan
