"""Results as text, tables and pictures: the only place that rounds or converts."""
