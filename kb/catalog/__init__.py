"""The SQL catalog: the one truth. The only importer of SQLAlchemy besides the migrations; one file per noun."""
