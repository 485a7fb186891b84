"""A stand-in for Google Cloud Storage: of its XML API what facts of small corpora need, as its reference describes it, objects
in memory. Uploads in parts are not among it and fail.

    python3.13 gcs.py

Prints its port, and serves until it is killed. It is no server of Google's: theirs for tests leaves out listing and deleting.
"""

import datetime
import email.utils
import hashlib
import http.server
import re
import threading
import urllib.parse
from xml.sax.saxutils import escape

PAGE = 10  # keys in a page of a listing, few, so that there is more than one
LOCK = threading.Lock()
OBJECTS = {}  # (bytes, generation, time) by bucket and key
GENERATIONS = iter(range(1, 1 << 62))


def etag(content):
    return '"' + hashlib.md5(content).hexdigest() + '"'


class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True

    def log_message(self, *_):
        pass

    def answer(self, status, body=b"", **headers):
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name.replace("_", "-"), str(value))
        if "Content_Length" not in headers:
            self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def parts(self):
        url = urllib.parse.urlsplit(self.path)
        bucket, _, key = urllib.parse.unquote(url.path).lstrip("/").partition("/")
        query = {name: values[0] for name, values in urllib.parse.parse_qs(url.query, keep_blank_values=True).items()}
        return bucket, key, query

    def body(self):
        return self.rfile.read(int(self.headers.get("Content-Length", 0)))

    def may_write(self, place):
        """Whether the object is of the generation that the request asks for; 0 is none. To be called under the lock."""
        wanted = self.headers.get("x-goog-if-generation-match")
        return wanted is None or int(wanted) == OBJECTS.get(place, (None, 0))[1]

    def store(self, place, content):
        """The generation of an object that is written now; where it may not be written that is answered, and there is none."""
        with LOCK:
            if not self.may_write(place):
                return self.answer(412)
            generation = next(GENERATIONS)
            OBJECTS[place] = (content, generation, datetime.datetime.now(datetime.UTC))
        return generation

    def do_PUT(self):
        bucket, key, _ = self.parts()
        content = self.body()
        if source := self.headers.get("x-goog-copy-source"):
            from_bucket, _, from_key = urllib.parse.unquote(source).partition("/")
            if (from_bucket, from_key) not in OBJECTS:
                return self.answer(404)
            content = OBJECTS[from_bucket, from_key][0]
        if generation := self.store((bucket, key), content):
            self.answer(200, ETag=etag(content), x_goog_generation=generation)

    def do_DELETE(self):
        bucket, key, _ = self.parts()
        with LOCK:
            known = OBJECTS.pop((bucket, key), None)
        self.answer(204 if known else 404)

    def do_HEAD(self):
        self.do_GET()

    def do_GET(self):
        bucket, key, query = self.parts()
        if not key:
            return self.listing(bucket, query)
        found = OBJECTS.get((bucket, key))
        if found is None:
            return self.answer(404)
        content, generation, time = found
        headers = {
            "ETag": etag(content),
            "Last_Modified": email.utils.format_datetime(time, usegmt=True),
            "x_goog_generation": generation,
            "Accept_Ranges": "bytes",
        }
        if self.command == "HEAD":
            return self.answer(200, Content_Length=len(content), **headers)
        wanted = re.fullmatch("bytes=([0-9]*)-([0-9]*)", self.headers.get("Range", ""))
        if not wanted:
            return self.answer(200, content, **headers)
        first, last = wanted.groups()
        start = int(first) if first else max(len(content) - int(last), 0)
        end = min(int(last) + 1, len(content)) if first and last else len(content)
        if start >= len(content):
            return self.answer(416)
        self.answer(206, content[start:end], Content_Range=f"bytes {start}-{end - 1}/{len(content)}", **headers)

    def listing(self, bucket, query):
        prefix, delimiter = query.get("prefix", ""), query.get("delimiter")
        after = max(query.get("continuation-token", ""), query.get("start-after", ""))
        with LOCK:
            objects = sorted((key, found) for (of, key), found in OBJECTS.items() if of == bucket and key.startswith(prefix))
        rows, last = {}, None
        for key, (content, _, time) in objects:
            end = key.find(delimiter, len(prefix)) if delimiter else -1
            name = key if end < 0 else key[: end + 1]
            if name <= after or name in rows:
                continue
            if len(rows) == min(PAGE, int(query.get("max-keys", PAGE))):
                last = list(rows)[-1]
                break
            if end < 0:
                rows[name] = (
                    f"<Contents><Key>{escape(key)}</Key><Size>{len(content)}</Size><ETag>{escape(etag(content))}</ETag>"
                    f"<LastModified>{time.isoformat(timespec='milliseconds').replace('+00:00', 'Z')}</LastModified></Contents>"
                )
            else:
                rows[name] = f"<CommonPrefixes><Prefix>{escape(name)}</Prefix></CommonPrefixes>"
        token = f"<NextContinuationToken>{escape(last)}</NextContinuationToken>" if last else ""
        self.answer(200, f"<ListBucketResult>{''.join(rows.values())}{token}</ListBucketResult>".encode())


if __name__ == "__main__":
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    print(server.server_port, flush=True)
    server.serve_forever()
