//! What a program that uses the library sees of it: errors that it can match,
//! and work that it can end.

use std::error::Error as _;
use std::path::PathBuf;

use nival::model::StorePath;
use nival::ops::copy::{self, CopyOptions};
use nival::progress::{self, Progress};
use nival::settings::Settings;
use nival::store::error::OpenError;
use nival::store::{LocalStore, Store, StoreError, open_uri};
use nival::sys::PathError;
use nival::sys::interrupt::CancelToken;

use crate::common::{Side, World};
use crate::remotes::{Daemon, real, second_store};

/// The names that a program may take from the crate itself. One that goes or changes its meaning breaks
/// programs: it is taken from here on purpose only, and with a new version.
const NAMES: [&str; 26] = [
    "CancelToken",
    "ContentAddress",
    "ContentAddressMethod",
    "CopyOptions",
    "Derivation",
    "DerivedPath",
    "Hash",
    "HashAlgorithm",
    "HashFormat",
    "LocalStore",
    "NarError",
    "NarInfo",
    "Outputs",
    "PathError",
    "Progress",
    "Realisation",
    "Settings",
    "Sink",
    "Store",
    "StoreDir",
    "StoreError",
    "StorePath",
    "ValidPathInfo",
    "copy",
    "open_uri",
    "silent",
];

#[test]
fn the_public_names_are_these() {
    let file = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("src/lib.rs");
    let text = std::fs::read_to_string(file).unwrap();
    let mut names: Vec<String> = Vec::new();
    for item in text.split("pub use ").skip(1) {
        let item = item.split(';').next().unwrap();
        let (module, listed) = match item.split_once('{') {
            Some((module, listed)) => (module, listed.trim_end_matches('}').to_owned()),
            None => item.rsplit_once("::").map(|(module, name)| (module, name.to_owned())).unwrap(),
        };
        let own = module.trim_end_matches(':').rsplit("::").next().unwrap();
        let listed = listed.split(',').map(str::trim).filter(|name| !name.is_empty());
        names.extend(listed.map(|name| if name == "self" { own } else { name }.to_owned()));
    }
    names.sort();
    assert_eq!(names, NAMES);
}

fn refused(uri: &str) -> StoreError {
    match open_uri(uri, &Settings::built_in()) {
        Ok(_) => panic!("{uri} is a store"),
        Err(error) => error,
    }
}

#[test]
fn a_uri_is_refused_for_a_reason_that_can_be_matched() {
    let open = |uri: &str| match refused(uri) {
        StoreError::Open(error) => error,
        other => panic!("{uri}: {other:?}"),
    };
    assert!(matches!(open("nonsense"), OpenError::Unparsable(text) if text == "nonsense"));
    assert!(matches!(open("gopher://x"), OpenError::UnknownScheme(scheme) if scheme == "gopher"));
    assert!(matches!(open("https://"), OpenError::NoAuthority(scheme) if scheme == "https"));
    assert!(matches!(open("ssh://-x"), OpenError::Authority { kind: "SSH", .. }));
    assert!(matches!(open("local?root=x"), OpenError::NotAbsolute(path) if path == *"x"));
    assert!(matches!(
        open("file:///x?compression=bzip"),
        OpenError::Parameter { name, near: Some(near), .. } if name == "compression" && near == "bzip2"
    ));
}

#[test]
fn errors_of_a_library_name_no_flags() {
    let world = World::new();
    let uri = format!("{}?read-only=true", world.text("root"));
    let StoreError::FeatureDisabled(disabled) = refused(&uri) else { panic!("it is a store") };
    assert_eq!(disabled.feature, "read-only-local-store");
    assert_eq!(disabled.to_string(), "experimental Nix feature 'read-only-local-store' is disabled");

    let root = world.path("lost");
    drop(LocalStore::at(&root).unwrap());
    let database = root.join("nix/var/nix/db/db.sqlite");
    std::fs::write(&database, "").unwrap();
    let Err(error) = LocalStore::at(&root) else { panic!("an empty database is none") };
    assert!(matches!(&error, StoreError::Lost { database: found, .. } if *found == database), "{error}");
    assert!(!error.to_string().contains("--"), "{error}");
}

/// A program that prints an error with all its sources shows each cause once.
#[test]
fn causes_are_told_once() {
    let world = World::new();
    let told = |error: &dyn std::error::Error| {
        let mut text = error.to_string();
        let mut next = error.source();
        while let Some(cause) = next {
            text += &format!(": {cause}");
            next = cause.source();
        }
        text
    };
    let missing = || PathError::new("opening file", PathBuf::from("/x"), std::io::ErrorKind::NotFound);
    assert_eq!(told(&StoreError::from(missing())).matches("not found").count(), 1);
    assert!(missing().source().is_none());

    let store: Box<dyn Store> = Box::new(LocalStore::at(world.path("root")).unwrap());
    let error = store.add_text("x.drv", b"no derivation", Default::default()).unwrap_err();
    let StoreError::Derivation { reason, .. } = &error else { panic!("{error:?}") };
    assert_eq!(told(&error).matches(&reason.to_string()).count(), 1, "{}", told(&error));
}

/// Cancels a token as soon as something is done.
struct Hasty(CancelToken);

impl Progress for Hasty {
    fn start(&self, _activity: &progress::Activity<'_>) -> progress::ActivityId {
        self.0.cancel();
        progress::ActivityId::NONE
    }
}

/// A store with paths in it, and one that is to get them.
fn two_stores(world: &World) -> (Box<dyn Store>, Box<dyn Store>, Vec<StorePath>) {
    let [full, empty] =
        ["full", "empty"].map(|root| Box::new(LocalStore::at(world.path(root)).unwrap()) as Box<dyn Store>);
    let add = |number: usize| {
        let text = format!("{number}").repeat(100_000);
        full.add_text(&format!("text-{number}"), text.as_bytes(), Default::default()).unwrap()
    };
    let paths = (0..40).map(add).collect();
    (full, empty, paths)
}

#[test]
fn a_token_ends_work_on_all_its_threads() {
    let world = World::new();
    let (full, empty, paths) = two_stores(&world);
    let options = CopyOptions::default();
    let copy = |progress: &dyn Progress| {
        let plan = copy::plan(&*full, &*empty, &paths, &options)?;
        copy::copy(&*full, &*empty, plan, &options, progress)
    };
    let token = CancelToken::new();
    let hasty = Hasty(token.clone());
    let error = token.scope(|| copy(&hasty)).unwrap_err();
    assert!(error.is_interruption(), "{error}");
    assert!(empty.all().unwrap().len() < paths.len());
    // The token is cancelled, and what is done without it goes on.
    copy(&progress::Silent).unwrap();
    assert_eq!(empty.all().unwrap().len(), paths.len());
    let error = token.scope(|| full.add_text("more", b"", Default::default())).unwrap_err();
    assert!(error.is_interruption(), "{error}");
}

#[test]
fn two_threads_work_under_two_tokens() {
    let world = World::new();
    let add = |name: &str, token: &CancelToken| {
        let store: Box<dyn Store> = Box::new(LocalStore::at(world.path(name)).unwrap());
        token.scope(|| store.add_text("x", b"x", Default::default()))
    };
    let (cancelled, other) = (CancelToken::new(), CancelToken::new());
    cancelled.cancel();
    std::thread::scope(|scope| {
        let first = scope.spawn(|| add("one", &cancelled));
        let second = scope.spawn(|| add("two", &other));
        assert!(first.join().unwrap().unwrap_err().is_interruption());
        second.join().unwrap().unwrap();
    });
}

#[test]
fn what_a_daemon_says_is_valid_stays_while_the_store_is_open() {
    let world = World::new();
    let second = second_store(&world, "other");
    let daemon = Daemon::start(&world, Side::Nival, "other", &[]);
    let text = world.write("f", "x");
    let path =
        world.run(Side::Nival, "nix-store", &["--store", &second, "--add", text.to_str().unwrap()]).line();
    let uri = format!("{}&store={}", daemon.uri, world.store().display());
    let store = open_uri(&uri, &Settings::built_in()).unwrap();
    let valid = [store.dir().parse(&path).unwrap()];
    assert!(store.valid(&valid).unwrap().contains(&valid[0]));
    let collect = || world.run(Side::Nival, "nix-store", &["--store", &second, "--gc"]).ok().stdout.clone();
    collect();
    assert!(real(&world, "other", &path).exists());
    drop(store);
    collect();
    assert!(!real(&world, "other", &path).exists());
}
