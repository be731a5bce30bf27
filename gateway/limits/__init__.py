"""How much each caller and each tenant may ask at once and over time."""
