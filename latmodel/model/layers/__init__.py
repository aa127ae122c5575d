"""What blocks are made of beyond plain attention and FFN, and the number formats of their weights and cache."""
