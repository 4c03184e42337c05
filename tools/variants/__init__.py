"""Answers to the exercises that nobody typed: right ones rewritten, wrong ones by a slip, and judges."""
