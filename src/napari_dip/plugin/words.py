"""Helpers for the sentences that the window shows."""


def capitalise(sentence: str) -> str:
    """Return a sentence with its first letter in upper case."""
    return sentence[:1].upper() + sentence[1:]
