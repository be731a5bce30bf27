"""A whole node in simulation: agents that work, lie and die, submitters who change their minds, and what must hold all the while."""
