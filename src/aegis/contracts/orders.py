"""A decided action, signed by the Backend, short-lived, carried out at most once."""

from typing import Literal, Self

from pydantic import model_validator

from aegis.contracts.approvals import Approval
from aegis.contracts.base import Moment, Name, StrictContract
from aegis.contracts.proposals import Proposal

AUDIENCE = "executor"
"""Whom a signed order is for: an envelope for anybody else is none of the Executor's."""


class Order(StrictContract):
    """Carry out (`act`) the plan with this hash; or conclude what it did: take it back (`undo`), or `keep` it.

    An order to act authorises the plan's undo as well, because the hash covers it. Its `id` is the stamp that the
    plan carries; an order to undo or to keep has an id of its own and names in `concerns` the order that acted.
    """

    id: Name
    purpose: Literal["act", "undo", "keep"] = "act"
    concerns: Name | None = None
    remediation_id: Name
    proposal: Proposal
    plan_hash: Name
    decision_rule: str = ""
    approvals: tuple[Approval, ...] = ()
    issued_at: Moment
    expires_at: Moment

    @model_validator(mode="after")
    def _concerns_what_it_concludes(self) -> Self:
        if (self.purpose == "act") != (self.concerns is None):
            raise ValueError(f"an order to {self.purpose} that concerns {self.concerns or 'no other order'}")
        return self


class Announcement(StrictContract):
    """Write a Kubernetes Event on the proposal's target, so that people who use kubectl see what happened."""

    id: Name
    proposal: Proposal
    type: Literal["Normal", "Warning"]
    reason: Name
    message: str
