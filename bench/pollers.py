"""Clients that poll each second over a kept connection, as a page without a socket would.

`python -m bench.pollers PORT COUNT SECONDS` prints a JSON object: how many polls were answered, how
long each took in seconds, and the bytes of requests and answers in all. The requests are those of a
page in Chromium 156, read by somebody with a log-in.
"""

import asyncio
import json
import sys
import time

PACE_SECONDS = 1.0
SHORTEST = "GET /bench/events?after=999999999 HTTP/1.1\r\nHost: localhost:{port}\r\n"
BROWSERS = f"""\
Connection: keep-alive
sec-ch-ua-platform: "Linux"
User-Agent: Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) \
Chrome/156.0.0.0 Safari/537.36
sec-ch-ua: "Not:A-Brand";v="8", "Chromium";v="156"
sec-ch-ua-mobile: ?0
Accept: */*
Sec-Fetch-Site: same-origin
Sec-Fetch-Mode: cors
Sec-Fetch-Dest: empty
Referer: http://localhost:8000/
Accept-Encoding: gzip, deflate, br, zstd
Accept-Language: en-US,en;q=0.9
Cookie: sessionid={32 * "a"}; csrftoken={32 * "b"}
""".replace("\n", "\r\n")


class Pollers:
    def __init__(self, port: int, seconds: float) -> None:
        self.request = f"{SHORTEST.format(port=port)}{BROWSERS}\r\n".encode()
        self.port, self.until = port, time.monotonic() + seconds
        self.waits: list[float] = []
        self.up = self.down = 0

    async def poll(self, after: float) -> None:
        await asyncio.sleep(after)
        reader, writer = await asyncio.open_connection("127.0.0.1", self.port)
        while (asked := time.monotonic()) < self.until:
            writer.write(self.request)
            size = await self.answer(reader)
            waited = time.monotonic() - asked
            self.waits.append(waited)
            self.up += len(self.request)
            self.down += size
            await asyncio.sleep(max(0, PACE_SECONDS - waited))
        writer.close()

    async def answer(self, reader: asyncio.StreamReader) -> int:
        """Its size."""
        head = await reader.readuntil(b"\r\n\r\n")
        assert head.startswith(b"HTTP/1.1 200 "), head
        [length] = [
            line.split(b":")[1]
            for line in head.split(b"\r\n")
            if line.lower().startswith(b"content-length:")
        ]
        body = await reader.readexactly(int(length))
        assert json.loads(body) == {"events": []}
        return len(head) + len(body)


async def main(port: str, count: str, seconds: str) -> None:
    pollers = Pollers(int(port), float(seconds))
    await asyncio.gather(
        *(pollers.poll(PACE_SECONDS * number / int(count)) for number in range(int(count)))
    )
    print(json.dumps({"waits": pollers.waits, "up": pollers.up, "down": pollers.down}))


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
