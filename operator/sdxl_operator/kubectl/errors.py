"""What ends a command with one line and exit code 1."""


class CommandError(Exception):
    """The command cannot do what it was asked; the message says why, and what would be right."""
