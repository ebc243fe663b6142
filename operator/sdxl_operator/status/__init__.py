"""What was observed → conditions, in ordered checks. Pure: the time is an argument."""
