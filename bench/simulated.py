"""The simulator as a process of its own, as `manage.py simulate_devices` runs it."""

import re
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def simulator(devices: int, latency: float, port: int = 0) -> Iterator[str]:
    """Serves until the end of the block; gives the address under which device K has the path /K."""
    command = [sys.executable, "manage.py", "simulate_devices", "--port", str(port)]
    command += ["--devices", str(devices), "--latency", str(latency)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout
            line = process.stdout.readline()
            address = re.search(r"http://[^/]+", line)
            assert address, f"simulate_devices printed {line!r}"
            yield address[0]
        finally:
            process.terminate()
