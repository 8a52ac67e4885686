"""Dead letters, looked through and sent back."""
