"""The version of this distribution; a module of its own, so that whoever needs it need not load the package."""

__version__ = "0.2.0"
