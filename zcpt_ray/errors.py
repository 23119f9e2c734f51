"""The one exception of the package that is meant for the person at the keyboard."""


class UserError(Exception):
    """Bad input, in one line: what was given, and what is allowed.

    Commands print it without a traceback and exit with 2.
    No `ValueError`: the command-line parser would catch that and wrap it in a page of help.
    """
