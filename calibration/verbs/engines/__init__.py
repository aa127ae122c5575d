"""`calibrate` of engines that run whole models: what is measured, and what is made of it on a CPU and on a GPU."""
