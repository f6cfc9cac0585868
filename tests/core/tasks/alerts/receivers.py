"""Receivers of alerts: a real HTTP server and a real mail server, which keep what they are sent."""

import json
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from email import message_from_bytes
from email.message import Message
from threading import Event

from aiosmtpd.controller import Controller

from tests.core.raw_server import Answer, Request, answer, serving


@dataclass
class Hook:
    """`reply` is what it answers; None resets the connection. While `hangs`, it answers nothing."""

    address: str = ""
    reply: Answer = field(default_factory=lambda: answer(b"{}"))
    requests: list[Request] = field(default_factory=list)
    hangs: bool = False
    released: Event = field(default_factory=Event)

    @property
    def bodies(self) -> list[dict[str, object]]:
        return [json.loads(request.body) for request in self.requests]

    def nothing(self) -> Iterator[bytes]:
        yield b"HTTP/1.1 200 OK\r\n"
        self.released.wait(120)

    @property
    def titles(self) -> list[str]:
        return [str(body["title"]) for body in self.bodies]


@contextmanager
def hook_server() -> Iterator[Hook]:
    hook = Hook()

    def reply(request: Request) -> Answer:
        hook.requests.append(request)
        return hook.nothing() if hook.hangs else hook.reply

    with serving(reply) as server:
        hook.address = server.address
        yield hook
        hook.released.set()


@dataclass
class Post:
    """`refuses`: what it answers to a mail in place of taking it."""

    port: int = 0
    refuses: str = ""
    mails: list[Message] = field(default_factory=list)

    async def handle_DATA(self, server, session, envelope):  # noqa: N802 (aiosmtpd's name)
        if self.refuses:
            return self.refuses
        self.mails.append(message_from_bytes(envelope.content))
        return "250 OK"


@contextmanager
def post_office() -> Iterator[Post]:
    post = Post()
    with socket.create_server(("127.0.0.1", 0)) as free:
        post.port = free.getsockname()[1]
    controller = Controller(post, hostname="127.0.0.1", port=post.port)
    controller.start()
    try:
        yield post
    finally:
        controller.stop()
