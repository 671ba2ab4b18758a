//! `nix copy` to and from caches on web servers.

use std::path::Path;
use std::time::{Duration, Instant};

use crate::common::{Outcome, Side, World};
use crate::data;
use crate::servers::{Act, Faulty, Nginx};

const SIDES: [Side; 2] = [Side::Nival, Side::Reference];

fn copy(world: &World, side: Side, args: &[&str]) -> Outcome {
    let args: Vec<&str> = ["copy", "--no-check-sigs"].iter().chain(args).copied().collect();
    world.run(side, "nix", &args)
}

fn with<'a>(args: &[&'a str], paths: &'a [String]) -> Vec<&'a str> {
    args.iter().copied().chain(paths.iter().map(String::as_str)).collect()
}

/// The paths of a chroot store, after verifying it.
fn arrived(world: &World, root: &str) -> Vec<String> {
    world.nival("nix", &["store", "verify", "--no-trust", "--all", "--store", root]).ok();
    let mut lines: Vec<String> = Vec::new();
    for line in world.nival("nix", &["path-info", "--all", "--store", root]).ok().lines() {
        lines.push(line.to_owned());
    }
    lines.sort();
    lines
}

#[test]
fn a_web_server_is_written_and_read_by_both_sides() {
    let Some(mut world) = World::with_reference() else { return };
    let Some(nginx) = Nginx::start(&world, "www") else { return };
    let paths = data::sample(&world);
    let mut sorted = paths.clone();
    sorted.sort();
    world.variables.push(("NIX_SSL_CERT_FILE".to_owned(), world.text("tls.crt")));
    for writer in SIDES {
        for (place, base) in [("plain", &nginx.url), ("secure", &nginx.secure_url)] {
            let cache = format!("{base}/{writer:?}-{place}");
            let to = format!("{cache}?compression=zstd&write-nar-listing=true");
            copy(&world, writer, &with(&["--to", &to], &paths)).ok();
            for reader in SIDES {
                let root = world.text(format!("root-{writer:?}-{place}-{reader:?}"));
                copy(&world, reader, &with(&["--from", &cache, "--to", &root], &paths)).ok();
                assert_eq!(arrived(&world, &root), sorted);
            }
            // All is there.
            for again in SIDES {
                let outcome = copy(&world, again, &with(&["--to", &to], &paths));
                assert_eq!(outcome.ok().stderr, "copying 0 paths...\n");
            }
        }
    }
    // Both wrote the same names.
    let names = |side: Side| data::names(&world.path(format!("www/{side:?}-plain")));
    assert_eq!(names(Side::Nival), names(Side::Reference));
    let log = std::fs::read_to_string(world.path("access.log")).unwrap();
    assert!(log.lines().any(|line| line.contains("HTTP/2.0") && line.contains("Nival/")), "{log}");
    // A redirection is followed, and a certificate that nobody vouches for is refused.
    let moved = format!("{}/moved/Nival-plain", nginx.url);
    let root = world.text("root-moved");
    copy(&world, Side::Nival, &with(&["--from", &moved, "--to", &root], &paths)).ok();
    world.variables.pop();
    let secure = format!("{}/Nival-plain?x=1", nginx.secure_url);
    let args = ["--option", "download-attempts", "1", "--from", &secure, "--to", &root, "--refresh"];
    let refused = copy(&world, Side::Nival, &with(&args, &paths));
    assert_eq!(refused.status, 1);
    assert!(refused.stderr.contains("certificate"), "{}", refused.stderr);
}

#[test]
fn names_and_passwords_come_from_netrc_or_the_url() {
    let world = World::new();
    let Some(nginx) = Nginx::start(&world, "www") else { return };
    let paths = data::sample(&world);
    let private = format!("{}/private/cache", nginx.url);
    let refused = copy(&world, Side::Nival, &with(&["--to", &private], &paths));
    assert_eq!(refused.status, 1);
    assert!(refused.stderr.contains("HTTP error 401"), "{}", refused.stderr);
    let named = private.replace("http://", "http://user:secret@");
    copy(&world, Side::Nival, &with(&["--to", &named], &paths)).ok();
    let netrc = world.write("netrc", "machine 127.0.0.1 login user password secret\n");
    let root = world.text("root");
    let netrc = netrc.to_str().unwrap();
    let args = ["--option", "netrc-file", netrc, "--from", &private, "--to", &root];
    let outcome = copy(&world, Side::Nival, &with(&args, &paths));
    outcome.ok();
    assert!(!outcome.stderr.contains("secret"));
    assert_eq!(arrived(&world, &root).len(), paths.len());
}

/// A world, its paths, and a cache of them on a server that breaks.
fn faulty(blocks: u64) -> (World, Vec<String>, Faulty) {
    let world = World::new();
    let mut paths = data::sample(&world);
    data::big_file(&world.path("src/big"), blocks);
    paths.push(world.nix_store(&["--add", &world.text("src/big")]).line());
    let cache = format!("file://{}?compression=none", world.text("cache"));
    copy(&world, Side::Nival, &with(&["--to", &cache], &paths)).ok();
    let server = Faulty::start(&world.path("cache"));
    (world, paths, server)
}

#[test]
fn faults_end_in_success_or_a_clear_error() {
    let (world, paths, server) = faulty(16);
    let error = |status: u16| Act::Status(status, "");
    let soon = Act::Status(429, "Retry-After: 0\r\n");
    // What happens, to which files, and what the error says if it is one.
    let cases: Vec<(&str, Vec<Act>, Option<&str>)> = vec![
        ("narinfo", vec![Act::Reset], None),
        ("narinfo", vec![error(503), error(500), soon], None),
        ("narinfo", vec![Act::BreakOff(10)], None),
        ("narinfo", vec![Act::Stall(10)], None),
        ("narinfo", vec![Act::Drip; 7], None),
        ("narinfo", vec![error(418)], Some("HTTP error 418")),
        ("narinfo", vec![error(404)], Some("there is no substituter that can build it")),
        ("narinfo", vec![error(500); 80], Some("HTTP error 500")),
        ("narinfo", vec![Act::Reset; 80], Some("unable to download")),
        ("narinfo", vec![Act::Endless], Some("longer than")),
        ("nar/", vec![Act::Reset, error(502)], None),
        ("nar/", vec![Act::BreakOff(100_000); 2], None),
        ("nar/", vec![Act::Stall(100_000)], None),
        ("nar/", vec![Act::Stall(0)], None),
        ("nar/", vec![error(404)], Some("does not exist in binary cache")),
        ("nar/", vec![error(451)], Some("HTTP error 451")),
        ("nar/", vec![Act::Corrupt; 7], Some("")),
        ("nar/", vec![Act::Longer(1); 7], None),
        ("nar/", vec![Act::Endless; 7], Some("size mismatch importing path")),
        ("narinfo", vec![Act::Encoded; 7], None),
        ("nar/", vec![Act::Encoded; 7], None),
        ("nix-cache-info", vec![error(403)], Some("HTTP error 403")),
        ("nix-cache-info", vec![Act::Reset, error(429)], None),
    ];
    for (number, (word, acts, expected)) in cases.into_iter().enumerate() {
        let what = format!("{word} {acts:?}");
        server.script(word, &acts);
        let root = world.text(format!("root{number}"));
        let args =
            ["--refresh", "--option", "stalled-download-timeout", "1", "--from", &server.url, "--to", &root];
        let begun = Instant::now();
        let outcome = copy(&world, Side::Nival, &with(&args, &paths));
        assert!(begun.elapsed() < Duration::from_secs(25), "{what} took {:?}", begun.elapsed());
        match expected {
            None => {
                assert_eq!(outcome.status, 0, "{what}: {}", outcome.stderr);
                assert_eq!(arrived(&world, &root).len(), paths.len());
            }
            Some(text) => {
                assert_eq!(outcome.status, 1, "{what}: {}", outcome.stderr);
                let message = outcome.stderr.lines().find(|line| line.starts_with("error: ")).unwrap();
                assert!(outcome.stderr.contains(text), "{what}: {}", outcome.stderr);
                assert!(!message.contains("panicked"), "{message}");
                // What arrived is whole.
                if Path::new(&root).join("nix/var/nix/db").exists() {
                    arrived(&world, &root);
                }
            }
        }
    }
}

#[test]
fn an_upload_that_is_refused_ends() {
    let (world, paths, _) = faulty(200);
    let big = paths.last().unwrap().clone();
    let hash = &Path::new(&big).file_name().unwrap().to_str().unwrap()[..32];
    let server = Faulty::without(&world.path("cache"), hash);
    server.script("nar/", &[Act::Serve, Act::Refuse]);
    let to = format!("{}?compression=zstd", server.url);
    let begun = Instant::now();
    let outcome = copy(&world, Side::Nival, &["--to", &to, &big]);
    assert!(outcome.status == 1 && outcome.stderr.contains("HTTP error 413"), "{}", outcome.stderr);
    assert!(outcome.stderr.contains("too long"), "{}", outcome.stderr);
    assert!(begun.elapsed() < Duration::from_secs(10));
}

#[test]
fn a_broken_download_goes_on_where_it_broke() {
    let (world, paths, server) = faulty(32);
    let root = world.text("root");
    server.script("nar/", &[Act::BreakOff(500_000); 7]);
    copy(&world, Side::Nival, &with(&["--from", &server.url, "--to", &root], &paths)).ok();
    assert_eq!(arrived(&world, &root).len(), paths.len());
    let ranges: Vec<String> = server.seen().into_iter().filter(|line| line.split(' ').count() == 3).collect();
    assert!(!ranges.is_empty() && ranges.iter().all(|line| line.ends_with("00000")), "{ranges:?}");
}

#[test]
fn a_killed_download_goes_on_where_it_was() {
    // 48 MiB; the connection stalls after 40.
    let (world, paths, server) = faulty(768);
    let root = world.text("root");
    let big = paths.last().unwrap().clone();
    let narinfo = std::fs::read_to_string(
        world
            .path("cache")
            .join(format!("{}.narinfo", &Path::new(&big).file_name().unwrap().to_str().unwrap()[..32])),
    )
    .unwrap();
    let nar = narinfo.lines().find_map(|line| line.strip_prefix("URL: ")).unwrap().to_owned();
    server.script(&nar, &[Act::Stall(40 << 20)]);
    let mut child = world
        .command(Side::Nival, "nix")
        .args(["copy", "--no-check-sigs", "--from", &server.url, "--to", &root, &big])
        .spawn()
        .unwrap();
    let kept = world.path("home/.cache/nix/partial-downloads");
    let size = || {
        let entries = std::fs::read_dir(&kept).into_iter().flatten().flatten();
        entries.filter_map(|entry| entry.metadata().ok()).map(|meta| meta.len()).sum::<u64>()
    };
    data::wait_until("most of it is there", || size() > 39 << 20);
    child.kill().unwrap();
    child.wait().unwrap();
    server.script("nothing", &[]);
    copy(&world, Side::Nival, &["--from", &server.url, "--to", &root, &big]).ok();
    let again = server.seen().into_iter().find(|line| line.contains("nar/")).unwrap();
    let from: u64 = again.split(' ').nth(2).unwrap().parse().unwrap();
    assert!(from > 39 << 20, "{again}");
    assert_eq!(size(), 0);
    assert_eq!(arrived(&world, &root), std::slice::from_ref(&big));

    // A part that is not what it should be does no harm: the second try is whole.
    std::fs::create_dir_all(&kept).unwrap();
    let hash = nar.trim_start_matches("nar/").trim_end_matches(".nar");
    std::fs::write(kept.join(hash), vec![7; 20 << 20]).unwrap();
    let root = world.text("root2");
    let outcome = copy(&world, Side::Nival, &["--from", &server.url, "--to", &root, &big]);
    assert_eq!(outcome.status, 1);
    assert_eq!(size(), 0);
    copy(&world, Side::Nival, &["--from", &server.url, "--to", &root, &big]).ok();
}

#[test]
fn a_cache_that_lies_is_not_believed() {
    let world = World::new();
    let paths = data::sample(&world);
    let uri = format!("file://{}?compression=zstd", world.text("cache"));
    copy(&world, Side::Nival, &with(&["--to", &uri], &paths)).ok();
    let leaf = paths.iter().find(|path| path.ends_with("-tree")).unwrap();
    let hash = &Path::new(leaf).file_name().unwrap().to_str().unwrap()[..32];
    let file = world.path("cache").join(format!("{hash}.narinfo"));
    let good = std::fs::read_to_string(&file).unwrap();
    world.write("outside.nar.zst", "secret");
    let other = "11111111111111111111111111111111";
    let huge = "References: ".to_owned() + &format!("{other}-x ").repeat(200_000);
    for (key, value, expected) in [
        ("StorePath", format!("StorePath: {}/{other}-tree", world.text("store")), "StorePath is"),
        ("StorePath", "StorePath: /nix/store/x".to_owned(), "StorePath is"),
        ("URL", "URL: ../outside.nar.zst".to_owned(), "URL is '../outside.nar.zst'"),
        ("URL", "URL: nar/%2e%2e/%2E./outside.nar.zst".to_owned(), "URL is"),
        ("URL", format!("URL: {}", world.text("outside.nar.zst")), "URL is"),
        ("URL", "URL: http://127.0.0.1:1/x".to_owned(), "URL is"),
        ("URL", "URL: /etc/passwd".to_owned(), "URL is"),
        ("URL", "URL: nar/missing.nar.zst".to_owned(), "does not exist in binary cache"),
        ("Compression", "Compression: xz".to_owned(), "is damaged (bad xz data"),
        ("Compression", "Compression: none".to_owned(), "is damaged ("),
        ("Compression", "Compression: foo".to_owned(), "Compression is 'foo'"),
        ("FileHash", "FileHash: x".to_owned(), "FileHash is 'x'"),
        ("NarHash", format!("NarHash: sha256:{}", "0".repeat(52)), "hash mismatch importing path"),
        ("NarHash", format!("NarHash: md5:{}", "0".repeat(32)), "hash mismatch importing path"),
        ("NarSize", "NarSize: 100".to_owned(), "size mismatch importing path"),
        ("NarSize", "NarSize: 100000".to_owned(), "size mismatch importing path"),
        ("NarSize", "NarSize: 18446744073709551615".to_owned(), "size mismatch importing path"),
        ("References", format!("References: {other}-nowhere"), "is not valid"),
        ("References", "References: ../../etc/passwd".to_owned(), "References is"),
        ("References", huge, "longer than"),
        ("CA", "CA: fixed:r:sha256:".to_owned() + &"0".repeat(52), ""),
    ] {
        let lines = good.lines().map(|line| match line.starts_with(&format!("{key}:")) {
            true => format!("{value}\n"),
            false => format!("{line}\n"),
        });
        std::fs::write(&file, lines.collect::<String>()).unwrap();
        let root = world.text("root");
        let plain = format!("file://{}", world.text("cache"));
        let outcome = copy(&world, Side::Nival, &["--from", &plain, "--to", &root, leaf]);
        let shown = &value[..value.len().min(80)];
        assert_eq!(outcome.status, 1, "{shown}: {}", outcome.stderr);
        assert!(outcome.stderr.contains(expected), "{shown}: {}", outcome.stderr);
        assert!(outcome.stderr.len() < 2000, "{shown}");
        assert_eq!(arrived(&world, &root), [""; 0]);
    }
    // A bomb: a small file that becomes a very long one.
    let bomb = std::process::Command::new("sh")
        .args([
            "-c",
            "head -c 3000000000 /dev/zero | zstd -q -1 > \"$1\"",
            "sh",
            &world.text("cache/nar/bomb"),
        ])
        .status()
        .unwrap();
    assert!(bomb.success());
    let lines =
        good.lines().filter(|line| !line.starts_with("File")).map(|line| match line.starts_with("URL:") {
            true => "URL: nar/bomb\n".to_owned(),
            false => format!("{line}\n"),
        });
    std::fs::write(&file, lines.collect::<String>()).unwrap();
    let plain = format!("file://{}", world.text("cache"));
    let outcome = copy(&world, Side::Nival, &["--from", &plain, "--to", &world.text("root"), leaf]);
    assert!(outcome.status == 1 && outcome.stderr.contains("is damaged ("), "{}", outcome.stderr);
    std::fs::write(&file, good).unwrap();
    copy(&world, Side::Nival, &["--from", &plain, "--to", &world.text("root"), leaf]).ok();
}
