"""The control plane: incidents, decisions, approvals, orders and the audit trail. It touches no cluster."""
