//! Servers for tests: a real nginx, and one that breaks in scripted ways.

use std::collections::BTreeMap;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use crate::common::World;
use crate::data;

/// A port that nobody listens at now.
pub fn free_port() -> u16 {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}

/// The commit that the server tells of below `/linked` and `/sent`.
pub const LINKED: &str = "fa866f85814ba2080d39e950fb3d8c966c5b522a";

/// A proxy that takes every machine for one.
pub struct Tunnel {
    /// `http://127.0.0.1:PORT`
    pub url: String,
}

impl Tunnel {
    /// Leads all connections to the port of a URL of this machine. Its threads end with the program.
    pub fn to(url: &str) -> Self {
        let port: u16 = url.rsplit(':').next().unwrap().parse().unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        std::thread::spawn(move || {
            for client in listener.incoming().flatten() {
                std::thread::spawn(move || lead(client, port));
            }
        });
        Self { url }
    }
}

/// Answers a request to connect, and passes on what both sides say.
fn lead(mut client: TcpStream, port: u16) -> Option<()> {
    let mut head = Vec::new();
    let mut byte = [0];
    while !head.ends_with(b"\r\n\r\n") {
        client.read_exact(&mut byte).ok()?;
        head.extend(byte);
    }
    let mut server = TcpStream::connect(("127.0.0.1", port)).ok()?;
    client.write_all(b"HTTP/1.1 200 it is open\r\n\r\n").ok()?;
    let (mut from, mut to) = (server.try_clone().ok()?, client.try_clone().ok()?);
    std::thread::spawn(move || {
        let _ = std::io::copy(&mut from, &mut to);
        let _ = to.shutdown(std::net::Shutdown::Write);
    });
    let _ = std::io::copy(&mut client, &mut server);
    server.shutdown(std::net::Shutdown::Write).ok()
}

/// An nginx that serves a directory of a world; ended with it.
pub struct Nginx {
    child: Child,
    /// `http://127.0.0.1:PORT`
    pub url: String,
    /// `https://localhost:PORT`, with a certificate of `tls.crt` in the world.
    pub secure_url: String,
}

impl Nginx {
    /// Serves `dir`, for reading and storing; `user:secret` is needed below
    /// `/private`. `None` (and a word why) where there is no nginx.
    pub fn start(world: &World, dir: &str) -> Option<Self> {
        let program = ["/usr/sbin/nginx", "/usr/bin/nginx"].into_iter().find(|path| Path::new(path).exists());
        let Some(program) = program else {
            crate::common::skip_missing("nginx is not installed");
            return None;
        };
        std::fs::create_dir_all(world.path(dir)).unwrap();
        std::fs::create_dir_all(world.path(dir).join("private")).unwrap();
        let made = Command::new("openssl")
            .args(["req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"])
            .args(["-days", "2", "-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost,DNS:api.github.com,DNS:github.com,DNS:gitlab.com,DNS:git.sr.ht,DNS:forge.test"])
            .args(["-addext", "basicConstraints=critical,CA:FALSE"])
            .args(["-keyout", &world.text("tls.key"), "-out", &world.text("tls.crt")])
            .output()
            .unwrap();
        assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
        world.write("htpasswd", "user:{PLAIN}secret\n");
        let (port, secure) = (free_port(), free_port());
        let (root, pid) = (world.text(dir), world.text("nginx.pid"));
        let temp = world.text("nginx-tmp");
        std::fs::create_dir_all(&temp).unwrap();
        let user = if rustix::process::getuid().is_root() { "user root;" } else { "" };
        let conf = world.write(
            "nginx.conf",
            format!(
                "daemon off; {user} worker_processes 1; pid {pid}; error_log {root}.log;\n\
                 events {{ worker_connections 256; }}\n\
                 http {{\n\
                   log_format heads '$host $request_uri [$http_authorization] [$http_private_token]';\n\
                   access_log {access}; access_log {heads} heads; client_max_body_size 0;\n\
                   client_body_temp_path {temp}/b; proxy_temp_path {temp}/p; fastcgi_temp_path {temp}/f;\n\
                   uwsgi_temp_path {temp}/u; scgi_temp_path {temp}/s;\n\
                   server {{\n\
                     listen 127.0.0.1:{port}; listen 127.0.0.1:{secure} ssl http2;\n\
                     ssl_certificate {crt}; ssl_certificate_key {key};\n\
                     root {root}; dav_methods PUT DELETE; create_full_put_path on;\n\
                     location /private/ {{ auth_basic x; auth_basic_user_file {htpasswd}; }}\n\
                     location /down/ {{ rewrite ^/down/(.*)$ http://127.0.0.1:{port}/$1 redirect; }}
                     location /linked/ {{ alias {root}/; add_header Link '{link}'; }}
                     location /sent/ {{ add_header Link '{link}' always; rewrite ^/sent/(.*)$ /$1 redirect; }}
                     location /told/ {{ alias {root}/; add_header Link '<path:/etc>; rel=\"immutable\"'; }}
                     location /moved/ {{ rewrite ^/moved/(.*)$ /$1 redirect; }}\n\
                   }}\n\
                 }}\n",
                access = world.text("access.log"),
                heads = world.text("heads.log"),
                crt = world.text("tls.crt"),
                link = format!(
                    "<http://127.0.0.1:{port}/x.tar.gz?rev={LINKED}&revCount=7&x=y>; rel=\"immutable\""
                ),
                key = world.text("tls.key"),
                htpasswd = world.text("htpasswd"),
            ),
        );
        let child = Command::new(program)
            .args(["-e", &world.text("nginx-early.log"), "-c"])
            .arg(conf)
            .stdin(Stdio::null())
            .spawn()
            .unwrap();
        data::wait_until("nginx listens", || TcpStream::connect(("127.0.0.1", port)).is_ok());
        Some(Self {
            child,
            url: format!("http://127.0.0.1:{port}"),
            secure_url: format!("https://localhost:{secure}"),
        })
    }
}

impl Drop for Nginx {
    fn drop(&mut self) {
        let pid = rustix::process::Pid::from_child(&self.child);
        let _ = rustix::process::kill_process(pid, rustix::process::Signal::TERM);
        let _ = self.child.wait();
    }
}

/// What the scripted server does with a request.
#[derive(Debug, Clone, Copy)]
pub enum Act {
    /// The file, or 404.
    Serve,
    /// This status, with these further headers.
    Status(u16, &'static str),
    /// The connection is closed before any answer.
    Reset,
    /// The head, and so much of the body, then the connection is closed.
    BreakOff(usize),
    /// The head, and so much of the body, then nothing for a long time.
    Stall(usize),
    /// A byte at a time.
    Drip,
    /// One byte of the body is another.
    Corrupt,
    /// A length that is too large by this.
    Longer(usize),
    /// The body never ends.
    Endless,
    /// 413 before anything of the request's body is read, which then is not.
    Refuse,
    /// A page of this status and kind.
    Page(u16, &'static str, &'static str),
    /// What was asked for, with status 200 and the range that it is.
    Rest,
    /// The whole file as a part of it, which says so.
    Another,
    /// Compressed by `gzip`, as the answer's head says.
    Encoded,
}

/// A server that breaks as it is told to.
pub struct Faulty {
    /// `http://127.0.0.1:PORT`
    pub url: String,
    shared: Arc<Shared>,
    address: std::net::SocketAddr,
}

struct Shared {
    files: BTreeMap<String, Vec<u8>>,
    /// What to do with the requests for names that contain a word, in turn;
    /// then they are served.
    script: Mutex<Vec<(String, Act)>>,
    /// Which requests are answered late, and how late.
    held: Mutex<Option<(String, Duration)>>,
    /// `METHOD NAME RANGE`
    seen: Mutex<Vec<String>>,
    ended: AtomicBool,
}

impl Faulty {
    /// Serves the files of a directory.
    pub fn start(dir: &Path) -> Self {
        let mut files = BTreeMap::new();
        for entry in walk(dir) {
            let name = entry.strip_prefix(dir).unwrap().to_str().unwrap().to_owned();
            files.insert(name, std::fs::read(&entry).unwrap());
        }
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let shared = Arc::new(Shared {
            files,
            script: Mutex::default(),
            seen: Mutex::default(),
            held: Mutex::default(),
            ended: AtomicBool::new(false),
        });
        let server = Arc::clone(&shared);
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                if server.ended.load(Ordering::Relaxed) {
                    return;
                }
                let (server, stream) = (Arc::clone(&server), stream.unwrap());
                std::thread::spawn(move || drop(server.connection(stream)));
            }
        });
        Self { url: format!("http://{address}"), shared, address }
    }

    /// As [`Faulty::start`], without the files whose names contain a word.
    pub fn without(dir: &Path, word: &str) -> Self {
        let scratch = tempfile::tempdir().unwrap();
        let kept = scratch.path().join("kept");
        let copied = std::process::Command::new("cp").arg("-r").arg(dir).arg(&kept).status().unwrap();
        assert!(copied.success());
        for file in walk(&kept).into_iter().filter(|file| file.to_str().unwrap().contains(word)) {
            std::fs::remove_file(file).unwrap();
        }
        Self::start(&kept)
    }

    /// Does these, in turn, with requests for names that contain `word`.
    pub fn script(&self, word: &str, acts: &[Act]) {
        *self.shared.script.lock().unwrap() = acts.iter().map(|act| (word.to_owned(), *act)).collect();
        self.shared.seen.lock().unwrap().clear();
    }

    /// Answers requests for names that contain `word` this much later than others.
    pub fn hold(&self, word: &str, time: Duration) {
        *self.shared.held.lock().unwrap() = Some((word.to_owned(), time));
    }

    /// The requests since the script was set.
    pub fn seen(&self) -> Vec<String> {
        self.shared.seen.lock().unwrap().clone()
    }
}

impl Drop for Faulty {
    fn drop(&mut self) {
        self.shared.ended.store(true, Ordering::Relaxed);
        let _ = TcpStream::connect(self.address);
    }
}

fn walk(dir: &Path) -> Vec<std::path::PathBuf> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() { found.extend(walk(&path)) } else { found.push(path) }
    }
    found
}

impl Shared {
    fn connection(&self, stream: TcpStream) -> std::io::Result<()> {
        let mut reader = BufReader::new(stream.try_clone()?);
        let mut out = stream;
        loop {
            let mut line = String::new();
            if reader.read_line(&mut line)? == 0 {
                return Ok(());
            }
            let mut words = line.split(' ');
            let method = words.next().unwrap_or_default().to_owned();
            let name = words.next().unwrap_or_default().trim_start_matches('/').to_owned();
            let (mut range, mut length) = (None, 0u64);
            loop {
                let mut header = String::new();
                reader.read_line(&mut header)?;
                let header = header.trim().to_ascii_lowercase();
                if header.is_empty() {
                    break;
                }
                if let Some(value) = header.strip_prefix("range: bytes=") {
                    range = value.trim_end_matches('-').parse::<usize>().ok();
                }
                if let Some(value) = header.strip_prefix("content-length: ") {
                    length = value.parse().unwrap_or(0);
                }
            }
            let refused = length > 0
                && matches!(self.script.lock().unwrap().first(), Some((word, Act::Refuse)) if name.contains(word.as_str()));
            if refused {
                self.act(&name);
                write!(out, "HTTP/1.1 413 x\r\nContent-Length: 8\r\n\r\ntoo long")?;
                std::thread::sleep(Duration::from_secs(20));
                return Ok(());
            }
            std::io::copy(&mut (&mut reader).take(length), &mut std::io::sink())?;
            let shown = range.map(|from| format!(" {from}")).unwrap_or_default();
            self.seen.lock().unwrap().push(format!("{method} {name}{shown}"));
            if !self.answer(&mut out, &method, &name, range)? {
                return Ok(());
            }
        }
    }

    fn act(&self, name: &str) -> Act {
        let mut script = self.script.lock().unwrap();
        match script.first() {
            Some((word, _)) if name.contains(word.as_str()) => script.remove(0).1,
            _ => Act::Serve,
        }
    }

    fn answer(
        &self,
        out: &mut TcpStream,
        method: &str,
        name: &str,
        range: Option<usize>,
    ) -> std::io::Result<bool> {
        let held = self.held.lock().unwrap().clone();
        if let Some((_, time)) = held.filter(|(word, _)| name.contains(word.as_str())) {
            std::thread::sleep(time);
        }
        let act = self.act(name);
        if let Act::Status(status, headers) = act {
            write!(out, "HTTP/1.1 {status} x\r\n{headers}Content-Length: 4\r\n\r\n")?;
            out.write_all(if method == "HEAD" { b"" } else { b"oops" })?;
            return Ok(true);
        }
        if let Act::Page(status, kind, text) = act {
            let length = text.len();
            write!(out, "HTTP/1.1 {status} x\r\nContent-Type: {kind}\r\nContent-Length: {length}\r\n\r\n")?;
            out.write_all(if method == "HEAD" { b"" } else { text.as_bytes() })?;
            return Ok(true);
        }
        if matches!(act, Act::Reset) {
            return Ok(false);
        }
        let Some(file) = self.files.get(name) else {
            write!(out, "HTTP/1.1 404 x\r\nContent-Length: 0\r\n\r\n")?;
            return Ok(true);
        };
        let from = range.unwrap_or(0).min(file.len());
        let mut body = file[from..].to_vec();
        let status = if range.is_some() { "206 x" } else { "200 x" };
        let announced = match act {
            Act::Longer(by) => body.len() + by,
            _ => body.len(),
        };
        if matches!(act, Act::Encoded) {
            let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
            encoder.write_all(&body)?;
            let body = encoder.finish()?;
            let length = body.len();
            write!(out, "HTTP/1.1 200 x\r\nContent-Encoding: gzip\r\nContent-Length: {length}\r\n\r\n")?;
            out.write_all(&body)?;
            return Ok(true);
        }
        if matches!(act, Act::Rest | Act::Another) {
            let from = if matches!(act, Act::Rest) { from } else { 0 };
            let (status, last, all) = (if from > 0 { 200 } else { 206 }, file.len() - 1, file.len());
            let length = all - from;
            write!(out, "HTTP/1.1 {status} x\r\nContent-Range: bytes {from}-{last}/{all}\r\n")?;
            write!(out, "Content-Length: {length}\r\n\r\n")?;
            out.write_all(&file[from..])?;
            return Ok(true);
        }
        if matches!(act, Act::Endless) {
            write!(out, "HTTP/1.1 200 x\r\nConnection: close\r\n\r\n")?;
            out.write_all(&body)?;
            // Until nobody reads it any more.
            while out.write_all(&[b'x'; 65536]).is_ok() {}
            return Ok(false);
        }
        write!(out, "HTTP/1.1 {status}\r\nAccept-Ranges: bytes\r\nContent-Length: {announced}\r\n\r\n")?;
        if method == "HEAD" {
            return Ok(true);
        }
        match act {
            Act::BreakOff(most) => {
                out.write_all(&body[..most.min(body.len())])?;
                Ok(false)
            }
            Act::Stall(most) => {
                out.write_all(&body[..most.min(body.len())])?;
                std::thread::sleep(Duration::from_secs(30));
                Ok(false)
            }
            Act::Drip => {
                for byte in body {
                    out.write_all(&[byte])?;
                    std::thread::sleep(Duration::from_millis(1));
                }
                Ok(true)
            }
            Act::Corrupt => {
                let middle = body.len() / 2;
                body[middle] ^= 1;
                out.write_all(&body)?;
                Ok(true)
            }
            Act::Longer(_) => {
                out.write_all(&body)?;
                Ok(false)
            }
            _ => {
                out.write_all(&body)?;
                Ok(true)
            }
        }
    }
}
