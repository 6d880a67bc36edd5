"""The shapes of the contract, one file a noun: pydantic for what comes in, dataclasses for what goes out.

Requests are read strictly: no "5" for 5, no field we do not know. Answers are written out field by field, so that
renaming something inside never changes what programs outside rely on.
"""
