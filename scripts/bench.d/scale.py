"""How costs grow: many small images, and one large blob. The content is generated and written as a registry's root."""
import hashlib, json, os, random

import measure
from scene import Corpus, Scene

SIZES = (100, 1000, 2000)
BLOBS = 10
MEDIA = "application/vnd.oci.image."


class Root:
    """A registry root that is written file by file, by the rules of docs/store.md."""

    def __init__(self, folder):
        self.base, self.folder, self.names = f"{folder}/root/docker/registry/v2", folder, []

    def at(self, digest):
        folder = f"{self.base}/blobs/sha256/{digest[:2]}/{digest}"
        os.makedirs(folder)
        return f"{folder}/data"

    def content(self, data, kind):
        digest = hashlib.sha256(data).hexdigest()
        with open(self.at(digest), "wb") as file:
            file.write(data)
        return {"mediaType": MEDIA + kind, "digest": f"sha256:{digest}", "size": len(data)}

    def link(self, path, digest):
        os.makedirs(f"{self.base}/repositories/{path}")
        with open(f"{self.base}/repositories/{path}/link", "w") as file:
            file.write(digest)

    def image(self, name, tag, layers):
        config = self.content(json.dumps({"os": "linux", "architecture": "amd64", "created_by": f"{name}:{tag}", "config": {},
                                          "rootfs": {"type": "layers", "diff_ids": []}}).encode(), "config.v1+json")
        manifest = self.content(json.dumps({"schemaVersion": 2, "mediaType": MEDIA + "manifest.v1+json", "config": config,
                                            "layers": layers}).encode(), "manifest.v1+json")
        for blob in [config, *layers]:
            self.link(f"{name}/_layers/{blob['digest'].replace(':', '/')}", blob["digest"])
        parts = manifest["digest"].replace(":", "/")
        for place in (f"revisions/{parts}", f"tags/{tag}/current", f"tags/{tag}/index/{parts}"):
            self.link(f"{name}/_manifests/{place}", manifest["digest"])
        self.names.append(f"{name}:{tag}\n")

    def finish(self):
        with open(f"{self.folder}/list.txt", "w") as file:
            file.writelines(self.names)


def many(cache, count):
    """Images of BLOBS small blobs each, ten tags a repository."""
    folder = f"{cache}/many-{count}"
    if not os.path.exists(f"{folder}/list.txt"):
        measure.fresh(folder)
        measure.said(f"making {count} images")
        root, dice = Root(folder), random.Random(1)
        for number in range(count):
            layers = [root.content(dice.randbytes(dice.randrange(500, 16000)), "layer.v1.tar+gzip") for _ in range(BLOBS - 1)]
            root.image(f"team{number // 100}/small{number // 10}", f"1.{number % 10}", layers)
        root.finish()
    return Corpus(folder)


def one(cache, size):
    """An image with one blob of so many GB that does not compress."""
    folder = f"{cache}/large-{size}"
    if not os.path.exists(f"{folder}/list.txt"):
        measure.fresh(folder)
        measure.said(f"making a blob of {size} GB")
        root, block, whole = Root(folder), bytearray(random.Random(1).randbytes(1 << 20)), hashlib.sha256()
        os.makedirs(root.base)
        with open(f"{folder}/blob", "wb") as file:
            for number in range(size * 1000):
                block[:8] = number.to_bytes(8, "little")
                part = memoryview(block)[:1_000_000]
                file.write(part)
                whole.update(part)
        os.rename(f"{folder}/blob", root.at(whole.hexdigest()))
        root.image("large", "1", [{"mediaType": MEDIA + "layer.v1.tar", "digest": f"sha256:{whole.hexdigest()}", "size": size * 10**9}])
        root.finish()
    return Corpus(folder)


def steps(scene):
    """Each step of the job, as (name, what nobody needs from there on, what it reads, command, server)."""
    return [("pull", (), "", scene.pull, "source"), ("pull again", (), "store", scene.pull, "source"),
            ("verify", (), "store", lambda: [scene.hod, "verify", "-q", scene.path("store")], ""),
            ("ls", (), "store", lambda: [scene.hod, "ls", scene.path("store")], ""),
            ("bundle", (), "", scene.bundle, "source"),
            ("pack", ("bundle.tar",), "store", scene.pack, ""),
            ("unpack", ("store",), "b.tar", scene.unpack, ""),
            ("push", ("root",), "b.tar", lambda: scene.push("b.tar"), "target"),
            ("push again", (), "b.tar", lambda: scene.push("b.tar"), "target")]


def walk(hod, corpus, work, small):
    """Takes every step in a new folder: {step: what it took}. Large content is there three times at most.

    What a step reads is read once before, where files are small: the more files there are, the longer ago they were
    written, and kernels page out what rests."""
    scene = Scene(hod, corpus, work)
    taken = {}
    try:
        scene.start_source()
        scene.start_target()
        for name, needless, reads, command, server in steps(scene):
            if not small:
                scene.fresh(*needless)
            words = command()
            os.sync()
            if small and reads:
                measure.finished(["find", scene.path(reads), "-type", "f", "-exec", "cat", "{}", "+"], name)
            taken[name] = measure.timed(words, getattr(scene, server) if server else None)
            measure.said(f"{len(corpus.images)} images, {name}: {taken[name].wall:.2f} s, {taken[name].peak:.0f} MiB")
    finally:
        scene.stop()
    return taken


def medians(walks):
    """{step: {wall, cpu, peak}} of several walks."""
    return {name: {field: measure.median([walk[name] for walk in walks], field) for field in ("wall", "cpu", "peak")}
            for name in walks[0]}


def scale(hod, cache, work, rounds):
    """Rows of {step, images: {wall, cpu, peak}}."""
    # The most images once: they take long, and vary less than few, whose steps end within tenths of a second.
    times = {count: max(rounds, 3) if count == min(SIZES) else rounds for count in SIZES} | {max(SIZES): 1}
    corpora = {count: many(cache, count) for count in SIZES}
    found = {count: medians([walk(hod, corpora[count], f"{work}/many-{count}-{turn}", True) for turn in range(times[count])])
             for count in SIZES}
    return [{"name": name, "sizes": {str(count): found[count][name] for count in SIZES}} for name in found[SIZES[0]]]


def large(hod, cache, work, size):
    """Rows of {step, wall, cpu, peak} for one large blob, which is deleted after it."""
    corpus = one(cache, size)
    try:
        return [{"name": name, **costs} for name, costs in medians([walk(hod, corpus, f"{work}/large", False)]).items()]
    finally:
        measure.fresh(f"{cache}/large-{size}", f"{work}/large")
