//! Why a request failed, in plain words that name the end that failed: the
//! server, the one that it sent us on to, or the proxy.

use std::error::Error;
use std::io;

use reqwest::Url;

use crate::http::message::Failure;
use crate::http::proxy::Proxies;
use crate::http::url;

/// Of a request for `asked` that was sent on to `at`.
pub fn failure(error: &reqwest::Error, asked: &Url, at: &Url, proxies: &Proxies) -> Failure {
    let proxy = proxies.of(at).and_then(Result::ok).filter(|_| error.is_connect());
    // The name that is looked up, and whose port is tried.
    let end = proxy.as_ref().unwrap_or(at);
    let (mut text, mut lasting) = reason(error, end);
    if let Some(proxy) = &proxy {
        text = format!("the proxy '{}': {text}", url::shown(proxy.as_str()));
    }
    if at != asked {
        text = format!("redirected to '{}': {text}", without_query(at));
    }
    // Nothing that another try would change.
    lasting |= error.is_builder() || text.contains("invalid peer certificate");
    if lasting { Failure::Request(text) } else { Failure::Connection(text) }
}

/// A URL that a server made: what follows its path may let people in.
pub fn without_query(url: &Url) -> String {
    let mut url = url.clone();
    url.set_query(None);
    url.set_fragment(None);
    url::shown(url.as_str())
}

/// The reason, and whether it will be the same next time.
fn reason(error: &reqwest::Error, end: &Url) -> (String, bool) {
    let mut next = error.source();
    let mut text = String::new();
    while let Some(cause) = next {
        let words = cause.to_string();
        if let Some(found) = cause.downcast_ref::<io::Error>().and_then(of_system) {
            return (found.to_owned(), false);
        }
        if words.contains("failed to lookup address information") {
            return of_name(&words, end);
        }
        // "client error (Connect)" and the like say where in the library.
        if !words.starts_with("client error (") && !text.contains(&words) {
            if !text.is_empty() {
                text += ": ";
            }
            text += &words;
        }
        next = cause.source();
    }
    if error.is_timeout() && error.is_connect() {
        return ("no connection within the time of 'connect-timeout'".to_owned(), false);
    }
    if text.is_empty() {
        text = error.to_string();
    }
    (text, false)
}

fn of_system(error: &io::Error) -> Option<&'static str> {
    Some(match error.kind() {
        io::ErrorKind::ConnectionRefused => "connection refused",
        io::ErrorKind::ConnectionReset => "the connection was reset",
        io::ErrorKind::HostUnreachable => "no route to the host",
        io::ErrorKind::NetworkUnreachable => "the network is unreachable",
        _ => return None,
    })
}

/// A host without an address; servers of names that do not answer may later.
fn of_name(words: &str, end: &Url) -> (String, bool) {
    let host = end.host_str().unwrap_or_default();
    let unknown = ["Name or service not known", "No address associated"];
    // Nobody can have a name that ends so.
    let reserved = host.trim_end_matches('.').ends_with(".invalid");
    if reserved || unknown.iter().any(|text| words.contains(text)) {
        return (format!("no such host '{host}'"), true);
    }
    (format!("the address of '{host}' cannot be found out now (no answer of a name server)"), false)
}
