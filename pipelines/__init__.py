"""The commands: one file each; the side effects live here."""
