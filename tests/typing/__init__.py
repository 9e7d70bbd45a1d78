"""What type checkers say of a user's script; `python -m tests.typing.check` asks them."""
