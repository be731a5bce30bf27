"""How the coordinator's memory follows the journal: what each event changes in it."""
