"""Servers on loopback: Debian's registry, and a slow and distant link before it. All end with the value."""
import collections, json, os, re, socket, subprocess, sys, tempfile, threading, time

HERE = os.path.dirname(os.path.abspath(__file__))
KINDS = ("manifests", "blobs/uploads", "blobs", "referrers", "tags")


class Server:
    """A process that listens on a port of loopback."""

    def __init__(self, words, port, output):
        self.host = f"127.0.0.1:{port}"
        self.process = subprocess.Popen(words, stdout=output, stderr=output)
        for _ in range(1000):
            try:
                socket.create_connection(("127.0.0.1", port)).close()
                return
            except OSError:
                time.sleep(0.02)
            if self.process.poll() is not None:
                break
        self.stop()
        raise RuntimeError(f"{words[0]} did not listen on {self.host}")

    def cpu(self):
        fields = open(f"/proc/{self.process.pid}/stat").read().rsplit(")", 1)[1].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    def stop(self):
        self.process.terminate()
        self.process.wait()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.stop()


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


class Registry(Server):
    """Debian's registry over a root; with a log, it counts what it is asked."""

    def __init__(self, root, logs=False):
        port = free_port()
        self.folder = tempfile.TemporaryDirectory(prefix="hod-bench-")
        config, self.log = f"{self.folder.name}/config.json", f"{self.folder.name}/log"
        with open(config, "w") as file:
            json.dump({"version": 0.1, "log": {"level": "error", "accesslog": {"disabled": not logs}},
                       "http": {"addr": f"127.0.0.1:{port}", "secret": "bench"},
                       "storage": {"filesystem": {"rootdirectory": root}}}, file)
        with open(self.log, "w") as output:
            super().__init__(["docker-registry", "serve", config], port, output)

    def requests(self):
        """What was asked so far: a count by method and kind. Bytes that were asked for before are a kind of their own."""
        counts, fetched = collections.Counter(), set()
        for line in open(self.log):
            found = re.search(r'"([A-Z]+) (/v2/\S*) HTTP', line)
            if not found:
                continue
            method, path = found.groups()
            kind = next((kind for kind in KINDS if f"/{kind}/" in path), "ping")
            digest = path.rsplit("/", 1)[-1]
            again = method == "GET" and kind == "blobs" and digest in fetched
            fetched.add(digest)
            counts[method, "blobs again" if again else kind] += 1
        return counts

    def stop(self):
        super().stop()
        self.folder.cleanup()


class SlowLink(Server):
    """A way to another server with delay and limits. Rates are MB/s, the round trip is in ms."""

    def __init__(self, target, round_trip=40, each=25, all_=100):
        port = free_port()
        words = [sys.executable, f"{HERE}/slow_link.py", str(port), target, str(round_trip), str(each), str(all_)]
        super().__init__(words, port, subprocess.DEVNULL)
