"""What blocks are made of, one file a kind: its dimensions, operators, parameters, linear products and bytes kept."""
