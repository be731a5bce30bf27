"""What every request of the API shares: routes, bodies, parameters, problems, conditions, pages and the documents made of them."""
