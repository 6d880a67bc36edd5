"""Web pages: addresses that may be asked, fetching, and finding the pages of a site."""
