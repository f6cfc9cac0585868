"""Anything that publishes a Thing Description, known by its address alone.

Sources: https://www.w3.org/TR/wot-thing-description11/ and https://webthings.io/api/. The address
is that of a description, of a list of them, of a list of links to them, or of a host that keeps
one at /.well-known/wot. The description is fetched anew for each piece of work: it may change.

Left out: properties with another content type than JSON, with URI variables, that can only be
written, or at another host, where the credential never goes; actions and events. So is a thing of
several that wants a credential of a kind which is not spoken here.
"""

import json
import logging
from collections.abc import Collection, Iterator
from datetime import timedelta
from typing import Any, NamedTuple
from urllib.parse import urlsplit

from requests.auth import AuthBase

from core.net import strict_json
from core.net.auth import Digest
from core.net.errors import ApiError, ApiRefused
from core.net.http import Http, basic, bearer
from core.readings import DeviceSpec, Kind, Reading, Unacceptable, Value, clean_value
from core.vendors import Identity, Vendor
from core.vendors._thing_access import Access, access, pair
from core.vendors._thing_description import (
    Place,
    Property,
    Thing,
    elsewhere,
    is_thing,
    place,
    thing,
)

WELL_KNOWN = "/.well-known/wot"
MOST_THINGS = 100
MOST_LINKS = 20
"""Descriptions that are fetched one by one, where the address only lists links."""
NO_THING = "There is no Thing Description at this address, nor a list of them."
NO_PROPERTY = "No property of it can be read: that takes JSON over HTTP, at this very address."
logger = logging.getLogger(__name__)


class _Found(NamedTuple):
    """A thing, and how it is asked, or why it cannot be."""

    thing: Thing
    access: Access | ApiRefused


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
        self.elsewhere = ""
        self.auth: AuthBase | None = None
        http.address = self.home  # links are counted from the host
        http.headers["Accept"] = "application/td+json, application/json"
        self.headers = dict(http.headers)

    def identify(self) -> Identity:
        found = self._things()
        usable = _usable(found)
        if not any(one.properties for one in usable):
            raise ApiRefused(NO_PROPERTY + _hint(usable[0].elsewhere))
        name = usable[0].name if len(usable) == 1 else f"{len(usable)} things"
        # The least: the same in whatever order they are listed.
        return Identity(min(one.thing.vendor_id for one in found), name)

    def devices(self) -> Iterator[DeviceSpec]:
        for found in _usable(self._things()):
            specs = tuple(prop.spec for prop in found.properties)
            if specs:
                yield DeviceSpec(found.vendor_id, found.name, specs, found.model)

    def read(self, vendor_ids: Collection[str]) -> Iterator[Reading]:
        """One call for the description, then one for each thing, or for each property of one that
        does not tell all at once. One of several that refuses is not reached, the others are."""
        things = self._things()
        refusals: list[ApiRefused] = []
        for found in things:
            if found.thing.vendor_id not in vendor_ids:
                continue
            try:
                # As a list: one that refuses halfway would be read and not reached at once.
                yield from list(self._readings(found))
            except ApiRefused as refusal:
                refusals.append(refusal)
                # Where all refuse, the gateway does, and rests as one.
                if len(refusals) == len(things):
                    raise
                logger.warning("%s is not read: %s", found.thing.name, refusal)
                yield from _unreached(found.thing)

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
            for prop in found.thing.properties if found.thing.vendor_id == vendor_id else ():
                if prop.spec.name == attribute:
                    self._enter(found)
                    return prop
        raise ApiRefused(f"There is no {attribute!r:.80} of a thing {vendor_id!r:.120} there.")

    def _enter(self, found: _Found) -> None:
        """From now on, what is asked is asked of this thing."""
        if isinstance(found.access, ApiRefused):
            raise found.access
        self.http.auth = found.access.auth or self.auth
        self.http.headers = self.headers | found.access.headers

    def _readings(self, one: _Found) -> Iterator[Reading]:
        self._enter(one)
        found = one.thing
        told = self._get(found.all_at) if found.all_at else None
        if found.all_at and not isinstance(told, dict):
            raise ApiError("The thing's answer is no object of properties.")
        # The fields of an object are attributes of their own, of one answer.
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

    def _things(self) -> list[_Found]:
        """Every thing that the address tells of, each id once; at least one."""
        answer = self._description(self.start)
        # An address with a path is meant as it is.
        if not _tells_of_things(answer) and self.start == "/":
            answer = self._description(WELL_KNOWN)
        if isinstance(answer, dict):
            answer = [answer]
        found: dict[str, _Found] = {}
        for url, description in self._listed(answer if isinstance(answer, list) else []):
            one = thing(description, url)
            found.setdefault(one.vendor_id, _Found(one, self._access(description)))
        if not found:
            raise ApiRefused(NO_THING + _hint(self.elsewhere))
        return list(found.values())

    def _access(self, description: dict[str, Any]) -> Access | ApiRefused:
        try:
            return access(description, self.http.credential)
        except ApiRefused as refusal:
            return refusal

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
                else:
                    self.elsewhere = self.elsewhere or elsewhere(answer, url, self.home)
            elif is_thing(answer):
                yield url, answer

    def _description(self, path: str) -> Any:
        """What is there; None if nothing, or no JSON. Where it is asked for, the credential goes
        along."""
        try:
            content = self._fetched(path)
        except ApiRefused as refusal:
            if refusal.status in (404, 405, 406):
                return None
            raise
        try:
            return strict_json.parse(content)
        except ValueError:
            return None

    def _fetched(self, path: str) -> bytes:
        """Fetch a description, of which nobody knows yet what it wants. A password is sent as it is
        only to who does not take a digest of it."""
        credential = self.http.credential
        try:
            return self.http.fetch("GET", path)
        except ApiRefused as refusal:
            if refusal.status != 401 or self.auth or not credential:
                raise
        if ":" not in credential:
            self.http.auth = self.auth = bearer(credential)
            return self.http.fetch("GET", path)
        self.http.auth = self.auth = by_digest = Digest(*pair(credential))
        try:
            return self.http.fetch("GET", path)
        except ApiRefused as refusal:
            # It wants a digest, and refuses ours: the password is wrong, and is not sent as it is.
            if refusal.status != 401 or by_digest.challenge:
                raise
        self.http.auth = self.auth = basic(*pair(credential))
        return self.http.fetch("GET", path)

    def _get(self, where: Place) -> Any:
        return self.http.get(where.path, dict(where.params) or None)


def _usable(things: list[_Found]) -> list[Thing]:
    """Leave out those that want what is not spoken here, unless there is no other."""
    usable = []
    for found in things:
        if isinstance(found.access, Access):
            usable.append(found.thing)
        elif len(things) > 1:
            logger.warning("%s is left out: %s", found.thing.name, found.access)
    if not usable:
        raise next(one.access for one in things if isinstance(one.access, ApiRefused))
    return usable


def _unreached(found: Thing) -> Iterator[Reading]:
    for prop in found.properties:
        yield Reading(found.vendor_id, prop.spec.name, None, reachable=False, spec=prop.spec)


def _hint(elsewhere: str) -> str:
    return f" Its links lead to {elsewhere}: if that is right, enter it." if elsewhere else ""


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
