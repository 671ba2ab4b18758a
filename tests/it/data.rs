//! Stores with something in them, and helpers that several modules share.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;
use std::io::Write as _;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _, symlink};
use std::path::Path;
use std::process::{Child, Stdio};
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::{Duration, Instant};

use crate::common::{Outcome, Side, World, outcome};

/// Flags that make adding faster where a power failure is not the subject.
pub const UNSYNCED: [&str; 6] =
    ["--option", "sync-store-paths", "false", "--option", "fsync-metadata", "false"];

/// Numbers that look random and are the same in every run.
pub struct Random(pub u64);

impl Random {
    /// A number below `limit`.
    pub fn below(&mut self, limit: usize) -> usize {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        usize::try_from(self.0 >> 33).unwrap() % limit
    }
}

/// A hash part for a store path that no content leads to.
pub fn hash_part(seed: u64) -> String {
    let digits = b"0123456789abcdfghijklmnpqrsvwxyz";
    let mut random = Random(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) ^ 0x5151);
    random.below(2);
    (0..32).map(|_| char::from(digits[random.below(32)])).collect()
}

/// Writes so many blocks of 64 KiB, each different and hard to compress.
pub fn big_file(path: &Path, blocks: u64) {
    let mut random = Random(7);
    let mut block: Vec<u8> = (0..65536).map(|_| u8::try_from(random.below(256)).unwrap()).collect();
    let mut file = File::create(path).unwrap();
    for number in 0..blocks {
        block[..8].copy_from_slice(&number.to_le_bytes());
        file.write_all(&block).unwrap();
    }
}

/// The names in a directory; none if there is no directory.
pub fn names(dir: &Path) -> BTreeSet<String> {
    let Ok(entries) = std::fs::read_dir(dir) else { return BTreeSet::new() };
    entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect()
}

/// Everything about a tree that the store decides: type, mode, owner, time and
/// size or target of each file, by its path.
pub fn metadata(tree: &Path) -> BTreeMap<String, String> {
    let mut found = BTreeMap::new();
    let mut waiting = vec![tree.to_owned()];
    while let Some(path) = waiting.pop() {
        let meta = path.symlink_metadata().unwrap();
        let mut text = format!("{:o} {}:{} {}", meta.mode(), meta.uid(), meta.gid(), meta.mtime());
        if meta.is_dir() {
            waiting.extend(std::fs::read_dir(&path).unwrap().map(|entry| entry.unwrap().path()));
        } else if meta.is_symlink() {
            text += &format!(" -> {}", std::fs::read_link(&path).unwrap().display());
        } else {
            text += &format!(" {} {}", meta.len(), meta.nlink());
        }
        found.insert(path.strip_prefix(tree).unwrap().display().to_string(), text);
    }
    found
}

/// The rows and the files of a store, as texts.
pub type State = (Vec<String>, Vec<(String, String)>);

/// What the database below a state directory says beside the text that `--dump-db` has.
fn rows_in(state: &Path) -> Vec<String> {
    let database = rusqlite::Connection::open(state.join("db/db.sqlite")).unwrap();
    let mut found = Vec::new();
    for query in [
        "select path || ' ' || hash || ' ' || narSize || ' ' || ifnull(deriver, '-') || ' ' \
         || ifnull(ultimate, '-') || ' ' || ifnull(sigs, '-') || ' ' || ifnull(ca, '-') \
         from ValidPaths order by path",
        "select a.path || ' ' || b.path from Refs join ValidPaths a on a.id = referrer \
         join ValidPaths b on b.id = reference order by 1",
        "select v.path || ' ' || o.id || ' ' || o.path from DerivationOutputs o \
         join ValidPaths v on v.id = drv order by 1",
    ] {
        let mut statement = database.prepare(query).unwrap();
        let lines = statement.query_map([], |row| row.get::<_, String>(0)).unwrap();
        found.extend(lines.map(Result::unwrap));
    }
    found
}

/// What the database of a world says beside the text that `--dump-db` has.
pub fn rows(world: &World) -> Vec<String> {
    rows_in(&world.path("var"))
}

/// Everything that a command left: in the database and on the disk, except for
/// the times of the two directories that every command may change.
pub fn state(world: &World) -> State {
    state_in(&world.store(), &world.path("var"))
}

/// The same of a store elsewhere.
pub fn state_in(store: &Path, state: &Path) -> State {
    let mut files = metadata(store);
    files.remove("");
    files.remove(".links");
    (rows_in(state), files.into_iter().collect())
}

/// The names in the store directory that belong to no valid path; `.links`
/// apart.
pub fn leftovers(world: &World) -> BTreeSet<String> {
    let valid = world.nix_store(&["--dump-db"]).ok().text().to_owned();
    let mut names = names(&world.store());
    names.remove(".links");
    for line in valid.lines() {
        if let Some(name) = line.strip_prefix(&format!("{}/", world.text("store"))) {
            names.remove(name);
        }
    }
    names
}

/// Checks that a store holds exactly what its database says, and nothing else.
#[track_caller]
pub fn assert_sound(world: &World) {
    let verified = world.nix_store(&["--verify", "--check-contents"]);
    assert_eq!(verified.status, 0, "{}", verified.stderr);
    assert!(!verified.stderr.contains("disappeared"), "{}", verified.stderr);
    assert_eq!(leftovers(world), BTreeSet::new());
}

/// Puts a store aside; the next command begins a new one at the same place.
pub fn set_aside(world: &World, number: usize) {
    for dir in ["store", "var"] {
        std::fs::rename(world.path(dir), world.path(format!("{dir}{number}"))).unwrap();
    }
}

/// As [`forget`], also where there is nothing yet.
pub fn forget_if_there(world: &World) {
    if world.store().exists() {
        forget(world);
    }
}

/// Removes a store; the next command begins a new one at the same place.
pub fn forget(world: &World) {
    for dir in ["store", "var"] {
        nival::sys::remove::remove(&world.path(dir)).unwrap();
    }
}

/// How long something may take that takes no time on a machine with nothing else to do.
const PATIENCE: Duration = Duration::from_secs(60);

/// Waits until something is the case.
#[track_caller]
pub fn wait_until(what: &str, mut is_so: impl FnMut() -> bool) {
    let begun = Instant::now();
    while !is_so() {
        assert!(begun.elapsed() < PATIENCE, "waited in vain for: {what}");
        std::thread::sleep(Duration::from_millis(5));
    }
}

/// Waits until an amount is reached that a program brings about, for as long as it still grows:
/// a disk that other tests keep busy may make it slow.
#[track_caller]
pub fn wait_for_amount(what: &str, child: &mut Child, enough: u64, amount: impl Fn() -> u64) {
    let (mut last, mut since) = (amount(), Instant::now());
    while last < enough {
        assert!(since.elapsed() < PATIENCE, "waited in vain for: {what} ({last} of {enough})");
        std::thread::sleep(Duration::from_millis(5));
        let ended = child.try_wait().unwrap();
        let now = amount();
        assert!(ended.is_none() || now >= enough, "{what} ({now} of {enough}): it ended with {ended:?}");
        if now > last {
            (last, since) = (now, Instant::now());
        }
    }
}

/// Starts a program with pipes to all of its streams.
pub fn start(world: &World, side: Side, args: &[&str]) -> Child {
    let mut command = world.command(side, "nix-store");
    command.args(args).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    command.spawn().unwrap()
}

/// Waits for the end of a program that says little.
#[track_caller]
pub fn finish(mut child: Child, within: Duration) -> Outcome {
    let begun = Instant::now();
    while child.try_wait().unwrap().is_none() {
        if begun.elapsed() > within {
            child.kill().unwrap();
            panic!("still running after {within:?}: {:?}", outcome(child.wait_with_output().unwrap()));
        }
        std::thread::sleep(Duration::from_millis(5));
    }
    outcome(child.wait_with_output().unwrap())
}

/// Makes a file in the store directory for each of some paths, to be
/// registered, and gives the text for `--register-validity`: every path refers
/// to those that `references` gives for its number.
pub fn plant(world: &World, paths: &[String], references: impl Fn(usize) -> Vec<String>) -> String {
    let mut text = String::new();
    for (number, path) in paths.iter().enumerate() {
        let references: BTreeSet<String> = references(number).into_iter().collect();
        let lines: String = references.iter().map(|reference| format!("{reference}\n")).collect();
        std::fs::write(path, format!("{number}\n{lines}")).unwrap();
        if number % 3 == 0 {
            std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o755)).unwrap();
        }
        text += &format!("{path}\n\n{}\n{lines}", references.len());
        assert!(path.starts_with(&world.text("store")));
    }
    text
}

/// Six paths, added by us: a tree, files, and some that refer to others and to
/// themselves; in the order of their references.
pub fn sample(world: &World) -> Vec<String> {
    world.write("src/tree/sub/text", "some text\n");
    world.write("src/tree/empty", "");
    symlink("sub/text", world.path("src/tree/link")).unwrap();
    world.write("src/plain", "x".repeat(3000));
    let mut paths: Vec<String> = Vec::new();
    let added = world.nix_store(&["--add", &world.text("src/tree"), &world.text("src/plain")]);
    paths.extend(added.ok().lines().into_iter().map(str::to_owned));
    let planted: Vec<String> =
        (0..4).map(|i| format!("{}/{}-sample-{i}", world.text("store"), hash_part(i))).collect();
    let text = plant(world, &planted, |i| match i {
        0 => vec![paths[0].clone()],
        1 => vec![planted[0].clone(), planted[1].clone()],
        2 => vec![planted[0].clone(), paths[1].clone()],
        _ => vec![planted[1].clone(), planted[2].clone()],
    });
    world.run_with_input(Side::Nival, "nix-store", &["--register-validity"], text.as_bytes()).ok();
    paths.extend(planted);
    // In the order of an export.
    let args: Vec<&str> = std::iter::once("-qR").chain(paths.iter().map(String::as_str)).collect();
    world.nix_store(&args).ok().lines().into_iter().map(str::to_owned).collect()
}

/// The export stream of some paths.
pub fn export(world: &World, paths: &[String]) -> Vec<u8> {
    let args: Vec<&str> = std::iter::once("--export").chain(paths.iter().map(String::as_str)).collect();
    world.nix_store(&args).ok().stdout.clone()
}

/// The path that `--add` gives to a source.
pub fn path_of(world: &World, source: &str) -> String {
    let hash = world.nival("nix-hash", &["--type", "sha256", "--base32", &world.text(source)]).line();
    let name = Path::new(source).file_name().unwrap().to_str().unwrap();
    world.nix_store(&["--print-fixed-path", "--recursive", "sha256", &hash, name]).line()
}

/// A store of real data, filled by the reference.
pub struct Data {
    pub world: World,
    /// Added sources without references: trees, files, symlinks.
    pub plain: Vec<String>,
    /// Registered files that refer to each other, to themselves and to sources.
    pub linked: Vec<String>,
    /// A built path with many references, and its derivation.
    pub top: String,
    pub top_drv: String,
    /// A derivation with three outputs, built.
    pub multi_drv: String,
    /// A derivation that was never built.
    pub unbuilt_drv: String,
    /// A file of 100 MB.
    pub big: String,
    /// Keeps temporary roots of a process that is none.
    _temp_roots: File,
}

static SHARED: Mutex<Weak<Data>> = Mutex::new(Weak::new());

/// The store of real data, for tests that only read it. It is made once and
/// shared by all that run at the same time.
pub fn shared() -> Option<Arc<Data>> {
    let mut shared = SHARED.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(data) = shared.upgrade() {
        return Some(data);
    }
    let data = Arc::new(Data::new(World::with_reference()?));
    *shared = Arc::downgrade(&data);
    Some(data)
}

const DERIVATIONS: &str = r#"
let
  make = name: inputs: more: derivation ({
    inherit name;
    system = "x86_64-linux";
    builder = "/bin/sh";
    args = [ "-c" "echo building $name; for o in $outputs; do eval echo $name ${toString inputs} \\$$o > $(eval echo \\$$o); done" "it's" ];
    PATH = "/bin:/usr/bin";
    outputs = [ "out" ];
    quoted = "it's \"q\" \n x";
  } // more);
  a = make "a-3" [ ] { };
  b = make "foo-bar-1.2.3" [ a ] { };
  c = make "note.txt" [ a b ] { };
  multi = make "multi-2.0" [ c a ] { outputs = [ "out" "dev" "doc" ]; };
  e = make "lib-x" [ c multi.dev ] { };
in {
  inherit multi;
  top = make "all-0.1pre" [ a b c multi e ] { };
  unbuilt = make "never-built" [ e ] { };
}
"#;

impl Data {
    fn new(world: World) -> Self {
        let file = world.write("src/derivations.nix", DERIVATIONS);
        let file = file.to_str().unwrap();
        let reference = |program, args: &[&str]| world.run(Side::Reference, program, args);
        let top = reference("nix-build", &["--no-out-link", file, "-A", "top"]).line();
        let top_drv = reference("nix-store", &["-qd", &top]).line();
        let instantiate = |name| reference("nix-instantiate", &["--quiet", file, "-A", name]).line();
        let (multi_drv, unbuilt_drv) = (instantiate("multi"), instantiate("unbuilt"));
        let plain = add_sources(&world);
        big_file(&world.path("src/big"), 1600);
        let big = reference("nix-store", &["--add", &world.text("src/big")]).line();
        std::fs::remove_file(world.path("src/big")).unwrap();
        let linked = register_linked(&world, &plain, &top);
        let temp_roots = make_roots(&world, &top, &linked);
        Self { world, plain, linked, top, top_drv, multi_drv, unbuilt_drv, big, _temp_roots: temp_roots }
    }
}

/// Makes a source of the kind that its number stands for.
pub fn make_source(path: &Path, number: usize) {
    match number % 8 {
        0 => std::fs::create_dir(path).unwrap(),
        1 => std::fs::write(path, "").unwrap(),
        2 => std::fs::write(path, format!("file {number}\n").repeat(number)).unwrap(),
        3 => {
            std::fs::write(path, "#!/bin/sh\n").unwrap();
            std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o700)).unwrap();
        }
        4 => symlink(format!("nowhere-{number}"), path).unwrap(),
        _ => {
            std::fs::create_dir_all(path.join("sub/empty")).unwrap();
            std::fs::create_dir_all(path.join("sub.x")).unwrap();
            std::fs::write(path.join(format!("é-{number}-日本 with blanks")), "unicode").unwrap();
            std::fs::write(path.join("sub/nothing"), "").unwrap();
            std::fs::write(path.join("sub.x/run"), "x".repeat(number * 10)).unwrap();
            let executable = std::fs::Permissions::from_mode(0o751);
            std::fs::set_permissions(path.join("sub.x/run"), executable).unwrap();
            symlink("../sub.x/run", path.join("sub/link")).unwrap();
        }
    }
}

fn add_sources(world: &World) -> Vec<String> {
    let mut args = vec!["--add".to_owned()];
    for number in 0..120 {
        let path = world.path(format!("src/source-{number}"));
        make_source(&path, number);
        args.push(path.to_str().unwrap().to_owned());
    }
    let added = world.run(Side::Reference, "nix-store", &args);
    added.ok().lines().into_iter().map(str::to_owned).collect()
}

/// A chain, diamonds, references to sources and to itself.
fn register_linked(world: &World, plain: &[String], top: &str) -> Vec<String> {
    let store = world.text("store");
    let linked: Vec<String> =
        (0..120).map(|i| format!("{store}/{}-linked-{i}.{}", hash_part(i), i % 5)).collect();
    let text = plant(world, &linked, |i| {
        let mut references = Vec::new();
        if i % 40 != 0 {
            references.push(linked[if i % 3 == 0 { i / 2 } else { i - 1 }].clone());
        }
        if i % 4 == 0 {
            references.extend([linked[i / 4].clone(), linked[i / 5].clone()]);
        }
        if i % 7 == 0 {
            references.push(plain[i].clone());
        }
        if i % 5 == 0 {
            references.push(linked[i].clone());
        }
        if i % 50 == 1 {
            references.push(top.to_owned());
        }
        references
    });
    world.run_with_input(Side::Reference, "nix-store", &["--register-validity"], text.as_bytes()).ok();
    linked
}

/// Roots of every kind.
fn make_roots(world: &World, top: &str, linked: &[String]) -> File {
    let roots = world.path("var/gcroots");
    std::fs::create_dir_all(roots.join("deep/er")).unwrap();
    let indirect = world.path("home/indirect");
    symlink(&linked[60], roots.join("direct")).unwrap();
    symlink(top, roots.join("deep/er/top")).unwrap();
    symlink(format!("{}/below", linked[119]), roots.join("deep/below")).unwrap();
    symlink(top, &indirect).unwrap();
    symlink(&indirect, roots.join("deep/indirect")).unwrap();
    symlink("/nowhere/at/all", roots.join("elsewhere")).unwrap();
    std::fs::write(roots.join(Path::new(&linked[30]).file_name().unwrap()), "").unwrap();
    // No process has such a number.
    let path = world.path("var/temproots/999999999");
    let mut file = File::create(path).unwrap();
    rustix::fs::flock(&file, rustix::fs::FlockOperation::LockExclusive).unwrap();
    write!(file, "{top}\0{}\0{}", linked[10], linked[11]).unwrap();
    file
}

/// Makes a key, `secret` in the world, and lets the world trust it.
pub fn trust_new_key(world: &World) {
    let secret = world.nival("nix", &["key", "generate-secret", "--key-name", "test-1"]);
    world.write("secret", &secret.ok().stdout);
    let convert = ["key", "convert-secret-to-public"];
    let public = world.run_with_input(Side::Nival, "nix", &convert, &secret.stdout);
    let conf = std::fs::read_to_string(world.path("etc/nix.conf")).unwrap();
    world.write("etc/nix.conf", format!("{conf}trusted-public-keys = {}\n", public.ok().text()));
}
