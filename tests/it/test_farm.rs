//! Building on other machines. A machine is a host of a real sshd on loopback, where programs of ours or
//! of the reference work on a store of their own.

use std::process::Command;

use crate::common::{Outcome, Side, World};
use crate::data;
use crate::remotes::{Sshd, real};

/// Derivations; each attribute is one.
const NIX: &str = r#"
let
  d = name: script: more: derivation ({
    inherit name;
    system = "x86_64-linux";
    builder = "/bin/sh";
    args = [ "-c" script ];
    PATH = "/usr/bin:/bin";
  } // more);
in rec {
  ok = d "ok" "echo hello; echo out > $out" { };
  dep = d "dep" "cat $x $src > $out; echo $x >> $out" { x = ok; src = ./t.nix; };
  many = d "many" "for o in $outputs; do eval echo $o $dev '>' \\$$o; done" { outputs = [ "out" "dev" ]; };
  bad = d "bad" "echo line; exit 3" { };
  feature = d "feature" "echo > $out" { requiredSystemFeatures = [ "special" ]; };
  local = d "local" "echo > $out" { preferLocalBuild = true; };
  short = d "short" "sleep 2; echo > $out" { };
  slow = d "slow" "echo begin; sleep 60" { };
}
"#;

/// What the machines need: programs of this one in their sandboxes.
const CONF: &str = "\nsandbox-paths = /bin /usr /lib /lib64\nsystem-features =\n";

struct Farm {
    world: World,
    sshd: Sshd,
    file: String,
}

impl Farm {
    fn new(machines: &[(&str, Side)]) -> Option<Self> {
        let world = World::with_reference()?;
        let mut sshd = Sshd::start(&world)?;
        let conf = std::fs::read_to_string(world.path("etc/nix.conf")).unwrap();
        world.write("etc/nix.conf", conf + CONF);
        for (name, side) in machines {
            world
                .run(
                    Side::Nival,
                    "nix-store",
                    &["--store", &crate::remotes::second_store(&world, name), "--init"],
                )
                .ok();
            sshd.add_host(&world, name, *side);
        }
        let file = world.write("src/t.nix", NIX).to_str().unwrap().to_owned();
        Some(Self { world, sshd, file })
    }

    fn command(&self, side: Side, attribute: &str, builders: &str, more: &[&str]) -> Command {
        let mut command = self.world.command(side, "nix-build");
        command.args([&self.file, "-A", attribute, "--no-out-link", "--builders", builders]).args(more);
        command.env("NIX_SSHOPTS", self.sshd.options());
        command
    }

    fn build(&self, attribute: &str, builders: &str, more: &[&str]) -> Outcome {
        crate::common::outcome(self.command(Side::Nival, attribute, builders, more).output().unwrap())
    }

    /// What is known of a path, without its time.
    fn info(&self, path: &str) -> serde_json::Value {
        let words = ["path-info", "--json", "--json-format", "1", path];
        let info = self.world.run(Side::Reference, "nix", &words).ok().text().to_owned();
        let mut info: serde_json::Value = serde_json::from_str(&info).unwrap();
        info[path].as_object_mut().unwrap().remove("registrationTime");
        info[path].take()
    }
}

/// Machines of all kinds build for us, and what comes back is what the reference makes of it.
#[test]
fn machines_of_all_kinds() {
    let Some(farm) = Farm::new(&[("theirs", Side::Reference)]) else { return };
    for uri in ["ssh-ng://theirs", "theirs"] {
        let mut seen = Vec::new();
        for side in [Side::Nival, Side::Reference] {
            farm.world.nix_store(&["--gc"]).ok();
            std::fs::remove_dir_all(farm.world.path("theirs/store")).unwrap();
            std::fs::remove_dir_all(farm.world.path("theirs/var")).unwrap();
            let second = crate::remotes::second_store(&farm.world, "theirs");
            farm.world.run(Side::Nival, "nix-store", &["--store", &second, "--init"]).ok();
            let outcome = crate::common::outcome(farm.command(side, "dep", uri, &["-j0"]).output().unwrap());
            outcome.ok();
            let path = outcome.line();
            let mut lines: Vec<String> = outcome.stderr.lines().map(str::to_owned).collect();
            // Inputs are sent in no order.
            lines.sort();
            seen.push((path.clone(), std::fs::read(&path).unwrap(), farm.info(&path), lines));
        }
        assert_eq!(seen[0].0, seen[1].0);
        assert_eq!(seen[0].1, seen[1].1);
        assert_eq!(seen[0].2, seen[1].2, "{uri}");
        assert_eq!(seen[0].3, seen[1].3, "{uri}");
        assert_eq!(seen[0].2["ultimate"], false);
    }
}

/// All outputs come back together, and a derivation of the machine's own store is not needed there.
#[test]
fn several_outputs() {
    let Some(farm) = Farm::new(&[("theirs", Side::Reference)]) else { return };
    let outcome = farm.build("many", "ssh-ng://theirs", &["-j0"]);
    let path = outcome.ok().line();
    assert!(outcome.stderr.contains("many.drv' on 'ssh-ng://theirs'..."), "{outcome:?}");
    let names = data::names(&farm.world.store());
    assert!(names.iter().any(|name| name.ends_with("-many-dev")), "{names:?}");
    assert!(real(&farm.world, "theirs", &path).exists());
    data::assert_sound(&farm.world);
}

/// A log of another machine is kept here, too.
#[test]
fn logs() {
    let Some(farm) = Farm::new(&[("theirs", Side::Reference)]) else { return };
    let outcome = farm.build("ok", "ssh-ng://theirs", &["-j0"]);
    let path = outcome.ok().line();
    assert!(outcome.stderr.lines().any(|line| line == "hello"), "{outcome:?}");
    assert_eq!(farm.world.run(Side::Reference, "nix-store", &["--read-log", &path]).ok().text(), "hello\n");
}

/// What fails there fails here, and is not tried again.
#[test]
fn failures() {
    let Some(farm) = Farm::new(&[("theirs", Side::Reference)]) else { return };
    for side in [Side::Nival, Side::Reference] {
        let outcome = crate::common::outcome(
            farm.command(side, "bad", "ssh-ng://theirs; ssh://theirs", &[]).output().unwrap(),
        );
        assert_eq!(outcome.status, 1, "{outcome:?}");
        assert_eq!(outcome.stderr.matches(" on 'ssh").count(), 2, "{outcome:?}");
        assert!(outcome.stderr.contains("bad.drv' on 'ssh-ng://theirs' failed: "), "{outcome:?}");
        assert!(outcome.stderr.contains("Reason: builder failed with exit code 1."), "{outcome:?}");
    }
}

/// A machine that is not there is told of once, and the next is asked; after the last, this one.
#[test]
fn a_machine_that_is_not_there() {
    let Some(farm) = Farm::new(&[("theirs", Side::Reference)]) else { return };
    let outcome = farm.build("dep", "ssh-ng://nowhere - - 1 9; ssh-ng://theirs", &["-j0"]);
    outcome.ok();
    assert_eq!(
        outcome.stderr.matches("cannot build on 'ssh-ng://nowhere': error: ").count(),
        1,
        "{outcome:?}"
    );
    assert_eq!(outcome.stderr.matches("' on 'ssh-ng://theirs'...").count(), 2, "{outcome:?}");
    let outcome = farm.build("ok", "ssh-ng://nowhere", &["-j0"]);
    assert_eq!(outcome.status, 0, "it is there: {outcome:?}");
    farm.world.nix_store(&["--gc"]).ok();
    let outcome = farm.build("ok", "ssh-ng://nowhere", &["-j0"]);
    assert_eq!(outcome.status, 100, "{outcome:?}");
    assert!(
        outcome.stderr.contains("Failed to find a machine for remote build!\nderivation: "),
        "{outcome:?}"
    );
    assert!(outcome.stderr.contains("local builds are disabled"), "{outcome:?}");
}

/// A machine that is lost in the middle of a build: another one does it.
#[test]
fn a_machine_that_dies() {
    let Some(farm) = Farm::new(&[("theirs", Side::Reference)]) else { return };
    // It dies in the middle, or on a busy machine before: the other does it in any case.
    let dying = "ssh-ng://theirs?remote-program=timeout%20-s%20KILL%201%20nix-daemon";
    let outcome = farm.build("short", &format!("{dying} - - 1 9; ssh-ng://theirs"), &["-j0"]);
    outcome.ok();
    assert!(outcome.stderr.contains(&format!("cannot build on '{dying}': error: ")), "{outcome:?}");
    assert!(outcome.stderr.contains("' on 'ssh-ng://theirs'..."), "{outcome:?}");
}

/// Time limits hold for other machines, which the reference does not see to.
#[test]
fn a_machine_that_takes_too_long() {
    let Some(farm) = Farm::new(&[("theirs", Side::Reference)]) else { return };
    for limit in ["--timeout", "--max-silent-time"] {
        let outcome = farm.build("slow", "ssh-ng://theirs", &["-j0", limit, "1"]);
        assert_eq!(outcome.status, 101, "{outcome:?}");
        assert!(outcome.stderr.contains("error: timed out after 1 seconds"), "{outcome:?}");
    }
}

/// Features, and derivations that are to stay here.
#[test]
fn what_goes_where() {
    let Some(farm) = Farm::new(&[("theirs", Side::Reference)]) else { return };
    let builders = "ssh-ng://theirs - - 1 1 special,other other";
    // Nobody asks for what the machine wants to be asked for.
    let outcome = farm.build("ok", builders, &["-j0"]);
    assert_eq!(outcome.status, 100, "{outcome:?}");
    assert!(outcome.stderr.contains("\n([x86_64-linux], 1, [other, special], [other])\n"), "{outcome:?}");
    let outcome = farm.build("feature", "ssh-ng://theirs", &["-j0"]);
    assert!(
        outcome.stderr.contains("required (system, features): (x86_64-linux, [special])\n"),
        "{outcome:?}"
    );
    let outcome = farm.build("local", "ssh-ng://nowhere", &["-j1", "--option", "sandbox", "false"]);
    outcome.ok();
    assert!(!outcome.stderr.contains("nowhere"), "{outcome:?}");
    let outcome = farm.build("ok", "ssh-ng://theirs - - x", &["-j0"]);
    assert!(
        outcome.stderr.contains("error: bad machine specification: failed to convert column #3"),
        "{outcome:?}"
    );
    assert_eq!(outcome.status, 1, "{outcome:?}");
    let outcome = farm.build("ok", "ssh-ng://theirs - - 0", &["-j0"]);
    assert_eq!(outcome.status, 100, "{outcome:?}");
    assert!(outcome.stderr.contains("nothing is built on 'ssh-ng://theirs'"), "{outcome:?}");
}
