"""Many runs from one command: each a trial in a process of its own, with a record of them all."""
