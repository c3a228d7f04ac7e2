"""Rooms put together: plan, train, load, and the scans of a folder through a model."""
