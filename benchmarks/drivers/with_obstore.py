"""obstore: one object to S3 and back, streamed from and to disk."""

from __future__ import annotations

import sys
from pathlib import Path

import obstore
from obstore.store import S3Store
from serving import serve


def main() -> None:
    """Open the store and serve: each piece of work is put or get, and the path of a file."""
    endpoint, bucket, key = sys.argv[1:]
    store = S3Store(
        bucket,
        endpoint=endpoint,
        region="us-east-1",
        virtual_hosted_style_request=False,
        client_options={"allow_http": True},
    )

    def run(work: list[str]) -> None:
        verb, path = work
        if verb == "put":
            obstore.put(store, key, Path(path))
            return
        with Path(path).open("wb") as file:
            for chunk in obstore.get(store, key).stream():
                file.write(chunk)

    serve(run, "obstore")


if __name__ == "__main__":
    main()
