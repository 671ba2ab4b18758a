//! Stores behind the daemon and behind ssh: every client with every server, ours
//! and the reference's of two ages, over sockets and over a real sshd.

use crate::common::{Outcome, Side, World, old_reference};
use crate::data;
use crate::remotes::{Daemon, Sshd, real, second_store};

const SIDES: [Side; 3] = [Side::Nival, Side::Reference, Side::OldReference];

/// A world whose store has [`data::sample`].
struct Sampled {
    world: World,
    paths: Vec<String>,
}

fn sampled() -> Option<Sampled> {
    old_reference()?;
    let world = World::with_reference()?;
    let paths = data::sample(&world);
    Some(Sampled { world, paths })
}

impl Sampled {
    fn run(&self, side: Side, program: &str, args: &[&str], paths: &[String]) -> Outcome {
        let args: Vec<&str> = args.iter().copied().chain(paths.iter().map(String::as_str)).collect();
        self.world.run(side, program, &args)
    }

    /// Checks that a second store has everything, unchanged.
    fn assert_arrived(&self, name: &str) {
        for path in &self.paths {
            let there = real(&self.world, name, path);
            assert_eq!(data::metadata(&there), data::metadata(path.as_ref()), "{path}");
        }
        let store = second_store(&self.world, name);
        let verified =
            self.run(Side::Reference, "nix-store", &["--store", &store, "--verify", "--check-contents"], &[]);
        assert!(!verified.ok().stderr.contains("modified"), "{}", verified.stderr);
    }

    /// Everything that goes by any of the protocols.
    fn copies_and_queries(&self, client: Side, uri: &str, name: &str) {
        let (world, top) = (&self.world, &self.paths[self.paths.len() - 1..]);
        self.run(client, "nix", &["copy", "--no-check-sigs", "--to", uri], top).ok();
        let closure = self.run(client, "nix", &["path-info", "-r", "--store", uri], top);
        let mut found: Vec<&str> = closure.ok().lines();
        let here = self.run(Side::Nival, "nix-store", &["-qR"], top);
        let mut expected = here.ok().lines();
        found.sort_unstable();
        expected.sort_unstable();
        assert_eq!(found, expected);
        // The rest, of which a part is there.
        self.run(client, "nix", &["copy", "--no-check-sigs", "--to", uri], &self.paths).ok();
        self.assert_arrived(name);
        let missing = format!("{}/{}-missing", world.text("store"), data::hash_part(77));
        assert_ne!(self.run(client, "nix", &["path-info", "--store", uri], &[missing]).status, 0);
        let back = format!("{name}-back-{client:?}");
        let to = second_store(world, &back);
        self.run(client, "nix", &["copy", "--no-check-sigs", "--from", uri, "--to", &to], &self.paths).ok();
        self.assert_arrived(&back);
    }
}

#[test]
fn daemons_serve_every_client() {
    let Some(sampled) = sampled() else { return };
    for server in SIDES {
        for client in SIDES {
            let name = format!("{server:?}-{client:?}");
            let daemon = Daemon::start(&sampled.world, server, &name, &[]);
            sampled.copies_and_queries(client, &daemon.uri, &name);
        }
    }
}

#[test]
fn ssh_leads_to_every_server() {
    let Some(mut sampled) = sampled() else { return };
    let Some(mut sshd) = Sshd::start(&sampled.world) else { return };
    let mut pairs = Vec::new();
    for server in SIDES {
        for client in SIDES {
            for scheme in ["ssh", "ssh-ng"] {
                let name = format!("{scheme}-{server:?}-{client:?}").to_lowercase();
                sshd.add_host(&sampled.world, &name, server);
                pairs.push((client, format!("{scheme}://{name}"), name));
            }
        }
    }
    sampled.world.variables.push(("NIX_SSHOPTS".to_owned(), sshd.options()));
    for (client, uri, name) in pairs {
        sampled.copies_and_queries(client, &uri, &name);
    }
}

#[test]
fn copy_closure_goes_both_ways() {
    let Some(mut sampled) = sampled() else { return };
    let Some(mut sshd) = Sshd::start(&sampled.world) else { return };
    for server in SIDES {
        for client in SIDES {
            let name = format!("{server:?}-{client:?}").to_lowercase();
            sshd.add_host(&sampled.world, &name, server);
        }
    }
    sampled.world.variables.push(("NIX_SSHOPTS".to_owned(), sshd.options()));
    for server in SIDES {
        for client in SIDES {
            let name = format!("{server:?}-{client:?}").to_lowercase();
            sampled.run(client, "nix-copy-closure", &["--to", "--gzip", &name], &sampled.paths).ok();
            sampled.assert_arrived(&name);
            let back = format!("back-{name}");
            let store = second_store(&sampled.world, &back);
            sampled.world.variables.push(("NIX_REMOTE".to_owned(), store));
            sampled.run(client, "nix-copy-closure", &["--from", &name], &sampled.paths).ok();
            sampled.world.variables.pop();
            sampled.assert_arrived(&back);
        }
    }
}
