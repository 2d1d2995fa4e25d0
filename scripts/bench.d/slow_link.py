"""A slow and distant link: carries connections to another address with delay and limited rates.

usage: slow_link.py PORT HOST:PORT ROUND_TRIP_MS MB_PER_S_EACH MB_PER_S_IN_ALL

Each direction of a connection waits half the round trip; opening one takes a whole. The rate of each connection, and of
all together, is that from the server to the client and the other way alike. What is under way is bounded as a window of
TCP would be, so that a slow reader is felt by the sender. Windows do not start small here, and nothing is lost on the way.
"""
import collections, socket, sys, threading, time

CHUNK = 64 * 1024
WINDOW = 4 * 1024 * 1024


class Rate:
    """Bytes a second: tells when so many more will have passed."""

    def __init__(self, megabytes):
        self.speed, self.free, self.lock = megabytes * 1e6, 0.0, threading.Lock()

    def passed(self, size):
        with self.lock:
            self.free = max(self.free, time.monotonic() - 0.005) + size / self.speed
            return self.free


def wait_until(moment):
    left = moment - time.monotonic()
    if left > 0:
        time.sleep(left)


class Direction:
    """What goes one way: one thread takes it in, another hands it out later."""

    def __init__(self, source, sink, ready, delay, rates):
        self.source, self.sink, self.delay, self.rates = source, sink, delay, rates
        self.waiting, self.size, self.changed = collections.deque([(ready, b"")]), 0, threading.Condition()
        self.threads = [threading.Thread(target=work, daemon=True) for work in (self.take, self.hand_out)]

    def start(self):
        for thread in self.threads:
            thread.start()

    def take(self):
        while True:
            try:
                chunk = self.source.recv(CHUNK)
            except OSError:
                chunk = b""
            with self.changed:
                self.changed.wait_for(lambda: self.size < WINDOW)
                self.waiting.append((time.monotonic() + self.delay, chunk or None))
                self.size += len(chunk)
                self.changed.notify()
            if not chunk:
                return

    def hand_out(self):
        while True:
            with self.changed:
                self.changed.wait_for(lambda: self.waiting)
                moment, chunk = self.waiting.popleft()
                self.size -= len(chunk or b"")
                self.changed.notify()
            wait_until(moment)
            try:
                if chunk is None:
                    self.sink.shutdown(socket.SHUT_WR)
                    return
                # A chunk has arrived when its last byte has.
                wait_until(max(rate.passed(len(chunk)) for rate in self.rates))
                self.sink.sendall(chunk)
            except OSError:
                self.source.close()
                return


def main():
    port, target, round_trip, each, in_all = sys.argv[1:]
    host, _, target_port = target.rpartition(":")
    delay, shared = float(round_trip) / 2000, [Rate(float(in_all)), Rate(float(in_all))]
    listener = socket.create_server(("127.0.0.1", int(port)), backlog=256)
    while True:
        client, _ = listener.accept()
        server = socket.create_connection((host, int(target_port)))
        for end in (client, server):
            end.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        # The client believes to be connected at once; what it sends waits for the handshake that a distance costs.
        ready = time.monotonic() + 3 * delay
        for way, (source, sink, moment) in enumerate(((client, server, ready), (server, client, 0))):
            Direction(source, sink, moment, delay, [shared[way], Rate(float(each))]).start()


if __name__ == "__main__":
    main()
