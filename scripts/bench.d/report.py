"""Results as tables of Markdown: for the terminal a phase at a time, for docs/performance.md all of them."""
from targets import TARGETS

HEAD = """# Performance

`scripts/bench --write` writes this page up to the section [Size of a delta](#size-of-a-delta). It measures each command beside other tools for the same job:

* All commands of a table run in the same run, in turns, for several rounds. The figures are medians.
* *Spread* is from the fastest to the slowest round. *Time* is relative to the first row.
* The output of hod is verified and durable when the command ends. Of the other tools, only those whose name says so check or sync anything.
* Each command reads local input that was read once before. So no command has to read from the disk while another reads from memory.
* *Peak* is the memory of the largest process of a command.
* *Read* and *written* are MB: read by system calls (also from a cache), and sent to storage.
* Requests and syncs (fsync and similar calls) come from a run under strace that is not timed.

"""

# The part of the page that people write begins here, and stays.
KEPT = "<!-- scripts/bench writes the part above this line, and keeps the part below it. -->\n"


def kept(path):
    """The part of docs/performance.md that was written by hand."""
    with open(path) as file:
        return KEPT + file.read().partition(KEPT)[2]


def table(head, rows):
    lines = [head, ["---"] * len(head), *rows]
    return "".join("| " + " | ".join(map(str, line)) + " |\n" for line in lines)


def phase(rows):
    """A phase's table; hod's first row is what the others are compared with."""
    first, lines = rows[0]["wall"], []
    digits = 3 if first < 0.5 else 2
    for row in rows:
        requests = row.get("requests")
        lines.append([
            row["name"], f"{row['wall']:.{digits}f}", f"{min(row['walls']):.{digits}f}–{max(row['walls']):.{digits}f}",
            f"{row['wall'] / first:.2f} ×", f"{row['cpu']:.2f}", f"{row['server_cpu']:.2f}" if row["server_cpu"] else "",
            f"{row['peak']:.0f}", f"{row['read']:.0f}", f"{row['written']:.0f}",
            sum(requests.values()) if requests is not None else "", row.get("syncs", "")])
    return table(["command", "wall s", "spread", "time", "CPU s", "server CPU s", "peak MiB", "read MB", "written MB",
                  "requests", "syncs"], lines)


def scale(rows):
    """Cost of an image by how many there are."""
    sizes = sorted(rows[0]["sizes"], key=int)
    cells = lambda costs, count: f"{costs['wall'] / int(count) * 1000:.2f} · {costs['cpu'] / int(count) * 1000:.2f} · {costs['peak']:.0f}"
    return table(["step", *[f"{count} images" for count in sizes]],
                 [[row["name"], *[cells(row["sizes"][count], count) for count in sizes]] for row in rows])


def large(rows):
    return table(["step", "wall s", "CPU s", "peak MiB"],
                 [[row["name"], f"{row['wall']:.2f}", f"{row['cpu']:.2f}", f"{row['peak']:.0f}"] for row in rows])


def verdicts(results):
    judged = [words for words in (target.judged(results) for target in TARGETS) if words]
    return table(["target", "reached", "to reach", "verdict"], judged)


def requests(rows):
    """What was asked, by kind, where anything was counted."""
    counted = [row for row in rows if row.get("requests")]
    return "".join(f"* {row['name']}: " + ", ".join(f"{count} {kind}" for kind, count in sorted(row["requests"].items())) + "\n"
                   for row in counted)


def page(results, titles):
    """docs/performance.md."""
    text, corpus = HEAD, results["corpus"]
    text += (f"The corpus (`scripts/bench-corpus`) has {corpus['images']} images, {corpus['manifests']} manifests, {corpus['blobs']} "
             f"unique blobs with {corpus['bytes'] / 1e6:.0f} MB in all. They contain Debian packages of {corpus['made']}.\n\n")
    setting = None
    rounds = lambda found: f"Rounds: {found['rounds']}."
    body = ""
    for name, title in titles.items():
        if name not in results:
            continue
        found = results[name]
        if found["setting"] != setting:
            setting = found["setting"]
            body += setting.replace("; hod ", ". Versions: hod ", 1) + "\n\n"
        body += f"## {title}\n\n"
        if name == "scale":
            body += f"Each cell has the cost per image in wall ms and CPU ms, and the peak of the command in MiB. Each image has ten small blobs. {rounds(found)}\n\n" + scale(found["rows"])
        elif name == "large":
            body += f"One blob of {found['size']} GB. {rounds(found)}\n\n" + large(found["rows"])
        else:
            asked = requests(found["rows"])
            body += f"{rounds(found)}\n\n{phase(found['rows'])}" + (f"\nRequests:\n\n{asked}" if asked else "")
        body += "\n"
    return text + "## Targets\n\n" + verdicts(results) + "\n" + body.rstrip("\n") + "\n"
