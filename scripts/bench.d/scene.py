"""What a run of the benchmark works on: the corpus, servers, and what phases leave for one another."""
import collections, glob, json, os

import measure
from servers import Registry, SlowLink

SKOPEO = "skopeo {} --all --insecure-policy --src-tls-verify=false --dest-tls-verify=false"


class Corpus:
    """A registry root and its list of images."""

    def __init__(self, folder):
        self.root, self.list = f"{folder}/root", f"{folder}/list.txt"
        self.images = open(self.list).read().split()
        base = f"{self.root}/docker/registry/v2"
        size = lambda digest: os.path.getsize(f"{base}/blobs/sha256/{digest[:2]}/{digest}/data")
        link = lambda path: path.split("/")[-2]
        repositories = {name.rsplit(":", 1)[0] for name in self.images}
        self.manifests = sum(len(glob.glob(f"{base}/repositories/{name}/_manifests/revisions/sha256/*")) for name in repositories)
        # Each blob once, with a repository that has it.
        self.blobs = {}
        self.links = 0
        for name in sorted(repositories):
            for path in glob.glob(f"{base}/repositories/{name}/_layers/sha256/*/link"):
                self.blobs.setdefault(link(path), (name, size(link(path))))
                self.links += 1
        self.bytes = sum(size for _, size in self.blobs.values())


class Scene:
    """Servers and paths. A phase asks for what it needs; what is not there yet is made, untimed."""

    def __init__(self, hod, corpus, work):
        self.hod, self.corpus, self.work = hod, corpus, work
        self.source, self.target, self.link = None, None, None
        # Whether registries that start from now on count what they are asked.
        self.counts = False
        os.makedirs(work, exist_ok=True)

    def path(self, name):
        return os.path.join(self.work, name)

    def fresh(self, *names):
        for name in names:
            measure.aside(self.work, self.path(name))

    def start_source(self):
        self.stop("link", "source")
        self.source = Registry(self.corpus.root, self.counts)

    def start_target(self):
        """Starts an empty registry to push to."""
        self.stop("target")
        self.fresh("target")
        os.makedirs(self.path("target"))
        self.restart_target()

    def restart_target(self):
        self.stop("target")
        self.target = Registry(self.path("target"), self.counts)

    def far(self):
        """The host of a slow link to the source."""
        if not self.link:
            self.link = SlowLink(self.source.host)
        return self.link.host

    def stop(self, *names):
        for name in names or ("link", "source", "target"):
            server = getattr(self, name)
            setattr(self, name, None)
            if server:
                server.stop()

    def need(self, *names):
        """Makes what is not there: store, oci, dir, b.tar; and has all of it in memory, whoever made it: else whoever comes
        first would read it from the disk, and those after it from memory."""
        makers = {"store": self.pull, "oci": self.loop_pull, "dir": self.sync_pull, "b.tar": self.pack}
        for name in names:
            if not os.path.exists(self.path(name)):
                if name == "b.tar":
                    self.need("store")
                measure.said(f"making {name}")
                measure.finished(measure.words_of(makers[name]()), name)
            measure.finished(["find", self.path(name), "-type", "f", "-exec", "cat", "{}", "+"], name)

    # Commands, as they are given to a shell or to the kernel.

    def pull(self, *words, host=None):
        return [self.hod, "pull", "-q", "--all-platforms", "-f", self.corpus.list, "--from", host or self.source.host,
                "--store", self.path("store"), *words]

    def bundle(self):
        return [self.hod, "bundle", "-q", "--all-platforms", "-f", self.corpus.list, "--from", self.source.host,
                "-o", self.path("bundle.tar")]

    def pack(self, name="b.tar", *words):
        return [self.hod, "pack", "-q", "--store", self.path("store"), "-o", self.path(name), *words]

    def unpack(self):
        return [self.hod, "unpack", "-q", self.path("b.tar"), "--root", self.path("root")]

    def select(self):
        return [self.hod, "select", "-q", "--store", self.path("store"), "--to", self.path("selected")]

    def push(self, source):
        return [self.hod, "push", "-q", self.path(source), f"docker://{self.target.host}"]

    def each(self, command):
        return f"while read i; do {command} || exit 1; done < {self.corpus.list}"

    def loop_pull(self, host=None):
        return self.each(f"{SKOPEO.format('copy')} -q docker://{host or self.source.host}/$i oci:{self.path('oci')}:$i")

    # What skopeo pushes is not what hod pushes (digests change in an OCI layout), so each has a place of its own.
    def loop_push(self):
        return self.each(f"{SKOPEO.format('copy')} -q oci:{self.path('oci')}:$i docker://{self.target.host}/loop/$i")

    def sync_pull(self):
        versions = collections.defaultdict(list)
        for image in self.corpus.images:
            versions[image.rsplit(":", 1)[0]].append(image.rsplit(":", 1)[1])
        with open(self.path("sync.yaml"), "w") as file:
            # JSON is YAML, too.
            json.dump({self.source.host: {"images": versions, "tls-verify": False}}, file)
        return f"{SKOPEO.format('sync')} --scoped --src yaml --dest dir {self.path('sync.yaml')} {self.path('dir')}"

    def sync_push(self):
        return f"{SKOPEO.format('sync')} --scoped --src dir --dest docker {self.path('dir')}/* {self.target.host}/sync"

    def curl(self, host=None):
        """Eight curls that keep their connections, each with as many bytes to fetch: no schedule could be better."""
        shares = [[0, []] for _ in range(8)]
        for digest, (repository, size) in sorted(self.corpus.blobs.items(), key=lambda item: -item[1][1]):
            share = min(shares)
            share[0] += size
            share[1].append(f'url = "http://{host or self.source.host}/v2/{repository}/blobs/sha256:{digest}"\n'
                            f'output = "{self.path("curl")}/{digest}"\n')
        self.fresh("curl")
        os.makedirs(self.path("curl"))
        for number, (_, lines) in enumerate(shares):
            with open(self.path(f"curl/{number}.conf"), "w") as file:
                file.writelines(lines)
        return f"seq 0 7 | xargs -P8 -I% curl -sSf -K {self.path('curl')}/%.conf"

    def hashes(self, root):
        return (f"find {self.path(root)}/docker/registry/v2/blobs -name data -print0 | "
                f"xargs -0 -P$(nproc) -n8 sha256sum")
