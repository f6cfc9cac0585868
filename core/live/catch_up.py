"""Brings a subscriber to the newest event, at its client's pace: at most one page of it waits.

Nothing is awaited between the answer that nothing more was missed and `is_caught_up`, so no event
falls between.
"""

import json
import logging
from collections.abc import Callable, Coroutine

from core.live.follower import StartOver, follower, over
from core.live.snapshots import snapshots
from core.live.subscriber import Subscriber

logger = logging.getLogger(__name__)

Way = Callable[[Subscriber], Coroutine[object, object, None]]


async def catch_up(subscriber: Subscriber, way: Way) -> None:
    """Catch up by `resume` or `snapshot`; where that fails, send `over`: the client starts over."""
    subscriber.is_caught_up = False
    try:
        await subscriber.drained()
        await way(subscriber)
    except StartOver as error:
        subscriber.enqueue(over(str(error)))
    except Exception as error:  # such as a database that is away
        logger.warning("A socket could not catch up (%s: %s)", type(error).__name__, error)
        subscriber.enqueue(over("the server could not read what was missed"))


def resume(after: int) -> Way:
    """Send the events after that one which match its topics, then those that come."""

    async def way(subscriber: Subscriber) -> None:
        reached = after
        while events := await follower.missed(reached):
            subscriber.deliver(events)
            reached = events[-1].id
            await subscriber.drained()
        subscriber.is_caught_up = True

    return way


async def snapshot(subscriber: Subscriber) -> None:
    """Send the subscribed devices as they are now, in pages, then the events since."""
    made = await snapshots.of(subscriber.topics, subscriber.has_log_in, subscriber.gateways)
    for number, devices in enumerate(made.pages, 1):
        head = json.dumps(
            {"last": made.last, "page": number, "pages": len(made.pages)}, separators=(",", ":")
        )
        subscriber.enqueue(f'{{"snapshot":{head[:-1]},"devices":[{",".join(devices)}]}}}}')
        await subscriber.drained()
    await resume(made.last)(subscriber)
