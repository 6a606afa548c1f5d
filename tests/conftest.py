"""Hooks that pytest looks for at the top only."""

from tests.simulation.exercise import pytest_addoption, pytest_sessionfinish, pytest_terminal_summary

__all__ = ["pytest_addoption", "pytest_sessionfinish", "pytest_terminal_summary"]
