"""What is to be reached, as sums over the rows of phases. A target whose phases were not run is not judged."""
import dataclasses, typing

MEMORY = 64
BARE = "hod pull --no-referrers"
LOOP_PULL, LOOP_PUSH = "skopeo copy, a loop, to oci", "skopeo copy, a loop, from oci"


@dataclasses.dataclass
class Target:
    """A value of some phases, and the bound that it should keep."""
    text: str
    value: typing.Callable
    bound: float
    unit: str = "×"
    least: bool = False

    def judged(self, results):
        """(text, value, bound, verdict) as words, or None where there is nothing to judge."""
        try:
            value = self.value(Rows(results))
        except KeyError:
            return None
        met = value >= self.bound if self.least else value <= self.bound
        sign, unit = "≥" if self.least else "≤", " " + self.unit if self.unit else ""
        return self.text, f"{value:.3g}{unit}", f"{sign} {self.bound:g}{unit}", "met" if met else "**missed**"


class Rows:
    """Rows of results by phase and name; KeyError where one is not there."""

    def __init__(self, results):
        self.results = results

    def row(self, phase, name):
        return {row["name"]: row for row in self.results[phase]["rows"]}[name]

    def wall(self, phase, name):
        return self.row(phase, name)["wall"]

    def ratio(self, phase, above, below):
        return self.wall(phase, above) / self.wall(phase, below)

    def requests(self, phase, name):
        return sum(count for kind, count in self.row(phase, name)["requests"].items() if not kind.endswith(" ping"))

    def corpus(self, field):
        return self.results["corpus"][field]

    def peak(self):
        """The most memory of hod in any phase of the corpus."""
        phases = [found["rows"] for name, found in self.results.items() if name not in ("corpus", "scale", "large")]
        peaks = [row["peak"] for rows in phases for row in rows if row["name"].startswith("hod ") and " then " not in row["name"]]
        if not peaks:
            raise KeyError("no phase of the corpus")
        return max(peaks)

    def growth(self):
        """How much more an image of the most costs than one of the fewest, in the worst step."""
        worst = 0
        for row in self.results["scale"]["rows"]:
            sizes = sorted((int(count), costs) for count, costs in row["sizes"].items())
            (few, first), (many, last) = sizes[0], sizes[-1]
            # What takes less than 0.1 s says nothing of growth.
            if last["wall"] > 0.1:
                worst = max(worst, (last["wall"] / many) / (first["wall"] / few))
        return worst


TARGETS = [
    Target("pull: as fast as skopeo sync", lambda r: r.ratio("pull", "skopeo sync to dir", "hod pull"), 4, least=True),
    Target("pull: as fast as a loop of skopeo copy", lambda r: r.ratio("pull", LOOP_PULL, "hod pull"), 1.8, least=True),
    Target("pull: time of the floor (curl)", lambda r: r.ratio("pull", "hod pull", "curl, 8 at once, no hash"), 1.25),
    Target("pull: requests beyond one per manifest and one per unique blob",
           lambda r: r.requests("pull", BARE) - r.corpus("manifests") - r.corpus("blobs"), 0, ""),
    Target("pull: requests per image that look for referrers",
           lambda r: (r.requests("pull", "hod pull") - r.requests("pull", BARE)) / r.corpus("images"), 2, ""),
    Target("pull: bytes written per byte of content", lambda r: r.row("pull", BARE)["written"] * 1e6 / r.corpus("bytes"), 1.05),
    Target("pull again: time, no referrers", lambda r: r.wall("pull-again", BARE), 0.1, "s"),
    Target("pull again: requests per image, no referrers",
           lambda r: r.requests("pull-again", BARE) / r.corpus("images"), 1, ""),
    Target("pull over the slow link: time of the floor (curl)",
           lambda r: r.ratio("far", "hod pull", "curl, 8 at once, no hash"), 1.1),
    Target("pull again over the slow link", lambda r: r.wall("far-again", BARE), 0.5, "s"),
    Target("bundle: time of hod pull", lambda r: r.ratio("bundle", "hod bundle", BARE), 1.1),
    Target("bundle: bytes written per byte of content", lambda r: r.row("bundle", "hod bundle")["written"] * 1e6 / r.corpus("bytes"), 1.05),
    Target("pack .tar: time of tar cf", lambda r: r.ratio("pack", "hod pack", "tar cf"), 1.0),
    Target("pack .tar.zst: time of tar and zstd -T0 -1", lambda r: r.ratio("pack-zst", "hod pack", "tar, zstd -T0 -1"), 0.8),
    Target("unpack: time of tar xf", lambda r: r.ratio("unpack", "hod unpack", "tar xf"), 1.1),
    Target("unpack: time of tar xf and sha256sum",
           lambda r: r.ratio("unpack", "hod unpack", "tar xf, then sha256sum of each blob"), 0.7),
    Target("push: as fast as a loop of skopeo copy", lambda r: r.ratio("push", LOOP_PUSH, "hod push, a bundle"), 2, least=True),
    Target("push: CPU of hod by that of the registry",
           lambda r: r.row("push", "hod push, a bundle")["cpu"] / r.row("push", "hod push, a bundle")["server_cpu"], 0.2),
    Target("push again: as fast as skopeo sync",
           lambda r: r.ratio("push-again", "skopeo sync from dir", "hod push, a bundle"), 5, least=True),
    Target("verify: as fast as sha256sum on all cores", lambda r: r.ratio("verify", "sha256sum, all cores", "hod verify"), 4, least=True),
    Target("hod --version", lambda r: r.wall("start", "hod --version") / 20 * 1000, 5, "ms"),
    Target("memory, the corpus", Rows.peak, MEMORY, "MiB"),
    Target("memory, one large blob", lambda r: max(row["peak"] for row in r.results["large"]["rows"]), MEMORY, "MiB"),
    Target("memory, 10,000 small blobs", lambda r: max(row["sizes"]["1000"]["peak"] for row in r.results["scale"]["rows"]), MEMORY, "MiB"),
    Target("scale: time per image at the most images, relative to the fewest", Rows.growth, 1.25),
]
