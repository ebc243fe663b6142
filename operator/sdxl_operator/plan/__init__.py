"""Pure builders: from a parsed resource to the objects it wants, one file per kind of child; None means not wanted."""
