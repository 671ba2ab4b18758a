//! A store directory that is mounted read-only over itself, as some systems
//! have it: root works on it, and nobody else sees that it can be changed.

use std::path::Path;
use std::process::Command;

use crate::common::{self, Outcome, Side, World};

/// A mount namespace of the test's own, in which the rest of the script runs:
/// mounts are shared with whoever makes another one below, and the store is
/// read-only. A watcher writes to it whenever that works.
const HEAD: &str = r#"
set -e
mount --make-rshared /
mount --bind "$RO" "$RO"
mount -o remount,ro,bind,nosuid,nodev "$RO"
mounts=$(grep -c . /proc/self/mountinfo)
(while sleep 0.005; do touch "$NIX_STORE_DIR/.seen" 2>/dev/null && break; done) &
watcher=$!
trap 'kill $watcher $daemon 2>/dev/null; true' EXIT
outside() {
  if touch "$NIX_STORE_DIR/x" 2>/dev/null; then echo "writable outside"; exit 9; fi
  [ "$(grep -c . /proc/self/mountinfo)" = "$mounts" ] || { echo "a mount is seen outside"; exit 9; }
}
"#;

/// Runs a script after [`HEAD`], by `prefix`; nothing where nobody may mount.
fn run(world: &World, read_only: &Path, prefix: &[&str], script: &str) -> Option<Outcome> {
    let may = Command::new("unshare").args(["-m", "true"]).output();
    if !may.is_ok_and(|output| output.status.success()) {
        common::skip("nobody may mount here");
        return None;
    }
    let shell = world.command(Side::Nival, "nix-store");
    let mut command = Command::new("unshare");
    command.args(["-m", "sh", "-c", &format!("{HEAD}\n{script}"), "sh"]).args(prefix);
    command.env_clear().current_dir(world.path(""));
    command.envs(shell.get_envs().filter_map(|(name, value)| Some((name, value?))));
    command.env("RO", read_only).env("PATH", format!("{}:/usr/bin:/bin:/usr/sbin", world.text("bin")));
    Some(common::outcome(command.output().unwrap()))
}

const OPERATIONS: &str = r#"
a=$(nix-store --add src/a); [ "$(cat "$a/f")" = 1 ]; outside
nix-store --optimise; outside
nix copy --no-check-sigs --from "file://$PWD/cache" "$(cat copied)"; [ "$(cat "$(cat copied)")" = 9 ]; outside
nix-env -i "$a"; [ "$(cat home/.nix-profile/f)" = 1 ]; outside
b=$(nix-store --add src/b); nix-store --delete "$b"; [ ! -e "$b" ]; outside
b=$(nix-store --add src/b); nix-store --export "$b" > exported
nix-collect-garbage -d > /dev/null; [ ! -e "$b" ]; [ -e "$a" ]; outside
nix-store --import < exported; [ -e "$b" ]; outside
nix-store --verify --check-contents; outside
nix-daemon & daemon=$!
until [ -S var/daemon-socket/socket ]; do sleep 0.01; done
c=$(NIX_REMOTE=daemon nix-store --add src/c); [ "$(cat "$c/f")" = 3 ]; outside
NIX_REMOTE=daemon nix-store --gc > /dev/null; [ ! -e "$c" ]; outside
[ ! -e "$NIX_STORE_DIR/.seen" ]
"#;

fn prepared() -> World {
    let world = World::new();
    for (name, contents) in [("a", "1"), ("b", "2"), ("c", "3")] {
        world.write(format!("src/{name}/f"), contents);
    }
    world.write("src/copied", "9");
    let copied = world.nix_store(&["--add", &world.text("src/copied")]).line();
    world.nival("nix", &["copy", "--to", &format!("file://{}", world.text("cache")), &copied]).ok();
    world.write("copied", &copied);
    world.nix_store(&["--delete", &copied]).ok();
    world
}

#[test]
fn root_works_on_it_and_nobody_sees_that() {
    let world = prepared();
    let Some(outcome) = run(&world, &world.store(), &[], OPERATIONS) else { return };
    assert_eq!(outcome.status, 0, "{outcome:?}");
}

#[test]
fn also_where_more_than_the_store_is_mounted_read_only() {
    let world = prepared();
    // The store directory is no mount of its own.
    std::fs::create_dir(world.path("top")).unwrap();
    std::fs::rename(world.store(), world.path("top/store")).unwrap();
    let script = OPERATIONS.replace("set -e", "");
    let script = format!(
        "export NIX_STORE_DIR=$PWD/top/store\nrm -rf var home; mkdir home\n{}",
        without_copy(&script)
    );
    let Some(outcome) = run(&world, &world.path("top"), &[], &script) else { return };
    assert_eq!(outcome.status, 0, "{outcome:?}");
}

/// The path in the cache belongs to another store directory.
fn without_copy(script: &str) -> String {
    script.lines().filter(|line| !line.starts_with("nix copy")).collect::<Vec<_>>().join("\n")
}

#[test]
fn who_may_not_mount_is_told_and_nothing_is_forgotten() {
    let world = prepared();
    let path = world.nix_store(&["--add", &world.text("src/a")]).line();
    let prefix = ["setpriv", "--bounding-set=-sys_admin", "--inh-caps=-sys_admin"];
    let script = r#"
p=$1; shift
set +e
for command in "nix-store --add src/b" "nix-store --gc" "nix-store --delete $p" "nix-store --optimise"; do
  "$@" $command > out 2> err && { echo "$command: succeeded"; exit 1; }
  grep -q "store\" is mounted read-only, and cannot be made writable" err || { echo "$command:"; cat err; exit 1; }
  [ -s out ] && { echo "$command:"; cat out; exit 1; }
done
"$@" nix-store --check-validity "$p" || exit 1
"$@" nix-store -q --size "$p" || exit 1
"$@" nix-store --gc --print-dead | grep -q "$p" || exit 1
"#;
    let mut words = vec![path.as_str()];
    words.extend(prefix);
    let Some(outcome) = run(&world, &world.store(), &words, script) else { return };
    assert_eq!(outcome.status, 0, "{outcome:?}");
    assert!(Path::new(&path).exists());
    world.nix_store(&["--check-validity", &path]).ok();
}

/// A program in the place of ssh notes where it is and whether it can change the
/// store; by way of a copy, and of the daemon's processes for clients.
const RUNS_OTHERS: &str = r#"
a=$(nix-store --add src/a)
mkdir fake
cat > fake/ssh <<'END'
#!/bin/sh
pwd > "$NOTES/where"
touch "$NIX_STORE_DIR/.child" 2>/dev/null && echo yes > "$NOTES/writable"
exit 1
END
chmod +x fake/ssh
export NOTES=$PWD PATH=$PWD/fake:$PATH
check() {
  [ "$(cat where)" = "$1" ] || { echo "it ran in $(cat where)"; exit 1; }
  [ ! -e writable ] || { echo "it could change the store"; exit 1; }
  rm where; outside
}
nix copy --no-check-sigs --to ssh://nobody@nowhere "$a" 2>/dev/null && exit 1
check "$PWD"
(cd src && nix copy --no-check-sigs --to ssh://nobody@nowhere "$a" 2>/dev/null) && exit 1
check "$PWD/src"
nix-daemon & daemon=$!
until [ -S var/daemon-socket/socket ]; do sleep 0.01; done
missing=$NIX_STORE_DIR/00000000000000000000000000000000-x
NIX_REMOTE=daemon nix-store --option substituters ssh://nobody@nowhere -r "$missing" 2>/dev/null && exit 1
check "$PWD"
# With another root, too.
mkdir cr; mount --rbind / cr; mount --make-rprivate cr
chroot cr sh -c 'cd "$1" && nix copy --no-check-sigs --to ssh://nobody@nowhere "$2"' sh "$PWD/src" "$a" 2>/dev/null && exit 1
[ "$(cat where)" = "$PWD/src" ]; [ ! -e writable ]
"#;

#[test]
fn programs_that_it_runs_see_the_store_as_everybody_does() {
    let world = prepared();
    let Some(outcome) = run(&world, &world.store(), &[], RUNS_OTHERS) else { return };
    assert_eq!(outcome.status, 0, "{outcome:?}");
}

/// All of this system, and /proc, in a directory that becomes the root. Three
/// programs run there: one works in a path, one has a file of a path open, and
/// one is a path itself. Another one, of a fourth path, runs outside.
const IN_A_CHROOT: &str = r#"
work=$(nix-store --add src/a); open=$(nix-store --add src/b/f); run=$(nix-store --add sleep)
far=$(nix-store --add src/c/f); dead=$(nix-store --add src/c)
mkdir cr; mount --rbind / cr; mount --make-rprivate cr
chroot cr sh -c 'cd "$1" && exec sleep 60' sh "$work" & one=$!
chroot cr sh -c 'exec sleep 60 3< "$1"' sh "$open" & two=$!
chroot cr "$run" 60 & three=$!
sh -c 'exec sleep 60 3< "$1"' sh "$PWD/cr$far" & four=$!
trap 'kill $watcher $one $two $three $four 2>/dev/null; true' EXIT
until [ "$(readlink "/proc/$one/cwd")" = "$PWD/cr$work" ]; do sleep 0.01; done
until [ "$(readlink "/proc/$two/fd/3")" = "$PWD/cr$open" ]; do sleep 0.01; done
until [ "$(readlink "/proc/$three/exe")" = "$PWD/cr$run" ]; do sleep 0.01; done
until [ "$(readlink "/proc/$four/fd/3")" = "$PWD/cr$far" ]; do sleep 0.01; done
chroot cr "$PWD/bin/nix-store" --gc --print-roots
chroot cr "$PWD/bin/nix-store" --gc
[ ! -e "$dead" ] || { echo "it did not collect"; exit 1; }
for path in "$work" "$open" "$run" "$far"; do
  [ -e "$path" ] || { echo "$path: in use, and deleted"; exit 1; }
done
"#;

#[test]
fn what_runs_in_a_chroot_stays() {
    let world = prepared();
    let sleep = ["/usr/bin/sleep", "/bin/sleep"].into_iter().find(|file| Path::new(file).exists()).unwrap();
    std::fs::copy(sleep, world.path("sleep")).unwrap();
    let Some(outcome) = run(&world, &world.store(), &[], IN_A_CHROOT) else { return };
    assert_eq!(outcome.status, 0, "{outcome:?}");
}
