"""What an exported or converted model promises, and how near its answers must be."""
