"""What is known of a device: its data sheet, its profile, and where profiles are kept."""
