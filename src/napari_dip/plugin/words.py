"""Words of the window that several of its parts need."""


def begin(sentence: str) -> str:
    """Return a sentence with its first letter as a sentence has it."""
    return sentence[:1].upper() + sentence[1:]
