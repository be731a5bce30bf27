"""Numbers: arrays in, arrays out; long work in slices."""
