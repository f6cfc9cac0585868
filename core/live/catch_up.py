"""How a reader comes to the newest event, at its client's pace: never more than one page of it waits.

Nothing is awaited between the answer that nothing more was missed and `is_caught_up`, so no event falls between.
"""

import json
import logging
from collections.abc import Callable, Coroutine

from core.live.follower import StartOver, follower, over
from core.live.snapshots import snapshots
from core.live.subscriber import Subscriber

logger = logging.getLogger(__name__)

Way = Callable[[Subscriber], Coroutine[object, object, None]]


async def catch_up(reader: Subscriber, way: Way) -> None:
    """By one of the two below; where that cannot be, the client is told to start over."""
    reader.is_caught_up = False
    try:
        await reader.drained()
        await way(reader)
    except StartOver as error:
        reader.put(over(str(error)))
    except Exception as error:  # such as a database that is away
        logger.warning("A socket could not catch up (%s: %s)", type(error).__name__, error)
        reader.put(over("the server could not read what was missed"))


def resume(after: int) -> Way:
    """All that the reader wants of what came after that event, then what comes."""

    async def way(reader: Subscriber) -> None:
        reached = after
        while events := await follower.missed(reached):
            reader.tell(events)
            reached = events[-1].id
            await reader.drained()
        reader.is_caught_up = True

    return way


async def snapshot(reader: Subscriber) -> None:
    """How the reader's devices are now, in pages, then what came since."""
    made = await snapshots.of(reader.topics)
    for number, devices in enumerate(made.pages, 1):
        head = json.dumps(
            {"last": made.last, "page": number, "pages": len(made.pages)}, separators=(",", ":")
        )
        reader.put(f'{{"snapshot":{head[:-1]},"devices":[{",".join(devices)}]}}}}')
        await reader.drained()
    await resume(made.last)(reader)
