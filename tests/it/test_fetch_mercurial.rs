//! `builtins.fetchMercurial`, and `fetchTree` of Mercurial repositories, beside the reference.

use std::process::Command;

use crate::common::{Side, World};
use crate::test_eval::words;
use crate::test_fetch_git::{forget, message, tree, world};

const SIDES: [Side; 2] = [Side::Nival, Side::Reference];

/// Runs `hg` in a directory of the world, and gives its output.
#[track_caller]
fn hg(world: &World, dir: &str, line: &str) -> String {
    let mut command = Command::new("hg");
    command.env_clear().env("PATH", "/usr/local/bin:/usr/bin:/bin").env("HOME", world.path("home"));
    command.env("HGRCPATH", "").env("HGUSER", "a").env("LC_ALL", "C");
    let output = command.current_dir(world.path(dir)).args(words(line)).output().unwrap();
    assert!(output.status.success(), "hg {line}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap().trim().to_owned()
}

/// A world with a repository of two branches and a tag, and its commits: the tagged one, `default`, `dev`.
/// None (and a word why) where there is no `hg`.
fn repository() -> Option<(World, [String; 3])> {
    let world = world()?;
    if Command::new("hg").arg("--version").output().is_err() {
        crate::common::skip_missing("hg is not installed");
        return None;
    }
    std::fs::create_dir(world.path("r")).unwrap();
    hg(&world, "r", "init");
    for (name, text) in [("a", "a\n"), ("d/b", "b\n"), ("x", "#!\n")] {
        world.write(format!("r/{name}"), text);
    }
    std::os::unix::fs::symlink("a", world.path("r/l")).unwrap();
    let mode = std::os::unix::fs::PermissionsExt::from_mode(0o755);
    std::fs::set_permissions(world.path("r/x"), mode).unwrap();
    hg(&world, "r", "commit -qA -m 1 -d ⟦1000000000 0⟧");
    hg(&world, "r", "tag -d ⟦1000000001 0⟧ v1");
    world.write("r/a", "2\n");
    hg(&world, "r", "commit -q -m 2 -d ⟦1000000002 0⟧");
    hg(&world, "r", "branch -q dev");
    world.write("r/dev", "dev\n");
    hg(&world, "r", "commit -qA -m dev -d ⟦1000000003 0⟧");
    hg(&world, "r", "update -q default");
    let commits = ["v1", "default", "dev"].map(|name| hg(&world, "r", &format!("log -r {name} -T {{node}}")));
    Some((world, commits))
}

/// Sets and statuses are those of the reference. Its words are those of `hg`.
#[track_caller]
fn as_the_reference(world: &World, flags: &str, expressions: &[String]) {
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
        let warned = |text: &str| text.contains("warning: Mercurial tree");
        assert_eq!(warned(told), warned(wanted), "{expression}");
        if !message(&theirs).contains("hg failed") {
            assert_eq!(message(&ours), message(&theirs), "{expression}");
        }
    }
}

#[test]
fn commits_and_work_trees() {
    let Some((world, [v1, _, _])) = repository() else { return };
    let place = world.text("r");
    let mut expressions = vec![
        format!("fetchMercurial {place}"),
        format!("fetchMercurial \"{place}\""),
        format!("fetchMercurial \"file://{place}\""),
        "fetchMercurial \"r/x\"".to_owned(),
        "fetchMercurial { }".to_owned(),
        format!("fetchMercurial \"{place}/d\""),
        format!("fetchTree \"hg+file://{place}\""),
        format!("fetchTree \"hg+file://{place}?ref=dev\""),
        format!("fetchTree \"hg+file://{place}?rev={v1}&ref=dev\""),
        "fetchTree \"hg+file:///nowhere\"".to_owned(),
    ];
    // Of a commit that it has met on a branch before, the reference tells that branch ever after.
    for version in ["default", "v1", "dev", "tip", "0", "nosuch", "", "--debugger", "a b", "all()", &v1] {
        expressions.push(format!("fetchMercurial {{ url = {place}; rev = \"{version}\"; name = \"n\"; }}"));
    }
    for more in ["ref = \"v1\";", "ref = \"dev\"; revCount = 3;", "submodules = true;"] {
        expressions.push(format!("fetchTree {{ type = \"hg\"; url = \"file://{place}\"; {more} }}"));
    }
    expressions.push(format!("fetchMercurial {{ url = {place}; ref = \"x\"; }}"));
    as_the_reference(&world, "--impure", &expressions);
    as_the_reference(
        &world,
        "",
        &[format!("fetchMercurial {place}"), format!("fetchMercurial {{ url = {place}; rev = \"{v1}\"; }}")],
    );
    // Changed, added, removed, lost and unknown files.
    world.write("r/a", "changed\n");
    world.write("r/new", "new\n");
    world.write("r/unknown", "?\n");
    hg(&world, "r", "add new");
    hg(&world, "r", "remove x");
    std::fs::remove_file(world.path("r/l")).unwrap();
    as_the_reference(&world, "--impure", &[expressions[0].clone(), expressions[6].clone()]);
    let refused = tree(&world, Side::Nival, "--impure --option allow-dirty false", &expressions[0]);
    assert!(refused.status == 1 && message(&refused).contains("is unclean"), "{}", refused.stderr);
}

/// What is elsewhere is copied, and asked for again once what was fetched is no longer fresh.
#[test]
fn repositories_elsewhere() {
    let Some((world, [v1, _, _])) = repository() else { return };
    // Without a directory `.hg` of its own it is not one that can be read where it lies.
    let bundle = world.text("all.hg");
    hg(&world, "r", &format!("bundle -q -a {bundle}"));
    let expression =
        |version: &str| format!("fetchMercurial {{ url = \"file://{bundle}\"; rev = \"{version}\"; }}");
    let outcome = tree(&world, Side::Nival, "--impure", &expression("dev"));
    assert_eq!(outcome.status, 0, "{}", outcome.stderr);
    assert!(outcome.text().contains("\"branch\":\"dev\""));
    // It is known, and the bundle is not needed any more.
    std::fs::remove_file(&bundle).unwrap();
    for version in ["v1", &v1] {
        let outcome = tree(&world, Side::Nival, "--impure", &expression(version));
        assert_eq!(outcome.status, 0, "{}", outcome.stderr);
        assert!(outcome.text().contains(&v1), "{}", outcome.text());
    }
    let stale = tree(&world, Side::Nival, "--impure --option tarball-ttl 0", &expression("default"));
    assert!(stale.status == 0 && stale.stderr.contains("could not update"), "{}", stale.stderr);
}

/// Nothing that a repository brings along is executed, neither of a local one nor of one that is copied.
#[test]
fn repositories_run_nothing() {
    let Some((world, [v1, _, _])) = repository() else { return };
    let witness = world.path("witness");
    let touch = format!("touch {}", witness.display());
    world.write("evil.py", format!("open({:?}, 'w').close()\n", witness.display().to_string()));
    let mut text = format!("[extensions]\nevil = {}\n[alias]\n", world.text("evil.py"));
    for command in ["log", "status", "branch", "archive", "pull", "version"] {
        text += &format!("{command} = !{touch}\n");
    }
    text += "[hooks]\n";
    for command in ["log", "status", "branch", "archive", "pull"] {
        text += &format!("pre-{command} = {touch}\n");
    }
    text += &format!(
        "outgoing = {touch}\npreoutgoing = {touch}\n[encode]\n** = {touch}\n[decode]\n** = {touch}\n"
    );
    world.write("r/.hg/hgrc", text);
    let place = world.text("r");
    for expression in [
        format!("fetchMercurial {place}"),
        format!("fetchMercurial {{ url = {place}; rev = \"dev\"; }}"),
        format!("fetchMercurial {{ url = {place}; rev = \"{v1}\"; }}"),
    ] {
        let outcome = tree(&world, Side::Nival, "--impure", &expression);
        assert_eq!(outcome.status, 0, "{}", outcome.stderr);
        assert!(!witness.exists(), "{expression}");
    }
    world.write("r/a", "changed\n");
    let outcome = tree(&world, Side::Nival, "--impure", &format!("fetchMercurial {place}"));
    assert_eq!(outcome.status, 0, "{}", outcome.stderr);
    assert!(!witness.exists());
    // That this tests something: Mercurial itself runs it.
    let mut command = Command::new("hg");
    command.env("HGRCPATH", "").args(["-R", &place, "status"]).output().unwrap();
    assert!(witness.exists());
}
