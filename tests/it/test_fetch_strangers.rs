//! `builtins.fetchGit` of repositories that mean harm: nothing of theirs is executed or believed.

use std::path::Path;

use crate::common::{Side, World};
use crate::data;
use crate::servers::Nginx;
use crate::test_fetch_git::{forget, git, message, repository, tree, world};

/// A program that leaves a mark when it runs.
fn marking(world: &World) -> String {
    let mark = world.text("mark");
    let script = world.write("marking", format!("#!/bin/sh\ntouch {mark}\ncat\n"));
    let mode = std::os::unix::fs::PermissionsExt::from_mode(0o755);
    std::fs::set_permissions(&script, mode).unwrap();
    script.to_str().unwrap().to_owned()
}

/// Nothing that a repository brings along is executed.
#[test]
fn programs_of_repositories_do_not_run() {
    let Some(world) = world() else { return };
    let script = marking(&world);
    let [main, _, dev] = repository(&world, "r");
    world.write("r/.gitattributes", "* filter=evil diff=evil merge=evil\n");
    git(&world, "r", "add .");
    git(&world, "r", "commit -qm attributes");
    for dir in ["r/.git/hooks", "home"] {
        std::fs::create_dir_all(world.path(dir)).unwrap();
    }
    for hook in
        ["post-checkout", "reference-transaction", "post-index-change", "pre-auto-gc", "fsmonitor-watchman"]
    {
        std::os::unix::fs::symlink(&script, world.path("r/.git/hooks").join(hook)).unwrap();
    }
    for (name, value) in [
        ("core.fsmonitor", script.as_str()),
        ("core.sshCommand", &script),
        ("core.gitProxy", &script),
        ("core.pager", &script),
        ("core.askPass", &script),
        ("core.alternateRefsCommand", &script),
        ("diff.external", &script),
        ("filter.evil.clean", &script),
        ("filter.evil.smudge", &script),
        ("filter.evil.process", &script),
        ("filter.evil.required", "true"),
        ("diff.evil.textconv", &script),
        ("uploadpack.packObjectsHook", &script),
        ("alias.status", &format!("!{script}")),
        ("remote.origin.url", &format!("ext::{script}")),
        ("remote.origin.promisor", "true"),
        ("remote.origin.uploadpack", &script),
        ("extensions.partialClone", "origin"),
        ("protocol.allow", "always"),
    ] {
        git(&world, "r", &format!("config {name} ⟦{value}⟧"));
    }
    // Not a byte is as the index has it.
    world.write("r/a", "changed\n");
    let _ = std::fs::remove_file(world.path("mark"));
    let place = world.text("r");
    for expression in [
        format!("fetchGit {place}"),
        format!("fetchGit {{ url = {place}; submodules = true; }}"),
        format!("fetchGit {{ url = {place}; rev = \"{dev}\"; }}"),
        format!("fetchGit {{ url = {place}; ref = \"main\"; }}"),
        format!("builtins.fetchTree {{ type = \"git\"; url = {place}; rev = \"{main}\"; }}"),
        format!("fetchGit \"file://{place}/.git\""),
    ] {
        tree(&world, Side::Nival, "--impure", &expression).ok();
        assert!(!world.path("mark").exists(), "{expression}");
    }
    // An object that is not there is not asked for elsewhere.
    let missing = format!("fetchGit {{ url = {place}; rev = \"{}\"; }}", "12".repeat(20));
    assert_eq!(tree(&world, Side::Nival, "--impure", &missing).status, 1);
    assert!(!world.path("mark").exists());
}

/// A commit with a submodule at `sm` that has this URL.
fn with_module(world: &World, dir: &str, url: &str) {
    std::fs::create_dir_all(world.path(dir)).unwrap();
    git(world, dir, "init -q -b main");
    world.write(format!("{dir}/.gitmodules"), format!("[submodule \"x\"]\n\tpath = sm\n\turl = \"{url}\"\n"));
    git(world, dir, "add .gitmodules");
    let rev = "12".repeat(20);
    git(world, dir, &format!("update-index --add --cacheinfo 160000,{rev},sm"));
    git(world, dir, "commit -qm 1");
}

#[test]
fn urls_of_submodules_that_are_commands_are_refused() {
    let Some(world) = world() else { return };
    let script = marking(&world);
    let _ = std::fs::remove_file(world.path("mark"));
    repository(&world, "secret");
    let secret = world.text("secret");
    let urls = [
        format!("ext::{script}"),
        format!("-u{script}"),
        format!("--upload-pack={script}"),
        format!("ssh://-oProxyCommand={script}/x"),
        format!("fd::17/{script}"),
        format!("nosuch://h/{script}"),
    ];
    for (number, url) in urls.iter().enumerate() {
        let dir = format!("r{number}");
        with_module(&world, &dir, url);
        let expression =
            format!("fetchGit {{ url = {}; ref = \"main\"; submodules = true; }}", world.text(&dir));
        let outcome = tree(&world, Side::Nival, "--impure", &expression);
        assert_eq!(outcome.status, 1, "{url}");
        assert!(!world.path("mark").exists(), "{url}");
    }
    // A repository elsewhere says nothing about directories here.
    for (number, url) in [secret.clone(), format!("file://{secret}")].iter().enumerate() {
        with_module(&world, &format!("www/s{number}"), url);
    }
    let Some(nginx) = Nginx::start(&world, "www") else { return };
    for number in 0..2 {
        git(&world, &format!("www/s{number}"), "update-server-info");
        let expression = format!("fetchGit {{ url = \"{}/s{number}/.git\"; submodules = true; }}", nginx.url);
        let outcome = tree(&world, Side::Nival, "--impure", &expression);
        assert_eq!(outcome.status, 1);
        assert!(message(&outcome).contains("leads to this machine"), "{}", outcome.stderr);
    }
}

/// Names that lead out of a tree, and objects that are not what they are called, are refused.
#[test]
fn bad_objects_are_refused() {
    let Some(world) = world() else { return };
    let [main, ..] = repository(&world, "r");
    let place = world.text("r");
    let blob = git(&world, "r", "hash-object -w a");
    let bytes =
        (0..40).step_by(2).map(|at| u8::from_str_radix(&blob[at..at + 2], 16).unwrap()).collect::<Vec<_>>();
    let entries: [&[&str]; 5] = [&[".."], &["."], &["a/b"], &["../../x"], &["same", "same"]];
    for names in entries {
        let mut object = Vec::new();
        for name in names {
            object.extend_from_slice(format!("100644 {name}\0").as_bytes());
            object.extend_from_slice(&bytes);
        }
        let file = world.write("tree", &object);
        let tree_id = git(&world, "r", &format!("hash-object -t tree --literally -w {}", file.display()));
        let rev = git(&world, "r", &format!("commit-tree -m bad {tree_id}"));
        let expression = format!("fetchGit {{ url = {place}; rev = \"{rev}\"; }}");
        forget(&world);
        let outcome = tree(&world, Side::Nival, "--impure", &expression);
        assert_eq!(outcome.status, 1, "{names:?}");
        assert!(message(&outcome).contains("bad Git repository"), "{}", outcome.stderr);
        assert!(!data::names(&world.store()).iter().any(|name| name.ends_with("-source")), "{names:?}");
    }
    // Another file under the name of the one that the commit has.
    let other = git(&world, "r", "hash-object -w x");
    let object = |id: &str| world.path("r/.git/objects").join(&id[..2]).join(&id[2..]);
    replace(&object(&blob), &object(&other));
    forget(&world);
    let expression = format!("fetchGit {{ url = {place}; rev = \"{main}\"; }}");
    let outcome = tree(&world, Side::Nival, "--impure", &expression);
    assert_eq!(outcome.status, 1);
    assert!(message(&outcome).contains(&blob), "{}", outcome.stderr);
}

fn replace(path: &Path, by: &Path) {
    std::fs::remove_file(path).unwrap();
    std::fs::copy(by, path).unwrap();
}
