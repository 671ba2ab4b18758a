//! Derivations whose output paths follow from what is built: which path an
//! output has is known by its realisation.

use nival::model::Realisation;
use nival::model::signature::SecretKey;

use crate::common::{Outcome, Side, World};
use crate::data;
use crate::peer::{Peer, Words, op};
use crate::remotes::{Daemon, second_store};

const SIDES: [Side; 2] = [Side::Nival, Side::Reference];
const NIX: &str = r#"
let make = name: args: attrs: derivation ({
    inherit name; system = "x86_64-linux"; builder = "/bin/sh"; args = [ "-c" args ];
    __contentAddressed = true; outputHashMode = "recursive"; outputHashAlgo = "sha256";
} // attrs);
in rec {
    low = make "low" "echo low > $out; echo $out > $dev" { outputs = [ "out" "dev" ]; };
    top = make "top" "echo ${low} ${low.dev} $out > $out" { };
    above = make "above" "echo ${top} > $out" { __contentAddressed = false; };
    plain = make "plain" "echo plain > $out" { __contentAddressed = false; };
    never = make "never" "echo never > $out" { };
}"#;

const NOT_KNOWN: &str = "error: Cannot use output path of floating content-addressing derivation until we \
                         know what it is (e.g. by building it)";

struct Built {
    world: World,
    /// Derivations by name.
    low: String,
    top: String,
    above: String,
    plain: String,
    never: String,
}

/// A world where the reference has built all but `never`.
fn built() -> Option<Built> {
    let world = World::with_reference()?;
    let conf = world.path("etc/nix.conf");
    let text = std::fs::read_to_string(&conf).unwrap();
    std::fs::write(&conf, text.replace("nix-command", "nix-command ca-derivations")).unwrap();
    let file = world.write("src/ca.nix", NIX);
    let [low, top, above, plain, never] = ["low", "top", "above", "plain", "never"].map(|name| {
        let args = ["--quiet", file.to_str().unwrap(), "-A", name];
        world.run(Side::Reference, "nix-instantiate", &args).ok();
        world.run(Side::Reference, "nix-instantiate", &args).line()
    });
    world.run(Side::Reference, "nix-store", &["--quiet", "-r", &low, &above, &plain]).ok();
    Some(Built { world, low, top, above, plain, never })
}

/// A daemon over a new store.
fn daemon(world: &World, server: Side, name: &str) -> Daemon {
    // So that two processes of the daemon do not add the tables at once.
    std::fs::create_dir(world.path(name)).unwrap();
    world.run(Side::Reference, "nix-store", &["--store", &second_store(world, name), "--init"]).ok();
    Daemon::start(world, server, name, &[])
}

/// What our program says; the other says the same.
fn both(world: &World, program: &str, args: &[&str]) -> Outcome {
    let [ours, theirs] = SIDES.map(|side| world.run(side, program, args));
    assert_eq!((ours.status, ours.text()), (theirs.status, theirs.text()), "{program} {args:?}");
    ours
}

#[test]
fn outputs_are_known_by_their_realisations() {
    let Some(built) = built() else { return };
    let Built { world, low, top, above, never, .. } = &built;
    let store = |args: &[&str]| both(world, "nix-store", args);
    for drv in [low, top, above, never] {
        store(&["-q", drv]).fails(NOT_KNOWN);
        store(&["-qu", "--references", drv]);
        assert_eq!(store(&["-r", drv, "--dry-run"]).status, 0);
        store(&["-qR", "--include-outputs", drv]).ok();
        both(world, "nix", &["derivation", "show", drv]).ok();
    }
    assert_eq!(store(&["-r", low, &format!("{low}!dev"), top, above]).ok().lines().len(), 5);
    let info = both(world, "nix", &["path-info", &format!("{low}^*"), &format!("{top}^out")]);
    assert_eq!(info.ok().lines().len(), 3);
    both(world, "nix", &["path-info", "--json", "--json-format", "1", &format!("{above}^*")]).ok();
    for more in [&[][..], &["--json"], &["-r"], &["--derivation"], &["--json", "--pretty"]] {
        let outputs = [low, top, above].map(|drv| format!("{drv}^*"));
        let [low, top, above] = outputs.each_ref().map(String::as_str);
        both(world, "nix", &[&["realisation", "info", low, top, above, never][..], more].concat()).ok();
    }
    both(world, "nix", &["realisation", "info", "--all"]).ok();
    // What is not built is told, and has no path.
    let unbuilt = world.nival("nix", &["path-info", &format!("{never}^*")]);
    assert_eq!(
        unbuilt.stderr,
        world.run(Side::Reference, "nix", &["path-info", &format!("{never}^*")]).stderr
    );
    // Without the feature nothing is asked about them.
    let without = ["--option", "experimental-features", "nix-command"];
    let store = |args: &[&str]| store(&[args, &without].concat());
    store(&["-qR", "--include-outputs", top]).ok();
    store(&["-r", "--dry-run", above]).ok();
    const DISABLED: &str = "error: experimental Nix feature 'ca-derivations' is disabled; add \
                            '--extra-experimental-features ca-derivations' to enable it";
    store(&["-q", top]).fails(DISABLED);
    store(&["-q", above]).fails(NOT_KNOWN);
    store(&["-r", top]).fails(DISABLED);
    store(&["-r", above]).fails(DISABLED);
    let cache = format!("file://{}", world.text("none"));
    let copy = ["copy", "--to", &cache, &format!("{top}^*")];
    both(world, "nix", &[&copy[..], &without].concat()).fails(DISABLED);
}

/// Where the derivations are in a cache as well, it knows their outputs.
#[test]
fn outputs_are_copied_from_a_cache() {
    let Some(built) = built() else { return };
    let Built { world, top, .. } = &built;
    let cache = format!("file://{}", world.text("cache"));
    let outputs = format!("{top}^*");
    world.nival("nix", &["copy", "--to", &cache, &outputs]).ok();
    world.nival("nix", &["copy", "--to", &cache, "--derivation", top]).ok();
    // What is there unsigned is signed, and what is signed stays so.
    let stored = || {
        let names = data::names(&world.path("cache/realisations"));
        let files = names.iter().map(|name| world.path("cache/realisations").join(name));
        files.map(|file| Realisation::parse(&std::fs::read(file).unwrap()).unwrap()).collect::<Vec<_>>()
    };
    assert!(stored().iter().any(|realisation| realisation.signatures.is_empty()));
    let key = SecretKey::from_seed("k-1", &[7; 32]);
    let signing = format!("{cache}?secret-key={}", world.write("key", key.print()).display());
    world.nival("nix", &["copy", "--to", &signing, &outputs]).ok();
    world.nival("nix", &["copy", "--to", &cache, &outputs]).ok();
    assert!(stored().iter().any(|realisation| realisation.is_signed_by(&[key.public()])));
    // A file that is no realisation is replaced.
    let names = data::names(&world.path("cache/realisations"));
    let file = world.path("cache/realisations").join(names.first().unwrap());
    std::fs::write(&file, "{").unwrap();
    world.nival("nix", &["copy", "--to", &cache, &outputs]).ok();
    assert!(Realisation::parse(&std::fs::read(&file).unwrap()).is_ok());
    both(world, "nix", &["path-info", "--store", &cache, &outputs]).ok();
    for side in SIDES {
        let second = second_store(world, &format!("second-{side:?}"));
        std::fs::create_dir(world.path(format!("second-{side:?}"))).unwrap();
        let copy = ["copy", "--no-check-sigs", "--from", &cache, "--to", &second];
        world.run(side, "nix", &[&copy[..], &[&outputs]].concat()).ok();
        world.run(side, "nix", &[&copy[..], &["--derivation", top]].concat()).ok();
        both(world, "nix-store", &["--store", &second, "-r", top]).ok();
    }
}

/// A client that has requests fulfilled hears what came of them.
#[test]
fn a_client_hears_the_paths_of_outputs() {
    let Some(built) = built() else { return };
    let Built { world, low, top, above, plain, .. } = &built;
    for (name, server) in [("ours", Side::Nival), ("theirs", Side::Reference)] {
        let daemon = daemon(world, server, name);
        let copy = ["copy", "--no-check-sigs", "--to", &daemon.uri];
        world.nival("nix", &[&copy[..], &["--derivation", above, plain]].concat()).ok();
        let outputs = [low, top, above, plain].map(|drv| format!("{drv}^*"));
        let outputs: Vec<&str> = outputs.iter().map(String::as_str).collect();
        world.nival("nix", &[&copy[..], &outputs].concat()).ok();
        for drv in [low, top, above, plain] {
            let args =
                ["build", "--no-link", "--print-out-paths", "--store", &daemon.uri, &format!("{drv}^*")];
            let told = world.run(Side::Reference, "nix", &args);
            let known = world.run(Side::Reference, "nix", &["path-info", &format!("{drv}^*")]);
            let sorted = |outcome: &Outcome| {
                let mut lines: Vec<String> = outcome.ok().lines().into_iter().map(str::to_owned).collect();
                lines.sort();
                lines
            };
            assert_eq!(sorted(&told), sorted(&known), "{server:?} {drv}");
        }
    }
}

#[test]
fn a_derivation_keeps_its_realised_outputs() {
    let Some(built) = built() else { return };
    let world = &built.world;
    let output = both(world, "nix", &["path-info", &format!("{}^out", built.top)]).line();
    for root in [&built.top, &built.above, &output] {
        let link = world.path("var/gcroots/root");
        let _ = std::fs::remove_file(&link);
        std::os::unix::fs::symlink(root, &link).unwrap();
        for (outputs, derivations) in [("true", "false"), ("false", "true"), ("true", "true")] {
            let keep = ["--option", "keep-outputs", outputs, "--option", "keep-derivations", derivations];
            let ask = |question| [&["--gc", question][..], &keep].concat();
            let alive = both(world, "nix-store", &ask("--print-live"));
            // Of the reference's answers these two do not always fit together.
            let dead = world.nix_store(&ask("--print-dead"));
            assert!(!dead.ok().lines().iter().any(|path| alive.lines().contains(path)));
        }
    }
    let roots = ["-q", "--roots", &output, "--option", "keep-outputs", "true"];
    assert!(!both(world, "nix-store", &roots).ok().text().is_empty());
    // What goes takes its realisation along.
    std::fs::remove_file(world.path("var/gcroots/root")).unwrap();
    world.nix_store(&["--gc"]).ok();
    data::assert_sound(world);
}

#[test]
fn a_copied_output_takes_its_realisation_along() {
    let Some(built) = built() else { return };
    let Built { world, low, top, above, plain, .. } = &built;
    let [ours, theirs] = SIDES.map(|side| {
        let cache = format!("file://{}", world.text(format!("cache-{side:?}")));
        let outputs = [low, top, above, plain].map(|drv| format!("{drv}^*"));
        let args: Vec<&str> =
            ["copy", "--to", &cache].into_iter().chain(outputs.iter().map(String::as_str)).collect();
        world.run(side, "nix", &args).ok();
        let dir = world.path(format!("cache-{side:?}/realisations"));
        let read = |name: String| (std::fs::read_to_string(dir.join(&name)).unwrap(), name);
        data::names(&dir).into_iter().map(read).collect::<Vec<_>>()
    });
    assert_eq!(ours, theirs);
    assert_eq!(ours.len(), 5);
    for (text, _) in ours {
        assert_eq!(Realisation::parse(text.as_bytes()).unwrap().print(), text);
    }
}

/// Each side's client with each side's daemon.
#[test]
fn a_daemon_learns_and_tells_realisations() {
    let Some(built) = built() else { return };
    let Built { world, low, top, .. } = &built;
    for (number, (server, client)) in SIDES.into_iter().flat_map(|s| SIDES.map(|c| (s, c))).enumerate() {
        let name = format!("far-{number}");
        let daemon = daemon(world, server, &name);
        let to = ["copy", "--no-check-sigs", "--to", &daemon.uri];
        world.run(client, "nix", &[&to[..], &["--derivation", top]].concat()).ok();
        let (out, all) = (format!("{top}^out"), format!("{low}^*"));
        world.run(client, "nix", &[&to[..], &[&out, &all]].concat()).ok();
        let here = world.run(client, "nix", &["path-info", &out, &all]);
        let there = world.run(client, "nix-store", &["--store", &daemon.uri, "-r", top, low]);
        let (mut here, mut there) = (here.ok().lines(), there.ok().lines());
        here.sort_unstable();
        there.sort_unstable();
        assert_eq!(here, there, "{server:?} {client:?}");
        // In its own database.
        let direct = world.nix_store(&["--store", &second_store(world, &name), "-r", top]);
        direct.ok();
    }
}

/// Nobody chooses for others which path an output has.
#[test]
fn a_strangers_realisation_needs_a_signature() {
    let Some(built) = built() else { return };
    let Built { world, top, never, .. } = &built;
    let key = SecretKey::from_seed("k-1", &[7; 32]);
    let conf = world.path("etc/nix.conf");
    let text = std::fs::read_to_string(&conf).unwrap();
    std::fs::write(&conf, format!("{text}trusted-public-keys = {}\n", key.public().print())).unwrap();
    let path = both(world, "nix", &["path-info", &format!("{top}^out")]).line();
    let drv = nival::model::Derivation::parse(
        &nival::model::StoreDir::new(&world.text("store")).unwrap(),
        &std::fs::read(never).unwrap(),
    );
    let dir = nival::model::StoreDir::new(&world.text("store")).unwrap();
    let none = |_: &nival::model::StorePath| Err(());
    let hash = nival::model::derivation::modulo::hash_for_realisations(&drv.unwrap(), &dir, none).unwrap();
    let id = nival::model::DrvOutput::new(&hash.unwrap(), "out").unwrap();
    let mut realisation = Realisation::new(id.clone(), dir.parse(&path).unwrap());
    let offer = |realisation: &Realisation, trust: &str| {
        let mut peer = Peer::over_stdio_as(world, Side::Nival, trust);
        peer.send(Words::of(op::REGISTER_DRV_OUTPUT).text(realisation.print()));
        peer.outcome()
    };
    let refused = offer(&realisation, "--force-untrusted").unwrap_err();
    assert!(refused.contains("is not signed by any of the keys"), "{refused}");
    let mut forged = realisation.clone();
    forged.sign(&SecretKey::from_seed("k-1", &[8; 32]));
    assert!(offer(&forged, "--force-untrusted").is_err());
    let mut broken = Peer::over_stdio(world, Side::Nival);
    broken.send(Words::of(op::REGISTER_DRV_OUTPUT).text("{\"id\":\"../x\"}"));
    assert!(broken.outcome().unwrap_err().contains("cannot be used"));
    realisation.sign(&key);
    offer(&realisation, "--force-untrusted").unwrap();
    // Nothing is kept that nobody vouches for, beside what is signed either.
    let mut grown = realisation.clone();
    (0..50).for_each(|seed| grown.sign(&SecretKey::from_seed(&format!("other-{seed}"), &[9; 32])));
    offer(&grown, "--force-untrusted").unwrap();
    assert_eq!(both(world, "nix-store", &["-r", never]).line(), path);
    // It stands, and no other beside it.
    let mut peer = Peer::over_stdio(world, Side::Nival);
    peer.send(Words::of(op::QUERY_REALISATION).text(id.to_string()));
    peer.outcome().unwrap();
    assert_eq!((peer.number(), peer.text()), (1, realisation.print()));
    realisation.out_path = dir.parse(never).unwrap();
    assert!(offer(&realisation, "--force-trusted").unwrap_err().contains("has another path"));
}

/// A cache that was not asked before knows an output's path, too.
#[test]
fn an_output_is_fetched_by_its_realisation() {
    let Some(built) = built() else { return };
    let Built { world, low, top, above, .. } = &built;
    let key = SecretKey::from_seed("k-1", &[7; 32]);
    let key_file = world.write("key", key.print());
    let outputs = [low, top, above].map(|drv| format!("{drv}^*"));
    let cache = |name: &str, query: &str| {
        let uri = format!("file://{}", world.text(name));
        let args = ["copy", "--to", &format!("{uri}{query}")].map(str::to_owned);
        world.nival("nix", &[&args[..], &outputs].concat()).ok();
        uri
    };
    let signed = cache("signed", &format!("?secret-key={}", key_file.display()));
    let unsigned = cache("unsigned", "");
    // As old versions wrote it: with what was used, which is not known here.
    for name in data::names(&world.path("unsigned/realisations")) {
        let file = world.path("unsigned/realisations").join(name);
        let text = std::fs::read_to_string(&file).unwrap();
        let used = format!(r#"{{"sha256:{}!out":"{}-x"}}"#, "1".repeat(64), data::hash_part(7));
        std::fs::write(&file, text.replacen("{}", &used, 1)).unwrap();
    }
    let known = world.nival("nix", &["path-info", &outputs[1], &outputs[2]]);
    let mut derivations = String::new();
    for (number, (from, trusts)) in [(&signed, true), (&unsigned, false)].into_iter().enumerate() {
        let name = format!("second-{number}");
        let second = second_store(world, &name);
        std::fs::create_dir(world.path(&name)).unwrap();
        let args = ["copy", "--no-check-sigs", "--to", &second, "--derivation", above];
        world.nival("nix", &args).ok();
        let substituters = ["--option", "substituters", from, "--option", "trusted-public-keys"];
        let keys = key.public().print();
        let realise = |more: &[&str]| {
            let args = [&["--store", &second, "-r", top, above], more, &substituters, &[&keys]].concat();
            world.nix_store(&args)
        };
        if !trusts {
            let refused = realise(&[]);
            // It would be built then, for which there is no shell in a sandbox.
            assert_ne!(refused.status, 0);
            assert!(refused.stderr.contains("is not believed"), "{}", refused.stderr);
            realise(&["--option", "require-sigs", "false"]).ok();
            continue;
        }
        let planned = realise(&["--dry-run"]);
        assert!(planned.ok().stderr.contains("these 4 paths will be fetched"), "{}", planned.stderr);
        let mut fetched = realise(&[]).ok().lines().into_iter().map(str::to_owned).collect::<Vec<_>>();
        fetched.sort();
        let mut known = known.lines();
        known.sort_unstable();
        assert_eq!(fetched, known);
        // It is known from now on, to the reference as well.
        let offline = ["--store", &second, "-r", top, above];
        assert_eq!(world.run(Side::Reference, "nix-store", &offline).ok().lines().len(), 2);
        derivations.push_str(&world.nix_store(&offline).ok().stderr);
    }
    assert!(!derivations.contains("will be"), "{derivations}");
}

/// The database of the world's store.
fn alter<T>(world: &World, work: impl FnOnce(&rusqlite::Connection) -> rusqlite::Result<T>) -> T {
    let database = rusqlite::Connection::open(world.path("var/db/db.sqlite")).unwrap();
    database.execute_batch("pragma foreign_keys = off").unwrap();
    work(&database).unwrap()
}

/// Signatures are made over what a realisation depends on, too.
#[test]
fn what_is_registered_in_part_has_no_signatures() {
    let Some(built) = built() else { return };
    let world = &built.world;
    let key = SecretKey::from_seed("k-1", &[7; 32]);
    let ask = |id: &str| {
        let mut peer = Peer::over_stdio(world, Side::Nival);
        peer.send(Words::of(op::QUERY_REALISATION).text(id));
        peer.outcome().unwrap();
        assert_eq!(peer.number(), 1);
        Realisation::parse(peer.text().as_bytes()).unwrap()
    };
    let offer = |realisation: &Realisation| {
        let mut peer = Peer::over_stdio_as(world, Side::Nival, "--force-trusted");
        peer.send(Words::of(op::REGISTER_DRV_OUTPUT).text(realisation.print()));
        peer.outcome().unwrap();
    };
    let ids = alter(world, |database| {
        let mut query =
            database.prepare("select drvPath || '!' || outputName from Realisations order by id")?;
        query.query_map([], |row| row.get::<_, String>(0))?.collect::<rusqlite::Result<Vec<_>>>()
    });
    let (one, other) = (ask(&ids[0]), ask(&ids[1]));
    let unknown: nival::model::DrvOutput = format!("sha256:{}!out", "1".repeat(64)).parse().unwrap();
    let signed_with = |dependents: &[(&nival::model::DrvOutput, &nival::model::StorePath)]| {
        let mut realisation = one.clone();
        realisation.signatures.clear();
        let dependents = dependents.iter().map(|(id, path)| ((*id).clone(), (*path).clone()));
        realisation.dependents = dependents.collect();
        realisation.sign(&key);
        realisation
    };
    alter(world, |database| database.execute("delete from RealisationsRefs", []));
    // Nothing is known of one of the two.
    let partly = signed_with(&[(&unknown, &one.out_path), (&other.id, &other.out_path)]);
    alter(world, |database| database.execute("delete from Realisations where id = 1", []));
    for _ in 0..2 {
        offer(&partly);
        let known = ask(&ids[0]);
        assert_eq!(known.dependents.len(), 1);
        assert!(known.signatures.is_empty(), "{known:?}");
        // Another text than the one that is registered.
        offer(&signed_with(&[]));
        assert!(ask(&ids[0]).signatures.is_empty());
    }
    let whole = signed_with(&[(&other.id, &other.out_path)]);
    for _ in 0..2 {
        offer(&whole);
        assert_eq!(ask(&ids[0]), whole);
    }
}

#[test]
fn damaged_realisations_are_found_and_mended() {
    let Some(built) = built() else { return };
    let world = &built.world;
    world.nix_store(&["--verify"]).ok();
    let count = || {
        let sql = "select count(*) from Realisations";
        alter(world, |database| database.query_row(sql, [], |row| row.get::<_, i64>(0)))
    };
    let before = count();
    alter(world, |database| {
        database.execute("update Realisations set signatures = x'ff' where id = 1", [])?;
        database.execute("update Realisations set outputPath = 9900 where id = 2", [])?;
        database.execute("update Realisations set drvPath = 'sha256:zz' where id = 3", [])?;
        database.execute("insert into RealisationsRefs values (1, 9901)", [])
    });
    let told = [
        "row 1 of Realisations",
        "its signatures is 1 bytes of binary data, not a text",
        "row 2 of Realisations: its outputPath is the number 9900, and there is no such row",
        "'sha256:zz!out' is not the name of an output",
        "row 1 of RealisationsRefs: its realisationReference is the number 9901, and there is no such row",
        "4 damaged rows of the database; try: nix-store --verify --repair",
    ];
    let checked = world.nix_store(&["--verify"]);
    assert_eq!(checked.status, 1);
    let missing: Vec<_> = told.iter().filter(|text| !checked.stderr.contains(**text)).collect();
    assert!(missing.is_empty(), "{missing:?} {}", checked.stderr);
    let mended = world.nix_store(&["--verify", "--repair"]);
    assert_eq!(mended.stderr.matches("removed; the output is known again once it is built").count(), 2);
    assert!(mended.ok().stderr.contains("it has no signatures any more"), "{}", mended.stderr);
    let sound = world.nix_store(&["--verify"]);
    assert!(!sound.ok().stderr.contains("damaged:"), "{}", sound.stderr);
    assert_eq!(count(), before - 2);
}

/// A database that is made anew knows no realisations, and that is told.
#[test]
fn a_rebuilt_database_has_no_realisations() {
    let Some(built) = built() else { return };
    let Built { world, low, top, .. } = &built;
    let output = both(world, "nix", &["path-info", &format!("{top}^out")]).line();
    std::fs::remove_file(world.path("var/db/db.sqlite")).unwrap();
    let rebuilt = world.nix_store(&["--rebuild-db"]);
    let told = "5 derivations have outputs whose paths only realisations tell, which are lost";
    assert!(rebuilt.ok().stderr.contains(told), "{}", rebuilt.stderr);
    world.nix_store(&["--check-validity", &output]).ok();
    world.nix_store(&["--verify", "--check-contents"]).ok();
    assert_eq!(world.nix_store(&["-r", top]).status, 1);
    // The reference builds it anew, and has the same path.
    world.run(Side::Reference, "nix-store", &["--quiet", "-r", low, top]).ok();
    assert_eq!(both(world, "nix-store", &["-r", top]).line(), output);
}

/// Without the feature a cache is not asked either.
#[test]
fn a_cache_is_asked_about_realisations_only_with_the_feature() {
    let Some(built) = built() else { return };
    let Built { world, top, .. } = &built;
    let cache = format!("file://{}", world.text("cache"));
    let output = format!("{top}^out");
    world.nival("nix", &["copy", "--to", &cache, &output]).ok();
    world.nival("nix", &["copy", "--to", &cache, "--derivation", top]).ok();
    let ask = ["path-info", "--store", &cache, &output];
    both(world, "nix", &ask).ok();
    let without = ["--option", "experimental-features", "nix-command"];
    let [ours, theirs] = SIDES.map(|side| world.run(side, "nix", &[&ask[..], &without].concat()));
    assert_eq!(
        (ours.status, ours.text()),
        (theirs.status, theirs.text()),
        "{} {}",
        ours.stderr,
        theirs.stderr
    );
    assert_eq!(ours.status, 1);
}

/// A request that cannot be answered leaves the results of the others alone.
#[test]
fn every_request_has_a_result_of_its_own() {
    let Some(built) = built() else { return };
    let Built { world, low, top, above, plain, .. } = &built;
    let missing = format!("{}/{}-x", world.text("store"), data::hash_part(1));
    let requests = [
        format!("{plain}!out"),
        format!("{above}!out"),
        format!("{top}!out"),
        missing,
        format!("{low}!*"),
        format!("{plain}!nosuch"),
    ];
    let ask = |side: Side, requests: &[String]| {
        let mut peer = Peer::over_stdio_as(world, side, "--force-trusted");
        peer.send(Words::of(op::BUILD_PATHS_WITH_RESULTS).texts(requests).number(0));
        peer.outcome().unwrap();
        let results = (0..peer.number()).map(|_| {
            peer.text();
            let is_valid = peer.number() < 3;
            peer.text();
            // Times and counts.
            (0..6).map(|_| peer.number()).for_each(drop);
            let outputs = (0..peer.number()).map(|_| (peer.text(), peer.text())).count();
            (is_valid, outputs)
        });
        results.collect::<Vec<_>>()
    };
    let sound = [(true, 1), (true, 1), (true, 1), (false, 0), (true, 2), (false, 0)];
    assert_eq!(ask(Side::Nival, &requests), sound);
    // The reference answers none of them where an output does not exist.
    assert_eq!(ask(Side::Reference, &requests[..5]), sound[..5]);
    // The file of an input, which tells the names of realisations.
    std::fs::set_permissions(top, std::os::unix::fs::PermissionsExt::from_mode(0o644)).unwrap();
    std::fs::write(top, "rubbish").unwrap();
    let damaged = [(true, 1), (false, 0), (false, 0), (false, 0), (true, 2), (false, 0)];
    assert_eq!(ask(Side::Nival, &requests), damaged);
}
