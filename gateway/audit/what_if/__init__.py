"""What would have followed: a log forked at a position, with something else said from there on or decided by another rule.

`changes` says what is otherwise, `fork` makes the journal as it stood, `script` says who says what when, `stage` lets it happen on a
simulated machine, `outcomes` compares what came of it.
"""
