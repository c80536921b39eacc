"""Archives and compressed files: what each of their readers would find in them."""
