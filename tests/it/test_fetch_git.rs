//! `builtins.fetchGit`, and `fetchTree` of Git repositories, beside the reference: real repositories of all kinds.

use std::process::Command;

use crate::common::{Outcome, Side, World};
use crate::data;
use crate::servers::Nginx;
use crate::test_eval::words;

const SIDES: [Side; 2] = [Side::Nival, Side::Reference];

/// A world in which the reference fetches, too.
pub fn world() -> Option<World> {
    let mut world = World::with_reference()?;
    let features = "experimental-features = nix-command flakes fetch-tree";
    world.variables.push(("NIX_CONFIG".to_owned(), features.to_owned()));
    Some(world)
}

/// Runs `git` in a directory of the world at a fixed time, and gives its output.
#[track_caller]
pub fn git(world: &World, dir: &str, line: &str) -> String {
    let mut command = Command::new("git");
    command.env_clear().env("PATH", "/usr/bin:/bin").env("HOME", world.path("home"));
    for who in ["AUTHOR", "COMMITTER"] {
        command.env(format!("GIT_{who}_NAME"), "a").env(format!("GIT_{who}_EMAIL"), "a@b");
        command.env(format!("GIT_{who}_DATE"), "1000000000 +0100");
    }
    command.current_dir(world.path(dir)).args(["-c", "protocol.file.allow=always"]).args(words(line));
    let output = command.output().unwrap();
    assert!(output.status.success(), "git {line}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap().trim().to_owned()
}

/// A repository with a branch, two tags and files of all kinds. Gives its commits: `main`, `v1`, `dev`.
pub fn repository(world: &World, dir: &str) -> [String; 3] {
    std::fs::create_dir_all(world.path(dir)).unwrap();
    git(world, dir, "init -q -b main");
    for (name, text) in [("a", "a\n"), ("d/b", "b\n"), ("d-b", "between\n"), ("x", "#!\n"), ("empty", "")] {
        world.write(format!("{dir}/{name}"), text);
    }
    std::os::unix::fs::symlink("a", world.path(dir).join("link")).unwrap();
    std::os::unix::fs::symlink("/nowhere/at/all", world.path(dir).join("d/out")).unwrap();
    let mode = std::os::unix::fs::PermissionsExt::from_mode(0o755);
    std::fs::set_permissions(world.path(dir).join("x"), mode).unwrap();
    git(world, dir, "add .");
    git(world, dir, "commit -qm 1");
    git(world, dir, "tag v1");
    git(world, dir, "tag -a -m ⟦a tag⟧ v2");
    git(world, dir, "checkout -q -b dev");
    world.write(format!("{dir}/dev"), "dev\n");
    git(world, dir, "add dev");
    git(world, dir, "commit -qm dev");
    git(world, dir, "checkout -q main");
    world.write(format!("{dir}/a"), "2\n");
    git(world, dir, "commit -qam 2");
    ["main", "v1", "dev"].map(|name| git(world, dir, &format!("rev-parse {name}")))
}

/// Forgets what was fetched and stored.
pub fn forget(world: &World) {
    data::forget_if_there(world);
    let cache = world.path("home/.cache");
    if cache.exists() {
        nival::sys::remove::remove(&cache).unwrap();
    }
}

/// Evaluates an expression that gives a tree; the path is shown without its being a package.
pub fn tree(world: &World, side: Side, flags: &str, expression: &str) -> Outcome {
    let whole = format!("let x = {expression}; in removeAttrs x [ \"outPath\" ] // {{ o = x.outPath; }}");
    let mut arguments = words(&format!("eval --json {flags} --expr"));
    arguments.push(whole);
    world.run(side, "nix", &arguments)
}

/// The message of a failure. That of the reference names a library that is not used here.
pub fn message(outcome: &Outcome) -> String {
    let line = outcome.stderr.lines().rev().find(|line| line.trim_start().starts_with("error:"));
    line.unwrap_or_default().trim().split(" (libgit2").next().unwrap().to_owned()
}

fn told_of_changes(outcome: &Outcome) -> Vec<&str> {
    outcome.stderr.lines().filter(|line| line.starts_with("warning: Git tree")).collect()
}

/// Sets, statuses, messages and what is said of changed files are those of the reference.
#[track_caller]
pub fn as_the_reference(world: &World, flags: &str, expressions: &[String]) {
    for expression in expressions {
        let [ours, theirs] = SIDES.map(|side| {
            forget(world);
            tree(world, side, flags, expression)
        });
        let (told, wanted) = (&ours.stderr, &theirs.stderr);
        assert_eq!(
            (ours.text(), ours.status),
            (theirs.text(), theirs.status),
            "{expression}: {told} / {wanted}"
        );
        assert_eq!(told_of_changes(&ours), told_of_changes(&theirs), "{expression}");
        // What `git` said follows in ours, and stands before it in the reference's.
        assert!(message(&ours).starts_with(&message(&theirs)), "{expression}: {told} / {wanted}");
    }
}

fn texts(expressions: &[&str]) -> Vec<String> {
    expressions.iter().map(|text| (*text).to_owned()).collect()
}

#[test]
fn trees_of_work_trees_and_commits() {
    let Some(world) = world() else { return };
    let [main, v1, dev] = repository(&world, "r");
    let place = world.text("r");
    let mut expressions = vec![
        format!("fetchGit {place}"),
        format!("fetchGit \"{place}\""),
        format!("fetchGit \"{place}/\""),
        format!("fetchGit \"git+file://{place}\""),
        format!("builtins.fetchTree \"git+file://{place}\""),
        format!("builtins.fetchTree \"git+file://{place}?ref=dev&dir=d\""),
        format!("builtins.fetchTree \"git+file://{place}?rev={v1}&shallow=1\""),
    ];
    for more in [
        String::new(),
        format!("rev = \"{v1}\";"),
        format!("rev = \"{}\";", main.to_uppercase()),
        format!("rev = \"{dev}\"; allRefs = true;"),
        format!("rev = \"{dev}\"; ref = \"refs/heads/dev\";"),
        "ref = \"dev\";".to_owned(),
        "ref = \"HEAD\";".to_owned(),
        "ref = \"v1\";".to_owned(),
        "ref = \"refs/tags/v2\";".to_owned(),
        format!("ref = \"{v1}\";"),
        "shallow = true;".to_owned(),
        "submodules = true;".to_owned(),
        "exportIgnore = false;".to_owned(),
    ] {
        expressions.push(format!("builtins.fetchGit {{ url = {place}; {more} }}"));
        expressions
            .push(format!("builtins.fetchTree {{ type = \"git\"; url = \"file://{place}\"; {more} }}"));
    }
    expressions.push(format!("fetchGit {{ url = {place}; name = \"other\"; }}"));
    as_the_reference(&world, "--impure", &expressions);
    let pinned = format!("fetchGit {{ url = {place}; rev = \"{v1}\"; }}");
    as_the_reference(&world, "", std::slice::from_ref(&pinned));
    let read = [format!("{{ outPath = builtins.readFile ({pinned} + \"/d/b\"); }}")];
    as_the_reference(&world, "", &read);
}

#[test]
fn changed_files_are_taken_and_told_of() {
    let Some(world) = world() else { return };
    repository(&world, "r");
    let place = world.text("r");
    let expressions = [
        format!("fetchGit {place}"),
        format!("fetchGit {{ url = {place}; shallow = true; }}"),
        format!("fetchGit {{ url = {place}; ref = \"main\"; }}"),
        format!("builtins.fetchTree \"git+file://{place}\""),
    ];
    world.write("r/untracked", "x");
    as_the_reference(&world, "--impure", &expressions[..1]);
    let change = |name: &str| world.write(format!("r/{name}"), "changed\n");
    change("a");
    as_the_reference(&world, "--impure", &expressions);
    for setting in ["warn-dirty", "allow-dirty"] {
        as_the_reference(&world, &format!("--impure --option {setting} false"), &expressions[..1]);
    }
    change("new");
    git(&world, "r", "add new");
    std::fs::remove_file(world.path("r/x")).unwrap();
    as_the_reference(&world, "--impure", &expressions[..1]);
    // A file is a directory now, and a directory a link to another place.
    std::fs::remove_file(world.path("r/a")).unwrap();
    change("a/z");
    std::fs::rename(world.path("r/d"), world.path("elsewhere")).unwrap();
    std::os::unix::fs::symlink("../elsewhere", world.path("r/d")).unwrap();
    as_the_reference(&world, "--impure", &expressions[..1]);
}

#[test]
fn repositories_without_commits() {
    let Some(world) = world() else { return };
    std::fs::create_dir(world.path("r")).unwrap();
    git(&world, "r", "init -q -b main");
    let place = world.text("r");
    let expressions = [format!("fetchGit {place}"), format!("builtins.fetchTree \"git+file://{place}\"")];
    as_the_reference(&world, "--impure", &expressions);
    world.write("r/f", "f");
    git(&world, "r", "add f");
    as_the_reference(&world, "--impure", &expressions);
}

#[test]
fn files_that_are_not_for_export() {
    let Some(world) = world() else { return };
    std::fs::create_dir(world.path("r")).unwrap();
    git(&world, "r", "init -q -b main");
    for name in [
        "dir/f",
        "dir/sub/g",
        "other/h",
        "third/x",
        "third/y",
        "nested/z",
        "a.md",
        "keep.md",
        "a b",
        "a/q",
        "macro",
    ] {
        world.write(format!("r/{name}"), name);
    }
    world.write("r/third/.gitattributes", "y export-ignore\n");
    let patterns = "dir/ export-ignore\nother export-ignore\n/nested/* export-ignore\n*.md export-ignore\n\
                    keep.md -export-ignore\n[attr]away export-ignore\nmacro away\na/q filter=x text\n";
    world.write("r/.gitattributes", patterns);
    git(&world, "r", "add .");
    git(&world, "r", "commit -qm 1");
    let (place, rev) = (world.text("r"), git(&world, "r", "rev-parse HEAD"));
    let pinned = format!("fetchGit {{ url = {place}; rev = \"{rev}\"; }}");
    let plain = format!("builtins.fetchTree {{ type = \"git\"; url = {place}; rev = \"{rev}\"; }}");
    let expressions = [format!("fetchGit {place}"), pinned, plain];
    as_the_reference(&world, "--impure", &expressions);
    world.write("r/a/q", "changed");
    as_the_reference(&world, "--impure", &expressions[..1]);
}

#[test]
fn submodules_are_in_their_places() {
    let Some(world) = world() else { return };
    repository(&world, "sub");
    std::fs::create_dir(world.path("r")).unwrap();
    git(&world, "r", "init -q -b main");
    world.write("r/t", "t\n");
    git(&world, "r", "submodule -q add ../sub in/rel");
    git(&world, "r", &format!("submodule -q add {} abs", world.text("sub")));
    git(&world, "r", "add .");
    git(&world, "r", "commit -qm 1");
    let (place, rev) = (world.text("r"), git(&world, "r", "rev-parse HEAD"));
    let with = |more: &str| format!("fetchGit {{ url = {place}; submodules = true; {more} }}");
    let pinned = with(&format!("rev = \"{rev}\";"));
    as_the_reference(&world, "--impure", &[with("")]);
    // The reference takes a submodule's absolute path for the name of a machine, here and below.
    forget(&world);
    let ours = tree(&world, Side::Nival, "--impure", &pinned);
    assert_eq!(ours.ok().text(), tree(&world, Side::Nival, "--impure", &with("")).ok().text());
    let without = format!("fetchGit {{ url = {place}; rev = \"{rev}\"; }}");
    as_the_reference(
        &world,
        "--impure",
        &[format!("fetchGit {place}"), without, with("exportIgnore = true;")],
    );
    world.write("r/in/rel/a", "changed");
    as_the_reference(&world, "--impure", &[with(""), format!("fetchGit {place}")]);
    // Over a repository that has no files of its own.
    git(&world, "r", "clone -q --bare . ../r.git");
    forget(&world);
    let bare = format!("fetchGit {{ url = \"file://{}\"; submodules = true; }}", world.text("r.git"));
    assert_eq!(tree(&world, Side::Nival, "--impure", &bare).ok().text(), ours.text());
    // Another commit than the one that is recorded is a change.
    git(&world, "r/in/rel", "reset -q --hard HEAD~1");
    let other = tree(&world, Side::Nival, "--impure", &with(""));
    assert!(other.ok().text().contains(&format!("\"dirtyRev\":\"{rev}-dirty\"")), "{other:?}");
}

#[test]
fn bare_repositories_and_servers() {
    let Some(world) = world() else { return };
    let [main, v1, dev] = repository(&world, "r");
    git(&world, "r", "clone -q --bare . ../www/r.git");
    git(&world, "www/r.git", "update-server-info");
    let Some(nginx) = Nginx::start(&world, "www") else { return };
    let bare = format!("file://{}", world.text("www/r.git"));
    let served = format!("{}/r.git", nginx.url);
    let mut expressions = Vec::new();
    for url in [&bare, &served] {
        for more in [
            "".to_owned(),
            "ref = \"dev\";".to_owned(),
            "ref = \"refs/tags/v2\";".to_owned(),
            "ref = \"HEAD\";".to_owned(),
            "ref = \"nosuch\";".to_owned(),
            "ref = \"v2\";".to_owned(),
            format!("rev = \"{v1}\";"),
            format!("rev = \"{main}\"; ref = \"main\";"),
            format!("rev = \"{dev}\"; allRefs = true;"),
        ] {
            expressions.push(format!("fetchGit {{ url = \"{url}\"; {more} }}"));
        }
    }
    expressions.push(format!("fetchGit \"{bare}/\""));
    expressions.push(format!("fetchGit {{ url = \"{bare}\"; shallow = true; rev = \"{dev}\"; }}"));
    expressions.push(format!("fetchGit {{ url = \"{bare}\"; shallow = true; ref = \"main\"; }}"));
    expressions.push(format!("fetchGit {{ url = \"{served}\"; shallow = true; }}"));
    expressions.push(format!("fetchGit \"{}/nosuch.git\"", nginx.url));
    expressions.push(format!("builtins.fetchTree \"git+{served}?ref=dev\""));
    as_the_reference(&world, "--impure", &expressions);
    for url in [&bare, &served] {
        // The reference says this only if it has a copy already.
        forget(&world);
        let unknown = format!("fetchGit {{ url = \"{url}\"; rev = \"{}\"; }}", "0123456789".repeat(4));
        let outcome = tree(&world, Side::Nival, "--impure", &unknown);
        assert_eq!(outcome.status, 1);
        let wanted = "in ref 'refs/heads/main' of repository";
        assert!(message(&outcome).contains(wanted), "{}", outcome.stderr);
    }
}

/// What is fetched is fresh for an hour, unless the user says otherwise.
#[test]
fn freshness() {
    let Some(world) = world() else { return };
    repository(&world, "r");
    git(&world, "r", "clone -q --bare . ../r.git");
    let url = format!("file://{}", world.text("r.git"));
    let expression = format!("fetchGit \"{url}\"");
    forget(&world);
    let first = tree(&world, Side::Nival, "--impure", &expression);
    world.write("r/a", "3\n");
    git(&world, "r", "commit -qam 3");
    git(&world, "r", "push -q ../r.git main");
    let same = tree(&world, Side::Nival, "--impure", &expression);
    assert_eq!(same.ok().text(), first.ok().text());
    let flags = format!("--impure --option {} 0", "tarball-ttl");
    let new = tree(&world, Side::Nival, &flags, &expression);
    assert_ne!(new.ok().text(), first.text());
    assert_eq!(new.text(), tree(&world, Side::Nival, "--impure", &expression).ok().text());
    // A server that is away is no hindrance.
    std::fs::rename(world.path("r.git"), world.path("away.git")).unwrap();
    std::fs::create_dir(world.path("r.git")).unwrap();
    let old = tree(&world, Side::Nival, "--impure --refresh", &expression);
    assert_eq!(old.ok().text(), new.text());
    assert!(old.stderr.contains("continuing with the most recent version"), "{}", old.stderr);
}

/// A commit whose tree is in the store needs no `git`.
#[test]
fn a_known_commit_needs_no_work() {
    let Some(world) = world() else { return };
    let [_, v1, _] = repository(&world, "r");
    git(&world, "r", "clone -q --bare . ../r.git");
    let url = format!("file://{}", world.text("r.git"));
    let expression = format!("builtins.toJSON (fetchGit {{ url = \"{url}\"; rev = \"{v1}\"; }}).narHash");
    forget(&world);
    let evaluate = |path: &str| {
        let mut command = world.command(Side::Nival, "nix");
        command.env("PATH", path).args(["eval", "--raw", "--impure", "--expr", &expression]);
        crate::common::outcome(command.output().unwrap())
    };
    let missing = evaluate("/nonexistent");
    assert_eq!(missing.status, 1);
    assert!(message(&missing).contains("the program 'git'"), "{}", missing.stderr);
    let first = evaluate("/usr/bin:/bin");
    assert_eq!(evaluate("/nonexistent").ok().text(), first.ok().text());
    // Its tree is read again once it is gone.
    data::forget(&world);
    assert_eq!(evaluate("/usr/bin:/bin").ok().text(), first.text());
}

#[test]
fn refusals() {
    let Some(world) = world() else { return };
    let [main, v1, _] = repository(&world, "r");
    let place = world.text("r");
    let set = |more: &str| format!("fetchGit {{ url = {place}; {more} }}");
    let wrong = "narHash = \"sha256-AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=\";";
    let mut expressions = texts(&[
        "fetchGit 1",
        "fetchGit { }",
        "fetchGit { url = 1; }",
        "fetchGit { url = null; }",
        "fetchGit \"host:x\"",
        "fetchGit \"ext::sh\"",
        "fetchGit \"file://host/x\"",
        "fetchGit \"file:///a b\"",
        "builtins.fetchTree \"nixpkgs\"",
        "builtins.fetchTree { url = \"x\"; }",
        "builtins.fetchTree { type = \"nosuch\"; }",
        "builtins.fetchTree { type = \"git\"; url = \"file:///x\"; name = \"x\"; }",
        "builtins.fetchTree { type = \"git\"; url = \"file:///x\"; nosuch = 1; }",
    ]);
    for more in [
        "ref = \"nosuch\";",
        "ref = \"refs/heads/nosuch\";",
        "ref = \"bad..ref\";",
        "ref = \"-x\";",
        "ref = 1;",
        "ref = null;",
        "rev = \"short\";",
        "rev = \"0123456789012345678901234567890123456789\";",
        "nosuch = 1;",
        "dir = \"d\";",
        "type = \"git\";",
        "shallow = 1;",
        "revCount = -1;",
        "revCount = 7;",
        "lastModified = 7;",
        "narHash = \"bad\";",
        "verifyCommit = true;",
        "name = \"a/b\";",
    ] {
        expressions.push(set(more));
    }
    expressions.push(set(&format!("rev = \"{v1}\"; revCount = 7;")));
    expressions.push(format!("fetchGit {place}/d"));
    expressions.push(format!("fetchGit {}", world.text("nosuch")));
    as_the_reference(&world, "--impure", &expressions);
    // The reference has the two hashes the other way round.
    let mismatch = tree(&world, Side::Nival, "--impure", &set(&format!("rev = \"{main}\"; {wrong}")));
    assert_eq!(mismatch.status, 102);
    assert!(message(&mismatch).contains("expected 'sha256-AAAA"), "{}", mismatch.stderr);
    let theirs = tree(&world, Side::Reference, "--impure", &set(wrong));
    assert_eq!(theirs.status, 102);

    let url = "http://host/a";
    let pinned = format!("fetchGit {{ url = \"{url}\"; rev = \"{v1}\"; ref = \"a+b\"; submodules = true; }}");
    let unpinned = [
        format!("fetchGit \"{url}?foo=1\""),
        format!("fetchGit {{ url = \"{url}\"; ref = \"x\"; shallow = true; }}"),
        "fetchGit \"git@host:a/b\"".to_owned(),
        format!("builtins.fetchTree {{ type = \"git\"; url = \"{url}\"; }}"),
        format!("builtins.fetchTree \"git+{url}?ref=x&submodules=1&dir=d&lfs=1\""),
    ];
    as_the_reference(&world, "", &unpinned);
    as_the_reference(&world, "--impure --restrict-eval", &unpinned);
    as_the_reference(&world, "--impure --restrict-eval", &[pinned]);
    let allowed = format!("--impure --restrict-eval --option allowed-uris git+file://{}", world.text("."));
    let allowed = allowed.trim_end_matches("/.").to_owned();
    as_the_reference(&world, &allowed, &[set(&format!("rev = \"{v1}\";"))]);
}
