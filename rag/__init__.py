"""The engine: from a question to a cited answer."""
