"""The `kb` command. Each command is one module, imported only when it runs."""
