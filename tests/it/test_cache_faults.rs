//! Caches that are not as they should be, and what users and others read of it.

use std::os::unix::fs::{PermissionsExt as _, symlink};

use crate::common::{Outcome, Side, World};
use crate::data;
use crate::servers::{Act, Faulty, Nginx, free_port};

const SIDES: [Side; 2] = [Side::Nival, Side::Reference];

/// A world with a signed path that is not addressed by its contents, and a cache
/// of it in `cache`.
struct Place {
    world: World,
    path: String,
}

impl Place {
    fn new() -> Self {
        Self::of(World::new())
    }

    fn of(world: World) -> Self {
        let paths = data::sample(&world);
        data::trust_new_key(&world);
        let path = paths.iter().find(|path| path.ends_with("-sample-0")).unwrap().clone();
        let to =
            format!("file://{}?compression=none&secret-key={}", world.text("cache"), world.text("secret"));
        world.nival("nix", &["copy", "--to", &to, &path]).ok();
        Self { world, path }
    }

    fn narinfo(&self) -> String {
        format!("cache/{}.narinfo", self.hash())
    }

    fn hash(&self) -> &str {
        &self.path.rsplit('/').next().unwrap()[..32]
    }

    fn text(&self) -> String {
        std::fs::read_to_string(self.world.path(self.narinfo())).unwrap()
    }

    fn archive(&self) -> String {
        let text = self.text();
        text.lines().find_map(|line| line.strip_prefix("URL: ")).unwrap().to_owned()
    }

    /// Copies the path from a cache into a new store.
    fn fetch(&self, side: Side, from: &str, more: &[&str]) -> Outcome {
        let root = self.world.text("fetched");
        let _ = nival::sys::remove::remove(&self.world.path("fetched"));
        let _ = std::fs::remove_dir_all(self.world.path("home/.cache"));
        let args = ["copy", "--from", from, "--to", &root, &self.path];
        self.world.run(side, "nix", &[&args[..], more].concat())
    }
}

/// It failed, and says so.
#[track_caller]
fn refused(outcome: &Outcome, part: &str) {
    assert!(outcome.status == 1 && outcome.stderr.contains(part), "{part}: {}", outcome.stderr);
}

#[test]
fn a_key_counts_once() {
    let Some(world) = World::with_reference() else { return };
    let place = Place::of(world);
    let conf = std::fs::read_to_string(place.world.path("etc/nix.conf")).unwrap();
    let key = conf.lines().find_map(|line| line.strip_prefix("trusted-public-keys = ")).unwrap();
    let cache = format!("file://{}", place.world.text("cache"));
    let twice = format!("{key} {key}");
    for side in SIDES {
        let args = ["store", "verify", "--store", &cache, "--no-contents", &place.path, "-n"];
        let keys = ["--option", "trusted-public-keys", &twice];
        let verify = |needed: &str| place.world.run(side, "nix", &[&args[..], &[needed], &keys].concat());
        assert_eq!(verify("1").status, 0, "{side:?}");
        assert_eq!(verify("2").status, 2, "{side:?}");
    }
    // One that was cut short is named, with the setting that it is in.
    let cut = format!("test-1:{}", "A".repeat(40));
    let failed = place.fetch(Side::Nival, &cache, &["--option", "trusted-public-keys", &cut]);
    refused(&failed, "error: trusted-public-keys: 'test-1': public key is not valid (30 bytes, 32 expected)");
    // And one of the same name that is another.
    let other = format!("test-1:{}=", "A".repeat(43));
    let failed = place.fetch(Side::Nival, &cache, &["--option", "trusted-public-keys", &other]);
    assert!(
        failed.stderr.contains("that by 'test-1' does not fit the key of this name"),
        "{}",
        failed.stderr
    );
    assert!(
        failed.stderr.contains(&format!("'{}' trusts", place.world.text("fetched"))),
        "{}",
        failed.stderr
    );
}

fn fetched_by_both(place: &Place, cache: &str) {
    for side in SIDES {
        let fetched = place.fetch(side, cache, &[]);
        assert_eq!(fetched.status, 0, "{side:?} {}: {}", place.text(), fetched.stderr);
    }
}

#[test]
fn odd_signatures_and_bare_keys() {
    let Some(world) = World::with_reference() else { return };
    let place = Place::of(world);
    let good = place.text();
    let cache = format!("file://{}", place.world.text("cache"));
    for odd in ["other-1:notbase64", "other-1:ed448:AAAA", "nonsense"] {
        for text in [format!("{good}Sig: {odd}\n"), good.replace("Sig: ", &format!("Sig: {odd}\nSig: "))] {
            place.world.write(place.narinfo(), text);
            place.fetch(Side::Nival, &cache, &[]).ok();
        }
    }
    let bare: String = good.lines().map(|line| format!("{}\n", line.trim_end_matches('='))).collect();
    place.world.write(place.narinfo(), bare);
    let conf = std::fs::read_to_string(place.world.path("etc/nix.conf")).unwrap();
    place.world.write("etc/nix.conf", conf.trim_end().trim_end_matches('='));
    fetched_by_both(&place, &cache);
}

#[test]
fn what_lets_people_in_is_shown_to_nobody() {
    let place = Place::new();
    let server = Faulty::start(&place.world.path("cache"));
    let host = server.url.trim_start_matches("http://").to_owned();
    let dead = format!("127.0.0.1:{}", free_port());
    let database = place.world.write("home/.cache/nix/binary-cache-v7.sqlite", "");
    for user in ["SECRET", "user:SECRET", ":SECRET", "SECRET:x"] {
        std::fs::set_permissions(&database, std::fs::Permissions::from_mode(0o644)).unwrap();
        let at = |host: &str| format!("http://{user}@{host}");
        let root = place.world.text("root");
        let nowhere = format!("{}/{}-nowhere", place.world.text("store"), data::hash_part(99));
        let (there, wrong) = (at(&host), at(&dead));
        let once = ["--option", "download-attempts", "1"];
        for args in [
            &["copy", "--from", &there, "--to", &root, &place.path][..],
            &["copy", "--from", &there, "--to", &root, &nowhere],
            &["copy", "--from", &there, "--to", &root, &place.path, "--log-format", "internal-json", "-vvv"],
            &["copy", "--to", &there, &place.path, "-vv"],
            &["copy", "--from", &wrong, "--to", &root, &place.path],
            &["store", "info", "--store", &there],
            &["store", "gc", "--store", &there],
            &["path-info", "--store", &there, "--all"],
            &["store", "verify", "--store", &there, &nowhere],
        ] {
            let outcome = place.world.nival("nix", &[args, &once].concat());
            assert!(!outcome.stderr.contains("SECRET"), "{args:?}: {}", outcome.stderr);
        }
        for substituter in [&there, &wrong, &format!("https://{user}@[bad/x")] {
            let args = ["-r", &nowhere, "--option", "substituters", substituter, once[0], once[1], once[2]];
            let outcome = place.world.nix_store(&args);
            assert!(!outcome.stderr.contains("SECRET"), "{substituter}: {}", outcome.stderr);
        }
        for args in [&["--gc", "--store", &there][..], &["-q", "--referrers", &nowhere, "--store", &there]] {
            let outcome = place.world.nix_store(args);
            assert!(!outcome.stderr.contains("SECRET"), "{args:?}: {}", outcome.stderr);
        }
        assert_eq!(std::fs::metadata(&database).unwrap().permissions().mode() & 0o777, 0o600);
    }
}

#[test]
fn files_that_are_configured_may_be_links() {
    let place = Place::new();
    let Some(nginx) = Nginx::start(&place.world, "www") else { return };
    let copied = std::process::Command::new("cp")
        .args(["-r", &place.world.text("cache"), &place.world.text("www/private/cache")])
        .status();
    assert!(copied.unwrap().success());
    place.world.write("real-netrc", "machine 127.0.0.1 login user password secret\n");
    symlink("real-netrc", place.world.path("netrc")).unwrap();
    let netrc = place.world.text("netrc");
    let private = format!("{}/private/cache", nginx.url);
    let option = ["--option", "netrc-file", &netrc];
    place.fetch(Side::Nival, &private, &option).ok();
    // One that leads nowhere is told of.
    std::fs::remove_file(place.world.path("real-netrc")).unwrap();
    let failed = place.fetch(Side::Nival, &private, &option);
    assert_eq!(failed.status, 1);
    assert!(failed.stderr.contains("'netrc-file' is not used: opening file"), "{}", failed.stderr);
    assert!(failed.stderr.contains("HTTP error 401"), "{}", failed.stderr);
}

#[test]
fn encrypted_connections_stay_so() {
    let mut place = Place::new();
    let Some(nginx) = Nginx::start(&place.world, "www") else { return };
    let copied = std::process::Command::new("cp")
        .args(["-r", &place.world.text("cache"), &place.world.text("www/cache")])
        .status();
    assert!(copied.unwrap().success());
    place.world.variables.push(("NIX_SSL_CERT_FILE".to_owned(), place.world.text("tls.crt")));
    // Up, or to the same, is fine.
    place.fetch(Side::Nival, &format!("{}/down/cache", nginx.url), &[]).ok();
    let failed = place.fetch(Side::Nival, &format!("{}/down/cache", nginx.secure_url), &[]);
    assert_eq!(failed.status, 1);
    assert!(failed.stderr.contains("redirected to 'http://127.0.0.1"), "{}", failed.stderr);
    assert!(failed.stderr.contains("not encrypted as the first"), "{}", failed.stderr);
}

#[test]
fn archives_may_lie_on_other_servers() {
    let Some(world) = World::with_reference() else { return };
    let place = Place::of(world);
    let good = place.text();
    let archive = place.archive();
    let elsewhere = Faulty::start(&place.world.path("cache"));
    let host = elsewhere.url.trim_start_matches("http:").to_owned();
    for url in [
        format!("{}/{archive}", elsewhere.url),
        format!("/{archive}"),
        format!("./{archive}"),
        format!("{host}/{archive}"),
    ] {
        place.world.write(place.narinfo(), good.replace(&archive, &url));
        let server = Faulty::start(&place.world.path("cache"));
        for side in SIDES {
            let fetched = place.fetch(side, &server.url, &[]);
            assert_eq!(fetched.status, 0, "{side:?} {url}: {}", fetched.stderr);
        }
    }
    for url in ["file:///etc/passwd", "ftp://127.0.0.1/x", "/../x", "http:///x", "gopher://x/y"] {
        place.world.write(place.narinfo(), good.replace(&archive, url));
        let server = Faulty::start(&place.world.path("cache"));
        let failed = place.fetch(Side::Nival, &server.url, &[]);
        assert!(failed.status == 1 && failed.stderr.contains("URL is '"), "{url}: {}", failed.stderr);
    }
}

#[test]
fn what_is_said_of_a_file_counts_less_than_its_archive() {
    let Some(world) = World::with_reference() else { return };
    let place = Place::of(world);
    let good = place.text();
    let zeros = "0".repeat(52);
    let line = |key: &str| good.lines().find(|line| line.starts_with(key)).unwrap().to_owned();
    for (key, value) in [("FileHash", format!("sha256:{zeros}")), ("FileSize", "5".to_owned())] {
        place.world.write(place.narinfo(), good.replace(&line(key), &format!("{key}: {value}")));
        let server = Faulty::start(&place.world.path("cache"));
        for side in SIDES {
            let fetched = place.fetch(side, &server.url, &[]);
            if side == Side::Nival {
                let told = fetched.stderr.lines().find(|line| line.starts_with("warning: 'http")).unwrap();
                let right = told.contains(&format!("{}/{}", server.url, place.archive()))
                    && told.contains(&format!("its {key} is "))
                    && told.contains(&value);
                assert!(right, "{told}");
            }
            fetched.ok();
        }
    }
    // With the wrong contents, both are told.
    let wrong = good
        .replace(&line("FileHash"), &format!("FileHash: sha256:{zeros}"))
        .replace(&line("NarHash"), &format!("NarHash: sha256:1{}", &zeros[1..]));
    place.world.write(place.narinfo(), wrong);
    let cache = format!("file://{}", place.world.text("cache"));
    let failed = place.fetch(Side::Nival, &cache, &["--no-check-sigs"]);
    assert_eq!(failed.status, 1);
    for part in ["hash mismatch importing path", "its FileHash is", &format!("{cache}/nar/")] {
        assert!(failed.stderr.contains(part), "{part}: {}", failed.stderr);
    }
    // A size that is too small.
    place.world.write(place.narinfo(), good.replace(&line("NarSize"), "NarSize: 100"));
    refused(&place.fetch(Side::Nival, &cache, &["--no-check-sigs"]), "size mismatch importing path");
}

#[test]
fn what_comes_is_what_the_server_says() {
    let world = World::new();
    data::big_file(&world.path("src/big"), 32);
    let path = world.nix_store(&["--add", &world.text("src/big")]).line();
    let to = format!("file://{}?compression=none", world.text("cache"));
    world.nival("nix", &["copy", "--to", &to, &path]).ok();
    let server = Faulty::start(&world.path("cache"));
    for (number, (rest, expected)) in [
        (vec![Act::Rest], 0),
        // From the beginning, which is said: what came before is passed over.
        (vec![Act::Another], 0),
    ]
    .into_iter()
    .enumerate()
    {
        server.script("nar/", &[vec![Act::BreakOff(500_000)], rest].concat());
        let root = world.text(format!("root-{number}"));
        let args = ["copy", "--no-check-sigs", "--from", &server.url, "--to", &root, &path];
        let copied = world.nival("nix", &args);
        assert_eq!(copied.status, expected, "{}", copied.stderr);
        world.nival("nix", &["store", "verify", "--no-trust", "--all", "--store", &root]).ok();
    }
}

#[test]
fn refusals_are_told_and_not_remembered() {
    let place = Place::new();
    let server = Faulty::start(&place.world.path("cache"));
    for status in [401, 403, 407] {
        data::forget(&place.world);
        let _ = std::fs::remove_dir_all(place.world.path("home/.cache"));
        let realise = || {
            let option = ["--option", "substituters", &server.url];
            place.world.nix_store(&[&["-r", &place.path][..], &option].concat())
        };
        server.script("narinfo", &[Act::Status(status, ""); 9]);
        let failed = realise();
        assert_ne!(failed.status, 0, "{}", failed.stderr);
        let told = format!("HTTP error {status}; what '{}' refuses counts as not there", server.url);
        assert_eq!(failed.stderr.matches(&told).count(), 1, "{}", failed.stderr);
        server.script("narinfo", &[]);
        realise().ok();
    }
}

#[test]
fn answers_of_the_future_do_not_count() {
    let place = Place::new();
    let server = Faulty::start(&place.world.path("cache"));
    let ask = || place.world.nival("nix", &["path-info", "--store", &server.url, &place.path]);
    ask().ok();
    let database =
        rusqlite::Connection::open(place.world.path("home/.cache/nix/binary-cache-v7.sqlite")).unwrap();
    // The clock was a year ahead when it answered that the path is not there.
    let ahead = "update NARs set present = 0, timestamp = timestamp + 31000000";
    assert_eq!(database.execute(ahead, []).unwrap(), 1);
    ask().ok();
    database.execute("update BinaryCaches set timestamp = timestamp + 31000000", []).unwrap();
    server.script("x", &[]);
    ask().ok();
    assert!(server.seen().iter().any(|line| line == "GET nix-cache-info"), "{:?}", server.seen());
}

#[test]
fn proxies_are_those_of_curl_and_named() {
    let mut place = Place::new();
    let server = Faulty::start(&place.world.path("cache"));
    let proxy = format!("http://user:SECRET@127.0.0.1:{}", free_port());
    let once = ["--option", "download-attempts", "1"];
    place.world.variables.push(("http_proxy".to_owned(), proxy.clone()));
    let failed = place.fetch(Side::Nival, &server.url, &once);
    let named = format!("the proxy '{}/': connection refused", proxy.replace("user:SECRET", "***"));
    assert!(failed.status == 1 && failed.stderr.contains(&named), "{}", failed.stderr);
    for (name, value) in [("no_proxy", "*"), ("NO_PROXY", "*"), ("no_proxy", "x, 127.0.0.0/8")] {
        place.world.variables.push((name.to_owned(), value.to_owned()));
        place.fetch(Side::Nival, &server.url, &once).ok();
        place.world.variables.pop();
    }
    // Servers give this name to what they start for somebody's header.
    place.world.variables[0].0 = "HTTP_PROXY".to_owned();
    place.fetch(Side::Nival, &server.url, &once).ok();
}

#[test]
fn network_errors_in_plain_words() {
    let place = Place::new();
    let server = Faulty::start(&place.world.path("cache"));
    let dead = format!("127.0.0.1:{}", free_port());
    let failed = place.fetch(Side::Nival, &format!("http://{dead}"), &["--option", "download-attempts", "2"]);
    let line = format!("unable to download 'http://{dead}/nix-cache-info': connection refused");
    assert!(failed.stderr.contains(&line) && !failed.stderr.contains("os error"), "{}", failed.stderr);
    // Tried once: it will not be there in a second either.
    let nobody = place.fetch(Side::Nival, "http://nosuch.invalid", &[]);
    assert!(nobody.stderr.contains("no such host 'nosuch.invalid'"), "{}", nobody.stderr);
    assert!(!nobody.stderr.contains("retrying"), "{}", nobody.stderr);
    // Where it was sent on to.
    let location: &str = Box::leak(format!("Location: http://{dead}/x?token=SECRET\r\n").into_boxed_str());
    server.script("narinfo", &[Act::Status(302, location)]);
    let moved = place.fetch(Side::Nival, &server.url, &["--option", "download-attempts", "1"]);
    let line = format!("redirected to 'http://{dead}/x': connection refused");
    assert!(moved.stderr.contains(&line) && !moved.stderr.contains("SECRET"), "{}", moved.stderr);
    // What a server says, unless it is a page for browsers.
    let long = "a\r\nb\r\n\r\nc\nd\ne\nf\ng\n";
    for (kind, text, shown) in [
        ("text/plain", "quota exceeded\r\n", Some("response body:\n\n       quota exceeded\n")),
        ("text/plain", long, Some("       a\n       b\n       c\n       d\n       e\n       …\n")),
        ("application/json", "{\"error\":1}", Some("{\"error\":1}")),
        ("text/html", "<html>\r\nno</html>", None),
        ("text/plain", "<html>\r\nno</html>", None),
    ] {
        server.script("narinfo", &[Act::Page(418, kind, text)]);
        let failed = place.fetch(Side::Nival, &server.url, &[]);
        assert!(failed.stderr.contains("HTTP error 418"), "{}", failed.stderr);
        match shown {
            Some(shown) => assert!(failed.stderr.contains(shown), "{}", failed.stderr),
            None => assert!(!failed.stderr.contains("response body"), "{}", failed.stderr),
        }
        assert!(!failed.stderr.contains("\\r"), "{}", failed.stderr);
    }
}

#[test]
fn reading_makes_nothing() {
    let place = Place::new();
    let server = Faulty::start(&place.world.path("cache"));
    let nowhere = format!("{}/nowhere", server.url);
    server.script("x", &[]);
    let failed = place.fetch(Side::Nival, &nowhere, &[]);
    refused(
        &failed,
        &format!("error: '{nowhere}' is not a binary cache: it has no 'nix-cache-info' (HTTP 404)"),
    );
    assert!(server.seen().iter().all(|line| line.starts_with("GET")), "{:?}", server.seen());
    let absent = format!("file://{}", place.world.text("nope"));
    let message = format!("'{absent}' is not a binary cache: there is no such directory");
    refused(&place.fetch(Side::Nival, &absent, &[]), &message);
    refused(&place.world.nival("nix", &["copy", "--from", &absent, "--all"]), &message);
    refused(&place.world.nival("nix", &["path-info", "--store", &absent, "--all"]), &message);
    refused(&place.world.nival("nix", &["path-info", "--store", &absent, &place.path]), &message);
    let option = ["--option", "substituters", &absent];
    let nobody = format!("{}/{}-nowhere", place.world.text("store"), data::hash_part(99));
    let outcome = place.world.nix_store(&[&["-r", &nobody][..], &option].concat());
    assert!(outcome.stderr.contains(&message), "{}", outcome.stderr);
    // Nor does a copy that fails before its first path.
    refused(&place.world.nival("nix", &["copy", "--to", &absent, &nobody]), "error");
    assert!(!place.world.path("nope").exists());
    place.world.nival("nix", &["copy", "--to", &absent, &place.path]).ok();
    assert!(place.world.path("nope/nix-cache-info").exists());
}

#[test]
fn what_is_left_of_something_is_stored_again() {
    let place = Place::new();
    let good = place.text();
    let to = format!("file://{}?compression=none", place.world.text("cache"));
    let archive = place.world.path("cache").join(place.archive());
    let store = || place.world.nival("nix", &["copy", "--to", &to, &place.path]);
    for broken in ["", &good[..good.len() / 2], "StorePath: x\n"] {
        place.world.write(place.narinfo(), broken);
        store().ok();
        assert!(place.text().contains("\nNarHash: sha256:"), "{}", place.text());
    }
    std::fs::remove_file(&archive).unwrap();
    store().ok();
    assert!(archive.exists());
    std::fs::write(&archive, "short").unwrap();
    store().ok();
    assert_ne!(std::fs::read(&archive).unwrap(), b"short");
    assert_eq!(store().ok().stderr, "copying 0 paths...\n");
}

#[test]
fn parameters_that_are_none() {
    let Some(world) = World::with_reference() else { return };
    let place = Place::of(world);
    let to = |query: &str| format!("file://{}?{query}", place.world.text("other"));
    for side in SIDES {
        let failed = place.world.run(side, "nix", &["copy", "--to", &to("compression=zst"), &place.path]);
        refused(&failed, "error: option 'compression' has invalid value 'zst'\n       Did you mean zstd?\n");
    }
    let warned = place.world.nival("nix", &["copy", "--to", &to("compresion=zstd"), &place.path]);
    let line = "warning: unknown setting 'compresion'; did you mean 'compression'?\n";
    assert!(warned.ok().stderr.contains(line), "{}", warned.stderr);
}

#[test]
fn what_is_remembered_of_a_cache_is_shared() {
    let Some(world) = World::with_reference() else { return };
    let place = Place::of(world);
    let served = place.world.path("served");
    std::fs::create_dir(&served).unwrap();
    let copied = std::process::Command::new("cp")
        .args(["-r", &place.world.text("cache"), &place.world.text("served/sub%2Bx")])
        .status();
    assert!(copied.unwrap().success());
    let server = Faulty::start(&served);
    let cache = format!("{}/sub+x/", server.url);
    for (asks, again) in [(Side::Nival, Side::Reference), (Side::Reference, Side::Nival)] {
        let _ = std::fs::remove_dir_all(place.world.path("home/.cache"));
        let ask = |side| place.world.run(side, "nix", &["path-info", "--store", &cache, &place.path]);
        ask(asks).ok();
        server.script("x", &[]);
        ask(again).ok();
        assert_eq!(server.seen(), [""; 0], "{again:?} asked again");
    }
}

#[test]
fn downloads_can_be_held_back() {
    let world = World::new();
    data::big_file(&world.path("src/big"), 16);
    let path = world.nix_store(&["--add", &world.text("src/big")]).line();
    let to = format!("file://{}?compression=none", world.text("cache"));
    world.nival("nix", &["copy", "--to", &to, &path]).ok();
    let server = Faulty::start(&world.path("cache"));
    let root = world.text("root");
    let begun = std::time::Instant::now();
    // A mebibyte at 512 KiB a second.
    let args = ["copy", "--no-check-sigs", "--from", &server.url, "--to", &root, &path];
    world.nival("nix", &[&args[..], &["--option", "download-speed", "512"]].concat()).ok();
    let took = begun.elapsed().as_secs_f64();
    assert!(took > 1.8, "{took}");
}

#[test]
fn small_files_are_encoded_for_servers() {
    let Some(world) = World::with_reference() else { return };
    let place = Place::of(world);
    let Some(nginx) = Nginx::start(&place.world, "www") else { return };
    let query = "narinfo-compression=xz&ls-compression=zstd&write-nar-listing=true&compression=none";
    let beginning = |side: Side, suffix: &str| {
        let name = format!("www/{side:?}/{}{suffix}", place.hash());
        std::fs::read(place.world.path(name)).unwrap()[..4].to_vec()
    };
    for side in SIDES {
        let to = format!("{}/{side:?}?{query}", nginx.url);
        place.world.run(side, "nix", &["copy", "--to", &to, &place.path]).ok();
        assert_eq!(beginning(side, ".narinfo"), b"\xfd7zX", "{side:?}");
        assert_eq!(beginning(side, ".ls"), [0x28, 0xb5, 0x2f, 0xfd], "{side:?}");
    }
    // A directory has nobody who says how its files are encoded.
    let to = format!("file://{}?narinfo-compression=xz", place.world.text("plain"));
    for side in SIDES {
        let warned = place.world.run(side, "nix", &["copy", "--to", &to, &place.path]);
        assert!(warned.ok().stderr.contains("unknown setting 'narinfo-compression'"), "{}", warned.stderr);
    }
}

#[test]
fn a_person_reads_what_was_done() {
    let place = Place::new();
    let cache = format!("file://{}", place.world.text("cache"));
    let nix = place.world.text("bin/nix");
    let line = format!("{nix} copy --from {cache} --to {} {}", place.world.text("seen"), place.path);
    let mut command = place.world.command(Side::Nival, "nix");
    let environment: Vec<_> =
        command.get_envs().filter_map(|(name, value)| Some((name.to_owned(), value?.to_owned()))).collect();
    // A terminal for it.
    command = std::process::Command::new("script");
    command.env_clear().envs(environment).env("TERM", "xterm").args(["-qec", &line, "/dev/null"]);
    let Ok(output) = command.stdin(std::process::Stdio::null()).output() else {
        crate::common::skip_missing("script is not installed");
        return;
    };
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success() && said.contains("copied 2 paths, 1.0 KiB, in "), "{said}");
    let piped = place.fetch(Side::Nival, &cache, &[]);
    assert!(!piped.ok().stderr.contains("copied"), "{}", piped.stderr);
}
