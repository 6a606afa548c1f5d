"""Hooks that pytest looks for at the top only, and the servers that tests share."""

from tests.servers import backend_url, server, templates
from tests.simulation.exercise import pytest_addoption, pytest_sessionfinish, pytest_terminal_summary

__all__ = [
    "backend_url",
    "pytest_addoption",
    "pytest_sessionfinish",
    "pytest_terminal_summary",
    "server",
    "templates",
]
