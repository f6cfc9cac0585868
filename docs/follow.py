"""Follow an iotapp from another program: log in, open the socket, print events, send an order.

docs/socket.md has the messages.

pip install requests websockets
python docs/follow.py http://127.0.0.1:8000 --user demo
python docs/follow.py http://127.0.0.1:8000 --user demo --order 5 true
"""

import argparse
import json
import os
import random
import time
from getpass import getpass

import requests
from websockets.exceptions import ConnectionClosed, InvalidStatus
from websockets.sync.client import connect

COME_AGAIN = {1012, 1013, 4408, 4413}
FINAL = {"confirmed", "failed", "superseded", "expired", "unconfirmed"}


def log_in(site, user, password):
    """The value of the session's cookie."""
    session = requests.Session()
    session.get(f"{site}/login/", timeout=10).raise_for_status()
    form = {
        "username": user,
        "password": password,
        "csrfmiddlewaretoken": session.cookies["csrftoken"],
    }
    session.post(
        f"{site}/login/",
        data=form,
        headers={"Referer": f"{site}/login/"},
        timeout=10,
        allow_redirects=False,
    )
    if "sessionid" not in session.cookies:
        raise SystemExit("The log-in was refused.")
    return session.cookies["sessionid"]


def follow(site, cookie, order=None):
    """Print events until the order, if there is one, has come to its end; else for ever."""
    last, mine, pause = None, None, 1.0
    while True:
        try:
            headers = {"Cookie": f"sessionid={cookie}"} if cookie else {}
            with connect(
                f"ws{site[4:]}/ws/events/",
                origin=site,
                additional_headers=headers,
                compression=None,
            ) as socket:
                for message in map(json.loads, socket):
                    if isinstance(message, list):
                        for event in message:
                            last, pause = event["id"], 1.0
                            print(last, event["kind"], json.dumps(event["body"]), flush=True)
                            if (
                                event["kind"] == "command"
                                and event["body"]["id"] == mine
                                and event["body"]["state"] in FINAL
                            ):
                                return event["body"]
                    elif "hello" in message:
                        say(socket, subscribe={"to": "all"})
                        say(
                            socket,
                            **({"snapshot": {}} if last is None else {"resume": {"after": last}}),
                        )
                    elif (
                        "snapshot" in message
                        and message["snapshot"]["page"] == message["snapshot"]["pages"]
                    ):
                        last = message["snapshot"]["last"]
                        if order and mine is None:
                            say(socket, order=order)
                    elif "ordered" in message:
                        mine = message["ordered"]["id"]
                    elif "ping" in message:
                        last = message["ping"]["last"] or last
                        say(socket, pong={})
                    elif "over" in message:
                        say(socket, snapshot={})
                    elif "error" in message:
                        raise SystemExit(message["error"])
        except ConnectionClosed as closed:
            if closed.rcvd and closed.rcvd.code not in COME_AGAIN:
                raise SystemExit(f"Closed: {closed}") from closed
        except InvalidStatus as refused:
            raise SystemExit(
                "Refused: a log-in is needed, or the address is not the site's own."
            ) from refused
        except OSError as error:
            print(f"Not connected: {error}", flush=True)
        time.sleep(pause * random.random())  # noqa: S311 (chance, so that not all come at once)
        pause = min(2 * pause, 30)


def say(socket, **message):
    socket.send(json.dumps(message))


def main():
    parser = argparse.ArgumentParser(description="Print what happens, and order.")
    parser.add_argument("site", help="such as http://127.0.0.1:8000")
    parser.add_argument(
        "--user",
        help="without one only where anybody may read; the password is asked for, or PASSWORD",
    )
    parser.add_argument("--order", nargs=2, metavar=("ATTRIBUTE", "VALUE"), help="such as 5 true")
    options = parser.parse_args()
    site = options.site.rstrip("/")
    cookie = (
        log_in(site, options.user, os.environ.get("PASSWORD") or getpass())
        if options.user
        else None
    )
    order = options.order and {
        "attribute": int(options.order[0]),
        "value": json.loads(options.order[1]),
    }
    became = follow(site, cookie, order)
    raise SystemExit(
        0 if became["state"] == "confirmed" else f"{became['state']}: {became['error']}"
    )


if __name__ == "__main__":
    main()
