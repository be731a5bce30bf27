"""Why a task is where it is, and why each agent does not have it: told from records and facts alone."""
