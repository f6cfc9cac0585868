"""What is beside the database: the broker of the workers, and Redis. Needs no database."""

from collections.abc import Iterator
from importlib.util import find_spec
from typing import Any
from urllib.parse import unquote, urlsplit

from django.conf import settings

from core.formatting import counted
from core.readings import printable
from core.tasks.doctor.line import Line, error, ok, warning

SECONDS = 5
MANY_MESSAGES = 1000


def broker_lines() -> Iterator[Line]:
    """Yield whether the broker answers, and whether workers take what it has."""
    url = settings.CELERY_BROKER_URL
    if not url:
        yield ok("broker", "None: commands do the work, by cron or a scheduler.")
        return
    try:
        from kombu import Connection
    except ImportError:
        return  # a check of the settings tells of it
    try:
        with Connection(url, connect_timeout=SECONDS) as broker:
            broker.ensure_connection(max_retries=1, timeout=SECONDS)
            yield ok("broker", f"It answers: {broker.as_uri()}")
            for name in (settings.CELERY_QUEUE, f"{settings.CELERY_QUEUE}-now"):
                yield _queue_line(broker, name)
    except Exception as problem:  # whatever a transport raises
        advice = "Is CELERY_BROKER_URL right, and the broker up? cron works without it."
        yield error("broker", f"It does not answer: {_safe(problem, url)}", advice)


def _queue_line(broker: Any, name: str) -> Line:
    workers = "Start one: celery -A iotapp worker --without-gossip --without-mingle"
    try:
        # A channel of its own: RabbitMQ closes it where there is no such queue.
        with broker.channel() as channel:
            queue = channel.queue_declare(name, passive=True)
    except broker.channel_errors:
        return warning("broker", f"There is no queue {name}: no worker has ever run.", workers)
    waiting = f"{counted(queue.message_count, 'message')} in the queue {name}"
    # Redis does not know who listens.
    if not queue.consumer_count and broker.transport_cls == "amqp":
        return warning("broker", f"{waiting}, and no worker.", workers)
    if queue.message_count > MANY_MESSAGES:
        return warning("broker", f"{waiting}: more than the workers do.", "Start more workers.")
    return ok("broker", f"{waiting}.")


def redis_lines() -> Iterator[Line]:
    """Yield whether the cache answers."""
    if not settings.REDIS_URL or not find_spec("redis"):
        return
    import redis

    options = {"socket_timeout": SECONDS, "socket_connect_timeout": SECONDS}
    try:
        with redis.Redis.from_url(settings.REDIS_URL, **options) as cache:
            cache.ping()
    except (redis.RedisError, OSError, ValueError) as problem:
        text = f"It does not answer: {_safe(problem, settings.REDIS_URL)}"
        yield error(
            "redis", text, "Is REDIS_URL right, and Redis up? Answers are slower until then."
        )
    else:
        yield ok("redis", "It answers.")


def _safe(problem: Exception, url: str) -> str:
    """Return an error in words, without the password of its address."""
    text = printable(f"{type(problem).__name__}: {problem}")[:300]
    password = urlsplit(url).password
    for secret in filter(None, (password, unquote(password or ""))):
        text = text.replace(secret, "***")
    return text
