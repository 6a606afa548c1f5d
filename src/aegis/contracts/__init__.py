"""The words Aegis is written in.

One module per noun, in the order things happen: a Finding joins an Incident, gets a Diagnosis, leads to a
Proposal, is rehearsed into a Plan, receives a Decision and perhaps Approvals, becomes an Order, ends in
Outcomes judged by a Verification, and leaves Audit entries. All are frozen values: no I/O, no service code.
"""
