"""Attacks on hod serve, one after the other, while honest clients work. Everything is on loopback and ends."""
import base64, os, random, shutil, socket, ssl, subprocess, tempfile, threading, time

ATTACKERS = ["127.0.0.2", "127.0.0.4", "127.0.0.5"]
HONEST, NEWCOMER = "127.0.0.1", "127.0.0.3"
# An honest client that waits longer than this for one image or login is starved.
BOUND = 10
TOKEN = base64.b64encode(b"mallory:mallory").decode()
MALLORY = f"Authorization: Basic {TOKEN}\r\n"


def head(method, path, more="", end="\r\n"):
    return f"{method} {path} HTTP/1.1\r\nHost: registry\r\n{more}{end}".encode()


def connect(target, source):
    stream = socket.socket()
    stream.settimeout(2)
    stream.bind((source, 0))
    stream.connect(target)
    return stream


def hold(count, text, drip=b"", sources=ATTACKERS[:1]):
    """Keeps connections open that have sent a text, and lets each send a little more now and then."""
    def attack(scene):
        streams = []
        while not scene.over.is_set():
            kept = []
            for stream in streams:
                try:
                    stream.setblocking(False)
                    if drip:
                        stream.send(drip)
                    # Whatever reads takes the end as well; a slow reader leaves it where it is.
                    if scene.reads and stream.recv(4096) == b"":
                        raise OSError
                except BlockingIOError:
                    pass
                except OSError:
                    stream.close()
                    continue
                kept.append(stream)
            streams = kept
            while len(streams) < count and not scene.over.is_set():
                try:
                    stream = connect(scene.target, sources[len(streams) % len(sources)])
                    stream.sendall(text(scene) if callable(text) else text)
                    streams.append(stream)
                    scene.did += 1
                except OSError:
                    break
            scene.over.wait(0.2)
        for stream in streams:
            stream.close()
    return [attack]


def repeat(count, text, sources=ATTACKERS[:1]):
    """Sends a text again and again, on a new connection each time, and waits for the answer."""
    def attack_from(source):
        def attack(scene):
            while not scene.over.is_set():
                try:
                    with connect(scene.target, source) as stream:
                        stream.sendall(text(scene) if callable(text) else text)
                        while stream.recv(65536):
                            if scene.over.is_set():
                                return
                    scene.did += 1
                except OSError:
                    scene.over.wait(0.05)
        return attack
    return [attack_from(sources[number % len(sources)]) for number in range(count)]


def wrong_login(_):
    guess = base64.b64encode(f"ann:{random.random()}".encode()).decode()
    return head("GET", "/v2/", f"Authorization: Basic {guess}\r\nConnection: close\r\n")


def large_blob(scene):
    return head("GET", f"/v2/{scene.large}", MALLORY)


def many_ranges(scene):
    ranges = ",".join(f"{number}-{number}" for number in range(0, 6000, 2))
    return head("GET", f"/v2/{scene.large}", f"{MALLORY}Range: bytes={ranges}\r\nConnection: close\r\n")


UPLOADS = "/v2/mallory/blobs/uploads/"
ATTACKS = {
    "nothing": lambda: [],
    "wrong logins, also from the address of honest clients":
        lambda: repeat(200, wrong_login, [ATTACKERS[0], HONEST]),
    "wrong logins whose clients do not wait": lambda: hold(200, wrong_login),
    "bodies without credentials": lambda: hold(500, head("POST", UPLOADS, "Content-Length: 1000000000\r\n"), b"x"),
    "bodies that wait for 100": lambda: hold(500, head("POST", UPLOADS, "Content-Length: 9\r\nExpect: 100-continue\r\n")),
    "silent connections": lambda: hold(500, b"", sources=ATTACKERS),
    "slow heads": lambda: hold(500, head("GET", "/v2/", end="X: "), b"x", ATTACKERS),
    "idle connections of a user": lambda: hold(500, head("GET", "/v2/", MALLORY), sources=ATTACKERS),
    "large heads": lambda: repeat(50, head("GET", "/v2/", "".join(f"X{number}: y\r\n" for number in range(2000)))),
    "pipelined requests": lambda: hold(100, head("GET", "/v2/", MALLORY) * 500),
    "many ranges": lambda: repeat(20, many_ranges),
    "readers that take nothing": lambda: hold(500, large_blob),
    "uploads that never get a byte":
        lambda: repeat(20, head("POST", UPLOADS, f"{MALLORY}Content-Length: 0\r\nConnection: close\r\n")),
    "bodies of a user that drip":
        lambda: hold(500, head("POST", UPLOADS + "?digest=sha256:" + "0" * 64, f"{MALLORY}Content-Length: 1000000\r\n"), b"x"),
    "handshakes that never end": lambda: hold(500, b"", sources=ATTACKERS),
}


class Scene:
    """What an attack knows, and whether it is over."""

    def __init__(self, registry, large, reads):
        name, port = registry.host.rsplit(":", 1)
        self.target, self.large, self.reads = (name, int(port)), large, reads
        self.over, self.did = threading.Event(), 0


class Honest:
    """Clients that pull, push and log in, and what they got."""

    def __init__(self, make, names, newcomers):
        self.make, self.names, self.newcomers = make, names, newcomers
        self.done = {"pulled": 0, "pushed": 0, "logged in": 0}
        self.slowest, self.failures, self.lock = 0.0, [], threading.Lock()

    def work(self, what, act, over):
        turn = 0
        while not over.is_set() and not self.failures:
            begun = time.monotonic()
            try:
                act(turn)
            except Exception as error:
                with self.lock:
                    self.failures.append(f"{what}: {type(error).__name__}: {error}")
                return
            with self.lock:
                self.done[what] += 1
                self.slowest = max(self.slowest, time.monotonic() - begun)
            turn += 1
            over.wait(0.1)

    def pull(self, turn):
        self.make(HONEST, "ann").pull_image(self.names[turn % len(self.names)])

    def push(self, turn):
        self.make(HONEST, "ann").push_image(f"pushed/{time.time_ns()}", [os.urandom(100_000)])

    def log_in(self, turn):
        # Somebody whom the server does not know yet, as long as there is anybody.
        user = self.newcomers[min(turn, len(self.newcomers) - 1)]
        self.make(NEWCOMER, user).send("GET", "/v2/")

    def threads(self, over):
        jobs = [("pulled", self.pull)] * 3 + [("pushed", self.push)] * 2 + [("logged in", self.log_in)]
        return [threading.Thread(target=self.work, args=(what, act, over)) for what, act in jobs]


def measure(name, attack, start, Client, users, options):
    tls = name.startswith("handshakes")
    registry = start(["--htpasswd", users] + (["--tls-self-signed"] if tls else []))
    context = ssl._create_unverified_context() if tls else None
    make = lambda source, user: Client(registry.host, source, user, context, BOUND)
    try:
        filler = make(HONEST, "ann")
        names = [f"app{number}" for number in range(3)]
        for number, image in enumerate(names):
            filler.push_image(image, [random.randbytes(1_000_000 + number)])
        large = "large/blobs/" + filler.push_blob("large", bytes(32_000_000))["digest"]
        scene = Scene(registry, large, not name.startswith("readers"))
        honest = Honest(make, names, [f"new{number}" for number in range(20)])
        attackers = [threading.Thread(target=job, args=(scene,)) for job in attack]
        for thread in attackers:
            thread.start()
        # The attack comes first, so that it has what it can get.
        time.sleep(min(2, options.seconds))
        over = threading.Event()
        clients = honest.threads(over)
        for thread in clients:
            thread.start()
        time.sleep(options.seconds)
        over.set()
        for thread in clients:
            thread.join()
        scene.over.set()
        for thread in attackers:
            thread.join()
    finally:
        registry.end()
    failures = honest.failures + [f"nothing was {what}" for what, count in honest.done.items() if count == 0]
    if honest.slowest > BOUND:
        failures.append(f"one waited for {honest.slowest:.0f} s")
    counts = " | ".join(str(count) for count in honest.done.values())
    print(f"| {name} | {scene.did} | {counts} | {honest.slowest:.2f} s | {'; '.join(failures) or 'all well'} |", flush=True)
    return not failures


def run(Client, start, options):
    """Runs every attack; 1 if an honest client was refused or starved in one of them."""
    random.seed(7)
    folder = tempfile.mkdtemp(prefix="hod-hostile-", dir=options.work)
    users = os.path.join(folder, "users")
    try:
        for number, user in enumerate(["ann", "mallory", *(f"new{number}" for number in range(20))]):
            subprocess.run(["htpasswd", "-Bb", *([] if number else ["-c"]), "-C", "10", users, user, user],
                           check=True, capture_output=True)
        print("| attack | done | pulled | pushed | logged in | slowest | honest clients |\n"
              "| --- | --- | --- | --- | --- | --- | --- |", flush=True)
        chosen = {name: attack for name, attack in ATTACKS.items() if name.startswith(options.only or "")}
        return 0 if all([measure(name, attack(), start, Client, users, options) for name, attack in chosen.items()]) else 1
    finally:
        shutil.rmtree(folder)
