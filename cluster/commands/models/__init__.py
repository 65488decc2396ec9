"""Commands about one model: it is measured, served or copied."""
