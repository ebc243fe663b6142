"""`kubectl sdxl`: what an edit would cost, how a service stands, its logs, and the way back.

`commands` reads and asks; what is shown is pure: `overview`, `preview`, `listing` and `text`. kubectl itself says what
an apply of a file would make of an object, and shows logs.
"""
