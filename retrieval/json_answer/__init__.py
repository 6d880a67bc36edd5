"""Answers as JSON of the caller's own schema: what a schema may be, what is sent of it, and how a reply is read."""
