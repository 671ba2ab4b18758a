//! `nix copy` to and from a bucket of a real S3 server (OpenStack Swift).

use std::process::Stdio;

use crate::common::{Outcome, Side, World};
use crate::data;
use crate::s3::{Swift, with_key};

fn copy(world: &World, side: Side, args: &[&str], paths: &[String]) -> Outcome {
    let args: Vec<&str> = ["copy", "--no-check-sigs"]
        .iter()
        .chain(args)
        .copied()
        .chain(paths.iter().map(String::as_str))
        .collect();
    world.run(side, "nix", &args)
}

fn count(world: &World, root: &str) -> usize {
    world.nival("nix", &["store", "verify", "--no-trust", "--all", "--store", root]).ok();
    world.nival("nix", &["path-info", "--all", "--store", root]).ok().lines().len()
}

#[test]
fn a_bucket_is_written_and_read() {
    let mut world = World::new();
    let Some(swift) = Swift::start(&world, &["one", "two", "all-may-read"]) else { return };
    let mut paths = data::sample(&world);
    data::big_file(&world.path("src/big"), 400);
    paths.push(world.nix_store(&["--add", &world.text("src/big")]).line());
    with_key(&mut world, "test:tester", "SECRETTEST");
    // In parts, too.
    let to = swift.uri("one", "&compression=zstd&multipart-threshold=6000000&write-nar-listing=true");
    copy(&world, Side::Nival, &["--to", &to], &paths).ok();
    let from = swift.uri("one", "");
    let root = world.text("root");
    copy(&world, Side::Nival, &["--from", &from, "--to", &root], &paths).ok();
    assert_eq!(count(&world, &root), paths.len());
    let again = copy(&world, Side::Nival, &["--to", &to], &paths);
    assert_eq!(again.ok().stderr, "copying 0 paths...\n");

    // By a profile instead of the environment.
    world.variables.retain(|(name, _)| !name.starts_with("AWS_A") && !name.starts_with("AWS_S"));
    world.write(
        "home/.aws/credentials",
        "[mine]\naws_access_key_id = test:tester\naws_secret_access_key = SECRETTEST\n",
    );
    let root = world.text("root2");
    let profile = swift.uri("one", "&profile=mine");
    copy(&world, Side::Nival, &["--from", &profile, "--to", &root, "--refresh"], &paths).ok();
    assert_eq!(count(&world, &root), paths.len());

    // Without credentials, and with wrong ones.
    let fast = ["--option", "download-attempts", "1", "--refresh", "--from"];
    let none = copy(&world, Side::Nival, &[&fast[..], &[&from, "--to", &root]].concat(), &paths);
    assert_eq!(none.status, 1);
    for place in ["environment", "profile", "web identity", "container", "instance metadata"] {
        assert!(none.stderr.contains(place), "{}", none.stderr);
    }
    with_key(&mut world, "test:tester", "WRONG");
    let wrong = copy(&world, Side::Nival, &[&fast[..], &[&from, "--to", &root]].concat(), &paths);
    assert_eq!(wrong.status, 1);
    assert!(wrong.stderr.contains("SignatureDoesNotMatch"), "{}", wrong.stderr);
    assert!(wrong.stderr.contains("do not allow it"), "{}", wrong.stderr);

    with_key(&mut world, "test:tester", "SECRETTEST");
    if crate::common::reference().is_some() {
        // The reference reads what is in a bucket.
        let to = swift.uri("all-may-read", "&compression=zstd&multipart-upload=false");
        copy(&world, Side::Nival, &["--to", &to], &paths).ok();
        let root = world.text("root5");
        copy(&world, Side::Reference, &["--from", &swift.address("all-may-read"), "--to", &root], &paths)
            .ok();
        assert_eq!(count(&world, &root), paths.len());
        // By this protocol, where it was built to.
        let two = swift.uri("two", "&compression=none&region=us-east-1");
        let outcome = copy(&world, Side::Reference, &["--to", &two], &paths);
        // Without its AWS library it sends requests that nobody signed.
        if outcome.stderr.contains("HTTP error 400") {
            crate::common::skip("this reference does not sign requests");
            return;
        }
        outcome.ok();
        let (root3, root4) = (world.text("root3"), world.text("root4"));
        copy(&world, Side::Nival, &["--from", &two, "--to", &root3], &paths).ok();
        copy(&world, Side::Reference, &["--from", &from, "--to", &root4, "--refresh"], &paths).ok();
        assert_eq!((count(&world, &root3), count(&world, &root4)), (paths.len(), paths.len()));
    }
}

#[test]
fn a_killed_upload_goes_on_where_it_was() {
    let mut world = World::new();
    let Some(swift) = Swift::start(&world, &["one"]) else { return };
    with_key(&mut world, "test:tester", "SECRETTEST");
    // 200 MiB in parts of 5, or as many as are asked for.
    let megabytes = std::env::var("NIVAL_UPLOAD_MB").map_or(200, |text| text.parse::<u64>().unwrap());
    data::big_file(&world.path("src/big"), megabytes * 16);
    let path = world.nix_store(&["--add", &world.text("src/big")]).line();
    let to = swift.uri("one", "&compression=none");
    let args = ["copy", "--to", &to, &path];
    let objects = world.path("swift/dev/d1/objects");
    let stored = || {
        let mut bytes = 0;
        let mut waiting = vec![objects.clone()];
        while let Some(dir) = waiting.pop() {
            for entry in std::fs::read_dir(dir).into_iter().flatten().flatten() {
                match entry.metadata() {
                    Ok(meta) if meta.is_dir() => waiting.push(entry.path()),
                    Ok(meta) => bytes += meta.len(),
                    Err(_) => {}
                }
            }
        }
        bytes
    };
    let mut child = world.command(Side::Nival, "nix").args(args).stderr(Stdio::null()).spawn().unwrap();
    data::wait_for_amount("two fifths of it are stored", &mut child, (megabytes * 2 / 5) << 20, stored);
    child.kill().unwrap();
    child.wait().unwrap();
    // Nothing is listed that is not complete.
    let from = swift.uri("one", "");
    let root = world.text("root");
    let missing = copy(&world, Side::Nival, &["--from", &from, "--to", &root], std::slice::from_ref(&path));
    assert!(missing.stderr.contains("no substituter that can build it"), "{}", missing.stderr);
    let outcome = copy(&world, Side::Nival, &["-v", "--to", &to], std::slice::from_ref(&path));
    let line = outcome.ok().stderr.lines().find(|line| line.contains("continuing the upload")).unwrap();
    let parts: u64 = line.split(' ').rev().nth(1).unwrap().parse().unwrap();
    // Those that were under way are sent again: four at most.
    assert!(parts >= megabytes * 2 / 5 / 5 - 3, "{line}");
    eprintln!("{megabytes} MiB, killed under way; {line}");
    copy(&world, Side::Nival, &["--from", &from, "--to", &root, "--refresh"], std::slice::from_ref(&path))
        .ok();
    assert_eq!(count(&world, &root), 1);
}
