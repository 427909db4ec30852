"""What strategies, clients and simulations share on the wire; the mathematics never imports it."""
