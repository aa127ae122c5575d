"""What is computed: an architecture as groups of blocks of layers, their operators, parameters and bytes."""
