"""From a question to a cited answer: search, fuse, merge, prompt, stream, cite."""
