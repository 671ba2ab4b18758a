//! `builtins.fetchTree` of files and directories of this machine, beside the reference.

use std::process::Command;

use crate::common::World;
use crate::test_fetch_git::{as_the_reference, world};

/// A tree of which every entry has a time of its own. Gives its path.
fn source(world: &World) -> String {
    world.write("src/a", "a\n");
    world.write("src/d/b", "b\n");
    std::fs::create_dir(world.path("src/e")).unwrap();
    std::os::unix::fs::symlink("a", world.path("src/l")).unwrap();
    for (name, time) in [("a", 1), ("d/b", 5), ("l", 6), ("d", 2), ("e", 3), (".", 4)] {
        touch(world, name, time);
    }
    world.text("src")
}

fn touch(world: &World, name: &str, time: u32) {
    let mut command = Command::new("touch");
    command.args(["-h", "-d", &format!("@{}", 1_000_000_000 + time)]).arg(world.path("src").join(name));
    assert!(command.status().unwrap().success());
}

#[test]
fn trees_of_this_machine() {
    let Some(world) = world() else { return };
    let place = source(&world);
    let rev = "fa866f85814ba2080d39e950fb3d8c966c5b522a";
    let mut expressions: Vec<String> = [
        format!("path:{place}"),
        format!("path://{place}"),
        format!("path:{place}#f"),
        format!("path:{place}/d/../a"),
        format!("path:{place}/l"),
        format!("path:{place}?lastModified=5"),
        format!("path:{place}?rev={rev}&revCount=3"),
        format!("path:{place}?lastModified=x"),
        format!("path:{place}?dir=d"),
        "path:./src".to_owned(),
        "path://h/x".to_owned(),
        "path:/a b".to_owned(),
        "nosuch:x".to_owned(),
    ]
    .iter()
    .map(|url| format!("builtins.fetchTree \"{url}\""))
    .collect();
    for more in [
        format!("path = {place};"),
        format!("path = \"{place}\"; rev = \"{rev}\"; revCount = 4; lastModified = 3;"),
        format!("path = \"{place}\"; nosuch = 1;"),
        String::new(),
        "path = 1;".to_owned(),
        "path = \"src\";".to_owned(),
    ] {
        expressions.push(format!("builtins.fetchTree {{ type = \"path\"; {more} }}"));
    }
    as_the_reference(&world, "--impure", &expressions);
    for (name, time) in [("d", 7), ("e", 8), (".", 9)] {
        touch(&world, name, time);
        as_the_reference(&world, "--impure", &expressions[..1]);
    }
    as_the_reference(&world, "", &expressions[..1]);
    as_the_reference(&world, "--impure --restrict-eval", &expressions[..1]);
}
