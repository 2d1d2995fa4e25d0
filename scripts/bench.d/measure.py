"""Runs commands and says what they cost. Nothing here knows hod or a phase.

A timed run tells wall and CPU time, peak memory of the command alone, and bytes. What can only be had by looking over a
command's shoulder (requests, fsyncs) comes from a run of its own, which is not timed.
"""
import dataclasses, os, re, statistics, subprocess, sys, tempfile, time

SYNCS = "fsync,fdatasync,syncfs,sync,msync,sync_file_range"


class Failed(Exception):
    """A command that had to succeed did not."""


@dataclasses.dataclass
class Run:
    """What one run cost: seconds, MiB, MB."""
    wall: float
    cpu: float
    peak: float
    server_cpu: float
    read: float
    written: float


def words_of(command):
    return ["bash", "-o", "pipefail", "-c", command] if isinstance(command, str) else command


def own_io():
    """Bytes of this process and of the children that it has waited for: read by calls, and sent to storage."""
    fields = dict(line.split(": ") for line in open("/proc/self/io").read().splitlines())
    return int(fields["rchar"]), int(fields["write_bytes"]) - int(fields["cancelled_write_bytes"])


def finished(words, name):
    done = subprocess.run(words, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
    if done.returncode != 0:
        raise failed(name, done.returncode, done.stderr)


def failed(name, code, errors):
    return Failed(f"{name} ended with {code}: {errors.decode()[-1500:]}")


# Says that it stands ready and waits for a line before it becomes the command, so that only the command is timed.
WAITING = 'echo && read -r && exec "$@" < /dev/null > /dev/null'


def timed(command, server=None):
    """Runs a command beside a server, which may be None."""
    with tempfile.NamedTemporaryFile() as report, tempfile.TemporaryFile() as errors:
        # GNU time is small: what this process has ever used would count as the peak of its child.
        words = ["/usr/bin/time", "-q", "-o", report.name, "-f", "%U %S %M", "bash", "-c", WAITING, "bash", *words_of(command)]
        with subprocess.Popen(words, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=errors, bufsize=0) as process:
            process.stdout.read(1)
            server_before, (read_before, written_before) = server.cpu() if server else 0, own_io()
            start = time.monotonic()
            process.stdin.write(b"\n")
            process.wait()
            wall = time.monotonic() - start
        if process.returncode != 0:
            errors.seek(0)
            raise failed(command, process.returncode, errors.read())
        read, written = own_io()
        user, system, peak = open(report.name).read().split()[-3:]
    return Run(wall, float(user) + float(system), int(peak) / 1024, server.cpu() - server_before if server else 0,
               (read - read_before) / 1e6, (written - written_before) / 1e6)


def syncs(command):
    """Runs a command under strace and tells how often it asked for durability."""
    with tempfile.NamedTemporaryFile() as report:
        finished(["strace", "-f", "-c", "--seccomp-bpf", "-qq", "-o", report.name, "-e", f"trace={SYNCS}", *words_of(command)],
                 command)
        lines = [line.split() for line in open(report.name)]
    return sum(int(fields[3]) for fields in lines if len(fields) >= 5 and fields[-1] in SYNCS.split(","))


def median(runs, field):
    return statistics.median(getattr(run, field) for run in runs)


def fresh(*paths):
    """Sees to it that these are not there."""
    for path in paths:
        subprocess.run(["rm", "-rf", path], check=True)


def aside(folder, path):
    """Sees to it that something in a folder is not there, and takes no room, without deleting a file.

    For minutes ext4 gives no deleted file's number to a new one, and looks at each of them whenever a file is made: who
    makes many files would be measured by what those before had left. So files are emptied, and stay to the end; a file that has a name elsewhere, too, is somebody else's."""
    if not os.path.lexists(path):
        return
    os.makedirs(f"{folder}/old", exist_ok=True)
    old = tempfile.mkdtemp(dir=f"{folder}/old")
    os.rename(path, f"{old}/{os.path.basename(path)}")
    for place, _, names in os.walk(old):
        for name in names:
            if os.lstat(f"{place}/{name}").st_nlink == 1:
                os.truncate(f"{place}/{name}", 0)


def first_line(*words):
    done = subprocess.run(words, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    return done.stdout.decode().splitlines()[0].strip()


def versions(hod, built):
    """Versions of hod and of what it is measured beside, as (name, version); with the commit where this checkout built it."""
    number = lambda text: re.search(r"(?<!\w)v?(\d+\.\d[\w.+~-]*)", text).group(1)
    package = lambda name: first_line("dpkg-query", "-W", "-f", "${Version}\n", name)
    commit = first_line("git", "-C", os.path.dirname(os.path.abspath(__file__)), "rev-parse", "--short=9", "HEAD")
    found = [("hod", number(first_line(hod, "--version")) + (f" ({commit})" if built else "")), ("docker-registry", package("docker-registry"))]
    return found + [(tool, number(first_line(tool, "--version"))) for tool in ("skopeo", "curl", "tar", "zstd", "sha256sum")]


def machine(folder):
    """The machine's shape, in a line."""
    info = open("/proc/cpuinfo").read()
    model = re.search(r"^model name\s*: (.*)$", info, re.MULTILINE)
    flags = re.search(r"^(?:flags|Features)\s*: (.*)$", info, re.MULTILINE).group(1).split()
    memory = int(re.search(r"MemTotal:\s+(\d+)", open("/proc/meminfo").read()).group(1)) / 1024 / 1024
    kind = first_line("findmnt", "-n", "-o", "FSTYPE", "-T", folder)
    sha = "with" if {"sha_ni", "sha2"} & set(flags) else "without"
    return (f"{os.cpu_count()} cores ({model.group(1) if model else os.uname().machine}, {sha} SHA instructions), "
            f"{memory:.0f} GiB of memory, {kind}, Linux {os.uname().release.split('-')[0]}")


def said(text):
    print(f"{time.strftime('%H:%M:%S')} {text}", file=sys.stderr, flush=True)
