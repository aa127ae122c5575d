"""The frontier and what it is found by: spaces, goals, branch and bound, sweeps, layers one by one."""
