"""Web pages: addresses that may be asked, fetching, and finding the pages of a site.

`gate.check_url` says whether a URL may be fetched, `fetcher.WebFetcher` fetches, and nothing else does: below them
`dialing` connects to checked addresses (`addresses`) and `exchange` asks.
"""
