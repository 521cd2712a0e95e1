"""Measuring: cases, metrics, runner and report."""
