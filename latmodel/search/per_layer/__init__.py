"""Every layer of a decoder picks its own block, exactly."""
