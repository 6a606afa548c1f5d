"""What the Executor fetches from the Backend: everything it is asked to do, in one long poll."""

from pydantic import Field

from aegis.contracts.base import Contract, Moment, Text
from aegis.contracts.envelope import Envelope
from aegis.contracts.orders import Announcement
from aegis.contracts.plans import Rehearsal


class Work(Contract):
    """Claimed for the asking replica for a short while; what is not answered by then is handed out again."""

    rehearsals: tuple[Rehearsal, ...] = ()
    orders: tuple[Envelope, ...] = ()
    """Signed `Order`s for the audience `executor`."""
    announcements: tuple[Announcement, ...] = ()
    withdrawn: tuple[str, ...] = ()
    """Orders that nobody wants any more, by id: not to be begun."""

    @property
    def is_empty(self) -> bool:
        return not (self.rehearsals or self.orders or self.announcements)


class Pause(Contract):
    """The kill switch as the Backend holds it. Engaged until the first admin releases it."""

    paused: bool
    reason: Text = ""
    by: str = ""
    since: Moment


class Storm(Contract):
    """Too much is unhealthy at once, by the Executor's own reading: it takes no new action until it is quiet."""

    active: bool
    unhealthy: tuple[str, ...] = ()
    """The workloads, as `namespace/kind/name`."""
    workloads: int = Field(ge=0, le=10**9)
    since: Moment
