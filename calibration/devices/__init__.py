"""The hardware present: processors, accelerators, their clocks and timers. The only calls of CUDA."""
