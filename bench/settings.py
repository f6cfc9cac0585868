"""Settings of the process that bench/live.py measures: ours, and those of its competitor."""

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
