"""Tiny fixed problems, one for each part of the code that decides a result; `fingerprint` compares what they give."""
