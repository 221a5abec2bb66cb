"""Tests of the worker: against real CrewAI, with an engine and a provider made for them."""
