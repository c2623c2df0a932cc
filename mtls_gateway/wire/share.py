"""What a session holds of a worker; by itself, as a compiled class has no weak references."""

from __future__ import annotations


class Share:
    """What one session holds of a worker's connections to the legacy backend; shared by all its admissions."""

    __slots__ = ("__weakref__", "in_use")

    def __init__(self) -> None:
        #: Exchanges that have, or wait for, a connection.
        self.in_use = 0
