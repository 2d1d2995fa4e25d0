"""Runs phases: rounds of commands in turns, then a run of each that is not timed and counts requests and fsyncs."""
import os, time

import measure

FIELDS = ("wall", "cpu", "server_cpu", "peak", "read", "written")


def phase(scene, wanted, rounds):
    """Measures a phase and tells its rows: name, medians, spread, counts."""
    scene.counts = False
    scene.start_source()
    scene.need(*wanted.needs)
    pushes = any(entry.server == "target" for entry in wanted.entries)
    if pushes:
        scene.start_target()
    if wanted.again:
        for entry in wanted.entries:
            measure.finished(measure.words_of(entry.command()), entry.name)
    taken = {entry.name: [] for entry in wanted.entries}
    for round_ in range(rounds):
        # Nobody always comes first, or always after the same one.
        turn = round_ % len(wanted.entries)
        for entry in wanted.entries[turn:] + wanted.entries[:turn]:
            entry.prepare()
            command = entry.command()
            os.sync()
            taken[entry.name].append(measure.timed(command, getattr(scene, entry.server) if entry.server else None))
            measure.said(f"{wanted.name}, {round_ + 1} of {rounds}: {entry.name}: {taken[entry.name][-1].wall:.2f} s")
    rows = []
    for entry in wanted.entries:
        row = {"name": entry.name, **{field: measure.median(taken[entry.name], field) for field in FIELDS}}
        row["walls"] = [run.wall for run in taken[entry.name]]
        rows.append({**row, **(counted(scene, entry, wanted.again) if entry.counted else {})})
    scene.stop()
    scene.fresh(*wanted.leaves)
    return rows


def counted(scene, entry, again):
    """What a run asks of the server, by kind, and how often it asks for durability."""
    scene.counts = True
    if entry.server == "source":
        scene.start_source()
    if entry.server == "target" and again:
        scene.restart_target()
    entry.prepare()
    server = getattr(scene, entry.server) if entry.server else None
    before = server.requests() if server else {}
    found = {"syncs": measure.syncs(entry.command())}
    if server:
        # A log line may come a moment after its answer.
        time.sleep(0.2)
        found["requests"] = {" ".join(key): count for key, count in (server.requests() - before).items()}
    scene.counts = False
    return found

