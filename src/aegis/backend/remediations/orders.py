"""Turn a decided plan into a signed order."""

from collections.abc import Sequence
from datetime import timedelta
from typing import Literal

from aegis.backend.ports import BackendPorts
from aegis.contracts.approvals import Approval
from aegis.contracts.decisions import Decision
from aegis.contracts.envelope import Envelope, seal
from aegis.contracts.orders import AUDIENCE, Order
from aegis.contracts.plans import Plan
from aegis.contracts.proposals import Proposal

Conclusion = Literal["undo", "keep"]
"""What a person can make of an action that was taken."""

CONCLUDING_LIFETIME = timedelta(minutes=15)


def act(
    ports: BackendPorts,
    *,
    remediation_id: str,
    proposal: Proposal,
    plan: Plan,
    decision: Decision,
    approvals: Sequence[Approval] = (),
) -> tuple[Order, Envelope]:
    """Return the order to carry out exactly this plan, and the envelope it travels in."""
    now = ports.clock.now()
    order = Order(
        id=plan.order_id,
        remediation_id=remediation_id,
        proposal=proposal,
        plan_hash=plan.hash,
        decision_rule=decision.rule,
        approvals=tuple(approvals),
        issued_at=now,
        expires_at=now + ports.settings.order_lifetime,
    )
    return order, _sealed(ports, order)


def conclude(
    ports: BackendPorts, *, purpose: Conclusion, remediation_id: str, proposal: Proposal, plan: Plan, by: str
) -> tuple[Order, Envelope]:
    """Return the order to take back or to keep what the plan did, because a person wants it."""
    now = ports.clock.now()
    order = Order(
        id=ports.ids.new("ord", now),
        purpose=purpose,
        concerns=plan.order_id,
        remediation_id=remediation_id,
        proposal=proposal,
        plan_hash=plan.hash,
        decision_rule=f"{purpose} by {by}",
        issued_at=now,
        expires_at=now + CONCLUDING_LIFETIME,
    )
    return order, _sealed(ports, order)


def _sealed(ports: BackendPorts, order: Order) -> Envelope:
    payload = order.model_dump_json().encode()
    return seal(payload, key=ports.signing_key, cluster_id=ports.settings.cluster_id, audience=AUDIENCE)
