"""Measure transformer blocks on a device, fit the model of `latmodel` to them, verify it with real runs."""

# Another distribution installs a package of this name; `latmodel.cli` checks this mark before it trusts the import.
LATMODEL = True
