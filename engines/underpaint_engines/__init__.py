"""Engines that run underpaint's models; each is found by its entry point."""
