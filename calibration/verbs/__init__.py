"""What the command line runs: calibrate, fit, host only, fleets."""
