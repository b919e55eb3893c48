"""What leaves this machine: the bundle for the machine with the card, and what a server needs."""
