"""The commands of `hybrid-drive`, one per file; each is a few lines over a control call or one function of the core.

A command prints what it is asked for on stdout (with `--json` as one JSON value) and raises what goes wrong; turning
that into a sentence and an exit code is `appliance.cli`'s. What is slow to import is imported inside the command that
needs it.
"""
