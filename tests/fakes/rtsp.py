"""A small RTSP camera: JPEG over RTP (RFC 2435), interleaved in the TCP connection (RFC 2326, section 10.12)."""

from __future__ import annotations

import base64
import socketserver
import struct
import threading

import cv2
import numpy as np

_FPS = 30
_SDP = (
    "v=0\r\no=- 0 0 IN IP4 127.0.0.1\r\ns=red\r\nc=IN IP4 127.0.0.1\r\nt=0 0\r\n"
    "m=video 0 RTP/AVP 26\r\na=control:video\r\n"
)


class RtspServer(socketserver.ThreadingTCPServer):
    """Serves red frames to each that plays, until `silent` or `over`."""

    daemon_threads = True
    block_on_close = False
    allow_reuse_address = True

    def __init__(self, credentials: str | None = None) -> None:
        """`credentials`, as user:password, are asked of each request; a wrong one gets 401."""
        super().__init__(("127.0.0.1", 0), _Session)
        self.silent, self.over = threading.Event(), threading.Event()
        self.expected = f"Basic {base64.b64encode(credentials.encode()).decode()}" if credentials else None
        self.address = f"rtsp://user:secret@127.0.0.1:{self.server_address[1]}/live"
        threading.Thread(target=self.serve_forever, args=(0.02,), daemon=True).start()

    def __enter__(self) -> RtspServer:
        return self

    def __exit__(self, *_: object) -> None:
        self.over.set()
        self.shutdown()
        self.server_close()


class _Session(socketserver.StreamRequestHandler):
    server: RtspServer

    def handle(self) -> None:
        try:
            while (request := self._request()) is not None:
                method, number, authorization = request
                if self.server.expected not in (None, authorization):
                    refusal = (
                        f'RTSP/1.0 401 Unauthorized\r\nCSeq: {number}\r\nWWW-Authenticate: Basic realm="x"\r\n\r\n'
                    )
                    self.wfile.write(refusal.encode())
                    continue
                headers, body = {
                    "DESCRIBE": ("Content-Type: application/sdp\r\n", _SDP),
                    "SETUP": ("Transport: RTP/AVP/TCP;unicast;interleaved=0-1\r\n", ""),
                }.get(method, ("Public: DESCRIBE, SETUP, PLAY, TEARDOWN\r\n", ""))
                length = f"Content-Length: {len(body)}\r\n" if body else ""
                answer = f"RTSP/1.0 200 OK\r\nCSeq: {number}\r\nSession: 1\r\n{headers}{length}\r\n{body}"
                self.wfile.write(answer.encode())
                if method == "PLAY":
                    self._play()
        except OSError:
            return  # the camera was closed

    def _request(self) -> tuple[str, str, str] | None:
        """Method, CSeq and Authorization of the next request."""
        lines = []
        while line := self.rfile.readline().decode("latin-1").strip():
            lines.append(line)
        if not lines:
            return None
        headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines[1:])}
        return lines[0].split()[0], headers["cseq"], headers.get("authorization", "")

    def _play(self) -> None:
        payload = rtp_payload(np.full((64, 96, 3), (0, 0, 255), np.uint8))
        number = 0
        while not self.server.over.wait(1 / _FPS):
            if self.server.silent.is_set():
                continue
            # version 2; marker (one packet is the whole frame) and payload type 26; 90 kHz
            header = struct.pack(">BBHII", 0x80, 0x80 | 26, number & 0xFFFF, number * 90000 // _FPS, 1)
            packet = header + payload
            self.wfile.write(struct.pack(">cBH", b"$", 0, len(packet)) + packet)
            number += 1


def rtp_payload(bgr: np.ndarray) -> bytes:
    """A whole picture as one RTP/JPEG payload: header, quantization tables, entropy-coded data."""
    jpeg = cv2.imencode(".jpg", bgr)[1].tobytes()
    tables, at = b"", 2
    while True:
        marker, length = struct.unpack_from(">HH", jpeg, at)
        segment = jpeg[at + 4 : at + 2 + length]
        at += 2 + length
        if marker == 0xFFDB:
            # each table: a byte of precision and number, then its 64 values
            tables += b"".join(segment[start + 1 : start + 65] for start in range(0, len(segment), 65))
        if marker == 0xFFDA:
            break
    height, width = bgr.shape[:2]
    main = struct.pack(">BBHBBBB", 0, 0, 0, 1, 255, width // 8, height // 8)  # type 1: 4:2:0, as OpenCV writes
    return main + struct.pack(">BBH", 0, 0, len(tables)) + tables + jpeg[at:-2]
