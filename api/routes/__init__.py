"""The routes, one file a noun. A route reads the request, calls one thing, and shows what came of it."""
