"""The command line: one module a verb, each loaded when its verb is used."""

from .verbs import VERBS, group, main

__all__ = ["VERBS", "group", "main"]
