#!/usr/bin/env python3
"""Benchmark of the language and of instantiating: ours beside a reference, in turns.

    language.py --ref BINDIR [--ours BINDIR] [--only NAME...] [--runs N] [--scale small|full]
                [--nixpkgs DIR]... [--wrapper FILE] [--tmp DIR] [--list]

Each BINDIR has nix-instantiate and nix-env; one of --ref and --ours may be left out. For each row: median
wall time of both sides, ratio of the medians and of the fastest runs, the same of user time, peak memory in
MiB, and whether standard output, status and (where a store is written) the store paths were the same;
`NO` makes the times worthless, and the exit status is 1 then.

Both sides see the same paths: the world (TMP/w) is emptied, or put back to a prepared state, before a run that
writes. With --nixpkgs DIR (a tree of nixpkgs; may be given more than once) the rows named `nixpkgs-…` run, too;
--wrapper FILE is an expression with an argument `nixpkgs` for `nix-env -qaP`, where the tree itself has
packages that cannot be evaluated. Python standard library only.
"""
import argparse
import os
import statistics
import subprocess
import sys
import tempfile

sys.dont_write_bytecode = True
sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
import bench  # noqa: E402

CONFIGURATION = "build-users-group =\nsandbox = false\nsubstituters =\n"
SYSTEM = """{ ... }: {
  boot.loader.grub.device = "nodev";
  fileSystems."/" = { device = "/dev/x"; fsType = "ext4"; };
}
"""
# The same, where releases want to be told more.
NEWER = SYSTEM.replace("}\n", '  system.stateVersion = "24.05";\n  documentation.enable = false;\n}\n')
DERIVATIONS = ("hello", "gcc", "python3", "git", "curl")


def expressions(k):
    """The rows of the language alone, as texts; `k` scales them."""
    fib = 25 if k == 1 else 19
    return {
        "eval-calls": f"let fib = n: if n < 2 then n else fib (n - 1) + fib (n - 2); in fib {fib}",
        "eval-lists": f"""let xs = builtins.genList (i: i * 7919 - (i * 7919 / 100003) * 100003) {int(200000 * k)};
  ys = builtins.sort (a: b: a < b) (builtins.filter (x: x - (x / 3) * 3 != 0) (map (x: x + 1) xs));
in builtins.foldl' (a: x: a + x) 0 ys + builtins.length (builtins.concatLists (map (x: [ x (x + 1) ]) ys))""",
        "eval-attrs": f"""let names = builtins.genList (i: "name" + toString i) {int(60000 * k)};
  s = builtins.listToAttrs (map (n: {{ name = n; value = {{ inherit n; v = builtins.stringLength n; }}; }}) names);
  t = builtins.mapAttrs (n: v: v // {{ w = v.v + 1; }}) s;
  u = builtins.foldl' (a: i: a // {{ "k${{toString i}}" = i; }}) {{ }} (builtins.genList (i: i) {int(3000 * k)});
in builtins.foldl' (a: x: a + x.w) 0 (builtins.attrValues t) + builtins.length (builtins.attrNames u)""",
        "eval-strings": f"""let
  line = i: "line ${{toString i}}: some words, more words; and a number ${{toString (i * 31)}}";
  lines = builtins.genList line {int(20000 * k)};
  text = builtins.concatStringsSep "\\n" lines;
  swapped = builtins.replaceStrings [ "words" "number" "line" ] [ "terms" "figure" "row" ] text;
  parts = builtins.filter builtins.isString (builtins.split "[ ,;:\\n]+" swapped);
  hits = builtins.filter (l: builtins.match ".* ([0-9]*7) *$" l != null) lines;
in builtins.hashString "sha256" (builtins.concatStringsSep "-" parts) + toString (builtins.length hits)""",
        "eval-overlays": f"""let fix = f: let x = f x; in x;
  extends = o: f: self: let super = f self; in super // o self super;
  package = self: i: {{ name = "p${{toString i}}";
    value = {{ v = i; d = if i == 0 then 0 else self."p${{toString (i - 1)}}".v; }}; }};
  base = self: builtins.listToAttrs (builtins.genList (package self) {int(2000 * k)});
  overlay = n: self: super: builtins.mapAttrs (k: p: p // {{ v = p.v + n; o = super.${{k}}.d; }}) super;
  final = fix (builtins.foldl' (f: o: extends o f) base (builtins.genList overlay 25));
in builtins.foldl' (a: p: a + p.v + p.d + p.o) 0 (builtins.attrValues final)""",
        "eval-modules": f"""let
  merge = a: b: builtins.zipAttrsWith (n: vs: if builtins.length vs == 1 then builtins.head vs
    else if builtins.all builtins.isAttrs vs then builtins.foldl' merge {{ }} vs
    else if builtins.all builtins.isList vs then builtins.concatLists vs
    else builtins.elemAt vs (builtins.length vs - 1)) [ a b ];
  module = i: config: {{
    services."s${{toString (i - (i / 97) * 97)}}" =
      {{ enable = true; ports = [ i ]; opts."o${{toString i}}" = config.base + i; }};
    users = [ "u${{toString i}}" ]; }};
  add = acc: i: merge acc (module i config);
  config = builtins.foldl' add {{ base = 17; }} (builtins.genList (i: i) {int(1500 * k)});
in builtins.hashString "sha256" (builtins.toJSON config)""",
        "eval-json": f"""let
  item = i: {{ id = i; name = "item ${{toString i}}"; tags = [ "a" "b" "c" ]; ratio = i * 0.5;
    sub = {{ x = null; y = true; }}; }};
  text = builtins.toJSON {{ items = builtins.genList item {int(30000 * k)}; }}; back = builtins.fromJSON text;
in builtins.stringLength text + builtins.length back.items + builtins.stringLength (builtins.toJSON back)""",
        "eval-deep": f"""let f = n: if n == 0 then 0 else 1 + f (n - 1);
  more = x: if x.key < {int(20000 * k)} then [ {{ key = x.key + 1; }} {{ key = x.key + 2; }} ] else [ ];
in f 9000 + builtins.length (builtins.genericClosure {{ startSet = [ {{ key = 0; }} ]; operator = more; }})""",
    }


def large_text(count):
    """A text as those of package sets are, some 600 bytes for each package."""
    package = """  pkg%(i)d = { stdenv, fetchurl, lib ? null, dep%(i)d ? 1, ... }@args: with lib; stdenv.mkDerivation rec {
    pname = "pkg%(i)d"; version = "1.%(i)d";
    src = fetchurl { url = "mirror://x/${pname}-${version}.tar.gz"; sha256 = "%(zeros)s"; };
    buildInputs = [ dep%(i)d ] ++ optional (version != "2") args.x or null;
    installPhase = ''
      mkdir -p $out/bin
      install -m755 ${pname} $out/bin # ''${HOME} and ''$ and '''
    '';
    meta = { description = "package %(i)d"; license = licenses.mit; platforms = platforms.all; };
  };
"""
    rows = (package % {"i": number, "zeros": "0" * 52} for number in range(count))
    return "{ lib, ... }:\nrec {\n" + "".join(rows) + "}\n"


MANY = """let mk = i: derivation { name = "d${toString i}"; system = builtins.currentSystem; builder = "/bin/sh";
    args = [ "-c" "echo ${toString i} > $out" ]; n = i; PATH = "/bin";
    prev = if i - (i / 10) * 10 == 0 then "" else toString (mk (i - 1)); };
in builtins.genList (i: mk i) %d
"""
FILTER = 'builtins.filterSource (p: t: t != "symlink" && builtins.match ".*7" p == null) ./tree\n'


class Row:
    """What is run. `state` says what it finds: `any` store, an empty one (`fresh`) whose paths are compared
    afterwards, or that of a run of the same before (`again`)."""

    def __init__(self, name, *words, state="any"):
        self.name, self.words, self.state = name, words, state


def rows_of_language(put, tree, scale):
    """The rows that need no package set."""
    k = 1 if scale == "full" else 0.2
    for name, text in expressions(k).items():
        yield Row(name, "nix-instantiate", "--eval", "--strict", put(f"{name}.nix", text + "\n"))
    yield Row("parse", "nix-instantiate", "--parse", put("large.nix", large_text(int(20000 * k))))
    many = put("many.nix", MANY % int(2000 * k))
    yield Row("instantiate-many", "nix-instantiate", many, state="fresh")
    yield Row("instantiate-again", "nix-instantiate", many, state="again")
    tree(int(5000 * k))
    filtered = put("filter.nix", FILTER)
    yield Row("source-filter", "nix-instantiate", "--eval", "--read-write-mode", filtered, state="fresh")


def rows_of_package_set(put, directory, wrapper):
    """The rows of one tree of nixpkgs."""
    release = "unknown"
    for name in (".version", "lib/.version"):
        if os.path.isfile(os.path.join(directory, name)):
            with open(os.path.join(directory, name), encoding="ascii") as file:
                release = file.read().strip()[:5]
            break
    start = f"nixpkgs-{release}"
    instantiate = ("nix-instantiate", directory, "-A", "hello")
    yield Row(f"{start}-parse", "nix-instantiate", "--parse", f"{directory}/pkgs/top-level/all-packages.nix")
    yield Row(f"{start}-hello", *instantiate, state="fresh")
    yield Row(f"{start}-hello-again", *instantiate, state="again")
    for name in DERIVATIONS:
        yield Row(f"{start}-{name}.drvPath", "nix-instantiate", "--eval", directory, "-A", f"{name}.drvPath")
    if os.path.exists(f"{directory}/lib/tests/misc.nix"):
        yield Row(f"{start}-lib-tests", "nix-instantiate", "--eval", "--strict", f"{directory}/lib/tests/misc.nix")
    if os.path.exists(f"{directory}/nixos/default.nix"):
        system = put(f"{start}.nix", SYSTEM if release < "20" else NEWER)
        words = ("nix-instantiate", "--eval", "--read-write-mode", f"{directory}/nixos", "--arg", "configuration", system,
                 "-A", "config.system.build.toplevel.drvPath")
        yield Row(f"{start}-nixos", *words, state="fresh")
        yield Row(f"{start}-nixos-again", *words, state="again")
    listed = ("-f", wrapper, "--arg", "nixpkgs", directory) if wrapper else ("-f", directory)
    yield Row(f"{start}-qaP", "nix-env", "-qaP", *listed)


class World:
    """Where both sides work."""

    def __init__(self, root):
        self.path, self.sources, self.out = f"{root}/w", f"{root}/src", f"{root}/out"
        os.mkdir(self.sources)

    def put(self, name, text):
        """Writes an expression."""
        with open(f"{self.sources}/{name}", "w", encoding="utf8") as file:
            file.write(text)
        return f"{self.sources}/{name}"

    def tree(self, count):
        """Makes a directory of small files."""
        os.makedirs(f"{self.sources}/tree/sub")
        for number in range(count):
            self.put(f"tree/sub/f{number}", f"file {number}\n" * 20)

    def clear(self):
        if os.path.isdir(self.path):
            subprocess.run(["chmod", "-R", "u+w", self.path], check=True)
        bench.rm(self.path)
        os.makedirs(f"{self.path}/home")

    def run(self, programs, words):
        """One run: result, and what it printed."""
        environment = {
            "PATH": f"{programs}:/usr/bin:/bin", "LC_ALL": "C", "TZ": "UTC", "HOME": f"{self.path}/home", "NIX_PATH": "",
            "NIX_STORE_DIR": f"{self.path}/store", "NIX_STATE_DIR": f"{self.path}/state",
            "NIX_LOG_DIR": f"{self.path}/log", "NIX_CONF_DIR": f"{self.path}/etc", "NIX_CONFIG": CONFIGURATION,
            "NIXPKGS_ALLOW_UNFREE": "1", "NIXPKGS_ALLOW_BROKEN": "1",
        }
        result = bench.measure([f"{programs}/{words[0]}", *words[1:]], environment, stdout=self.out, timeout=600)
        with open(self.out, "rb") as file:
            return result, file.read()

    def paths(self):
        """The store paths that are there."""
        store = f"{self.path}/store"
        names = os.listdir(store) if os.path.isdir(store) else []
        return sorted(name for name in names if not name.startswith(".") and not name.endswith(".lock"))


def run_row(world, row, sides, runs):
    """All runs of a row: for each side its results, and what it gave."""
    results, given = {side: [] for side, _ in sides}, {side: set() for side, _ in sides}
    for _ in range(runs):
        for side, programs in sides:
            # What is remembered of an earlier run would be an advantage.
            if row.state != "any" or row.words[0] == "nix-env" or not os.path.isdir(world.path):
                world.clear()
            if row.state == "again":
                world.run(sides[0][1], row.words)
            result, printed = world.run(programs, row.words)
            results[side].append(result)
            given[side].add((result.rc, printed, tuple(world.paths() if row.state == "fresh" else ())))
    return results, given


def shown(results, given):
    """A row of the table, and whether both sides gave the same."""
    figures = []
    for results_of_side in results.values():
        for what in ("wall", "user"):
            values = [getattr(result, what) for result in results_of_side]
            figures.append((statistics.median(values), min(values)))
        figures.append((max(result.rss for result in results_of_side), 0))
    cells = [f"{figure[0]:8.2f}" if at % 3 < 2 else f"{figure[0]:6.0f}" for at, figure in enumerate(figures)]
    same = len(set.union(*given.values())) == 1
    if len(results) == 2:
        for at in (0, 1):
            (theirs, theirs_least), (ours, ours_least) = figures[at], figures[at + 3]
            cells.append(f"{ours / max(theirs, 1e-9):6.2f}{ours_least / max(theirs_least, 1e-9):6.2f}")
        cells.append("  yes" if same else "  NO")
    failed = next((result for side in results.values() for result in side if result.rc != 0), None)
    if failed:
        cells.append("  " + (failed.err.strip().splitlines() or ["?"])[-1][:100])
    return " ".join(cells), same


def main():
    parser = argparse.ArgumentParser(usage=__doc__)
    parser.add_argument("--ref", type=os.path.abspath)
    parser.add_argument("--ours", type=os.path.abspath)
    parser.add_argument("--only", nargs="*", default=[])
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--scale", choices=["small", "full"], default="full")
    parser.add_argument("--nixpkgs", action="append", default=[], type=os.path.abspath)
    parser.add_argument("--wrapper", type=os.path.abspath)
    parser.add_argument("--tmp")
    parser.add_argument("--list", action="store_true")
    options = parser.parse_args()
    sides = [(name, path) for name, path in (("ref", options.ref), ("ours", options.ours)) if path]
    if not sides and not options.list:
        parser.error("give --ref or --ours")
    bench.become_subreaper()
    status = 0
    root = tempfile.mkdtemp(prefix="language-", dir=options.tmp)
    try:
        world = World(root)
        rows = list(rows_of_language(world.put, world.tree, options.scale))
        for directory in options.nixpkgs:
            rows += rows_of_package_set(world.put, directory, options.wrapper)
        rows = [row for row in rows if not options.only or any(row.name.startswith(name) for name in options.only)]
        if options.list:
            print("\n".join(row.name for row in rows))
            return 0
        heads = [f"{side} {what}" for side, _ in sides for what in ("wall", "user", "MiB")]
        print("row".ljust(30), *heads, "wall: ratio, least; user: ratio, least; same", sep=" | ", flush=True)
        for row in rows:
            text, same = shown(*run_row(world, row, sides, options.runs))
            status |= not same
            print(row.name.ljust(30), text, flush=True)
        world.clear()
    finally:
        bench.rm(root)
    return status


if __name__ == "__main__":
    sys.exit(main())
