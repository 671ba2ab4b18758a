//! Which proxy a request goes through, by the variables that `curl` knows.
//!
//! | variable | for |
//! |---|---|
//! | `http_proxy` | `http`; in small letters only, since servers give capitals to what they start |
//! | `https_proxy`, `HTTPS_PROXY` | `https` |
//! | `all_proxy`, `ALL_PROXY` | what the others do not name |
//! | `no_proxy`, `NO_PROXY` | hosts that are asked directly |
//!
//! ```text
//! no_proxy = "*" | { host | "." host | address [ "/" BITS ] }, separated by commas or blanks
//! ```
//!
//! A host stands for those below it, too.

use std::net::IpAddr;

use reqwest::Url;

/// The proxies, as the variables name them.
#[derive(Debug, Clone, Default)]
pub struct Proxies {
    http: Option<String>,
    https: Option<String>,
    /// Hosts, addresses and networks; `*` for all.
    direct: String,
}

impl Proxies {
    /// From the variables, which `variable` looks up.
    pub fn from_variables(variable: impl Fn(&str) -> Option<String>) -> Self {
        let first = |names: &[&str]| names.iter().find_map(|name| variable(name));
        let filled = |names: &[&str]| first(names).filter(|text| !text.is_empty());
        let all = filled(&["all_proxy", "ALL_PROXY"]);
        Self {
            http: filled(&["http_proxy"]).or_else(|| all.clone()),
            https: filled(&["https_proxy", "HTTPS_PROXY"]).or(all),
            direct: first(&["no_proxy", "NO_PROXY"]).unwrap_or_default(),
        }
    }

    /// The proxy for a URL; `Err` with its text if that is no URL.
    pub fn of(&self, url: &Url) -> Option<Result<Url, String>> {
        let text = match url.scheme() {
            "https" => self.https.as_deref()?,
            _ => self.http.as_deref()?,
        };
        if self.is_direct(url.host_str()?) {
            return None;
        }
        let whole = if text.contains("://") { text.to_owned() } else { format!("http://{text}") };
        let parsed = Url::parse(&whole).ok().filter(|proxy| matches!(proxy.scheme(), "http" | "https"));
        Some(parsed.ok_or_else(|| crate::http::url::shown(&whole)))
    }

    fn is_direct(&self, host: &str) -> bool {
        if self.direct.trim() == "*" {
            return true;
        }
        let plain = |text: &str| text.trim_end_matches('.').to_ascii_lowercase();
        let host = plain(host.trim_start_matches('[').trim_end_matches(']'));
        let address: Option<IpAddr> = host.parse().ok();
        let words = self.direct.split([',', ' ', '\t']).filter(|word| !word.is_empty());
        words.map(|word| word.trim_start_matches('[').trim_end_matches(']')).any(|word| match address {
            Some(address) => is_in(address, word),
            None => {
                let domain = plain(word.strip_prefix('.').unwrap_or(word));
                let below = host.strip_suffix(&domain);
                !domain.is_empty() && below.is_some_and(|rest| rest.is_empty() || rest.ends_with('.'))
            }
        })
    }
}

/// Whether an address is another, or lies in a network.
fn is_in(address: IpAddr, network: &str) -> bool {
    let (base, bits) = network.split_once('/').map_or((network, None), |(base, bits)| (base, Some(bits)));
    let Ok(base) = base.parse::<IpAddr>() else { return false };
    let (ours, theirs, width) = match (address, base) {
        (IpAddr::V4(ours), IpAddr::V4(theirs)) => {
            (u128::from(u32::from(ours)), u128::from(u32::from(theirs)), 32)
        }
        (IpAddr::V6(ours), IpAddr::V6(theirs)) => (u128::from(ours), u128::from(theirs), 128),
        _ => return false,
    };
    let Some(bits) = bits.map_or(Some(width), |bits| bits.parse().ok().filter(|bits| *bits <= width)) else {
        return false;
    };
    // All of them are too many for a shift.
    let host_bits = width - bits;
    ours.checked_shr(host_bits).unwrap_or(0) == theirs.checked_shr(host_bits).unwrap_or(0)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::Proxies;
    use reqwest::Url;

    fn proxies(variables: &[(&str, &str)]) -> Proxies {
        let find = |name: &str| variables.iter().find(|(known, _)| *known == name).map(|(_, text)| *text);
        Proxies::from_variables(|name| find(name).map(str::to_owned))
    }

    fn used(variables: &[(&str, &str)], url: &str) -> Option<String> {
        let proxy = proxies(variables).of(&Url::parse(url).unwrap());
        proxy.map(|proxy| proxy.map_or_else(|text| format!("bad {text}"), |url| url.to_string()))
    }

    #[test]
    fn variables() {
        let both = [("http_proxy", "a:1"), ("HTTPS_PROXY", "http://b:2")];
        assert_eq!(used(&both, "http://x/").as_deref(), Some("http://a:1/"));
        assert_eq!(used(&both, "https://x/").as_deref(), Some("http://b:2/"));
        assert_eq!(used(&[("HTTP_PROXY", "a:1")], "http://x/"), None);
        assert_eq!(used(&[("ALL_PROXY", "a:1")], "http://x/").as_deref(), Some("http://a:1/"));
        assert_eq!(
            used(&[("https_proxy", "c:3"), ("HTTPS_PROXY", "b")], "https://x/").unwrap(),
            "http://c:3/"
        );
        assert_eq!(used(&[("http_proxy", "")], "http://x/"), None);
        let bad = used(&[("http_proxy", "gopher://u:secret@x")], "http://x/").unwrap();
        assert_eq!(bad, "bad gopher://***@x");
    }

    #[test]
    fn hosts_that_are_asked_directly() {
        for (list, host, direct) in [
            ("*", "x", true),
            (" * ", "x", true),
            ("*,y", "x", false),
            ("x", "x", true),
            ("x", "X.", true),
            ("b.example", "a.b.example", true),
            (".b.example", "b.example", true),
            ("b.example", "ab.example", false),
            ("a, b.example", "b.example", true),
            ("10.0.0.0/8", "10.1.2.3", true),
            ("10.0.0.0/8", "11.1.2.3", false),
            ("10.1.2.3", "10.1.2.3", true),
            ("0.0.0.0/0", "10.1.2.3", true),
            ("10.0.0.0/99", "10.1.2.3", false),
            ("::1", "[::1]", true),
            ("fd00::/8", "[fd12::1]", true),
            ("", "x", false),
        ] {
            let variables = [("http_proxy", "p:1"), ("no_proxy", list)];
            let proxy = used(&variables, &format!("http://{host}/"));
            assert_eq!(proxy.is_none(), direct, "{list} {host}");
        }
        assert_eq!(used(&[("http_proxy", "p"), ("NO_PROXY", "*")], "http://x/"), None);
    }
}
