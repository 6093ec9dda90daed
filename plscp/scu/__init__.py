"""The SCU's side: requests built, read from files, sent."""


def first_line(error: Exception) -> str:
    """The first line of what a library says, or the name of its error where it says nothing."""
    return (str(error).splitlines() or [type(error).__name__])[0]
