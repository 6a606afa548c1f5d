"""Observations to findings: symptoms that Kubernetes reports, anomalies that detectors learn. Pure."""
