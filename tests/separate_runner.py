"""A command line whose standard output holds no warnings, by any click."""

import inspect

from click.testing import CliRunner


def separate_runner() -> CliRunner:
    """A runner whose `stdout` holds no warnings: clicks before 8.2 mix the two unless they are told not to."""
    mixes = "mix_stderr" in inspect.signature(CliRunner.__init__).parameters
    return CliRunner(**({"mix_stderr": False} if mixes else {}))
