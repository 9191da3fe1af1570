"""What state refuses, each with the subject, what was tried and what would be right."""

from __future__ import annotations

from core.events import Level


class StateError(RuntimeError):
    """Anything that state refuses."""


class IllegalTransitionError(StateError):
    """A trigger that the subject's state does not know."""

    def __init__(self, level: Level, subject: str, state: str, trigger: str, legal: tuple[str, ...]) -> None:
        self.level, self.subject, self.state, self.trigger, self.legal = level, subject, state, trigger, legal
        choices = ", ".join(legal) or "nothing, it has ended"
        super().__init__(f"{level.value} {subject}: {trigger!r} in state {state!r}; legal: {choices}")


class GatedTransitionError(StateError):
    """A trigger that the state above forbids."""

    def __init__(self, level: Level, subject: str, trigger: str, above: str, allowed: tuple[str, ...]) -> None:
        self.level, self.subject, self.trigger, self.above, self.allowed = level, subject, trigger, above, allowed
        super().__init__(f"{level.value} {subject}: {trigger!r} while {above}; allowed while {', '.join(allowed)}")


class PendingIntentError(StateError):
    """A second trigger while an intent of the subject is written and not completed."""


class UnknownSubjectError(StateError):
    """Nobody by that name at that level."""


class DuplicateSubjectError(StateError):
    """A name that is already taken at that level."""


class DuplicateIntentError(StateError):
    """The same intent (fingerprint) is already known; it is never sent twice."""


class UnkeptStateError(StateError):
    """An entry while the state cannot be kept where it outlives the machine; nothing was sent."""


class StoreError(StateError):
    """The store cannot be used; the message names the key and the way out."""


class StoreLockedError(StoreError):
    """Another process works on the store."""


class CorruptStoreError(StoreError):
    """A record that is not the last one is damaged, or a part is missing."""


class NewerSchemaError(StoreError):
    """The store was written by a newer version of the program."""
