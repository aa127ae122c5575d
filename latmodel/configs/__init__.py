"""What people have: Hugging Face configurations, presets, tables of dimensions."""
