"""What is done to a live run from outside: words that are in force until they are taken back."""

from __future__ import annotations

from enum import StrEnum


class Control(StrEnum):
    """The words of the recorded scenarios (`conformance/live/*.scenario.txt`)."""

    NO_FILL = "nofill"
    NO_UPDATE = "noupdate"
    NO_CANCEL = "nocancel"
    OUTAGE = "outage"
    CROSSED = "crossed"
    NO_BID = "nobid"
    NO_ASK = "noask"
    NO_INDEX = "noindex"
    BROKER_DOWN = "brokerdown"


class Controls:
    """The words in force."""

    def __init__(self) -> None:
        self._words: frozenset[Control] = frozenset()

    def __contains__(self, word: Control) -> bool:
        return word in self._words

    def set(self, text: str) -> frozenset[Control]:
        """Puts the words of a text in force, and no others; gives those before.

        Raises ValueError for an unknown word.
        """
        known = {control.value: control for control in Control}
        unknown = sorted(set(text.split()) - known.keys())
        if unknown:
            raise ValueError(f"control: {', '.join(unknown)}; expected some of {', '.join(sorted(known))}")
        before, self._words = self._words, frozenset(known[word] for word in text.split())
        return before
