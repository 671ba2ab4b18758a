//! Nobody chooses a path by what a derivation says: its outputs follow from it,
//! or it is refused.

use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

use nival::model::{StoreDir, StorePath, ValidPathInfo};
use nival::progress;
use nival::store::LocalStore;
use nival::store::local::db::write::Existing;
use nival::store::local::{Layout, LocalOptions};

use crate::common::{Outcome, Side, World};
use crate::peer::Peer;
use crate::remotes::Daemon;

/// A user that is nobody's friend.
const STRANGER: u32 = 65_534;
const HASH: &str = "5891b5b522d5df086d0ff0b110fbd9d21bb4fc7163af34d08286a2e846f6be03";

/// The text of a derivation: outputs, inputs with their wanted output, sources,
/// variables.
fn derivation(outputs: &str, inputs: &[(&str, &str)], sources: &[&str], env: &[(&str, &str)]) -> String {
    let list = |items: Vec<String>| items.join(",");
    let inputs = list(inputs.iter().map(|(path, name)| format!(r#"("{path}",["{name}"])"#)).collect());
    let sources = list(sources.iter().map(|path| format!(r#""{path}""#)).collect());
    let env = list(env.iter().map(|(name, value)| format!(r#"("{name}","{value}")"#)).collect());
    format!(r#"Derive([{outputs}],[{inputs}],[{sources}],"builtin","builtin:buildenv",[],[{env}])"#)
}

fn output(name: &str, path: &str, algorithm: &str, hash: &str) -> String {
    format!(r#"("{name}","{path}","{algorithm}","{hash}")"#)
}

/// The path of an output with the content that [`HASH`] promises.
fn fixed_path(world: &World, name: &str) -> String {
    let hash = nival::model::Hash::parse(&format!("sha256:{HASH}"), None).unwrap();
    let ca = nival::model::ContentAddress { method: nival::model::ContentAddressMethod::NixArchive, hash };
    let dir = StoreDir::new(&world.text("store")).unwrap();
    dir.print(&dir.content_path(name, &ca, &Default::default()).unwrap())
}

/// The path in the place of which a stranger wants something else.
fn chosen(world: &World) -> String {
    format!("{}/{}-chosen", world.text("store"), "0".repeat(32))
}

/// An archive of a directory with one link.
fn tree() -> Vec<u8> {
    let words = [
        "nix-archive-1",
        "(",
        "type",
        "directory",
        "entry",
        "(",
        "name",
        "bin",
        "node",
        "(",
        "type",
        "symlink",
        "target",
        "/tmp",
        ")",
        ")",
        ")",
    ];
    words.into_iter().fold(crate::peer::Words::default(), |all, word| all.text(word)).0
}

fn verify(world: &World) -> Outcome {
    world.nix_store(&["--verify", "--check-contents"])
}

/// What one side says to derivations of every kind, in turn.
fn said_to_all(world: &World, side: Side) -> Vec<String> {
    let mut peer = Peer::over_stdio(world, side);
    let evil = chosen(world);
    let mut said = Vec::new();
    let mut add = |peer: &mut Peer, name: &str, text: String, references: &[&str]| {
        let result = peer.add_text(&format!("{name}.drv"), &text, references);
        // Ours says which derivation.
        said.push(match &result {
            Ok(path) => path.clone(),
            Err(error) => error.rsplit(".drv': ").next().unwrap().to_owned(),
        });
        result
    };
    let on = |path: &str| derivation(&output("out", &evil, "", ""), &[(path, "out")], &[], &[("out", &evil)]);
    let promised = |name: &str, path: &str| output(name, path, "r:sha256", HASH);
    let fixed = |name: &str| promised("out", &fixed_path(world, name));
    let of_fixed = |name: &str, env: &str| derivation(&fixed(name), &[], &[], &[("out", env)]);
    for (name, outputs, env) in [
        ("none", String::new(), vec![]),
        ("floating", output("out", "", "r:sha256", ""), vec![]),
        ("impure", output("out", "", "r:sha256", "impure"), vec![]),
        ("text", output("out", "", "text:sha256", ""), vec![]),
        ("deferred", output("out", "", "", ""), vec![]),
        ("chosen", output("out", &evil, "", ""), vec![("out", evil.clone())]),
        ("noenv", fixed("noenv"), vec![]),
        ("mixed", [output("a", &evil, "", ""), output("out", "", "", "")].join(","), vec![]),
        (
            "two",
            [promised("a", &fixed_path(world, "two-a")), fixed("two")].join(","),
            vec![("a", fixed_path(world, "two-a")), ("out", fixed_path(world, "two"))],
        ),
        (
            "more",
            [fixed("more"), promised("z", &fixed_path(world, "more-z"))].join(","),
            vec![("out", fixed_path(world, "more")), ("z", fixed_path(world, "more-z"))],
        ),
        (
            "other",
            promised("dev", &fixed_path(world, "other-dev")),
            vec![("dev", fixed_path(world, "other-dev"))],
        ),
    ] {
        let env: Vec<_> = env.iter().map(|(name, value)| (*name, value.as_str())).collect();
        let _ = add(&mut peer, name, derivation(&outputs, &[], &[], &env), &[]);
    }
    for algorithm in ["git:sha1", "r:blake3"] {
        let hash = if algorithm == "git:sha1" { &HASH[..40] } else { HASH };
        let text = derivation(&output("out", &evil, algorithm, hash), &[], &[], &[("out", &evil)]);
        let _ = add(&mut peer, "other", text, &[]);
    }
    let _ = add(&mut peer, "env", of_fixed("env", &evil), &[]);
    let input = add(&mut peer, "fixed", of_fixed("fixed", &fixed_path(world, "fixed")), &[]).unwrap();
    let wrong = add(&mut peer, "user", on(&input), &[&input]).unwrap_err();
    let right = wrong.rsplit('\'').nth(1).unwrap().to_owned();
    let text = on(&input).replace(&evil, &right);
    let user = add(&mut peer, "user", text.clone(), &[&input]).unwrap();
    let _ = add(&mut peer, "user", text.replace(r#"["out"]"#, r#"["nope"]"#), &[&input]);
    // Its path is known, but it does not say so.
    let open = text.replacen(&right, "", 1);
    let open = add(&mut peer, "user", open, &[&input]).unwrap();
    for path in [user, open] {
        let _ = add(&mut peer, "above", on(&path), &[&path]);
    }
    if !world.variables.is_empty() {
        let open = output("out", "", "", "");
        let mut below =
            add(&mut peer, "below", derivation(&output("out", "", "sha256", ""), &[], &[], &[]), &[])
                .unwrap();
        for number in 0..3 {
            let _ = add(&mut peer, "user", on(&below), &[&below]);
            let chain = derivation(&open, &[(&below, "out")], &[], &[("out", "")]);
            below = add(&mut peer, &format!("chain-{number}"), chain, &[&below]).unwrap();
        }
        let impure = derivation(&output("out", "", "sha256", "impure"), &[], &[], &[]);
        let impure = add(&mut peer, "never", impure, &[]).unwrap();
        let _ = add(&mut peer, "user", on(&impure), &[&impure]);
    }
    said
}

#[test]
fn what_cannot_be_believed_is_refused_as_by_the_reference() {
    for features in ["", "ca-derivations impure-derivations"] {
        let mut said = Vec::new();
        for side in [Side::Nival, Side::Reference] {
            let Some(mut world) = World::with_reference() else { return };
            if !features.is_empty() {
                world
                    .variables
                    .push(("NIX_CONFIG".to_owned(), format!("extra-experimental-features = {features}")));
            }
            world.nix_store(&["--init"]).ok();
            // Names in one store are not those of the other.
            let (dir, mut all) = (world.text("store"), said_to_all(&world, side));
            let hidden = |text: &mut String| {
                while let Some(at) = text.find(&dir) {
                    text.replace_range(at..at + dir.len() + 33, "STORE");
                }
            };
            all.iter_mut().for_each(hidden);
            said.push(all);
            assert!(!Path::new(&chosen(&world)).exists());
            verify(&world).ok();
        }
        assert_eq!(said[0], said[1], "{features}");
    }
}

/// Registers a text as an older version did: nothing is checked.
fn register_unchecked(world: &World, name: &str, text: &str, references: &[&str]) -> String {
    let dir = StoreDir::new(&world.text("store")).unwrap();
    let layout = Layout {
        store_dir: dir.clone(),
        real_store_dir: world.path("store"),
        state_dir: world.path("var"),
        log_dir: world.path("log"),
    };
    let store = LocalStore::open(LocalOptions::new(layout), progress::silent()).unwrap();
    let hash = nival::model::Hash::sha256(text.as_bytes());
    let ca = nival::model::ContentAddress { method: nival::model::ContentAddressMethod::Text, hash };
    let references: std::collections::BTreeSet<StorePath> =
        references.iter().map(|path| dir.parse(path).unwrap()).collect();
    let wanted =
        nival::model::content_address::ContentReferences { others: references.clone(), itself: false };
    let path = dir.content_path(name, &ca, &wanted).unwrap();
    let place = store.real_path(&path);
    std::fs::write(&place, text).unwrap();
    std::fs::set_permissions(&place, std::fs::Permissions::from_mode(0o444)).unwrap();
    let (hash, size) = nival::nar::dump::hash(&place, nival::model::HashAlgorithm::Sha256).unwrap();
    let mut info = ValidPathInfo::new(path.clone(), hash, size);
    (info.references, info.ca) = (references, Some(ca));
    store
        .write(|writer| {
            writer.register(&[info], Existing::Update, 1, |path| {
                Ok(store.read_derivation(path)?.known_outputs())
            })
        })
        .unwrap();
    dir.print(&path)
}

#[test]
fn what_was_registered_unchecked_is_not_made_and_is_found() {
    let mut world = World::new();
    world.nix_store(&["--init"]).ok();
    let (evil, open) = (chosen(&world), output("out", "", "r:sha256", ""));
    let mut peer = Peer::over_stdio(&world, Side::Nival);
    let package = peer.add("package", "fixed:r:sha256", &tree(), &[]).unwrap();
    let manifest = peer.add_text("env-manifest.nix", "[ ]", &[&package]).unwrap();
    let floating = register_unchecked(&world, "floating.drv", &derivation(&open, &[], &[], &[]), &[]);
    verify(&world).ok();
    let packages = format!("true 5 1 {package}");
    let text = derivation(
        &output("out", &evil, "", ""),
        &[(&floating, "out")],
        &[&manifest],
        &[("derivations", &packages), ("manifest", &manifest), ("out", &evil)],
    );
    let bad = register_unchecked(&world, "chosen.drv", &text, &[&floating, &manifest]);
    // What it needs comes to nothing, too, before it is looked at itself.
    let is_refused =
        |error: &str| error.contains("should be deferred") || error.contains("1 dependency failed");
    let error = peer.build(&format!("{bad}!out")).unwrap_err();
    assert!(is_refused(&error), "{error}");
    // Nor for root, nor where the feature is on.
    assert_eq!(world.nix_store(&["-r", &bad]).status, 1);
    let features = "extra-experimental-features = ca-derivations impure-derivations";
    world.variables.push(("NIX_CONFIG".to_owned(), features.to_owned()));
    let mut root = Peer::over_stdio_as(&world, Side::Nival, "--force-trusted");
    let error = root.build(&format!("{bad}!out")).unwrap_err();
    assert!(is_refused(&error), "{error}");
    assert!(!Path::new(&evil).exists());
    let found = verify(&world);
    assert_eq!(found.status, 1, "{}", found.stderr);
    assert!(found.stderr.contains(&format!("derivation '{bad}' cannot be trusted")), "{}", found.stderr);
    world.nix_store(&["--verify"]).ok();
}

/// Whoever may register paths does not register such derivations either.
#[test]
fn nothing_is_registered_that_does_not_follow() {
    for side in [Side::Nival, Side::Reference] {
        let Some(world) = World::with_reference() else { return };
        world.nix_store(&["--init"]).ok();
        let evil = chosen(&world);
        let wrong = derivation(&output("out", &evil, "", ""), &[], &[], &[("out", &evil)]);
        let open = derivation(&output("out", "", "r:sha256", ""), &[], &[], &[]);
        for (text, message) in [(wrong, "has incorrect output"), (open, "ca-derivations")] {
            let path = format!("{}/{}-x.drv", world.text("store"), crate::data::hash_part(1));
            std::fs::write(&path, text).unwrap();
            let hash = "0".repeat(52);
            let inputs = [
                ("--register-validity", format!("{path}\n\n0\n")),
                ("--load-db", format!("{path}\nsha256:{hash}\n9\n\n0\n")),
            ];
            for (operation, input) in inputs {
                let refused = world.run_with_input(side, "nix-store", &[operation], input.as_bytes());
                assert_eq!(refused.status, 1, "{operation}");
                assert!(refused.stderr.replace("\u{1b}[0m", "").contains(message), "{}", refused.stderr);
                assert_eq!(world.nix_store(&["--check-validity", &path]).status, 1);
            }
            std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o644)).unwrap();
        }
    }
}

/// What a stranger may make: an environment of what is among its inputs, and
/// under the path that follows.
fn makes_only_what_follows(peer: &mut Peer, world: &World) {
    let evil = chosen(world);
    let package = peer.add("package", "fixed:r:sha256", &tree(), &[]).unwrap();
    let mut make = |named: &[&str], inputs: &[(&str, &str)], references: &[&str]| {
        let manifest = peer.add_text("env-manifest.nix", "[ ]", named).unwrap();
        let packages = format!("true 5 1 {package}");
        let env = [("derivations", packages.as_str()), ("manifest", &manifest), ("out", &evil)];
        let text = derivation(&output("out", &evil, "", ""), inputs, &[&manifest], &env);
        let references: Vec<&str> = references.iter().copied().chain([manifest.as_str()]).collect();
        let error = match peer.add_text("e.drv", &text, &references) {
            Err(error) => error,
            Ok(path) => panic!("{path} was taken"),
        };
        let Some(right) = error.rsplit_once("should be '").map(|(_, rest)| rest.trim_end_matches('\''))
        else {
            return Err(error);
        };
        let drv = peer.add_text("e.drv", &text.replace(&evil, right), &references)?;
        peer.build(&format!("{drv}!out")).map(|()| right.to_owned())
    };
    let error = make(&[], &[], &[]).unwrap_err();
    assert!(error.contains("is not among its inputs"), "{error}");
    let made = make(&[&package], &[], &[]).unwrap();
    let info = world.nival("nix", &["path-info", "--json", "--json-format", "1", &made]);
    assert!(info.ok().text().contains(r#""ultimate":false"#), "{}", info.text());
    let open = derivation(&output("out", "", "r:sha256", ""), &[], &[], &[]);
    let error = peer.add_text("open.drv", &open, &[]).unwrap_err();
    assert!(error.contains("experimental Nix feature 'ca-derivations' is disabled"), "{error}");
    assert!(!Path::new(&evil).exists());
    verify(world).ok();
}

#[test]
fn strangers_make_only_what_follows_over_stdio() {
    let world = World::new();
    world.nix_store(&["--init"]).ok();
    makes_only_what_follows(&mut Peer::over_stdio(&world, Side::Nival), &world);
}

#[test]
fn strangers_make_only_what_follows_at_the_socket() {
    if !rustix::process::getuid().is_root() {
        crate::common::skip("only root can be somebody else");
        return;
    }
    let mut world = World::new();
    std::fs::set_permissions(world.path(""), std::fs::Permissions::from_mode(0o755)).unwrap();
    let daemon = Daemon::start(&world, Side::Nival, "open", &[]);
    let mut peer = Peer::over_socket(&world, &daemon.uri, STRANGER);
    world.variables.push(("NIX_REMOTE".to_owned(), crate::remotes::second_store(&world, "open")));
    makes_only_what_follows(&mut peer, &world);
}
