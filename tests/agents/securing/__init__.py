"""Tests of the security actor."""
