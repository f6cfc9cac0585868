"""Anything that publishes a Thing Description, known by its address alone.

Sources: https://www.w3.org/TR/wot-thing-description11/ and https://webthings.io/api/. The address
is that of a description, of a list of them, of a list of links to them, or of a host that keeps
one at /.well-known/wot. The description is fetched anew for each piece of work: it may change.

Left out: properties with another content type than JSON, with URI variables, that can only be
written, or at another host, where the credential never goes; actions and events.
"""

import json
import re
from collections.abc import Callable, Collection, Iterator
from datetime import timedelta
from typing import Any
from urllib.parse import urlsplit

from core.net import strict_json
from core.net.errors import ApiError, ApiRefused
from core.net.http import Http, basic, bearer, digest, in_query
from core.readings import DeviceSpec, Kind, Reading, Unacceptable, Value, clean_value
from core.vendors import Identity, Vendor
from core.vendors._thing_description import (
    Place,
    Property,
    Thing,
    is_thing,
    place,
    thing,
    words,
)

WELL_KNOWN = "/.well-known/wot"
MOST_THINGS = 100
MOST_LINKS = 20
"""Descriptions that are fetched one by one, where the address only lists links."""
_HEADER = re.compile(r"[A-Za-z0-9-]{1,60}")
_TAKEN = {
    "accept",
    "accept-encoding",
    "connection",
    "content-length",
    "content-type",
    "host",
    "transfer-encoding",
}
NO_THING = "There is no Thing Description at this address, nor a list of them."


class Client(Vendor):
    """One thing, or all of a gateway. Readings carry no time: a value is what holds now."""

    label = "Web of Things (Thing Description)"
    address_example = "http://192.168.1.60:8888"
    credential_hint = "what the thing asks for: nothing, user:password, a token or a key"

    def __init__(self, http: Http) -> None:
        super().__init__(http)
        parts = urlsplit(http.address)
        self.start = parts.path or "/"
        self.home = f"{parts.scheme}://{parts.netloc}"
        http.address = self.home  # links are counted from the host
        http.headers["Accept"] = "application/td+json, application/json"

    def identify(self) -> Identity:
        things = self._things()
        name = things[0].name if len(things) == 1 else f"{len(things)} things"
        return Identity(min(found.vendor_id for found in things), name)

    def devices(self) -> Iterator[DeviceSpec]:
        for found in self._things():
            specs = tuple(prop.spec for prop in found.properties)
            if specs:
                yield DeviceSpec(found.vendor_id, found.name, specs, found.model)

    def read(self, vendor_ids: Collection[str]) -> Iterator[Reading]:
        """One call for the description, then one for each thing, or for each property of one that
        does not tell all at once."""
        for found in self._things():
            if found.vendor_id in vendor_ids:
                yield from self._readings(found)

    def write(
        self, vendor_id: str, attribute: str, value: Value, revert_after: timedelta | None = None
    ) -> None:
        if revert_after is not None:
            raise ApiRefused("Things of the Web of Things have no timer to revert by.")
        prop = self._property(vendor_id, attribute)
        if prop.write_at is None:
            raise ApiRefused(f"{attribute} of this thing cannot be written.")
        sent = _sendable(prop, value)
        body = json.dumps(sent if prop.is_bare else {prop.name: sent}, allow_nan=False)
        self.http.fetch(
            prop.write_at.method,
            prop.write_at.path,
            params=dict(prop.write_at.params) or None,
            body=body.encode(),
            content_type="application/json",
        )

    def _property(self, vendor_id: str, attribute: str) -> Property:
        for found in self._things():
            for prop in found.properties if found.vendor_id == vendor_id else ():
                if prop.spec.name == attribute:
                    return prop
        raise ApiRefused(f"There is no {attribute!r:.80} of a thing {vendor_id!r:.120} there.")

    def _readings(self, found: Thing) -> Iterator[Reading]:
        told = self._get(found.all_at) if found.all_at else None
        if found.all_at and not isinstance(told, dict):
            raise ApiError("The thing's answer is no object of properties.")
        asked: dict[str, Any] = {}
        for prop in found.properties:
            if isinstance(told, dict):
                value = told.get(prop.name)
            else:
                if prop.name not in asked:
                    asked[prop.name] = self._value(prop)
                value = asked[prop.name]
            if prop.field:
                value = value.get(prop.field) if isinstance(value, dict) else None
            if isinstance(value, list | dict):
                value = None
            yield Reading(found.vendor_id, prop.spec.name, value, spec=prop.spec)

    def _value(self, prop: Property) -> Any:
        """Ask for one property. One that the thing has no longer has no value."""
        try:
            answer = self._get(prop.read_at)
        except ApiRefused as refusal:
            if refusal.status in (404, 410):
                return None
            raise
        if prop.is_bare:
            return answer
        return answer.get(prop.name) if isinstance(answer, dict) else None

    def _things(self) -> list[Thing]:
        """Every thing that the address tells of, each id once; at least one."""
        answer = self._description(self.start)
        if not _tells_of_things(answer) and self.start == "/":
            answer = self._description(WELL_KNOWN)
        if isinstance(answer, dict):
            answer = [answer]
        found: dict[str, Thing] = {}
        for url, description in self._listed(answer if isinstance(answer, list) else []):
            self._authorise(description)
            one = thing(description, url)
            found.setdefault(one.vendor_id, one)
        if not found:
            raise ApiRefused(NO_THING)
        return list(found.values())

    def _listed(self, answers: list[Any]) -> Iterator[tuple[str, dict[str, Any]]]:
        links = 0
        url = self.home + self.start
        for answer in answers[:MOST_THINGS]:
            if isinstance(answer, str) and links < MOST_LINKS:
                links += 1
                if where := place(answer, url, self.home):
                    answer = self._description(where.path)
                    if is_thing(answer):
                        yield self.home + where.path, answer
            elif is_thing(answer):
                yield url, answer

    def _description(self, path: str) -> Any:
        """What is there; None if nothing, or no JSON. Where it is asked for, the credential goes
        along."""
        try:
            content = self.http.fetch("GET", path)
        except ApiRefused as refusal:
            if refusal.status in (404, 405, 406):
                return None
            if refusal.status != 401 or self.http.auth or not self.http.credential:
                raise
            is_pair = ":" in self.http.credential
            self.http.auth = self._basic() if is_pair else bearer(self.http.credential)
            return self._description(path)
        try:
            return strict_json.parse(content)
        except ValueError:
            return None

    def _get(self, where: Place) -> Any:
        return self.http.get(where.path, dict(where.params) or None)

    def _authorise(self, description: dict[str, Any]) -> None:
        """Prove who we are in the way the description says."""
        definitions = description.get("securityDefinitions")
        definitions = definitions if isinstance(definitions, dict) else {}
        for name in words(description.get("security")):
            scheme = definitions.get(name)
            if isinstance(scheme, dict) and scheme.get("scheme") != "nosec":
                self._use(scheme)

    def _use(self, scheme: dict[str, Any]) -> None:
        word = scheme.get("scheme")
        ways: dict[object, Callable[[], Any]] = {
            "basic": self._basic,
            "digest": lambda: digest(*self._pair()),
            "bearer": lambda: bearer(self.http.credential),
        }
        if word not in (*ways, "apikey"):
            raise ApiRefused(f"The thing wants {word!r:.40}, which is not spoken here.", status=401)
        if not self.http.credential:
            raise ApiRefused(f"The thing wants a credential ({word}).", status=401)
        if word == "apikey":
            self._use_key(scheme)
        else:
            self.http.auth = ways[word]()

    def _use_key(self, scheme: dict[str, Any]) -> None:
        name, where = scheme.get("name"), scheme.get("in", "query")
        is_name = isinstance(name, str) and _HEADER.fullmatch(name.replace("_", "-"))
        if not isinstance(name, str) or not is_name or name.lower() in _TAKEN:
            raise ApiRefused("The thing does not say under which name it wants its key.")
        if where == "header":
            self.http.headers[name] = self.http.credential
        elif where == "query":
            self.http.auth = in_query(name, self.http.credential)
        else:
            raise ApiRefused(f"The thing wants its key in {where!r:.40}: not spoken here.")

    def _basic(self) -> Any:
        return basic(*self._pair())

    def _pair(self) -> tuple[str, str]:
        user, colon, password = self.http.credential.partition(":")
        if not colon:
            raise ApiRefused("The thing wants a credential written user:password.", status=401)
        return user, password


def _tells_of_things(answer: object) -> bool:
    items = answer if isinstance(answer, list) else [answer]
    return any(isinstance(item, str) or is_thing(item) for item in items)


def _sendable(prop: Property, value: Value) -> Value:
    spec = prop.spec
    try:
        cleaned = clean_value(
            value,
            spec.kind,
            minimum=spec.minimum,
            maximum=spec.maximum,
            choices=spec.choices,
        )
    except Unacceptable as problem:
        raise ApiRefused(f"{spec.name}: {problem}.") from None
    if spec.kind is Kind.BOOLEAN:
        return bool(cleaned)
    if not prop.is_integer:
        return cleaned
    if not float(cleaned).is_integer():
        raise ApiRefused(f"{spec.name} is a whole number.")
    return int(cleaned)
