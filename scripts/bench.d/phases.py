"""The phases: what hod does, and beside it what else does the same, or as much of it as can be done at all."""
import dataclasses, os, typing


@dataclasses.dataclass
class Entry:
    """One command of a phase; hod's come first."""
    name: str
    command: typing.Callable
    prepare: typing.Callable = lambda: None
    server: str = ""
    # Whether a run that is not timed counts its requests and fsyncs.
    counted: bool = True


@dataclasses.dataclass
class Phase:
    """Commands that are measured in turns."""
    name: str
    title: str
    entries: list
    needs: tuple = ()
    # Whether each command runs once before, so that there is nothing new.
    again: bool = False
    # The fewest rounds: runs of hundredths of a second vary by a third, and the first meet a server that has just started.
    rounds: int = 1
    # What is deleted at the end.
    leaves: tuple = ()


def phases(scene):
    path, fresh = scene.path, scene.fresh
    gone = lambda *names: lambda: fresh(*names)

    def empty(*names):
        fresh(*names)
        for name in names:
            os.makedirs(path(name))

    tar = f"tar -cf {path('t.tar')} -C {path('store')} docker"
    extract = f"tar -xf {path('b.tar')} -C {path('root')}"
    alone = "--no-referrers"
    return [
        Phase("start", "Start (20 times)", [
            Entry("hod --version", lambda: repeated(f"{scene.hod} --version"), counted=False),
            Entry("skopeo --version", lambda: repeated("skopeo --version"), counted=False),
            Entry("true", lambda: repeated("/bin/true"), counted=False)]),
        Phase("pull", "Pull into an empty store", [
            Entry("hod pull", scene.pull, gone("store"), "source"),
            Entry(f"hod pull {alone}", lambda: scene.pull(alone), gone("store"), "source"),
            Entry("skopeo sync to dir", scene.sync_pull, gone("dir"), "source"),
            Entry("skopeo copy, a loop, to oci", scene.loop_pull, gone("oci"), "source"),
            Entry("curl, 8 at once, no hash", scene.curl, server="source")], leaves=("curl",)),
        Phase("pull-again", "Pull again, nothing new", [
            Entry("hod pull", scene.pull, server="source"),
            Entry(f"hod pull {alone}", lambda: scene.pull(alone), server="source"),
            Entry("skopeo copy, a loop, to oci", scene.loop_pull, server="source")], needs=("store", "oci"), again=True),
        Phase("bundle", "Pull and pack in one pass", [
            Entry("hod bundle", scene.bundle, gone("bundle.tar"), "source"),
            Entry(f"hod pull {alone}", lambda: scene.pull(alone), gone("store"), "source"),
            Entry("hod pull, then hod pack", lambda: f"{shell(scene.pull(alone))} && {shell(scene.pack('c.tar'))}",
                  gone("store", "c.tar"), "source")], leaves=("bundle.tar", "c.tar")),
        Phase("pack", "Pack into a .tar", [
            Entry("hod pack", scene.pack, gone("b.tar")),
            Entry("tar cf", lambda: tar, gone("t.tar")),
            Entry("tar cf, then sync", lambda: f"{tar} && sync {path('t.tar')}", gone("t.tar"))],
            needs=("store",), leaves=("t.tar",)),
        Phase("pack-zst", "Pack into a .tar.zst", [
            Entry("hod pack", lambda: scene.pack("b.tar.zst"), gone("b.tar.zst")),
            Entry("tar, zstd -T0 -1", lambda: f"tar -c -C {path('store')} docker | zstd -q -T0 -1 -o {path('t.tar.zst')}",
                  gone("t.tar.zst"))], needs=("store",), leaves=("b.tar.zst", "t.tar.zst")),
        Phase("unpack", "Unpack a .tar", [
            Entry("hod unpack", scene.unpack, gone("root")),
            Entry("tar xf", lambda: extract, lambda: empty("root")),
            Entry("tar xf, then sha256sum of each blob", lambda: f"{extract} && {scene.hashes('root')}", lambda: empty("root")),
            Entry("cp -r", lambda: f"cp -r {path('store')}/docker {path('root')}", lambda: empty("root"))],
            needs=("store", "b.tar"), leaves=("root",)),
        Phase("select", "Select all images into another store", [
            Entry("hod select", scene.select, gone("selected")),
            Entry("cp -rl", lambda: f"cp -rl {path('store')}/docker {path('selected')}", lambda: empty("selected"))],
            needs=("store",), leaves=("selected",)),
        Phase("push", "Push into an empty registry", [
            Entry("hod push, a bundle", lambda: scene.push("b.tar"), scene.start_target, "target"),
            Entry("hod push, a store", lambda: scene.push("store"), scene.start_target, "target"),
            Entry("skopeo copy, a loop, from oci", scene.loop_push, scene.start_target, "target"),
            Entry("skopeo sync from dir", scene.sync_push, scene.start_target, "target"),
            Entry("cp -r of the root", lambda: f"cp -r {path('store')}/docker {path('target')}", scene.start_target)],
            needs=("store", "b.tar", "oci", "dir"), leaves=("target",)),
        Phase("push-again", "Push again, nothing new", [
            Entry("hod push, a bundle", lambda: scene.push("b.tar"), server="target"),
            Entry("hod push, a store", lambda: scene.push("store"), server="target"),
            Entry("skopeo copy, a loop, from oci", scene.loop_push, server="target"),
            Entry("skopeo sync from dir", scene.sync_push, server="target")],
            needs=("store", "b.tar", "oci", "dir"), again=True, rounds=11, leaves=("target",)),
        Phase("verify", "Verify a store", [
            Entry("hod verify", lambda: [scene.hod, "verify", "-q", path("store")]),
            Entry("sha256sum, all cores", lambda: scene.hashes("store"))], needs=("store",)),
        Phase("far", "Pull over a slow link", [
            Entry("hod pull", lambda: scene.pull(host=scene.far()), gone("store"), "source", False),
            Entry("skopeo copy, a loop, to oci", lambda: scene.loop_pull(scene.far()), gone("oci"), "source", False),
            Entry("curl, 8 at once, no hash", lambda: scene.curl(scene.far()), server="source", counted=False)], leaves=("curl",)),
        Phase("far-again", "Pull again over a slow link, nothing new", [
            Entry("hod pull", lambda: scene.pull(host=scene.far()), server="source", counted=False),
            Entry(f"hod pull {alone}", lambda: scene.pull(alone, host=scene.far()), server="source", counted=False),
            Entry("skopeo copy, a loop, to oci", lambda: scene.loop_pull(scene.far()), server="source", counted=False)],
            needs=("store", "oci"), again=True),
    ]


def repeated(command):
    return f"for i in $(seq 20); do {command} > /dev/null; done"


def shell(words):
    return " ".join(words)
