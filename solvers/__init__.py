"""Numbers: pure optimization code on arrays. Importing the package loads nothing, so `gavel --help` stays quick."""
