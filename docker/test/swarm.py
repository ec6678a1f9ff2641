"""Scale-out on a swarm of one node. Its four generators and the server compete for the CPUs here, so the sums are tested, and no
verdict but that of a lost replica. A part of `docker/test/run`, whose helpers it uses.
"""

import json
import pathlib
import signal
import subprocess
import tempfile

from __main__ import LOADGEN, claim, expect, shell, test, wait_for

REPLICAS, CLIENTS = 4, 500
SCALE_OUT = ["docker/scale-out", "--replicas", REPLICAS, "--clients", CLIENTS, "--lead", 20]
LIMIT_S = 180


def run_tests(rings, registry=""):
    for name in rings:
        test(f"{name} is refused on a swarm, by name", lambda: refused(name))
    networks = shell("docker network ls --format {{.Name}}").stdout.split()
    is_ours = shell(["docker", "info", "--format", "{{.Swarm.LocalNodeState}}"]).stdout.strip() == "inactive"
    if is_ours:
        test("without a swarm, the command that makes one is named", without_swarm)
        shell("docker swarm init --advertise-addr 127.0.0.1")
    try:
        with tempfile.TemporaryDirectory() as folder:
            merged = pathlib.Path(folder, "merged")
            if test(f"{REPLICAS} replicas x {CLIENTS} clients add up exactly", lambda: exact_sum(merged, registry)):
                test("a record that is lost is named", lambda: lost_record(merged))
            test("a replica that is killed is named, the stack is in its box", lambda: killed(pathlib.Path(folder, "killed"), registry))
    finally:
        if is_ours:
            shell("docker swarm leave --force")
            if "docker_gwbridge" not in networks:
                shell("docker network rm docker_gwbridge", check=False)


def refused(name):
    out = shell([*SCALE_OUT, "--target", name], check=False)
    claim(out.returncode == 1 and name in out.stderr and "ring" in out.stderr, f"{out.returncode}: {out.stdout}{out.stderr}")


def without_swarm():
    out = shell(SCALE_OUT, check=False)
    claim(out.returncode == 1 and "docker swarm init" in out.stderr, out.stderr)


def exact_sum(folder, registry):
    out = shell([*SCALE_OUT, "--registry", registry, "--results", folder], limit=LIMIT_S)
    parts = [json.loads((folder / f"replica-{slot}.json").read_text()) for slot in range(1, REPLICAS + 1)]
    merged = json.loads((folder / "merged.json").read_text())
    for group in ["counts", "connections", "totals"]:
        for name, figure in merged[group].items():
            expect((group, name, figure), (group, name, sum(part[group][name] for part in parts)))
    claim(merged["counts"]["ok"] > 0, f"{merged['counts']}")
    for name in ["response", "connect"]:
        counts = [part["latency_ns"][name]["count"] for part in parts]
        expect((name, merged["latency_ns"][name]["count"]), (name, sum(counts)))
    windows = [sum(window["ok"] for window in record["windows"]) for record in [merged, *parts]]
    expect(windows[0], sum(windows[1:]))
    expect(windows[0], merged["counts"]["ok"])
    expect((merged["connections"]["asked"], merged["connections"]["reached"]), (REPLICAS * CLIENTS, REPLICAS * CLIENTS))
    expect(sorted(part["name"] for part in merged["generators"]), [f"replica-{slot}.json" for slot in range(1, REPLICAS + 1)])
    # Each sends bytes of its own, all to one server, found by its name.
    expect(sorted(part["plan"]["seed"] for part in parts), list(range(1, REPLICAS + 1)))
    expect({part["target"]["container"]["name"] for part in parts}, {"event-tokio"})
    expect(len({part["target"]["address"] for part in parts}), 1)
    gates = {reason["gate"] for reason in merged["reasons"]}
    claim(not gates & {"overlap", "lost_generators", "connections"}, f"{merged['reasons']}")
    claim(f"{REPLICAS} generators" in out.stdout, out.stdout)
    nothing_is_left()


def lost_record(folder):
    (folder / "replica-3.json").unlink()
    files = sorted(folder.glob("replica-*.json"))
    out = shell([LOADGEN, "merge", *files, "--expect", REPLICAS, "--require-valid"], check=False)
    expect(out.returncode, 7)
    is_named(out.stdout, 3)


def killed(folder, registry):
    command = [str(word) for word in [*SCALE_OUT, "--registry", registry, "--results", folder, "--require-valid"]]
    running = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    try:
        wait_for(60, lambda: container("loadgen.2") and container("server.1"), lambda: shell("docker ps").stdout)
        boxed(container("server.1"))
        boxed(container("loadgen.2"))
        shell(["docker", "kill", container("loadgen.2")])
        text, errors = running.communicate(timeout=LIMIT_S)
    finally:
        # It removes its stack when it is interrupted.
        if running.poll() is None:
            running.send_signal(signal.SIGINT)
            running.wait(LIMIT_S)
    claim(running.returncode == 7, f"{running.returncode}: {text}{errors}")
    is_named(text, 2)
    claim("replica 2 left no record: Failed" in errors, errors)
    nothing_is_left()


def container(task):
    return shell(["docker", "ps", "--quiet", "--filter", f"name=echo-scale_{task}"]).stdout.strip()


def boxed(name):
    about = json.loads(shell(["docker", "inspect", name]).stdout)[0]
    host, config = about["HostConfig"], about["Config"]
    expect(config["User"], "65534:65534")
    claim(host["ReadonlyRootfs"] and not host["Privileged"], "its root can be written to")
    claim(host["CapDrop"] == ["ALL"] and not host["CapAdd"], f"capabilities {host['CapDrop']} {host['CapAdd']}")
    expect((host["Memory"], host["PidsLimit"]), (2 << 30, 4200))
    expect({limit["Name"]: limit["Hard"] for limit in host["Ulimits"]}, {"nofile": 16384})
    claim(not host["PortBindings"], f"published: {host['PortBindings']}")
    status = pathlib.Path(f"/proc/{about['State']['Pid']}/status").read_text()
    fields = dict(line.split(":\t", 1) for line in status.splitlines() if ":\t" in line)
    for field in ["CapPrm", "CapEff", "CapBnd"]:
        claim(int(fields[field], 16) == 0, f"{field} is {fields[field]}")
    expect(fields["Seccomp"], "2")


def is_named(text, slot):
    words = " ".join(text.split())
    claim(f"1 of {REPLICAS} generators left no record: replica-{slot}.json" in words, text)
    claim(f"clients {CLIENTS * (REPLICAS - 1):,} of {CLIENTS * REPLICAS:,}" in words and "INVALID" in words, text)


def nothing_is_left():
    expect(shell("docker stack ls --format {{.Name}}").stdout.split().count("echo-scale"), 0)
    expect(container(""), "")
