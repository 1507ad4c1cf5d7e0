"""A fast local server with the API of Google Cloud Storage: reads, sizes and listings of one folder.

    python -m benchmarks.range_server FOLDER

prints its port and serves until its standard input closes.
"""

import http.server
import json
import os
import re
import sys
import threading
import urllib.parse
from pathlib import Path

MEDIA = re.compile(r"/(?:download/)?storage/v1/b/[^/]+/o/([^?]+)")
LISTING = re.compile(r"/storage/v1/b/[^/]+/o\?(.*)")


class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    folder: Path
    disable_nagle_algorithm = True

    def log_message(self, *arguments: object) -> None:
        pass

    def do_GET(self) -> None:
        listing = LISTING.fullmatch(self.path)
        if listing:
            self._list(urllib.parse.parse_qs(listing[1]).get("prefix", [""])[0])
            return
        found = MEDIA.match(self.path)
        path = self.folder / urllib.parse.unquote(found[1]) if found else self.folder
        if not path.is_file():
            self._json(404, {"error": {"code": 404, "message": "not found"}})
        elif "alt=media" in self.path:
            self._content(path)
        else:
            self._json(200, self._item(path))

    def _list(self, prefix: str) -> None:
        paths = sorted(path for path in self.folder.rglob("*") if path.is_file())
        items = [item for item in map(self._item, paths) if str(item["name"]).startswith(prefix)]
        self._json(200, {"kind": "storage#objects", "items": items})

    def _item(self, path: Path) -> dict[str, object]:
        name = path.relative_to(self.folder).as_posix()
        return {"kind": "storage#object", "bucket": "b", "name": name, "size": str(path.stat().st_size)}

    def _json(self, status: int, document: object) -> None:
        content = json.dumps(document).encode()
        self._head(status, len(content), "application/json")
        self.wfile.write(content)

    def _content(self, path: Path) -> None:
        size = path.stat().st_size
        requested = re.fullmatch(r"bytes=(\d+)-(\d+)", self.headers.get("Range", ""))
        start, end = (int(requested[1]), min(int(requested[2]) + 1, size)) if requested else (0, size)
        self._head(206 if requested else 200, end - start, "application/octet-stream")
        self.wfile.flush()
        with open(path, "rb") as file:
            while start < end:
                start += os.sendfile(self.connection.fileno(), file.fileno(), start, end - start)

    def _head(self, status: int, length: int, kind: str) -> None:
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(length))
        self.end_headers()


def main() -> None:
    Handler.folder = Path(sys.argv[1])
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    print(server.server_address[1], flush=True)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    sys.stdin.read()


if __name__ == "__main__":
    main()
