"""The yardstick: requests as it should be used, in threads, and nothing but parsing.

python -m bench.bare_requests ADDRESS DEVICES THREADS
"""

import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import requests


class Here(threading.local):
    def __init__(self) -> None:
        self.session = requests.Session()
        self.session.trust_env = False


def main(address: str, devices: str, threads: str) -> None:
    here = Here()

    def ask(number: int) -> Any:
        return here.session.get(f"{address}/{number}/rpc/Shelly.GetStatus", timeout=10).json()

    with ThreadPoolExecutor(int(threads)) as pool:
        for answer in pool.map(ask, range(int(devices))):
            assert "sys" in answer


if __name__ == "__main__":
    main(*sys.argv[1:])
