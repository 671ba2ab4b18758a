//! One suite of cases over every kind of store.
//!
//! [`cases::TABLE`] is the table: each row is a case, each column a [`Kind`]. A case says
//! which kinds can do it. There our program succeeds and prints what the reference prints
//! for a store with the same paths; everywhere else it fails as the reference does. What is
//! different on purpose stands in [`cases::OURS`], with our own message, and where our
//! program can do more, the reference shows on a cache in a directory what is right.

mod cases;

use cases::{Case, Shown};

use crate::common::{Outcome, Side, World};
use crate::data;
use crate::remotes::{Daemon, Sshd, second_store};
use crate::s3::{Swift, with_key};
use crate::servers::Nginx;

/// A kind of store: a column of the table.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Local,
    Chroot,
    File,
    Http,
    S3,
    /// A daemon of a side.
    Daemon(Side),
    /// `ssh-ng://` to programs of a side.
    SshNg(Side),
    /// `ssh://` to programs of a side.
    Ssh(Side),
}

impl Kind {
    /// The column's place in the sets of kinds of [`cases`].
    fn bit(self) -> u16 {
        match self {
            Self::Local => cases::LOCAL,
            Self::Chroot => cases::CHROOT,
            Self::File => cases::FILE,
            Self::Http => cases::HTTP,
            Self::S3 => cases::S3,
            Self::Daemon(_) => cases::DAEMON,
            Self::SshNg(_) => cases::SSH_NG,
            Self::Ssh(_) => cases::SSH,
        }
    }
}

/// What a kind needs to run.
enum Server {
    None,
    Nginx(Nginx),
    Swift(Swift),
    Daemons([Daemon; 2]),
    /// Ended with the suite.
    Sshd {
        _sshd: Sshd,
    },
}

/// A world with paths, and for each side a store of the kind that has them too, so that
/// what one side changes is not seen by the other.
struct Suite {
    world: World,
    kind: Kind,
    server: Server,
    /// What stands for the words of a case.
    words: Vec<(&'static str, String)>,
    stream: Vec<u8>,
}

const SIDES: [Side; 2] = [Side::Nival, Side::Reference];

/// The store of a side, by its name.
fn name(side: Side) -> &'static str {
    match side {
        Side::Nival => "ours",
        _ => "theirs",
    }
}

const DERIVATION: &str = r#"derivation {
  name = "two"; system = builtins.currentSystem; builder = "/bin/sh"; outputs = [ "out" "dev" ];
  args = [ "-c" "echo 1 > $out; echo 2 > $dev; echo building" ];
}"#;

impl Suite {
    /// Makes both stores; `None` (and a word why) where they cannot be.
    fn new(kind: Kind) -> Option<Self> {
        let mut world = World::with_reference()?;
        let server = match kind {
            Kind::Http => Server::Nginx(Nginx::start(&world, "caches")?),
            Kind::S3 => {
                let swift = Swift::start(&world, &["ours", "theirs"])?;
                with_key(&mut world, "test:tester", "SECRETTEST");
                Server::Swift(swift)
            }
            Kind::Daemon(side) => Server::Daemons(SIDES.map(|of| Daemon::start(&world, side, name(of), &[]))),
            Kind::SshNg(side) | Kind::Ssh(side) => {
                let mut sshd = Sshd::start(&world)?;
                for of in SIDES {
                    sshd.add_host(&world, name(of), side);
                    let init = ["--store", &second_store(&world, name(of)), "--init"];
                    world.nix_store(&init).ok();
                }
                world.variables.push(("NIX_SSHOPTS".to_owned(), sshd.options()));
                Server::Sshd { _sshd: sshd }
            }
            _ => Server::None,
        };
        let mut suite = Self { world, kind, server, words: Vec::new(), stream: Vec::new() };
        suite.fill();
        Some(suite)
    }

    fn fill(&mut self) {
        let world = &self.world;
        let paths = data::sample(world);
        world.write("e.nix", DERIVATION);
        let drv = world.run(Side::Reference, "nix-instantiate", &["--quiet", "e.nix"]).line();
        let out = world.run(Side::Reference, "nix-store", &["-r", &drv]);
        let outputs: Vec<String> = out.ok().lines().into_iter().map(str::to_owned).collect();
        data::trust_new_key(world);
        world.write("src/new", "new\n");
        let added = world.nix_store(&["--add", &world.text("src/new")]).line();
        let stream = world.nix_store(&["--export", &added]).ok().stdout.clone();
        world.nix_store(&["--delete", &added]).ok();
        let top = paths.last().unwrap().clone();
        let tree = paths.iter().find(|path| path.ends_with("-tree")).unwrap().clone();
        let sign = ["store", "sign", "-k", &world.text("secret"), "-r", &top];
        world.nival("nix", &sign).ok();
        let all: Vec<&str> = paths.iter().chain(&outputs).chain([&drv]).map(String::as_str).collect();
        let mut stores: Vec<String> = SIDES.iter().map(|side| self.uri(*side)).collect();
        match self.kind {
            Kind::Http | Kind::S3 => stores[1] = self.oracle(&cases::TABLE[0]),
            Kind::Ssh(_) => stores.push(format!("file://{}", world.text("caches/theirs"))),
            _ => {}
        }
        for uri in stores {
            let copy = [&["copy", "--no-check-sigs", "--to", &uri][..], &all].concat();
            world.nival("nix", &copy).ok();
            if self.kind.bit() & cases::LOGS != 0 {
                world.nival("nix", &["store", "copy-log", "--to", &uri, &drv]).ok();
            }
        }
        self.words = vec![
            ("{part}", top[world.text("store").len() + 1..][..32].to_owned()),
            ("{none}", data::hash_part(99)),
            ("{top}", top),
            ("{tree}", tree),
            ("{plain}", paths.iter().find(|path| path.ends_with("-plain")).unwrap().clone()),
            ("{out}", outputs[0].clone()),
            ("{drv}", drv),
            ("{nowhere}", format!("{}/{}-nowhere", world.text("store"), data::hash_part(99))),
            ("{src}", world.text("src")),
            ("{key}", world.text("secret")),
        ];
        self.stream = stream;
    }

    /// The store of a side.
    fn uri(&self, side: Side) -> String {
        let (world, name) = (&self.world, name(side));
        match (self.kind, &self.server) {
            (Kind::Chroot, _) => world.text(format!("chroot-{name}")),
            (Kind::File, _) => format!("file://{}", world.text(format!("caches/{name}"))),
            (_, Server::Nginx(nginx)) => format!("{}/{name}", nginx.url),
            (_, Server::Swift(swift)) => swift.uri(name, ""),
            (_, Server::Daemons(daemons)) => daemons[usize::from(side != Side::Nival)].uri.clone(),
            (Kind::SshNg(_), _) => format!("ssh-ng://{name}"),
            (Kind::Ssh(_), _) => format!("ssh://{name}"),
            _ => second_store(world, name),
        }
    }

    /// The store that shows what is right: the reference's own of this kind, or, where the
    /// reference cannot do it, a cache in a directory with the same paths.
    fn oracle(&self, case: &Case) -> String {
        let cache = format!("file://{}", self.world.text("caches/theirs"));
        match self.kind {
            // By http and s3 the classic programs of the reference crash now and then.
            Kind::Http | Kind::S3 => cache,
            kind if case.beyond & kind.bit() != 0 => cache,
            _ => self.uri(Side::Reference),
        }
    }

    /// What a side makes of a case.
    fn run(&self, case: &Case, side: Side) -> Outcome {
        let uri = if side == Side::Nival { self.uri(side) } else { self.oracle(case) };
        let mut args: Vec<String> = case.words.split(' ').map(|word| self.word(word)).collect();
        args.extend(["--store".to_owned(), uri.clone()]);
        let input = if case.words == "--import" { &self.stream[..] } else { b"" };
        let run = || self.world.run_with_input(side, case.program, &args, input);
        let mut outcome = run();
        // The reference behind ssh, when another test's program stands in a deep directory.
        for _ in 0..20 {
            if side != Side::Reference || !outcome.stderr.contains("File name too long") {
                break;
            }
            outcome = run();
        }
        let [plain, shown] = [uri.split('?').next().unwrap(), uri.as_str()];
        let (own, dir) = (name(side), self.world.text(""));
        outcome.stderr = outcome.stderr.replace(shown, "STORE").replace(plain, "STORE");
        outcome.stderr = outcome.stderr.replace(&dir, "ROOT/").replace(own, "SIDE");
        outcome
    }

    fn word(&self, word: &str) -> String {
        self.words.iter().fold(word.to_owned(), |word, (name, value)| word.replace(name, value))
    }

    /// Compares both sides; what is wrong, if anything is.
    fn check(&self, case: &Case) -> Result<(), String> {
        let ours = self.run(case, Side::Nival);
        let (kind, words) = (self.kind, case.words);
        let told = error(&ours);
        if let Some((.., message)) =
            cases::OURS.iter().find(|(of, kinds, _)| *of == words && kinds & kind.bit() != 0)
        {
            let fits = ours.status == 1 && told.contains(message);
            // Nothing else of it is as in the reference.
            return if fits { Ok(()) } else { Err(format!("{kind:?} {words}: not '{message}': {ours:?}")) };
        }
        let theirs = self.run(case, Side::Reference);
        let can = (case.kinds | case.beyond) & kind.bit() != 0;
        let wrong =
            |what: &str| Err(format!("{kind:?} {words}: {what}\n  ours {ours:?}\n  theirs {theirs:?}"));
        if can != (case.status == theirs.status) {
            return wrong(if can { "the reference cannot do it" } else { "the reference can do it" });
        }
        if ours.status != theirs.status {
            return wrong("other statuses");
        }
        let shown = |outcome: &Outcome| match case.shown {
            Shown::Exactly => outcome.stdout.clone(),
            Shown::InAnyOrder => {
                let mut lines = outcome.lines();
                lines.sort_unstable();
                lines.join("\n").into_bytes()
            }
            Shown::Nothing => Vec::new(),
        };
        if shown(&ours) != shown(&theirs) {
            return wrong("other output");
        }
        // A server of the reference may end before it has said why; then its words are not those of the case.
        let ended = theirs.stderr.contains("unexpected end-of-file");
        if !can && !ended && told != error(&theirs) {
            return wrong("another error");
        }
        Ok(())
    }
}

/// The first line that tells of an error.
fn error(outcome: &Outcome) -> String {
    let found = outcome.stderr.lines().find(|line| line.trim_start().starts_with("error: "));
    found.unwrap_or_default().trim().to_owned()
}

/// Tries all cases on a kind, and shows all that differs.
fn conforms(kind: Kind) {
    let Some(suite) = Suite::new(kind) else { return };
    let wrong: Vec<String> = cases::TABLE.iter().filter_map(|case| suite.check(case).err()).collect();
    assert!(wrong.is_empty(), "{} cases differ:\n{}", wrong.len(), wrong.join("\n"));
}

#[test]
fn local_stores() {
    conforms(Kind::Local);
}

#[test]
fn chroot_stores() {
    conforms(Kind::Chroot);
}

#[test]
fn caches_in_directories() {
    conforms(Kind::File);
}

#[test]
fn caches_on_web_servers() {
    conforms(Kind::Http);
}

#[test]
fn caches_in_buckets() {
    conforms(Kind::S3);
}

#[test]
fn our_daemon() {
    conforms(Kind::Daemon(Side::Nival));
}

#[test]
fn the_daemon_of_the_reference() {
    conforms(Kind::Daemon(Side::Reference));
}

#[test]
fn our_daemon_behind_ssh() {
    conforms(Kind::SshNg(Side::Nival));
}

#[test]
fn the_daemon_of_the_reference_behind_ssh() {
    conforms(Kind::SshNg(Side::Reference));
}

#[test]
fn our_program_behind_ssh() {
    conforms(Kind::Ssh(Side::Nival));
}

#[test]
fn the_program_of_the_reference_behind_ssh() {
    conforms(Kind::Ssh(Side::Reference));
}
