"""The commands of `gavel`, one module each."""
