"""Reads streams with httpx-sse: paths as JSON on standard input, what was handed on for each on standard output."""

import json
import sys
from concurrent.futures import ThreadPoolExecutor

import httpx
import httpx_sse


def read(path):
    with httpx_sse.connect_sse(client, "GET", f"{sys.argv[1]}/{path}") as source:
        # It hands on blocks without data, as which we send pauses, cursors and comments: who uses it passes them over.
        return [[event.id, event.event, event.data] for event in source.iter_sse() if event.data]


with httpx.Client(timeout=20, trust_env=False) as client, ThreadPoolExecutor(8) as pool:
    json.dump(list(pool.map(read, json.load(sys.stdin))), sys.stdout)
