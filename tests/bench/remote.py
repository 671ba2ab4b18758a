#!/usr/bin/env python3
"""Copies closures to and from another machine over a slow line, by us and by
the reference in turns, and prints the ratios of their times.

    remote.py --ref DIR --ours DIR [--paths 2000] [--mib 600] [--delay 25]
              [--only WORD] [--runs 1] [--no-sync] [--tmp DIR]

The other machine is a real sshd with its own store; each side speaks to its own
kind. The line is a network namespace behind `tc netem`, or, where the kernel
has no netem, a forwarder that holds everything back for --delay milliseconds in
each direction (tests/tools/delay-link); with --delay 0 there is nothing in
between, as the forwarder takes some 40 MB/s only. Memory is the largest of any process on
either end, in MiB.
"""
import argparse, os, random, shutil, socket, subprocess, sys, tempfile, time

HERE = os.path.dirname(os.path.realpath(__file__))
LINK = os.path.join(HERE, "..", "tools", "delay-link")


def run(args, **more):
    return subprocess.run(args, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True, **more)


class Line:
    """A way to an sshd; `command` is what stands before sshd and what ssh is told."""

    def __init__(self, delay):
        self.delay, self.namespace = delay, None
        if not delay:
            self.host, self.proxy = "127.0.0.1", None
            return
        name = f"nival{os.getpid()}"
        try:
            run(["ip", "netns", "add", name])
            self.namespace = name
            run(["ip", "link", "add", f"v{os.getpid()}", "type", "veth", "peer", "name", "far", "netns", name])
            run(["ip", "addr", "add", "10.231.7.1/24", "dev", f"v{os.getpid()}"])
            run(["ip", "link", "set", f"v{os.getpid()}", "up"])
            run(["ip", "-n", name, "addr", "add", "10.231.7.2/24", "dev", "far"])
            run(["ip", "-n", name, "link", "set", "far", "up"])
            for place, device in [([], f"v{os.getpid()}"), (["-n", name], "far")]:
                run(["tc", *place, "qdisc", "add", "dev", device, "root", "netem", "delay", f"{delay}ms"])
            self.host, self.proxy = "10.231.7.2", None
        except (OSError, subprocess.CalledProcessError) as error:
            why = getattr(error, "stderr", None) or str(error)
            print(f"skipped: no namespaces with netem here ({why.strip()}); a forwarder delays instead")
            self.close()
            self.host, self.proxy = "127.0.0.1", f"{sys.executable} {LINK} {delay} %h %p"

    def before(self):
        return ["ip", "netns", "exec", self.namespace] if self.namespace else []

    def close(self):
        if self.namespace:
            subprocess.run(["ip", "netns", "del", self.namespace], stderr=subprocess.DEVNULL)
            self.namespace = None


class World:
    """A store, a second one with the same names behind sshd, and both sides' ssh options."""

    def __init__(self, tmp, line, sides, sync):
        self.sync = sync
        self.root = tempfile.mkdtemp(prefix="remote-", dir=tmp)
        for name in ["etc", "home", "src", "ssh"]:
            os.mkdir(f"{self.root}/{name}")
        with open(f"{self.root}/etc/nix.conf", "w") as conf:
            conf.write("experimental-features = nix-command\nbuild-users-group =\nsubstituters =\nsandbox = false\n")
        self.sides, self.line = sides, line
        self.sshd(line)

    def env(self, **more):
        places = [("STORE", "store"), ("STATE", "var"), ("LOG", "log"), ("CONF", "etc")]
        env = {f"NIX_{name}_DIR": f"{self.root}/{place}" for name, place in places}
        env |= {"PATH": "/usr/bin:/bin", "HOME": f"{self.root}/home"}
        env["NIX_SSHOPTS"] = f"-F {self.root}/ssh/config"
        if not self.sync:
            # The reference does not know it, and says so.
            env["NIX_CONFIG"] = "sync-store-paths = false"
        return env | more

    def sshd(self, line):
        ssh = f"{self.root}/ssh"
        for key in ["host", "ours", "theirs"]:
            run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", f"{ssh}/{key}"])
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            port = free.getsockname()[1]
        with open(f"{ssh}/sshd_config", "w") as conf:
            conf.write(f"ListenAddress {line.host}:{port}\nHostKey {ssh}/host\nPidFile {ssh}/pid\n"
                       f"AuthorizedKeysFile {ssh}/keys\nStrictModes no\nUsePAM no\nMaxStartups 100\n"
                       "PasswordAuthentication no\nKbdInteractiveAuthentication no\nPrintMotd no\nUseDNS no\n")
        with open(f"{ssh}/host.pub") as key, open(f"{ssh}/known", "w") as known:
            known.write(f"[{line.host}]:{port} {key.read()}")
        with open(f"{ssh}/keys", "w") as keys, open(f"{ssh}/config", "w") as config:
            for side, programs in self.sides.items():
                script = f"{ssh}/run-{side}"
                there = f"{self.root}/far-{side}"
                env = self.env(PATH=f"{programs}:/usr/bin:/bin", NIX_STATE_DIR=f"{there}/var",
                               NIX_REMOTE=f"local?real={there}/store&state={there}/var&log={there}/log")
                with open(script, "w") as text:
                    words = " ".join(f"'{name}={value}'" for name, value in env.items())
                    # The largest of its processes tells how much memory it took.
                    text.write(f"#!/bin/sh\nexec env -i {words} {sys.executable} {HERE}/../tools/peak-memory "
                               f"{ssh}/memory-{side} /bin/sh -c \"exec $SSH_ORIGINAL_COMMAND\"\n")
                os.chmod(script, 0o755)
                with open(f"{ssh}/{side}.pub") as key:
                    keys.write(f"restrict,command=\"{script}\" {key.read()}")
                proxy = f" ProxyCommand {line.proxy}\n" if line.proxy else ""
                config.write(f"Host {side}\n HostName {line.host}\n Port {port}\n IdentityFile {ssh}/{side}\n"
                             f" UserKnownHostsFile {ssh}/known\n StrictHostKeyChecking yes\n IdentitiesOnly yes\n"
                             f" IdentityAgent none\n BatchMode yes\n{proxy}")
        os.makedirs("/run/sshd", exist_ok=True)
        self.server = subprocess.Popen([*line.before(), "/usr/sbin/sshd", "-D", "-f", f"{ssh}/sshd_config"],
                                       stderr=subprocess.DEVNULL)
        time.sleep(0.5)

    def forget(self, *names):
        for name in names:
            path = f"{self.root}/{name}"
            if os.path.exists(path):
                subprocess.run(["chmod", "-R", "u+w", path])
                shutil.rmtree(path)

    def close(self):
        self.server.kill()
        self.server.wait()
        self.forget("")


def fill(world, programs, paths, mib):
    """Small paths that refer to some before them, and one large one."""
    rng = random.Random(7)
    store = f"{world.root}/store"
    env = world.env()
    run([f"{programs}/nix-store", "--init"], env=env)
    names, text = [], []
    for number in range(paths):
        digits = "".join(rng.choice("0123456789abcdfghijklmnpqrsvwxyz") for _ in range(32))
        name = f"{store}/{digits}-small-{number}"
        with open(name, "w") as file:
            file.write(f"{number}\n" * rng.randrange(1, 900))
        below = sorted(set(rng.sample(names, min(len(names), rng.randrange(0, 4)))))
        text.append("\n".join([name, "", str(len(below)), *below]) + "\n")
        names.append(name)
    run([f"{programs}/nix-store", "--register-validity"], env=env, input="".join(text))
    big = f"{world.root}/src/big"
    with open(big, "wb") as file:
        for _ in range(mib):
            file.write(rng.randbytes(1 << 20))
    large = subprocess.run([f"{programs}/nix-store", "--add", big], env=env, check=True, stdout=subprocess.PIPE, text=True)
    return names, large.stdout.strip()


def timed(args, env):
    """Seconds, and the memory in MiB of the largest process."""
    begin = time.monotonic()
    child = subprocess.Popen(args, env=env, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
    errors = child.stderr.read()
    _, status, usage = os.wait4(child.pid, 0)
    if status:
        sys.exit(f"{' '.join(args)[:200]}: {errors.decode()[-600:]}")
    return time.monotonic() - begin, usage.ru_maxrss / 1024


def far_peak(file):
    """MiB; what was written there since the last time. It comes when the far end has ended."""
    for _ in range(100):
        if os.path.exists(file) and os.path.getsize(file):
            with open(file) as lines:
                peak = max(int(line) for line in lines) / 1024
            os.unlink(file)
            return peak
        time.sleep(0.05)
    return float("nan")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--ref", required=True)
    parser.add_argument("--ours", required=True)
    parser.add_argument("--paths", type=int, default=2000)
    parser.add_argument("--mib", type=int, default=600)
    parser.add_argument("--delay", type=int, default=25)
    parser.add_argument("--runs", type=int, default=1)
    parser.add_argument("--only", default="")
    parser.add_argument("--no-sync", action="store_true", help="ours does not sync either")
    parser.add_argument("--tmp", default=None)
    options = parser.parse_args()
    sides = {"ours": os.path.realpath(options.ours), "theirs": os.path.realpath(options.ref)}
    line = Line(options.delay)
    world = World(options.tmp, line, sides, not options.no_sync)
    try:
        small, large = fill(world, sides["theirs"], options.paths, options.mib)
        print(f"{'':28} {'ours s':>8} {'theirs s':>9} {'ratio':>6}   memory MiB here/there, ours and theirs")
        for kind, paths in [("small", small), ("big", [large])]:
            for scheme in ["ssh", "ssh-ng"]:
                for way in ["to", "from"]:
                    word = f"{kind} {scheme} {way}"
                    if options.only in word:
                        row(world, options.runs, word, scheme, way, paths)
    finally:
        world.close()
        line.close()


def row(world, runs, word, scheme, way, paths):
    best = {}
    for _ in range(runs):
        for side, programs in world.sides.items():
            there, back = f"far-{side}", f"back-{side}"
            nix = [f"{programs}/nix", "copy", "--no-check-sigs"]
            remote = f"{scheme}://{side}"
            if way == "to":
                world.forget(there)
                args = [*nix, "--to", remote, *paths]
            else:
                world.forget(there, back)
                far = f"{world.root}/{there}"
                local = f"local?real={far}/store&state={far}/var&log={far}/log"
                # Filled by the reference, so that both read the same.
                timed([f"{world.sides['theirs']}/nix", "copy", "--no-check-sigs", "--to", local, *paths], world.env())
                to = f"{world.root}/{back}"
                args = [*nix, "--from", remote, "--to", f"local?real={to}/store&state={to}/var&log={to}/log", *paths]
            os.sync()
            seconds, here = timed(args, world.env())
            far_memory = far_peak(f"{world.root}/ssh/memory-{side}")
            if side not in best or seconds < best[side][0]:
                best[side] = (seconds, here, far_memory)
            world.forget(there, back)
    (ours, a, b), (theirs, c, d) = best["ours"], best["theirs"]
    print(f"{word:28} {ours:8.2f} {theirs:9.2f} {ours / theirs:6.2f}   {a:.0f}/{b:.0f}  {c:.0f}/{d:.0f}", flush=True)


if __name__ == "__main__":
    main()
