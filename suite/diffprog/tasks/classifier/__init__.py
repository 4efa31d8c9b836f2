"""Circuits that classify: amplitude-encoded digits, and points that are re-uploaded in every layer."""
