"""XML from outside, as a tree: without a document type, so without entities that grow or fetch.

`xml.etree` on its own reads entities that are declared in the document. A billion laughs is one.
"""

from typing import NoReturn
from xml.etree.ElementTree import Element, TreeBuilder
from xml.parsers import expat

DEEPEST = 50
MOST_ELEMENTS = 200_000


def parse(content: bytes) -> Element:
    """Return the root. Names are as they are written, without their namespace.

    Raises ValueError for what is not well-formed, has a document type, or is too deep or too much.
    """
    return _Reader().read(content)


class _Reader:
    def __init__(self) -> None:
        self._tree, self._depth, self._count = TreeBuilder(), 0, 0
        self._parser = expat.ParserCreate()
        self._parser.StartDoctypeDeclHandler = self._refuse
        self._parser.StartElementHandler = self._start
        self._parser.EndElementHandler = self._end
        self._parser.CharacterDataHandler = self._tree.data

    def read(self, content: bytes) -> Element:
        try:
            self._parser.Parse(content, True)
        except expat.ExpatError as error:
            raise ValueError(f"It is no XML: {expat.ErrorString(error.code)}.") from None
        return self._tree.close()

    def _refuse(self, *_: object) -> NoReturn:
        raise ValueError("It has a document type, which is not read.")

    def _start(self, name: str, attributes: dict[str, str]) -> None:
        self._depth += 1
        self._count += 1
        if self._depth > DEEPEST or self._count > MOST_ELEMENTS:
            raise ValueError("It has too many elements.")
        self._tree.start(name.rpartition(":")[2], attributes)

    def _end(self, name: str) -> None:
        self._depth -= 1
        self._tree.end(name.rpartition(":")[2])
