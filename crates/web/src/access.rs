//! Who may read: the token in its several forms, and names that a loopback server answers to.

use std::net::IpAddr;

use data_encoding::{BASE64, HEXLOWER};
use http::header::{AUTHORIZATION, COOKIE, HOST};
use http::{HeaderMap, Uri, Version};
use packhorse_protocol::key::{Pin, Token};
use subtle::ConstantTimeEq;

/// What the cookie's key is derived for; see [`blake3::derive_key`].
const COOKIE_CONTEXT: &str = "packhorse web cookie 1";

/// How a request stands to the token.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Admission {
    /// It may read.
    Granted,
    /// It may read by the key in its URL, and should get a cookie instead.
    GrantedByUrl,
    /// It shows nothing.
    Missing,
    /// Nothing of what it shows is right.
    Wrong,
}

/// What a request must show.
pub(crate) struct Access {
    secret: Option<Secret>,
}

struct Secret {
    token: Token,
    cookie: String,
}

impl Access {
    /// `None` admits anyone.
    pub(crate) fn new(token: Option<Token>, pin: &Pin) -> Self {
        let secret = token.map(|token| {
            // Who steals the cookie cannot make an address of it, and it is worth nothing at a
            // server with another identity.
            let key = blake3::derive_key(COOKIE_CONTEXT, token.secret_bytes());
            let cookie = blake3::keyed_hash(&key, pin.as_bytes());
            Secret {
                token,
                cookie: HEXLOWER.encode(cookie.as_bytes()),
            }
        });
        Self { secret }
    }

    /// Whether anyone may read.
    pub(crate) fn is_open(&self) -> bool {
        self.secret.is_none()
    }

    /// Places a request with these headers and this key in its query. `place` is where it came in.
    pub(crate) fn admit(
        &self,
        headers: &HeaderMap,
        key: Option<&str>,
        place: CookiePlace,
    ) -> Admission {
        let Some(secret) = &self.secret else {
            return match key {
                Some(_) => Admission::GrantedByUrl,
                None => Admission::Granted,
            };
        };
        let cookie_name = place.cookie_name();
        let cookies: Vec<_> = cookies(headers, &cookie_name).collect();
        let credentials = headers.get(AUTHORIZATION).map(|value| value.as_bytes());
        if key.is_some_and(|key| secret.is_token(key)) {
            return Admission::GrantedByUrl;
        }
        let by_cookie = cookies.iter().any(|value| secret.is_cookie(value));
        if by_cookie || credentials.is_some_and(|given| secret.is_credentials(given)) {
            return Admission::Granted;
        }
        match key.is_none() && cookies.is_empty() && credentials.is_none() {
            true => Admission::Missing,
            false => Admission::Wrong,
        }
    }

    /// What sets the cookie; `None` where none is needed.
    pub(crate) fn set_cookie(&self, place: CookiePlace) -> Option<String> {
        let secret = self.secret.as_ref()?;
        let (name, value) = (place.cookie_name(), &secret.cookie);
        let secure = if place.secure { "; Secure" } else { "" };
        Some(format!(
            "{name}={value}; Path=/; HttpOnly; SameSite=Lax{secure}"
        ))
    }
}

impl Secret {
    fn is_token(&self, text: &str) -> bool {
        Token::parse(text).is_ok_and(|token| token == self.token)
    }

    fn is_cookie(&self, value: &[u8]) -> bool {
        value.ct_eq(self.cookie.as_bytes()).into()
    }

    /// `Bearer TOKEN` (RFC 6750 §2.1) or `Basic` with the token as password (RFC 7617 §2).
    fn is_credentials(&self, given: &[u8]) -> bool {
        let Some((scheme, rest)) = std::str::from_utf8(given)
            .ok()
            .and_then(|given| given.split_once(' '))
        else {
            return false;
        };
        let rest = rest.trim();
        if scheme.eq_ignore_ascii_case("bearer") {
            return self.is_token(rest);
        }
        scheme.eq_ignore_ascii_case("basic")
            && BASE64
                .decode(rest.as_bytes())
                .ok()
                .and_then(|decoded| String::from_utf8(decoded).ok())
                .and_then(|pair| Some(pair.split_once(':')?.1.to_owned()))
                .is_some_and(|password| self.is_token(&password))
    }
}

/// What a cookie is for.
#[derive(Debug, Clone, Copy)]
pub(crate) struct CookiePlace {
    /// As the client sees it.
    pub(crate) port: u16,
    /// Through TLS.
    pub(crate) secure: bool,
}

impl CookiePlace {
    /// Browsers send a cookie to every port of a host, so its name says which port it is for. They
    /// let no answer without TLS replace one that is for TLS, so the two have different names.
    fn cookie_name(self) -> String {
        match self.secure {
            true => format!("packhorse-{}", self.port),
            false => format!("packhorse-{}-clear", self.port),
        }
    }
}

/// The values of the cookie `name`, RFC 6265 §4.2.
fn cookies<'a>(headers: &'a HeaderMap, name: &'a str) -> impl Iterator<Item = &'a [u8]> {
    headers.get_all(COOKIE).into_iter().flat_map(move |line| {
        line.as_bytes()
            .split(|&byte| byte == b';')
            .filter_map(move |pair| {
                pair.trim_ascii()
                    .strip_prefix(name.as_bytes())?
                    .strip_prefix(b"=")
            })
    })
}

/// The host and port that a client believes to talk to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Authority {
    host: String,
    port: Option<u16>,
}

impl Authority {
    /// The authority of the request target, or else of the one `Host` field (RFC 9112 §3.2).
    /// `None` if there is none where one must be, several, or one that is no authority.
    pub(crate) fn of(uri: &Uri, headers: &HeaderMap, version: Version) -> Option<Option<Self>> {
        let mut hosts = headers.get_all(HOST).into_iter();
        let (first, second) = (hosts.next(), hosts.next());
        if second.is_some() {
            return None;
        }
        if let Some(authority) = uri.authority() {
            return Self::parse(authority.as_str()).map(Some);
        }
        match first {
            Some(host) => Self::parse(host.to_str().ok()?).map(Some),
            None if version < Version::HTTP_11 => Some(None),
            None => None,
        }
    }

    fn parse(text: &str) -> Option<Self> {
        let authority: http::uri::Authority = text.parse().ok()?;
        let host = authority.host();
        if host.is_empty() {
            return None;
        }
        // Nothing may stand before the host, and only a port behind it.
        let port = match text.strip_prefix(host)? {
            "" | ":" => None,
            rest => Some(rest.strip_prefix(':')?.parse().ok()?),
        };
        Some(Self {
            host: host.to_ascii_lowercase(),
            port,
        })
    }

    /// The port, which has its scheme's default if none is given.
    pub(crate) fn port(&self, secure: bool) -> u16 {
        self.port.unwrap_or(if secure { 443 } else { 80 })
    }

    /// `HOST:PORT`, always with the port; IPv6 in brackets.
    pub(crate) fn place(&self, secure: bool) -> String {
        format!("{}:{}", self.host, self.port(secure))
    }

    /// Whether someone on this machine may mean this machine by it. An address cannot be made to
    /// point elsewhere, and a name can: a page of `evil.example` that then points to 127.0.0.1 would
    /// read from an open server here what the browser's user may read.
    pub(crate) fn is_local(&self) -> bool {
        let address = self.host.trim_start_matches('[').trim_end_matches(']');
        let name = self.host.strip_suffix('.').unwrap_or(&self.host);
        address.parse::<IpAddr>().is_ok() || name == "localhost" || name.ends_with(".localhost")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PLACE: CookiePlace = CookiePlace {
        port: 7225,
        secure: true,
    };

    fn token() -> Token {
        Token::from([9; 16])
    }

    fn admit(headers: &[(&'static str, &str)], key: Option<&str>) -> Admission {
        let access = Access::new(Some(token()), &Pin::from([1; 16]));
        let mut map = HeaderMap::new();
        for (name, value) in headers {
            map.append(*name, value.parse().unwrap());
        }
        access.admit(&map, key, PLACE)
    }

    #[test]
    fn each_form_of_the_token_admits_and_no_other() {
        let text = token().reveal();
        let basic = |password: &str| format!("Basic {}", BASE64.encode(password.as_bytes()));
        let access = Access::new(Some(token()), &Pin::from([1; 16]));
        let set = access.set_cookie(PLACE).unwrap();
        assert!(!set.contains(&text), "the cookie holds no token");
        let cookie = set.split(';').next().unwrap();
        let foreign = Access::new(Some(token()), &Pin::from([2; 16]));
        let foreign = foreign.set_cookie(PLACE).unwrap();
        let foreign = foreign.split(';').next().unwrap();
        let (right, wrong) = (Admission::Granted, Admission::Wrong);
        let cases: &[(&'static str, String, Admission)] = &[
            ("authorization", format!("Bearer {text}"), right),
            ("authorization", format!("bearer  {text} "), right),
            ("authorization", basic(&format!(":{text}")), right),
            ("authorization", basic(&format!("me:{text}")), right),
            ("authorization", basic(&text), wrong),
            ("authorization", basic(&format!("{text}:")), wrong),
            ("authorization", format!("Digest {text}"), wrong),
            ("authorization", text.clone(), wrong),
            ("authorization", format!("Bearer {}", &text[1..]), wrong),
            ("cookie", cookie.to_owned(), right),
            ("cookie", format!("a=b; {cookie};c=d"), right),
            ("cookie", format!("packhorse-7225=stale; {cookie}"), right),
            ("cookie", format!("packhorse-7225={text}"), wrong),
            ("cookie", foreign.to_owned(), wrong),
            ("cookie", cookie.replace("7225", "7226"), Admission::Missing),
            ("x-nothing", "a".into(), Admission::Missing),
        ];
        for (name, value, expected) in cases {
            assert_eq!(admit(&[(name, value)], None), *expected, "{name}: {value}");
        }
        assert_eq!(admit(&[], Some(&text)), Admission::GrantedByUrl);
        for length in 0..text.len() {
            assert_eq!(admit(&[], Some(&text[..length])), Admission::Wrong);
        }
        let stale = [("cookie", "packhorse-7225=stale")];
        assert_eq!(admit(&stale, Some(&text)), Admission::GrantedByUrl);
    }

    #[test]
    fn one_host_is_needed_and_only_this_machine_is_local() {
        let of = |uri: &str, hosts: &[&str], version| {
            let mut headers = HeaderMap::new();
            for host in hosts {
                headers.append(HOST, host.parse().unwrap());
            }
            Authority::of(&uri.parse().unwrap(), &headers, version)
        };
        let new = Version::HTTP_11;
        assert_eq!(of("/", &[], new), None);
        assert_eq!(of("/", &["a", "a"], new), None);
        assert_eq!(of("/", &["a b"], new), None);
        assert_eq!(of("/", &["u@a"], new), None);
        assert_eq!(of("/", &["a:99999"], new), None);
        assert_eq!(of("/", &[], Version::HTTP_10), Some(None));
        let cases = [
            ("/", "127.0.0.1:7225", true, 7225),
            ("/", "[::1]:7225", true, 7225),
            ("/", "LocalHost", true, 443),
            ("/", "a.localhost.:1", true, 1),
            ("/", "evil.example:7225", false, 7225),
            ("/", "localhost.evil.example", false, 443),
            ("/", "127.0.0.1.evil.example", false, 443),
            ("http://evil.example/", "localhost", false, 443),
        ];
        for (uri, host, is_local, port) in cases {
            let authority = of(uri, &[host], new).unwrap().unwrap();
            assert_eq!(authority.is_local(), is_local, "{uri} {host}");
            assert_eq!(authority.port(true), port);
        }
    }
}
