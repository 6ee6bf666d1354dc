"""What the code behind the report did otherwise, each deviation a switch of runs of their own kind, for the audit alone.

`flaws` says what they are, `switches` is the code that does them, `scores` how accuracies were computed, `run` the command
that the study's group `audit` calls. No parameter of a training reaches any of it.
"""
