"""A rule that says what a proof tells it to. Found by its file name, as any other: the proof adds
this folder to the rules'."""

from dataclasses import dataclass

from core.rules import Decision, Situation, Undecided

SIGNALS = ()
GUARD = True
SCRIPT: dict[str, str] = {}
"""By device: on, off, nothing, guard (off, to avert harm), undecided, broken."""


@dataclass(frozen=True)
class Options:
    pass


def decide(situation: Situation) -> Decision | None:
    word = SCRIPT.get(situation.device, "nothing")
    if word == "undecided":
        raise Undecided("the script says so")
    if word == "broken":
        raise ZeroDivisionError(word)
    if word == "guard":
        return Decision(False, "there is danger", guard=True)
    return None if word == "nothing" else Decision(word == "on", "the script says so")
