"""The search as other frameworks call it: one file a framework, each the only importer of its retriever's class."""
