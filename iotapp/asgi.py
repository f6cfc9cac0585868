"""The ASGI application that gunicorn serves.

Pages go through Django, sockets through core/live/consumer.py.
"""

import os

from django.core.asgi import get_asgi_application

from iotapp.bodies import Message, Receive, Send, bounded

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "iotapp.settings")
pages = bounded(get_asgi_application())

from core.live.consumer import Events  # noqa: E402 (Django must be set up first)

SOCKETS = {"/ws/events/": Events.as_asgi()}


async def application(scope: Message, receive: Receive, send: Send) -> None:
    if scope["type"] == "websocket":
        await SOCKETS.get(scope["path"], refuse)(scope, receive, send)
    else:
        await pages(scope, receive, send)


async def refuse(scope: Message, receive: Receive, send: Send) -> None:
    await send({"type": "websocket.close"})
