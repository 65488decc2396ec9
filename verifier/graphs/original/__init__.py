"""What the paper authors' own scorer says of a text, bit for bit."""
