"""A decided action, signed by the Backend, short-lived, carried out at most once."""

from typing import Literal

from aegis.contracts.approvals import Approval
from aegis.contracts.base import Moment, Name, StrictContract
from aegis.contracts.proposals import Proposal


class Order(StrictContract):
    """Carry out (`act`) the plan with this hash, or take back (`undo`) what it did.

    It authorises the plan's undo as well, because the hash covers it. `id` is the stamp that the plan carries;
    an undo order has an id of its own and names in `undoes` the order it takes back.
    """

    id: Name
    purpose: Literal["act", "undo"] = "act"
    undoes: Name | None = None
    remediation_id: Name
    proposal: Proposal
    plan_hash: Name
    decision_rule: str = ""
    approvals: tuple[Approval, ...] = ()
    issued_at: Moment
    expires_at: Moment


class Announcement(StrictContract):
    """Write a Kubernetes Event on the proposal's target, so that people who use kubectl see what happened."""

    id: Name
    proposal: Proposal
    type: Literal["Normal", "Warning"]
    reason: Name
    message: str
