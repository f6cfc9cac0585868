"""Thing Descriptions: what a thing offers, and where.

Two dialects. W3C (https://www.w3.org/TR/wot-thing-description11/): properties have `forms`, and a
value is bare. Mozilla (https://webthings.io/api/): properties have `links` or `href`, and a value
is within an object, {"on": true}.
"""

import hashlib
import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any
from urllib.parse import parse_qsl, urldefrag, urljoin, urlsplit

from core.readings import AttributeSpec, Kind, clean_name
from core.vendors._thing_schema import finite, kind_of, unit_symbol

MOST_PROPERTIES = 200
MOST_ASKED_SINGLY = 40
"""Properties of a thing that does not tell all of them in one answer: the others are left out."""
LONGEST_ATTRIBUTE = 60
LONGEST_ID = 100
LONGEST_HOST = 100
ANY_THING = {"Thing", "td:Thing"}
"""Types that all things have, and say nothing of what one is."""
PORTS = {"http": 80, "https": 443}

PLAIN_WORDS = {
    "OnOffProperty": "on",
    "BrightnessProperty": "brightness",
    "LevelProperty": "level",
    "TemperatureProperty": "temperature",
    "TargetTemperatureProperty": "target_temperature",
    "HumidityProperty": "humidity",
    "InstantaneousPowerProperty": "power",
    "VoltageProperty": "voltage",
    "CurrentProperty": "current",
    "FrequencyProperty": "frequency",
}
"""What https://webthings.io/schemas/ calls a property, in our words."""
_TEMPLATE = re.compile(r"[{}]")


@dataclass(frozen=True, slots=True)
class Place:
    """Where something is read or written, at the address that the thing was fetched from."""

    path: str
    params: tuple[tuple[str, str], ...] = ()
    method: str = "PUT"


@dataclass(frozen=True, slots=True)
class Property:
    """One attribute. `field` is the part of the property that it is, where that is an object."""

    name: str
    spec: AttributeSpec
    read_at: Place
    write_at: Place | None
    is_bare: bool
    is_integer: bool = False
    field: str = ""


@dataclass(frozen=True, slots=True)
class Thing:
    """A thing, with the properties that can be reached. `all_at` tells them all in one answer."""

    vendor_id: str
    name: str
    model: str
    properties: tuple[Property, ...]
    all_at: Place | None
    elsewhere: str = ""
    """Another host that it links to."""


def thing(description: dict[str, Any], url: str) -> Thing:
    """Read a description that was fetched from this URL. What cannot be used is left out."""
    return _Description(description, url).thing()


def is_thing(answer: object) -> bool:
    return isinstance(answer, dict) and isinstance(answer.get("properties"), dict)


def place(href: object, base: str, home: str, method: str = "PUT") -> Place | None:
    """Return where a link leads; None if that is nowhere, another host, or a template."""
    if not isinstance(href, str) or _TEMPLATE.search(href):
        return None
    try:
        url = urldefrag(urljoin(base, href)).url
        # The credential goes along with every call, so never to another origin.
        if _origin(url) != _origin(home) or not url.isprintable():
            return None
        parts = urlsplit(url)
    except ValueError:
        return None
    path = parts.path or "/"
    if ".." in path or not path.startswith("/"):
        return None
    return Place(path, tuple(parse_qsl(parts.query, keep_blank_values=True)), method)


def elsewhere(href: object, base: str, home: str) -> str:
    """Return the origin that a link leads to; nothing if that is this one, or none to enter."""
    try:
        scheme, host, port = _origin(urljoin(base, href) if isinstance(href, str) else home)
        is_other = (scheme, host, port) != _origin(home) and scheme in PORTS
    except ValueError:
        return ""
    if not is_other or not host or not host.isprintable() or len(host) > LONGEST_HOST:
        return ""
    host = f"[{host}]" if ":" in host else host
    return f"{scheme}://{host}" if port == PORTS[scheme] else f"{scheme}://{host}:{port}"


def _origin(url: str) -> tuple[str, str | None, int | None]:
    parts = urlsplit(url)
    return parts.scheme, parts.hostname, parts.port or PORTS.get(parts.scheme)


class _Description:
    def __init__(self, description: dict[str, Any], url: str) -> None:
        self.description = description
        self.home = url
        self.base = url
        # Mozilla's things name their own address, W3C's the base of their links.
        for key in ("href", "base"):
            if isinstance(link := description.get(key), str):
                self.base = _joined(self.base, link)
        self.used: set[str] = set()
        self.elsewhere = ""

    def thing(self) -> Thing:
        # `name` is Mozilla's word for the title.
        title = first_text(self.description, "title", "titles", "name")
        given = self.description.get("id") or self.description.get("href")
        vendor_id = given if isinstance(given, str) else title
        types = (one for one in words(self.description.get("@type")) if one not in ANY_THING)
        all_at = self._all_at()
        # Each of them is a call where it is not told with all.
        most = MOST_PROPERTIES if all_at else MOST_ASKED_SINGLY
        properties = tuple(self._properties())[:most]
        return Thing(
            _short(vendor_id or "thing"),
            clean_name(title) or _short(vendor_id or "thing"),
            clean_name(next(types, "")),
            properties,
            all_at,
            self.elsewhere,
        )

    def _all_at(self) -> Place | None:
        for form in _objects(self.description.get("forms")):
            found = self._place(form)
            if found and "readallproperties" in words(form.get("op")) and self._is_usable(form):
                return found
        for link in _objects(self.description.get("links")):
            if link.get("rel") == "properties":
                return self._place(link)
        return None

    def _properties(self) -> Iterator[Property]:
        described = self.description.get("properties")
        for name, schema in described.items() if isinstance(described, dict) else ():
            if isinstance(schema, dict) and name and "uriVariables" not in schema:
                yield from self._property(name, schema)

    def _property(self, name: str, schema: dict[str, Any]) -> Iterator[Property]:
        forms = list(_objects(schema.get("forms")))
        if forms:
            read_at, write_at = self._by_forms(forms)
        else:
            read_at = write_at = self._by_links(schema)
        if schema.get("readOnly") is True:
            write_at = None
        if schema.get("writeOnly") is True or read_at is None:
            return  # what was ordered could never be seen
        if schema.get("type") != "object":
            if spec := self._spec(name, schema, is_writable=write_at is not None):
                is_integer = schema.get("type") == "integer"
                yield Property(name, spec, read_at, write_at, bool(forms), is_integer)
            return
        parts = schema.get("properties")
        for field, part in parts.items() if isinstance(parts, dict) else ():
            if not isinstance(part, dict) or not field:
                continue
            if spec := self._spec(f"{name}_{field}", part, is_writable=False):
                yield Property(name, spec, read_at, None, bool(forms), field=field)

    def _by_forms(self, forms: list[dict[str, Any]]) -> tuple[Place | None, Place | None]:
        read_at = write_at = None
        for form in filter(self._is_usable, forms):
            # Both are W3C's default for a form that names none.
            operations = words(form.get("op", ["readproperty", "writeproperty"]))
            method = form.get("htv:methodName")
            if read_at is None and "readproperty" in operations and method in (None, "GET"):
                read_at = self._place(form)
            is_own = "readproperty" not in operations and method in ("PUT", "POST")
            may_write = method in (None, "PUT") or is_own
            if write_at is None and "writeproperty" in operations and may_write:
                write_at = self._place(form, method or "PUT")
        return read_at, write_at

    def _by_links(self, schema: dict[str, Any]) -> Place | None:
        links = [schema, *_objects(schema.get("links"))]
        for link in links:
            is_own = link is schema or link.get("rel", "property") == "property"
            found = self._place(link)
            if found and is_own:
                return found
        return None

    def _place(self, link: dict[str, Any], method: str = "PUT") -> Place | None:
        found = place(link.get("href"), self.base, self.home, method)
        if found is None and not self.elsewhere:
            self.elsewhere = elsewhere(link.get("href"), self.base, self.home)
        return found

    def _is_usable(self, form: dict[str, Any]) -> bool:
        """Whether it speaks JSON, and wants no other credential than the thing itself."""
        # JSON is W3C's default.
        content_type = form.get("contentType", "application/json")
        is_json = str(content_type).partition(";")[0].strip().lower() == "application/json"
        security = form.get("security", self.description.get("security"))
        is_same = words(security) == words(self.description.get("security"))
        return is_json and is_same and form.get("subprotocol") is None

    def _spec(
        self, name: str, schema: dict[str, Any], *, is_writable: bool
    ) -> AttributeSpec | None:
        attribute = self._attribute(name, schema)
        kind, choices = kind_of(schema)
        if kind is None:
            return None
        self.used.add(attribute)
        if kind is not Kind.NUMBER:
            return AttributeSpec(attribute, kind, choices=choices, writable=is_writable)
        minimum, maximum = finite(schema.get("minimum")), finite(schema.get("maximum"))
        if minimum is not None and maximum is not None and minimum > maximum:
            minimum = maximum = None
        step = finite(schema.get("multipleOf"))
        if not step or step < 0:
            step = 1.0 if schema.get("type") == "integer" else None
        unit = unit_symbol(schema.get("unit"))
        return AttributeSpec(
            attribute, kind, unit, minimum, maximum, writable=is_writable, step=step
        )

    def _attribute(self, name: str, schema: dict[str, Any]) -> str:
        """Name it in snake case, in our word where its type is known; no two alike."""
        for word in words(schema.get("@type")):
            plain = PLAIN_WORDS.get(word, "")
            # A second one of the same type goes by its own name.
            if plain and plain not in self.used:
                return plain
        snake = re.sub(r"([a-z0-9])([A-Z])", r"\1_\2", name).lower()
        snake = re.sub(r"[^a-z0-9]+", "_", snake).strip("_")[:LONGEST_ATTRIBUTE]
        if not snake or not snake[0].isalpha():
            snake = f"property_{snake}".rstrip("_")
        found, number = snake, 1
        while found in self.used:
            number += 1
            found = f"{snake}_{number}"
        return found


def first_text(description: dict[str, Any], *keys: str) -> str:
    """Return the first text of these; of one in several languages, English or any."""
    for key in keys:
        value = description.get(key)
        if isinstance(value, dict):
            value = value.get("en") or next(iter(value.values()), None)
        if isinstance(value, str) and clean_name(value):
            return value
    return ""


def _short(vendor_id: str) -> str:
    if len(vendor_id) <= LONGEST_ID and vendor_id.isprintable():
        return vendor_id
    return hashlib.sha256(vendor_id.encode(errors="replace")).hexdigest()[:32]


def _joined(base: str, link: str) -> str:
    try:
        return urljoin(base, link)
    except ValueError:
        return base


def _objects(value: object) -> Iterator[dict[str, Any]]:
    for item in value if isinstance(value, list) else ():
        if isinstance(item, dict):
            yield item


def words(value: object) -> tuple[str, ...]:
    items = value if isinstance(value, list) else [value]
    return tuple(item for item in items if isinstance(item, str))
