"""What is installed here, and what is missing."""
