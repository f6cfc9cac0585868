"""Serve one thing at the first port and two at the second, with Mozilla's own library."""

import asyncio
import sys

from webthing import MultipleThings, Property, SingleThing, Thing, Value, WebThingServer

ON = {"@type": "OnOffProperty", "type": "boolean"}
BRIGHTNESS = {
    "@type": "BrightnessProperty",
    "type": "integer",
    "minimum": 0,
    "maximum": 100,
    "unit": "percent",
}


def lamp(number: int) -> Thing:
    thing = Thing(f"urn:dev:ops:lamp-{number}", f"Lamp {number}", ["OnOffSwitch", "Light"])
    for name, first, described in (("on", True, ON), ("brightness", 50, BRIGHTNESS)):
        value = Value(first, lambda _: None)
        thing.add_property(Property(thing, name, value, metadata=described))
    return thing


async def serve(one: int, several: int) -> None:
    both = MultipleThings([lamp(2), lamp(3)], "lamps")
    for things, port in ((SingleThing(lamp(1)), one), (both, several)):
        WebThingServer(things, port=port, disable_host_validation=True).app.listen(
            port, "127.0.0.1"
        )
    print("ready", flush=True)
    await asyncio.Event().wait()


asyncio.run(serve(*map(int, sys.argv[1:])))
