"""The settings of the web process that bench/live.py measures: the application's, with what it is compared with next to it."""

import os

from iotapp.settings import *  # noqa: F403 (all of them, and a few more)

ROOT_URLCONF = "bench.urls"
# Not "default": the application's own sockets must not find a layer.
CHANNEL_LAYERS = {
    "bench": {
        "BACKEND": "channels_redis.core.RedisChannelLayer",
        "CONFIG": {
            "hosts": [os.environ.get("BENCH_REDIS_URL") or "redis://127.0.0.1:6379/15"],
            "prefix": "iotapp_bench",
        },
    }
}
