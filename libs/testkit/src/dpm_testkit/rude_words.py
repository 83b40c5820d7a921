"""What is said in rude requests: methods, names, fields and more, each a trick of its own."""

METHODS = [
    b"POST", b"PUT", b"PATCH", b"DELETE", b"OPTIONS", b"TRACE", b"CONNECT", b"PRI", b"PROPFIND", b"PURGE",
    b"SOURCE", b"M-SEARCH", b"get", b"Get", b"GETT", b"G\x00T", b"", b" GET", b"GET GET", b"\xff",
    b"A" * 9000, b"HEAD\t",
]  # fmt: skip

VERSIONS = [
    b"HTTP/1.0", b"HTTP/1.0", b"HTTP/1.0", b"HTTP/0.9", b"HTTP/2.0", b"HTTP/1.2", b"HTTP/1", b"http/1.1",
    b"HTTP/1.1 ", b"HTTP/11.1", b"HTTP/1.1.1", b"HTTP/-1.1", b"RTSP/1.0", b"ICE/1.0", b"", b"HTTP", b"\x00",
]  # fmt: skip

ENDS = [
    b"\n", b"\r", b"\n\r", b"\r\r\n", b"\x0b", b"\x85",
]  # fmt: skip

HOSTS = [
    b"", b" ", b"evil.example", b"localhost.evil.example", b"evil.example:80", b"localhost:99999",
    b"localhost:", b"localhost:-1", b"[::1]", b"[::1", b"[::ffff:10.0.0.1]", b"127.1", b"2130706433",
    b"0x7f.1", b"169.254.169.254", b"user@localhost", b"localhost@evil.example", b"localhost, evil.example",
    b"localhost/evil", b"local\thost", b"\xe2\x98\x83", b"%6cocalhost", b"xn--", b"*", b"a" * 5000,
    b"localhost\x00", b"LOCALHOST.", b"127.0.0.1:0x50",
]  # fmt: skip

SEGMENTS = [
    b"", b".", b"..", b"...", b"%2e%2e", b"%2E.", b"%2f", b"%5c..", b"..\\", b"%00", b"%0d%0aSet-Cookie:x",
    b"%c0%af", b"%ff", b"%", b"%zz", b"%u2215", b"%25%32%65", b"%e2%98%83", b"\xe2\x98\x83", b"\xff",
    b"\x7f", b"\t", b" ", b";x=1", b"simple", b"files", b"pypi", b"json", b"-", b"_", b"~", b"a" * 300,
    b"169.254.169.254", b"[::1]:80", b"localhost:22", b"evil.example", b"user:pw@evil.example", b"etc",
    b"passwd", b"a-1.0.tar.gz", b"a-1-2-3-4-5.zip", b".metadata", b"a-1.0-py3-none-any.whl",
    b"a-1.0-py3-none-any.whl.metadata.asc", b"-".join([b"1"] * 60) + b".tar.gz", b"$(id)", b"'", b'"',
    b"<script>", b"|", b"^", b"`", b"{", b"nobody-%d",
]  # fmt: skip

QUERIES = [
    b"", b"?", b"format=application/vnd.pypi.simple.v1+json", b"format=", b"format=%ff",
    b"format=text/html&format=x", b"x=%00", b"x=%0d%0a", b"&&&&", b"=" * 500, b"\xff", b"a" * 5000,
    b"../../x", b"format=" + b"%2541" * 100,
]  # fmt: skip

ACCEPTS = [
    b"*/*", b"application/vnd.pypi.simple.v1+json", b"image/png", b"", b",", b";", b"*", b"*/*;q=0",
    b"*/*;q=nan", b"*/*;q=inf", b"*/*;q=-1", b"*/*;q=1e400", b"*/*;q=" + b"9" * 5000,
    b"text/html;q=0.00000000000000000001", b"text/*;q=.5, */*;q=", b"text/html;level=1;q=1;q=0",
    b'"text/html, x"/y', b"text/html" + b";a=b" * 2000,
    b", ".join(b"a/b%d;q=0.%d" % (each, each % 1000) for each in range(2000)), b"a/" * 3000, b"\xff/\xfe",
    b"text\\html", b"application/vnd.pypi.simple.latest+json;q=\xc2\xb2", b"gzip;q=nan, *;q=0",
]  # fmt: skip

RANGES = [
    b"bytes=0-", b"bytes=0-0", b"bytes=-1", b"bytes=-0", b"bytes=5-2", b"bytes=-", b"bytes=", b"bytes",
    b"=0-1", b"bytes=0-99999999999999999999999", b"bytes=99999999999999999-",
    b"bytes=-99999999999999999999999999", b"bytes=18446744073709551616-", b"bytes=9223372036854775807-",
    b"bytes=0-0,1-1,2-2", b"bytes=0-9,5-14,1000-",
    b"bytes=" + b",".join(b"%d-%d" % (each * 300, each * 300) for each in range(16)),
    b"bytes=" + b"0-," * 5000, b"bytes=" + b",".join(b"%d-" % each for each in range(5000)),
    b"bytes=0x0-0x9", b"bytes=+1-2", b"bytes=1.5-2", b"items=0-1", b"bytes=\xd9\xa3-", b"BYTES=0-0",
    b"bytes = 0 - 0 , 2-2", b"bytes=0-0\x00", b"bytes=a-b",
]  # fmt: skip

DATES = [
    b"Mon, 16 Nov 2026 10:00:00 GMT", b"yesterday", b"", b"Mon, 16 Nov 2026 10:00:00 +99999999999999999",
    b"0", b"16 Nov 99999999999 10:00:00 -0000", b"Mon, 01 Jan 0001 00:00:00 -0000",
    b"Fri, 31 Dec 9999 23:59:60 -9999", b"Mon, 16 Nov 2026 99:99:99 GMT", b"\xff", b"Mon" * 5000, b'"tag"',
    b"-1",
]  # fmt: skip

TAGS = [
    b"*", b'"a"', b'W/"a"', b'"', b"W/", b"", b",", b'"a", ' * 3000, b"\xff", b'"\x00"', b'"a' * 500, b"W/*",
]  # fmt: skip

LENGTHS = [
    b"0", b"5", b"00", b"-1", b"+5", b"0x5", b"5, 5", b"5,6", b"", b"five", b"99999999999999999999",
    b"9" * 400, b"1e3", b"\xd9\xa3", b"1000000", b" 5 ",
]  # fmt: skip

CODINGS = [
    b"chunked", b"Chunked", b"chunked, chunked", b"gzip, chunked", b"chunked, gzip", b"identity", b"x", b"",
    b"\x0bchunked", b"chunked;q=1", b"chunked\x00",
]  # fmt: skip

CHUNKS = [
    b"0\r\n\r\n", b"5\r\nhello\r\n0\r\n\r\n", b"5\r\nhel", b"-1\r\n", b"zz\r\n", b"ffffffffffffffffff\r\nx",
    b"5;ext=\xff\r\nhello", b"0\r\nTrailer: x\r\n\r\n", b"5\nhello\n0\n\n", b"5\r\nhelloXX0\r\n\r\n",
    b"1\r\nx\r\n" * 3000, b"0x5\r\nhello\r\n0\r\n\r\n",
]  # fmt: skip

OTHER_FIELDS = [
    b"Connection: keep-alive", b"Connection: close, keep-alive", b"Connection: \xff",
    b"Connection: " + b"a," * 3000,
    b"Connection: upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Key: x\r\nSec-WebSocket-Version: 13",
    b"Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABkAARAAAAAAAIAAAAA",
    b"Expect: 100-continue", b"Expect: 200-ok", b"Expect: " + b"x" * 3000,
    b"Authorization: Basic " + b"!" * 3000, b"Authorization: Bearer \xff\xfe", b"Authorization: Basic Og==",
    b"Authorization:", b"Proxy-Authorization: x", b"Cookie: " + b"a=b; " * 2000,
    b"traceparent: 00-" + b"f" * 32 + b"-" + b"0" * 16 + b"-01", b"traceparent: \xff",
    b"traceparent: " + b"0-" * 3000, b"tracestate: \xff=,,,", b"baggage: " + b"%ff=" * 500,
    b"X-Forwarded-Host: evil.example", b"X-Forwarded-For: " + b"1," * 999,
    b"Forwarded: host=evil.example;proto=\xff", b"X-Original-URL: /etc/passwd",
    b"X-HTTP-Method-Override: DELETE", b"Cache-Control: max-age=-1", b"Cache-Control: " + b"no-store," * 500,
    b"Content-Type: multipart/form-data; boundary=" + b"x" * 500, b"Content-Encoding: gzip",
    b"TE: trailers, \xff", b"Via: 1.1 \xff", b"Max-Forwards: -1", b"Early-Data: 1", b"From: \x01",
    b"X: a\r\n b", b"X: a\r\n\tb", b"X : a", b" X: a", b"X", b":", b": a", b"\x00: a", b"X: \x00",
    b"X: a\rb", b"\xc3\xa9: a", b"X: \xc3\xa9", b"X(y): a", b"X: a\nHost: evil.example",
    b"Transfer-Encoding : chunked", b"Content_Length: 5", b"Content-Length\t: 5",
]  # fmt: skip

NO_HTTP = [
    b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\x00\x00\x12\x04\x00\x00\x00\x00\x00",
    b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + b"\x00" * 500, b"SSH-2.0-OpenSSH_9.6\r\n",
    b"\x05\x01\x00", b"EHLO x\r\n", b"PROXY TCP4 1.2.3.4 5.6.7.8 1 2\r\nGET / HTTP/1.1\r\n\r\n",
    b"\r\n" * 2000, b"\x00" * 5000, b"GET /\r\n", b"GET / HTTP/1.1", b"*1\r\n$4\r\nPING\r\n",
    b"\x80\x2e\x01\x00\x02", b"\n", b" ", b"GET",
]  # fmt: skip

BEFORE_PATHS = [
    b"http://localhost", b"http://evil.example", b"https://localhost", b"//evil.example", b"localhost:80",
    b"http://u:p@localhost", b"http://[::1", b"ftp://localhost", b"http:", b"*", b"/" * 3000, b"", b"#",
]  # fmt: skip
