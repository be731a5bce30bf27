"""What hostile clients try, each attack on a real node; `python -m tests.gateway.attacks` prints the page that lists them."""
