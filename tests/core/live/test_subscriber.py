"""Single events are sent without a change of task and in order; a slow client delays nobody."""

import asyncio
from dataclasses import dataclass, field

from core.live.subscriber import ALL, QUEUE_EVENTS, SerializedEvent, Subscriber, begin


@dataclass
class Client:
    """Gets messages while it reads."""

    reads: asyncio.Event
    got: list[str] = field(default_factory=list)

    async def send(self, text: str) -> None:
        await self.reads.wait()
        self.got.append(text)


def serialized(id: int) -> SerializedEvent:
    return SerializedEvent(id, None, frozenset([ALL]), None, str(id), str(id))


async def sending(client: Client) -> tuple[Subscriber, "asyncio.Task[None]"]:
    subscriber = Subscriber(
        overflow=lambda: None, send=client.send, topics={ALL}, is_caught_up=True
    )

    async def send_all() -> None:
        while True:
            await client.send(await subscriber.next_message())

    task = asyncio.create_task(send_all())
    await asyncio.sleep(0)
    return subscriber, task


def test_an_event_is_sent_before_deliver_returns() -> None:
    async def scene() -> list[str]:
        client = Client(asyncio.Event())
        client.reads.set()
        subscriber, task = await sending(client)
        subscriber.deliver([serialized(1)])
        task.cancel()
        return client.got

    assert asyncio.run(scene()) == ["[1]"]


def test_what_had_to_wait_is_sent_before_what_came_after() -> None:
    async def scene() -> list[str]:
        client = Client(asyncio.Event())
        subscriber, task = await sending(client)
        for id in (1, 2, 3):
            subscriber.deliver([serialized(id)])
        subscriber.enqueue("ping")
        client.reads.set()
        await asyncio.sleep(0.01)
        subscriber.deliver([serialized(4)])
        task.cancel()
        return client.got

    assert asyncio.run(scene()) == ["[1]", "[2,3]", "ping", "[4]"]


def test_a_connection_that_is_gone_is_found_by_the_task_that_sends() -> None:
    async def gone(text: str) -> None:
        raise OSError

    async def scene() -> str:
        subscriber = Subscriber(overflow=lambda: None, send=gone, topics={ALL}, is_caught_up=True)
        taking = asyncio.create_task(subscriber.next_message())
        await asyncio.sleep(0)
        subscriber.deliver([serialized(1)])
        return await taking

    assert asyncio.run(scene()) == "[1]"


def test_a_coroutine_that_has_begun_can_be_cancelled() -> None:
    ended = []

    async def wait() -> None:
        try:
            await asyncio.sleep(60)
        finally:
            ended.append(True)

    async def scene() -> bool:
        rest = begin(wait())

        async def finish() -> None:
            assert rest
            await rest

        task = asyncio.create_task(finish())
        await asyncio.sleep(0)
        task.cancel()
        await asyncio.wait([task])
        return task.cancelled()

    assert asyncio.run(scene())
    assert ended


def test_who_waits_for_an_empty_queue_goes_on_when_an_overflow_empties_it() -> None:
    async def scene() -> None:
        subscriber = Subscriber(overflow=lambda: None, topics={ALL})
        subscriber.enqueue("1")
        waiting = asyncio.create_task(subscriber.drained())
        await asyncio.sleep(0)
        for _ in range(QUEUE_EVENTS):
            subscriber.enqueue("1")
        await asyncio.wait_for(waiting, 5)

    asyncio.run(scene())
