"""The long comparisons that texts quote: run by a command, stored with their settings, drawn from there."""
